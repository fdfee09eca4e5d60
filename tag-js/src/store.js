// What the tag remembers from page to page: localStorage once it is open, and memory until then.
//
// Nothing touches the visitor's disk before open(). Where the browser refuses localStorage, or it is
// full, the tag goes on in memory.

const PREFIX = "trb_";
const CONSENT = PREFIX + "consent"; // the decision outlives a withdrawal, it is the proof of it

export function createStore(window) {
  const memory = {};
  let disk = null;

  function attempt(action) {
    try {
      return action();
    } catch (error) {
      return undefined;
    }
  }

  function names() {
    const onDisk = attempt(() => Object.keys(disk)) || [];
    return onDisk.filter((name) => name.startsWith(PREFIX)).concat(Object.keys(memory));
  }

  const store = {
    open() {
      disk = attempt(() => window.localStorage);
      Object.keys(memory).forEach((name) => store.set(name.slice(PREFIX.length), memory[name]));
    },

    // Removes everything but the decision itself.
    close() {
      names().forEach((name) => name !== CONSENT && store.remove(name.slice(PREFIX.length)));
      disk = null;
    },

    isOpen: () => Boolean(disk),

    get(key) {
      const kept = attempt(() => disk.getItem(PREFIX + key));
      return kept == null ? memory[PREFIX + key] : kept;
    },

    set(key, text) {
      delete memory[PREFIX + key];
      attempt(() => {
        disk.setItem(PREFIX + key, text);
        return true;
      }) || (memory[PREFIX + key] = text);
    },

    remove(key) {
      delete memory[PREFIX + key];
      attempt(() => disk.removeItem(PREFIX + key));
    },

    getJson: (key) => attempt(() => JSON.parse(store.get(key))),
    setJson: (key, value) => store.set(key, JSON.stringify(value)),

    // The keys that begin so, in their order.
    keys(start) {
      return names()
        .map((name) => name.slice(PREFIX.length))
        .filter((key) => key.startsWith(start))
        .sort();
    },
  };
  return store;
}
