// What the tag tells its developer, in the console: the words are in the second file, which is loaded when
// there is something to say.
import { settings } from "./settings.js";

const said = {};

// Once for the page of each kind.
export const say = (code, detail) => {
  said[code] = said[code] || settings.more().then(
    ({ explain }) => console.warn(explain(code, detail, settings)),
    () => console.warn("tributary: " + code, detail),
  );
};

// With ?tributary_debug in the address, what happens to each event; more/debug.js writes it.
export const traced = [];
export const isDebug = () => /[?&#]tributary_debug/.test(location);
export const trace = (...entry) => isDebug() && traced.push(entry);
