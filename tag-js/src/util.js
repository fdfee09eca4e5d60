// Small things that many modules need.

export const iso = () => new Date().toISOString();

// The value of `action`, or nothing where it throws: for what browsers may refuse.
export const attempt = (action) => {
  try {
    return action();
  } catch (error) {}
};

// Nothing that goes wrong in a handler reaches the page.
export const listen = (names, handler, where = window) =>
  names.split(" ").forEach((name) => where.addEventListener(name, (event) => attempt(() => handler(event)), true));

// A random UUID (version 4). On plain http pages and in older browsers, where crypto.randomUUID does not
// exist, it is the one that the browser makes for a blob.
export const uuid = () => attempt(() => crypto.randomUUID()) || URL.createObjectURL(new Blob()).slice(-36);

// JSON of what pages give: a circle and a node of the page are left out, a BigInt is a number where it can
// be one, and a library of the page that gives arrays, dates or all objects a toJSON() changes nothing.
export const stringify = (given) => {
  const within = [];
  return JSON.stringify(given, function (key, value) {
    const own = this[key];
    if (typeof own == "bigint") return own < 9e15 ? Number(own) : own + "";
    if (Array.isArray(own) || (own && own.toJSON && own.toJSON == Object.prototype.toJSON)) value = own;
    if (own instanceof Date) value = isNaN(own) ? null : own.toISOString();
    if (!value || typeof value != "object") return value;
    while (within.length && within[within.length - 1] != this) within.pop();
    if (within.includes(value) || value.nodeType) return;
    within.push(value);
    return value;
  });
};
