// For the unit tests: a browser window just large enough for the tag, with a clock that the test moves,
// and a collector behind its fetch that answers what the test tells it to.
import { webcrypto } from "node:crypto";

const START = Date.parse("2026-01-01T00:00:00.000Z");

export function createFakeWindow({ disk = {}, cookie = "", url = "https://shop.example/a?b=1" } = {}) {
  const { href, pathname, search } = new URL(url);
  const handlers = {};
  const timers = [];
  let now = START;

  const listen = (name, handler) => (handlers[name] = handler);
  const window = {
    location: { href, pathname, search },
    document: { title: "A page", referrer: "", cookie, visibilityState: "visible", addEventListener: listen },
    navigator: { userAgent: "fake", language: "fr-FR", sendBeacon: (to, body) => collector.beacon(to, body) },
    localStorage: createFakeStorage(disk),
    crypto: webcrypto,
    console: { error: (error) => collector.complaints.push(error) },
    AbortController,
    Math: { random: () => 1 },
    Date: { now: () => now },
    setTimeout(run, ms) {
      timers.push({ at: now + ms, run });
      return timers[timers.length - 1];
    },
    clearTimeout(timer) {
      if (timers.includes(timer)) timers.splice(timers.indexOf(timer), 1);
    },
    addEventListener: listen,
    fetch: (to, options = {}) => (options.method === "POST" ? collector.post(to, options) : collector.me(to)),
  };

  const collector = {
    answers: [], // what the next posts are answered with; without any, everything is taken
    batches: [], // bodies of the posts, parsed, with the time they came at
    beacons: [],
    posts: [], // their options
    asked: [], // the times /v1/me was asked at
    segments: [],
    complaints: [],

    async post(to, options) {
      this.posts.push({ to, ...options });
      this.batches.push({ at: now - START, ...JSON.parse(options.body) });
      const answer = this.answers.shift() || respond(200, { success: true });
      if (answer instanceof Error) throw answer;
      return answer;
    },
    beacon(to, body) {
      this.beacons.push(JSON.parse(body));
      return true;
    },
    async me(to) {
      this.asked.push(now - START);
      const anonymousId = new URL(to).searchParams.get("anonymousId");
      return respond(200, { anonymousId, segments: this.segments, traits: {}, version: 1 });
    },
    events() {
      return this.batches.flatMap(({ batch }) => batch);
    },
  };

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

  return { window, collector, handlers, advance, disk };
}

export function respond(status, body, headers = {}) {
  return {
    status,
    ok: status >= 200 && status < 300,
    headers: { get: (name) => headers[name] || null },
    json: async () => (typeof body === "string" ? JSON.parse(body) : body),
  };
}

// Like localStorage, its entries are its own enumerable properties.
function createFakeStorage(disk) {
  return new Proxy(disk, {
    get: (entries, name) =>
      ({
        getItem: (key) => (key in entries ? entries[key] : null),
        setItem: (key, value) => void (entries[key] = String(value)),
        removeItem: (key) => void delete entries[key],
      }[name]),
  });
}

async function settle() {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}
