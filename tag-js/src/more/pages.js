// The views that a single-page application turns a page into.
//
// Its address says when one begins; its title comes later. So a view is told when the title has changed and
// rests, after a second at the latest, and before whatever else ends it.
import { listen } from "../util.js";
import { core } from "./core.js";

const STEP_MS = 100;
const STEPS_MAX = 10;

let last; // the place that was viewed last
let address; // and its address now
let waiting; // the view that is not told yet

const placeNow = () => location.pathname + (/^#!?\//.test(location.hash) ? location.hash : "");

const cut = (text) => text.slice(0, 2e3);

// With the title that the page was seen to have, not that of the page after it.
const tell = () => {
  if (!waiting) return;
  const { page, title, timestamp } = waiting;
  waiting = clearTimeout(waiting.timer);
  page.title = cut(title == page.title ? document.title : title);
  core.view(page, { timestamp, context: { page } });
};

const watchTitle = (steps = STEPS_MAX) => {
  const { title } = document;
  const rests = title == waiting.title && title != waiting.page.title;
  waiting.title = title;
  if (rests || !steps) tell();
  else waiting.timer = setTimeout(watchTitle, STEP_MS, steps - 1);
};

const begin = () => {
  core.end();
  core.setReferrer(address);
  const { title } = document;
  const page = {
    url: cut(location.href),
    path: cut(location.pathname),
    title,
    referrer: cut(address),
    search: cut(location.search),
  };
  waiting = { page, title, timestamp: new Date().toISOString() };
  watchTitle();
};

// An address that is only replaced, by one of the same path, is another name for the same view.
const check = (isReplaced) => {
  const { href } = location;
  const isNew = isReplaced ? placeNow() != last : href != address;
  if (isNew) begin();
  else if (waiting) Object.assign(waiting.page, { url: cut(href), search: cut(location.search) });
  last = placeNow();
  address = href;
};

const later = (isReplaced) => setTimeout(check, 0, isReplaced);

export const watchPages = () => {
  const seen = core.seen();
  address = seen ? seen.url : location.href;
  last = new URL(address).pathname;
  core.ends.push(tell);
  const wrap = (name, isReplaced) => {
    const method = history[name];
    history[name] = function (...args) {
      const result = method.apply(this, args);
      later(isReplaced);
      return result;
    };
  };
  if (window.navigation) {
    navigation.addEventListener("currententrychange", ({ navigationType }) => later(navigationType == "replace"));
  } else {
    wrap("pushState");
    wrap("replaceState", true);
  }
  listen("popstate hashchange", () => later());
  later(true); // where it went while this file was under way
};
