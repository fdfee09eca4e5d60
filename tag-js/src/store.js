// What the tag remembers from page to page: localStorage while the visitor allows it, else memory.
//
// Only the decision itself touches the visitor's disk before that, and nothing at all in anonymous
// mode. Where the browser refuses localStorage, or it is full, the tag goes on in memory. Each name is
// an entry of its own, so two tabs never overwrite each other's.
import { allowed } from "./consent.js";
import { isAnonymous } from "./settings.js";
import { attempt, stringify } from "./util.js";

const PREFIX = "trb_";
const memory = {};
let disk = {};

export const startStore = () => isAnonymous() || attempt(() => (disk = localStorage || disk));

export const read = (name) => memory[PREFIX + name] || disk[PREFIX + name];
export const get = (name) => attempt(() => JSON.parse(read(name)));

// Without a value the name is forgotten.
export const set = (name, value) => {
  const key = PREFIX + name;
  const json = stringify(value);
  delete memory[key];
  if (!json) delete disk[key];
  else attempt(() => ((allowed() || name == "consent" ? disk : memory)[key] = json)) || (memory[key] = json);
};

// The names that begin so, in their order.
export const names = (start) =>
  [...Object.keys(disk), ...Object.keys(memory)]
    .filter((key) => !key.indexOf(PREFIX + start))
    .map((key) => key.slice(4))
    .sort();

// Move what was kept in memory to the disk.
export const open = () => {
  names("").forEach((name) => set(name, get(name)));
};

// Forget everything but the decision.
export const close = () => {
  names("").forEach((name) => name == "consent" || set(name));
};
