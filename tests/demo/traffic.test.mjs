import assert from "node:assert/strict";
import test from "node:test";
import { compute, identifiersOf } from "../e2e/naive.mjs";
import { SEGMENTS } from "./segments.mjs";
import { generateTraffic } from "./traffic.mjs";

const END = Date.parse("2026-11-21T12:00:00.000Z");
const DAY = 86_400_000;
const week = (options) => generateTraffic({ seed: 1, visitors: 300, end: END, ...options });
const time = (event) => Date.parse(event.timestamp);

test("a seed repeats its week, and another seed makes another", () => {
  assert.deepEqual(week(), week());
  assert.notDeepEqual(week().web, week({ seed: 2 }).web);
});

test("every line is a complete event inside the week", () => {
  const { web, store } = week();
  for (const event of [...web, ...store]) {
    assert.ok(event.messageId && event.type, JSON.stringify(event));
    assert.ok(identifiersOf(event).length > 0, JSON.stringify(event));
    assert.ok(time(event) > END - 7 * DAY && time(event) <= END, JSON.stringify(event));
    assert.equal(event.sentAt, undefined);
  }
  assert.ok(web.every((event) => event.anonymousId && event.context.consent.categoryPreferences.analytics));
  assert.ok(store.every((event) => event.anonymousId === undefined));
});

test("a week has repeated, late, and contradictory lines", () => {
  const { web, store } = week();
  const events = [...web, ...store];
  const ids = new Set(events.map((event) => event.messageId));
  const repeated = 1 - ids.size / events.length;
  assert.ok(repeated > 0.01 && repeated < 0.05, `repeated ${repeated}`);
  const lateness = (list) => {
    let newest = 0;
    return Math.max(...list.map((event) => (newest = Math.max(newest, time(event))) - time(event)));
  };
  assert.ok(lateness(web) > DAY && lateness(store) > DAY, `${lateness(web)} ${lateness(store)}`);
  const instants = web
    .filter((event) => event.type === "identify")
    .map((event) => `${event.userId} ${event.timestamp}`);
  assert.ok(
    new Set(instants).size <
      new Set(web.filter((event) => event.type === "identify").map((event) => event.messageId)).size,
    "no two identifies at one instant",
  );
  assert.ok(events.some((event) => event.traits && Object.values(event.traits).includes(null)));
});

test("no two user ids meet, unless devices are shared", () => {
  for (const seed of [1, 2, 3]) {
    const { web, store } = week({ seed });
    assert.deepEqual(compute([...web, ...store], { now: END }).conflicts, []);
  }
  const { web, store } = week({ sharedDevices: true });
  assert.ok(compute([...web, ...store], { now: END }).conflicts.length > 0);
});

test("people are joined across devices and the till, and most demo segments have members", () => {
  const { web, store } = week();
  const result = compute([...web, ...store], { now: END, segments: SEGMENTS });
  const types = (profile) => [...profile.identifiers].map((key) => key.split(":")[0]);
  assert.ok(
    result.profiles.some((profile) => types(profile).filter((type) => type === "anonymous_id").length === 2),
  );
  assert.ok(
    result.profiles.some((profile) =>
      ["anonymous_id", "user_id", "loyalty_id"].every((type) => types(profile).includes(type)),
    ),
  );
  const sizes = Object.entries(SEGMENTS).map(([key, { where }]) => [key, result.members(where).length]);
  const empty = sizes.filter(([, size]) => size === 0).map(([key]) => key);
  assert.deepEqual(empty, ["lapsed-30d"], JSON.stringify(sizes));
});
