// For the unit tests: a browser window just large enough for the tag, with a clock that the test moves,
// and a collector behind its fetch that answers what the test tells it to. What runs in it is dist/t.js with
// dist/t.more.js, the very files that pages load.
import { readFileSync } from "node:fs";
import { createContext, Script } from "node:vm";

const START = Date.parse("2026-01-01T00:00:00.000Z");
const read = (name) => readFileSync(new URL(`../dist/${name}`, import.meta.url), "utf8");

// Node has no import() in such a window: the window's load() is in its place, and the second file a function
// that gives what it exports.
const tag = new Script(read("t.js").replace("import(", "load("));
const asObject = (all, names) => `return {${names.replace(/([\w$]+) as ([\w$]+)/g, "$2: $1")}}`;
const more = new Script(`(() => {${read("t.more.js").replace(/export\s*\{([^}]*)\}/, asObject)}})()`);

const settle = async () => {
  for (let turn = 0; turn < 6; turn++) await new Promise(setImmediate);
};

/* `disk` is what localStorage has, `data` the attributes of the script element, `early` the calls that
 * waited, `change(window)` is called before the tag runs. */
export function startTag({ disk = {}, cookie = "", url = "https://shop.example/a?b=1", data = {}, src = "https://c.example/t.js", early, change } = {}) {
  const handlers = {};
  const timers = [];
  let now = START;

  const collector = {
    answers: [], // what the next posts are answered with; without any, everything is taken
    batches: [], // bodies of the posts, parsed, with the time they came at
    posts: [], // their options
    beacons: [],
    loaded: [], // the addresses of scripts
    asked: [], // the addresses that were asked for with GET
    segments: undefined,

    async fetch(to, options) {
      if (options.method !== "POST") {
        collector.asked.push(to);
        return new Promise((done, failed) => (options.signal.onabort = () => failed(new Error("aborted"))));
      }
      collector.posts.push({ to, ...options });
      const body = JSON.parse(options.body);
      collector.batches.push({ at: now - START, ...body });
      const { anonymousId } = body.batch[0];
      const { segments } = collector;
      const me = segments && { anonymousId, segments, traits: {}, version: 1 };
      const answer = collector.answers.shift() || respond(200, { success: true, me });
      if (options.credentials === "include" && answer.isForNamedOrigins) throw new TypeError("Failed to fetch");
      if (answer instanceof Error) throw answer;
      return answer;
    },
    events: () => collector.batches.flatMap(({ batch }) => batch),
  };

  class FakeDate extends Date {
    constructor(...given) {
      super(...(given.length ? given : [now]));
    }
    static now = () => now;
  }
  const said = [];
  const window = {
    location: { ...urlParts(url), toString: () => window.location.href },
    document: {
      title: "A page",
      referrer: "",
      cookie,
      hidden: false,
      baseURI: url,
      body: { scrollHeight: 1000 },
      currentScript: { src, dataset: { writeKey: "KEY", auto: "", ...data } },
      querySelector: () => null,
    },
    console: { warn: (...parts) => said.push(parts.join(" ")), info: (...parts) => said.push(parts.join(" ")) },
    navigator: { userAgent: "fake", language: "fr-FR", sendBeacon: (to, body) => collector.beacons.push(JSON.parse(body)) > 0 },
    history: { pushState: (state, title, to) => go(to), replaceState: (state, title, to) => go(to) },
    localStorage: disk,
    innerHeight: 500,
    scrollY: 0,
    Date: FakeDate,
    fetch: (...args) => collector.fetch(...args),
    setTimeout(run, ms = 0, ...args) {
      timers.push({ at: now + (ms > 0 ? ms : 0), run: () => run(...args) });
      return timers[timers.length - 1];
    },
    clearTimeout: (timer) => timers.includes(timer) && timers.splice(timers.indexOf(timer), 1),
    addEventListener: (name, handler) => (handlers[name] = handlers[name] || []).push(handler),
    URL,
    crypto: globalThis.crypto,
    URLSearchParams,
    Blob,
    AbortSignal,
    AbortController,
    async load(address) {
      collector.loaded.push(address);
      return more.runInContext(window);
    },
    Math: Object.assign(Object.create(Math), { min: Math.min, max: Math.max, random: () => 1 }),
  };
  const go = (to) => Object.assign(window.location, urlParts(to, window.location.href));
  if (early) window.tributary = early;
  if (change) change(window);
  createContext(window);
  window.window = window;
  const run = () => tag.runInContext(window);
  run();

  // Run what is due in the next `ms`, in order, and let promises settle in between.
  async function advance(ms) {
    const end = now + ms;
    await settle();
    for (;;) {
      const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      window.clearTimeout(due);
      now = Math.max(now, due.at);
      due.run();
      await settle();
    }
    now = end;
  }
  const happen = (name, event = {}) => (handlers[name] || []).forEach((handler) => handler({ type: name, ...event }));
  // As a browser tells it, in this order, when a page is left; `persisted`: when it comes back from the cache.
  const goAway = () => {
    happen("pagehide");
    window.document.hidden = true;
    happen("visibilitychange");
  };

  return { said, goAway, window, tag: window.tributary, collector, happen, advance, disk, go, run, plain };
}

/* Objects of the window have other prototypes than those of the test. */
export const plain = (value) => value && JSON.parse(JSON.stringify(value));

function urlParts(to, base) {
  const { href, origin, pathname, search, hash, hostname } = new URL(to, base);
  return { href, origin, pathname, search, hash, hostname };
}

export function respond(status, body, headers = {}) {
  return {
    status,
    headers: { get: (name) => headers[name] || null },
    json: async () => (typeof body === "string" ? JSON.parse(body) : body),
  };
}
