// Makes window.tributary the tag: calls that waited in the page's array are made now, in their order.

// The page's own array becomes the tag, so a reference that the page took before loading stays good.
// A second copy of the script finds the first and leaves it alone.
export function install(window, create) {
  const target = (window.tributary = window.tributary || []);
  if (target.version) return;

  const tag = create();
  const call = ([method, ...args]) => {
    if (typeof tag[method] === "function") return tag[method](...args);
  };
  const waiting = Array.isArray(target) ? target.splice(0) : [];
  Object.assign(target, tag, { push: (...calls) => calls.forEach(call) });
  waiting.forEach(call);
}
