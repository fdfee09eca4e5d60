// Starts the tag from the attributes of its own script element, in the place where the page's calls
// wait. These calls are made now, in their order.
import { start } from "./start.js";
import { calls } from "./tag.js";
import { attempt } from "./util.js";

const { dataset, src } = document.currentScript;

// The page's own array becomes the tag, so a reference that the page took before loading stays good.
// A second copy of the script finds the first and leaves it alone.
const target = (window.tributary = window.tributary || []);
if (!target.user) {
  const waiting = target.slice();
  start({ auto: "page", host: new URL(src).origin, ...target, ...dataset });
  Object.assign(target, calls);
  target.push = (...given) =>
    given.forEach(([method, ...args]) => attempt(() => calls[method](...args.filter((arg) => !(arg || 0).__t))));
  target.push(...waiting);
}
