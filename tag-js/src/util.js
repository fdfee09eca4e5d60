// Small things that many modules need.

export const iso = () => new Date().toISOString();

// The value of `action`, or nothing where it throws: for what browsers may refuse.
export const attempt = (action) => {
  try {
    return action();
  } catch (error) {}
};

// Nothing that goes wrong in a handler reaches the page.
export const listen = (names, handler) =>
  names.split(" ").forEach((name) => addEventListener(name, (event) => attempt(() => handler(event)), true));

// A random UUID (version 4). On plain http pages and in older browsers, where crypto.randomUUID does not
// exist, it is the one that the browser makes for a blob.
export const uuid = () => attempt(() => crypto.randomUUID()) || URL.createObjectURL(new Blob()).slice(-36);
