// The tag that runs on the page, as src/start.js hands it to this second file: its own copies of these
// modules would know nothing of the page's events and decisions.
const NAMES = [
  "allowed", "anonymousId", "ask", "auto", "consent", "end", "ends", "happened", "hear", "learnSegments", "preferences", "say", "seen",
  "setReferrer", "settings", "traced", "track", "view",
];
export const core = {};
export const setCore = (given) => NAMES.forEach((name, at) => (core[name] = given[at]));
