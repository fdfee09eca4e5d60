// Starts the tag from the attributes of its own script element, or from the address of the script, in the
// place where the page's calls wait. These calls are made now, in their order.
import { start } from "./start.js";
import { calls } from "./tag.js";
import { attempt, listen } from "./util.js";

// A module has no current script, and an element of the page may have taken that name.
const findScript = () => {
  const script = document.currentScript;
  return script && script.src && script.dataset ? script : document.querySelector("script[data-write-key]");
};

attempt(() => {
  const { dataset, src } = findScript();
  const { origin: host, searchParams } = new URL(src);

  // The page's own array becomes the tag, so a reference that the page took before loading stays good.
  // A second copy of the script finds the first and leaves it alone.
  const target = (window.tributary = Array.isArray(window.tributary) ? window.tributary : []);
  if (target.user) return;

  const call = (...given) =>
    given.forEach(([method, ...args]) => attempt(() => calls[method](...args.filter((arg) => !(arg || 0).__t))));
  const begin = () => {
    const waiting = target.slice();
    const options = { auto: "page", host, ...target };
    // Tag managers take attributes away: t.js?writeKey=KEY&auto=page+spa says the same.
    searchParams.forEach((value, name) => (options[name] = value));
    start({ ...options, ...dataset }, () =>
      import(src.replace(/(\.js)?([?#].*)?$/, ".more.js")),
    );
    Object.assign(target, calls);
    target.push = call;
    call(...waiting);
  };

  // A page that was loaded ahead is not there yet for the visitor: what it calls waits until it is.
  if (!document.prerendering) return begin();
  Object.keys(calls).forEach((name) => (target[name] = target[name] || ((...args) => void target.push([name, ...args]))));
  target.user = () => ({ traits: {} });
  listen("prerenderingchange", begin);
});
