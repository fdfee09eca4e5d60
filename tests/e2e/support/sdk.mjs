// What the scenarios with SDKs of others share: sources that take from everybody, what arrived at the
// hub, and clients whose clock is wrong.
import assert from "node:assert/strict";
import { waitUntil } from "./wait.mjs";

export const KEY = "web-1";
export const HOUR_MS = 3_600_000;

/* A source that needs no consent: for pages of these origins, whose ids count though nothing proves them; or,
 * without any, for a server. */
export const openSource = (origins = []) => ({
  [KEY]: {
    name: "site",
    origins,
    consent: { exempt: true },
    ...(origins.length > 0 ? { open: ["user_id", "email"] } : { trust: "server" }),
  },
});

/* What the hub has of the profile that owns the identifier, in the order of the calls' names, once all
 * `count` events are there; fails where there are more, anywhere. */
export async function arrived(hub, [type, value], count) {
  const profile = await waitUntil(
    async () => {
      const found = await hub.profile(type, value);
      return found?.eventCount >= count && found;
    },
    { what: `${count} events of ${type} ${value}` },
  );
  const events = await hub.timeline(profile.id);
  assert.equal(events.length, count, JSON.stringify(events, null, 1));
  assert.equal((await hub.overview()).events, count);
  return { profile, events, find: (name) => find(events, name) };
}

/* The one event of this name, or of this type where it has none. */
function find(events, name) {
  const found = events.filter((event) => (event.event ?? event.type) === name);
  assert.equal(found.length, 1, `${found.length} of ${name} in ${JSON.stringify(events, null, 1)}`);
  return found[0];
}

/* The object without members that differ from run to run. */
export function without(object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

/* `start` and `end` are real times in milliseconds around the calls. */
export function assertTimeBetween(event, start, end) {
  const at = Date.parse(event.timestamp);
  // A client's clock has whole milliseconds, and what it sends is on its way for a while.
  assert.ok(at >= start - 50 && at <= end + 50, `${event.timestamp} is not between ${start} and ${end}`);
}

/* From here to the end of the test this process's clock is wrong. */
export function setClockWrong(t, ms) {
  const Right = Date;
  globalThis.Date = class extends Right {
    constructor(...args) {
      super(...(args.length > 0 ? args : [Right.now() + ms]));
    }

    static now() {
      return Right.now() + ms;
    }
  };
  t.after(() => {
    globalThis.Date = Right;
  });
  return () => Right.now();
}
