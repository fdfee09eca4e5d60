// Every part of the segment language, over a few days of generated traffic, against the naive evaluation.
import assert from "node:assert/strict";
import { generateTraffic } from "../demo/traffic.mjs";
import { compute } from "./naive.mjs";
import { SEED, startSite, test, waitUntil } from "./support/site.mjs";

const viewed = { event: "Product Viewed" };
const added = { event: "Product Added" };
const bought = { event: "Order Completed" };

// One condition a row; each becomes a segment of its own.
const CONDITIONS = {
  "trait-eq": { trait: "city", eq: "Lyon" },
  "trait-ne": { trait: "city", ne: "Lyon" },
  "trait-in": { trait: "city", in: ["Lyon", "Lille"] },
  "trait-not-in": { trait: "city", not_in: ["Lyon", "Lille"] },
  "trait-number": { trait: "points", gt: 250 },
  "trait-number-text": { trait: "points", eq: "250" },
  "trait-boolean": { trait: "newsletter", eq: true },
  "trait-exists": { trait: "points", exists: true },
  "trait-absent": { trait: "newsletter", exists: false },
  "trait-dotted": { trait: "address.city", starts_with: "L" },
  "trait-contains": { trait: "lastName", contains: "è" },
  "count-gte": { ...viewed, count: { gte: 5 } },
  "count-eq": { ...viewed, count: { eq: 2 } },
  "count-lte": { ...viewed, count: { lte: 1 } },
  "count-none": { ...bought, within: "2d", count: { eq: 0 } },
  "where-two": {
    ...viewed,
    where: [
      { property: "category", eq: "Garden" },
      { property: "price", lt: 40 },
    ],
  },
  page: { type: "page", where: [{ property: "path", eq: "/cart.html" }], within: "3d" },
  "page-name": { type: "page", where: [{ property: "name", eq: "Home" }], count: { gte: 3 } },
  identify: { type: "identify", count: { gte: 2 } },
  known: { known: true },
  anonymous: { known: false },
  "has-card": { identifier: "loyalty_id", exists: true },
  "no-email": { identifier: "email", exists: false },
  consent: { consent: "marketing" },
  all: { all: [{ known: true }, viewed] },
  any: { any: [{ trait: "city", eq: "Nantes" }, bought] },
  not: { not: viewed },
  uses: { all: [{ segment: "known" }, { not: { segment: "consent" } }] },
};

const SEGMENTS = Object.fromEntries(
  Object.entries(CONDITIONS).map(([key, where]) => [key, { name: key, where }]),
);

const keyOf = (identifiers) => [...identifiers].sort().join(" ");

// Differences between the hub's members and the naive ones, one line a segment.
async function differences(hub, events) {
  const names = new Map(
    (await hub.profiles()).map(({ id, identifiers }) => [
      id,
      keyOf(identifiers.map(({ type, value }) => `${type}:${value}`)),
    ]),
  );
  const found = [];
  for (const [key, where] of Object.entries(CONDITIONS)) {
    const actual = (await hub.members(key)).map((id) => names.get(id) ?? id).sort();
    const { members } = compute(events, { now: Date.now(), segments: SEGMENTS });
    const expected = members(where)
      .map(({ identifiers }) => keyOf(identifiers))
      .sort();
    const missing = expected.filter((name) => !actual.includes(name));
    const extra = actual.filter((name) => !expected.includes(name));
    if (missing.length + extra.length > 0) {
      found.push(
        `${key} ${JSON.stringify(where)}: ${missing.length} missing (${missing[0]}), ${extra.length} too many (${extra[0]})`,
      );
    }
  }
  return found;
}

async function expectMembers(hub, events, what) {
  const { counts } = compute(events);
  await waitUntil(async () => (await hub.overview()).events === counts.events, {
    timeout: 30_000,
    what: "all events",
  });
  let found;
  await waitUntil(async () => (found = await differences(hub, events)).length === 0, {
    timeout: 30_000,
    every: 500,
    what,
  }).catch(() => {});
  assert.deepEqual(found, [], `${what}, E2E_SEED=${SEED}`);
}

test("segments defined before the events have exactly the members they should", async (t) => {
  const { web, store } = generateTraffic({ seed: SEED, visitors: 60, days: 5, end: Date.now() });
  const { hub, collector } = await startSite(t, { segments: SEGMENTS });
  for (const events of [web, store]) {
    for (let n = 0; n < events.length; n += 100) await collector.send(events.slice(n, n + 100));
  }
  await expectMembers(hub, [...web, ...store], "live segments");
});

test("segments defined after the events are filled from the timelines and have the same members", async (t) => {
  const { web, store } = generateTraffic({ seed: SEED, visitors: 60, days: 5, end: Date.now() });
  const { hub, collector } = await startSite(t, { segments: {} });
  for (const events of [store, web]) {
    for (let n = 0; n < events.length; n += 100) await collector.send(events.slice(n, n + 100));
  }
  for (const [key, segment] of Object.entries(SEGMENTS)) await hub.put(`/v1/segments/${key}`, segment);
  await expectMembers(hub, [...web, ...store], "backfilled segments");
});

test("conditions that this version does not know yet are refused and say so", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  for (const where of [
    { ...bought, sum: "total", gte: 300 },
    { ...bought, within: "1d", average: "total", lt: 150 },
    { sequence: [viewed, added, bought], within: "4d" },
    { sequence: [added, { not: bought, for: "1h" }] },
  ]) {
    const answer = await hub.api("PUT", "/v1/segments/later", { name: "Later", where });
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.body.error.code, "unsupported-condition", answer.text);
  }
});

test("segments that use each other in a circle are refused, and the circle is named", async (t) => {
  const { hub } = await startSite(t, { segments: { first: { name: "First", where: { known: true } } } });
  await hub.put("/v1/segments/second", { name: "Second", where: { segment: "first" } });
  const answer = await hub.api("PUT", "/v1/segments/first", { name: "First", where: { segment: "second" } });
  assert.ok(answer.status >= 400 && answer.status < 500, answer.text);
  assert.match(answer.body.error.message, /first/);
  assert.match(answer.body.error.message, /second/);
});

test("a condition that is malformed is refused with the place of the mistake", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  for (const where of [
    {},
    { trait: "a" },
    { trait: "a", eq: 1, ne: 2 },
    { event: "x", within: "soon" },
    { all: "x" },
    { any: [{ nothing: 1 }] },
    { segment: "missing" },
  ]) {
    const answer = await hub.api("PUT", "/v1/segments/wrong", { name: "Wrong", where });
    assert.equal(answer.status, 400, `${JSON.stringify(where)}: ${answer.status} ${answer.text}`);
    assert.ok(answer.body.error.code && answer.body.error.field, `${JSON.stringify(where)}: ${answer.text}`);
  }
});

test("a preview counts members before the segment is defined", async (t) => {
  const { web, store } = generateTraffic({ seed: SEED, visitors: 30, days: 3, end: Date.now() });
  const { hub, collector } = await startSite(t, { segments: {} });
  for (const events of [store, web]) {
    for (let n = 0; n < events.length; n += 100) await collector.send(events.slice(n, n + 100));
  }
  const { counts } = compute([...web, ...store]);
  await waitUntil(async () => (await hub.overview()).events === counts.events);
  const where = { all: [{ ...viewed, within: "3d", count: { gte: 2 } }, { trait: "city", exists: false }] };
  const { members } = compute([...web, ...store], { now: Date.now() });
  const expected = members(where);
  const answer = await hub.api("POST", "/v1/segments/preview", { where });
  assert.equal(answer.status, 200, answer.text);
  const { size, known, anonymous, exact, sample } = answer.body;
  assert.equal(size, expected.length);
  assert.equal(known, expected.filter((profile) => profile.known).length);
  assert.equal(anonymous, size - known);
  assert.equal(exact, true);
  assert.equal(sample.length, Math.min(size, 10));
  assert.ok(size > 0, "the seed gives members");
  const wrong = await hub.api("POST", "/v1/segments/preview", { where: { all: [{ nothing: 1 }] } });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.body.error.field, "/where/all/0/nothing");
});
