// The npm package: the same tag without its script element, in one file.
import { startMore } from "./more/more.js";
import { start } from "./start.js";
import { calls } from "./tag.js";

let tag;

// Where there is no page, as on a server, every call is there and does nothing.
const idle = () => {
  const tag = {};
  Object.keys(calls).forEach((name) => (tag[name] = () => Promise.resolve()));
  const end = () => {};
  return { ...tag, reset: end, ready: end, on: () => end, segments: () => end, onSegment: () => end, user: () => ({ traits: {} }) };
};

/* Start the tag, once for the page; a second call gives the first tag. Options that are false or absent
 * are off. */
export function load(options = {}) {
  if (typeof document == "undefined") return idle();
  if (tag) return tag;
  const settings = { auto: "page" };
  Object.keys(options).forEach((name) => {
    const value = options[name];
    if (value != null && value !== false) settings[name] = value === true ? "" : value;
  });
  if (Array.isArray(settings.auto)) settings.auto = settings.auto.join(" ");
  start(settings, () => Promise.resolve({ startMore }));
  tag = calls;
  return tag;
}
