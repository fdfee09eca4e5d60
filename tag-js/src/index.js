// The npm package: the same tag without its script element.
import { start } from "./start.js";
import { calls } from "./tag.js";

let tag;

/* Start the tag, once for the page; a second call gives the first tag. Options that are false or absent
 * are off. */
export function load({ host, ...options }) {
  if (tag) return tag;
  const settings = { auto: "page", host: host.replace(/\/$/, "") };
  for (const name in options) {
    const value = options[name];
    if (value !== undefined && value !== false) settings[name] = value === true ? "" : value;
  }
  if (Array.isArray(settings.auto)) settings.auto = settings.auto.join(" ");
  start(settings);
  tag = calls;
  return tag;
}
