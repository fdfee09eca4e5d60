// Callbacks by name. Each is called by itself: the page's mistake in one does not stop the others.
const callbacks = {};

export const on = (name, callback) => {
  const all = (callbacks[name] = callbacks[name] || new Set());
  all.add(callback);
  return () => all.delete(callback);
};

export const fire = (name, ...args) =>
  (callbacks[name] || []).forEach((callback) => setTimeout(callback, 0, ...args));
