import assert from "node:assert/strict";
import test from "node:test";
import { Random } from "../demo/random.mjs";
import { generateTraffic } from "../demo/traffic.mjs";
import { compute, identifiersOf, normalise } from "./naive.mjs";

const NOW = Date.parse("2026-11-21T12:00:00.000Z");
const ago = (seconds) => new Date(NOW - seconds * 1000).toISOString();
const HOUR = 3600;
let number = 0;

// An event of one person, `seconds` before now; the messageId grows with each call.
function event(type, seconds, fields = {}) {
  const messageId = `m-${String(number++).padStart(6, "0")}`;
  return { type, messageId, timestamp: ago(seconds), anonymousId: "a1", ...fields };
}

const track = (name, seconds, properties = {}) => event("track", seconds, { event: name, properties });
const identify = (seconds, traits, fields = {}) => event("identify", seconds, { traits, ...fields });
const holds = (where, events, segments = {}) =>
  compute(events, { now: NOW, segments }).members(where).length === 1;

test("identifiers are normalised by their type", () => {
  assert.equal(normalise("email", "  Jane@Example.COM "), "jane@example.com");
  assert.equal(normalise("phone", " +33 (6) 39-98.00 01"), "+33639980001");
  assert.equal(normalise("phone", "06 39 98 00 01"), "0639980001");
  assert.equal(normalise("phone", "+"), "");
  assert.equal(normalise("user_id", " U-1 "), "U-1");
});

test("identifiers come from ids, external ids, and the traits that name a person", () => {
  const found = identifiersOf({
    type: "identify",
    userId: "u1",
    anonymousId: "a1",
    traits: { email: "A@b.c", phone: "", city: "x" },
    context: { externalIds: [{ type: "loyalty_id", id: "L1" }], traits: { phone: "+1 2" } },
  });
  assert.deepEqual(found.sort(), [
    "anonymous_id:a1",
    "email:a@b.c",
    "loyalty_id:L1",
    "phone:+12",
    "user_id:u1",
  ]);
});

test("the traits of a group call name nobody", () => {
  assert.deepEqual(identifiersOf({ type: "group", userId: "u1", traits: { email: "a@b.c" } }), [
    "user_id:u1",
  ]);
});

test("a messageId counts once, and an event that names nobody does not count", () => {
  const one = track("Hello", 10);
  const { counts, profiles } = compute([one, one, { ...one, messageId: "x", anonymousId: "" }], { now: NOW });
  assert.deepEqual(counts, { events: 1, duplicates: 1, rejected: 1 });
  assert.equal(profiles[0].eventCount, 1);
});

test("events that share an identifier in any chain are one profile", () => {
  const { profiles } = compute(
    [
      event("page", 30, { anonymousId: "a1" }),
      identify(20, { email: "j@x.org" }, { anonymousId: "a1" }),
      identify(10, { email: "J@x.org", loyalty_id: "L1" }, { anonymousId: undefined }),
      event("page", 5, { anonymousId: "a2" }),
    ],
    { now: NOW },
  );
  assert.deepEqual(profiles.map((profile) => profile.eventCount).sort(), [1, 3]);
  const jane = profiles.find((profile) => profile.eventCount === 3);
  assert.deepEqual([jane.createdAt, jane.lastSeenAt, jane.known], [ago(30), ago(10), true]);
});

test("the trait written last by event time wins, whatever the order of arrival", () => {
  const events = [
    identify(30, { city: "Lyon" }),
    identify(10, { city: "Lille" }),
    identify(20, { city: "Nantes" }),
  ];
  for (const order of [events, [...events].reverse()]) {
    assert.equal(compute(order, { now: NOW }).profiles[0].traits.city, "Lille");
  }
});

test("of two traits of the same instant the one with the greater messageId wins, in byte order", () => {
  const events = [
    identify(10, { city: "Lyon" }, { messageId: "b" }),
    identify(10, { city: "Lille" }, { messageId: "Z" }),
  ];
  assert.equal(compute(events, { now: NOW }).profiles[0].traits.city, "Lyon");
});

test("a null deletes a trait until a later event sets it again", () => {
  const events = [identify(30, { a: 1, b: 1 }), identify(20, { a: null, b: null }), identify(10, { a: 2 })];
  assert.deepEqual(compute(events, { now: NOW }).profiles[0].traits, { a: 2 });
});

test("the consent given or taken back last by event time holds", () => {
  const consent = (marketing) => ({ context: { consent: { categoryPreferences: { marketing } } } });
  const events = [event("page", 10, consent(false)), event("page", 20, consent(true))];
  assert.equal(holds({ consent: "marketing" }, events), false);
  assert.equal(holds({ consent: "marketing" }, [...events, event("page", 5, consent(true))]), true);
});

test("two user ids in one profile are reported as a conflict", () => {
  const events = [event("page", 1, { userId: "u1" }), event("page", 2, { userId: "u2" })];
  assert.equal(compute(events, { now: NOW }).conflicts.length, 1);
});

const person = () => [
  identify(9 * HOUR, {
    plan: "Pro",
    age: 40,
    vip: true,
    address: { city: "Lyon" },
    born: "2000-01-01T00:00:00Z",
    name: "Zoe\u0308",
  }),
  track("Product Viewed", HOUR, { price: 10 }),
  track("Product Viewed", HOUR - 1, { price: 20, sale: true }),
  track("Order Completed", 60, { total: 30, channel: "store" }),
  event("page", 30, { name: "Home", properties: { path: "/" } }),
];

// Each row is a condition and whether it holds for the person above.
const CONDITIONS = [
  [{ trait: "plan", eq: "Pro" }, true],
  [{ trait: "plan", eq: "pro" }, false],
  [{ trait: "plan", ne: "pro" }, true],
  [{ trait: "plan", ne: 1 }, false],
  [{ trait: "missing", ne: "x" }, false],
  [{ trait: "missing", exists: false }, true],
  [{ trait: "age", gte: 40 }, true],
  [{ trait: "age", gt: 40 }, false],
  [{ trait: "age", eq: "40" }, false],
  [{ trait: "age", in: [1, 40] }, true],
  [{ trait: "age", not_in: [1, 2] }, true],
  [{ trait: "age", not_in: ["40"] }, false],
  [{ trait: "vip", eq: true }, true],
  [{ trait: "address.city", starts_with: "Ly" }, true],
  [{ trait: "plan", contains: "ro" }, true],
  [{ trait: "born", eq: "2000-01-01T01:00:00+01:00" }, true],
  [{ trait: "born", lt: "2000-01-01T00:00:00.001Z" }, true],
  [{ trait: "name", eq: "Zo\u00eb" }, true],
  [{ event: "Product Viewed" }, true],
  [{ event: "Product Viewed", within: "1h", count: { eq: 1 } }, true],
  [{ event: "Product Viewed", count: { gte: 2 } }, true],
  [{ event: "Product Viewed", where: [{ property: "sale", eq: true }], count: { gte: 2 } }, false],
  [{ event: "Never", count: { eq: 0 } }, true],
  [{ event: "Never", count: { lt: 1 } }, true],
  [{ event: "Never", count: { gte: 1 } }, false],
  [{ type: "page", where: [{ property: "name", eq: "Home" }] }, true],
  [{ type: "identify" }, true],
  [{ type: "screen" }, false],
  [{ event: "Product Viewed", sum: "price", eq: 30 }, true],
  [{ event: "Product Viewed", average: "price", eq: 15 }, true],
  [{ event: "Product Viewed", min: "price", gte: 10 }, true],
  [{ event: "Product Viewed", max: "price", gt: 20 }, false],
  [{ event: "Never", sum: "price", eq: 0 }, true],
  [{ event: "Never", max: "price", lt: 100 }, false],
  [{ event: "Product Viewed", max: "sale", exists: true }, false],
  [{ sequence: [{ event: "Product Viewed" }, { event: "Order Completed" }] }, true],
  [{ sequence: [{ event: "Order Completed" }, { event: "Product Viewed" }] }, false],
  [{ sequence: [{ event: "Product Viewed" }, { event: "Product Viewed" }] }, true],
  [{ sequence: [{ event: "Product Viewed" }, { event: "Product Viewed" }], within: "1h" }, false],
  [{ sequence: [{ event: "Product Viewed" }, { event: "Order Completed" }], span: "58m" }, false],
  [{ sequence: [{ event: "Product Viewed" }, { event: "Order Completed" }], span: "59m" }, true],
  [{ sequence: [{ event: "Product Viewed" }, { not: { event: "Order Completed" }, for: "30m" }] }, true],
  [{ sequence: [{ event: "Product Viewed" }, { not: { event: "Order Completed" }, for: "59m" }] }, false],
  [{ sequence: [{ event: "Order Completed" }, { not: { event: "Order Completed" }, for: "1m" }] }, true],
  [{ sequence: [{ event: "Order Completed" }, { not: { event: "Order Completed" }, for: "2m" }] }, false],
  [{ known: true }, false],
  [{ identifier: "anonymous_id", exists: true }, true],
  [{ identifier: "email", exists: false }, true],
  [{ all: [{ known: false }, { not: { known: true } }] }, true],
  [{ any: [{ known: true }, { event: "Never" }] }, false],
  [{ segment: "buyers" }, true],
];

for (const [where, expected] of CONDITIONS) {
  test(`${JSON.stringify(where)} is ${expected}`, () => {
    assert.equal(holds(where, person(), { buyers: { where: { event: "Order Completed" } } }), expected);
  });
}

// What hub/segment/catalog_test.c asks of the hub's own evaluation.
const ORDER = JSON.parse('{"tags":["a","b"],"empty":[],"nulls":[null],"mixed":[1,"a",null,true],"products":[{"id":"A","price":10,"tags":["x"]},{"id":"B","price":"20","tags":["y","z"]},{"price":null}],"one":{"list":[{"n":1}]},"odd.name":1,"odd[]":"own","grid":[[1,2],[3]]}');
const ELEMENTS = [
  [[{"property":"products[].id","eq":"A"}], true],
  [[{"property":"products[].id","eq":"C"}], false],
  [[{"property":"products[].id","in":["C","B"]}], true],
  [[{"property":"products[].id","ne":"A"}], false],
  [[{"property":"products[].id","ne":"C"}], true],
  [[{"property":"products[].id","ne":1}], false],
  [[{"property":"products[].id","not_in":["A","C"]}], false],
  [[{"property":"products[].id","not_in":["C","D"]}], true],
  [[{"property":"products[].id","not_in":[1]}], false],
  [[{"property":"products[].price","gte":10}], true],
  [[{"property":"products[].price","gt":10}], false],
  [[{"property":"products[].price","eq":"20"}], true],
  [[{"property":"products[].missing","exists":false}], true],
  [[{"property":"products[].id","exists":false}], false],
  [[{"property":"products[].id","exists":true}], true],
  [[{"property":"products[].id","starts_with":"B"}], true],
  [[{"property":"products[].tags[]","eq":"z"}], true],
  [[{"property":"products[].tags[]","contains":"y"}], true],
  [[{"property":"products[].tags","exists":true}], true],
  [[{"property":"products[].tags","contains":"x"}], false],
  [[{"property":"products.id","exists":false}], true],
  [[{"property":"products","exists":true}], true],
  [[{"property":"products","eq":"A"}], false],
  [[{"property":"products[]","exists":true}], true],
  [[{"property":"tags","contains":"a"}], false],
  [[{"property":"tags[]","eq":"a"}], true],
  [[{"property":"empty[]","exists":false}], true],
  [[{"property":"empty[]","ne":"a"}], false],
  [[{"property":"nulls[]","exists":false}], true],
  [[{"property":"mixed[]","eq":true}], true],
  [[{"property":"mixed[]","ne":"b"}], true],
  [[{"property":"mixed[]","ne":2}], true],
  [[{"property":"mixed[]","ne":1}], false],
  [[{"property":"one[]","exists":false}], true],
  [[{"property":"one.list[].n","eq":1}], true],
  [[{"property":"odd.name","eq":1}], true],
  [[{"property":"odd[]","eq":"own"}], true],
  [[{"property":"grid[][]","eq":3}], true],
  [[{"property":"grid[]","eq":3}], false],
  [[{"property":"products[]id","exists":false}], true],
  [[{"property":"products[].id","eq":"A"},{"property":"products[].price","eq":"20"}], true],
  [[{"property":"products[]","where":[{"property":"id","eq":"A"},{"property":"price","eq":"20"}]}], false],
  [[{"property":"products[]","where":[{"property":"id","eq":"A"},{"property":"price","lt":11}]}], true],
  [[{"property":"products[]","where":[{"property":"id","exists":false}]}], true],
  [[{"property":"products[]","where":[{"property":"tags[]","eq":"z"},{"property":"id","eq":"B"}]}], true],
  [[{"property":"products[]","where":[{"property":"tags[]","eq":"z"},{"property":"id","eq":"A"}]}], false],
  [[{"property":"empty[]","where":[{"property":"id","exists":false}]}], false],
  [[{"property":"one.list[]","where":[{"property":"n","gt":0}]}], true],
];

for (const [where, expected] of ELEMENTS) {
  test(`of the elements of an order ${JSON.stringify(where)} is ${expected}`, () => {
    assert.equal(holds({ event: "E", where }, [track("E", 1, ORDER)]), expected);
  });
}

test("segments that use each other in a circle are refused by name", () => {
  const segments = { a: { where: { segment: "b" } }, b: { where: { segment: "a" } } };
  assert.throws(() => compute(person(), { now: NOW, segments }), /a → b → a/);
});

test("a window leaves out its far end and takes in now", () => {
  const where = { event: "X", within: "1h" };
  assert.equal(holds(where, [track("X", HOUR)]), false);
  assert.equal(holds(where, [track("X", HOUR - 0.001)]), true);
  assert.equal(holds(where, [track("X", 0)]), true);
});

test("the order of arrival does not change a generated week", () => {
  const { web, store } = generateTraffic({ seed: 7, visitors: 60, end: NOW });
  const events = [...web, ...store];
  const segments = { viewers: { where: { event: "Product Viewed", within: "1d", count: { gte: 3 } } } };
  const view = (list) =>
    compute(list, { now: NOW, segments })
      .profiles.map(
        ({ identifiers, traits, consents, eventCount, createdAt, lastSeenAt, segments: keys }) => ({
          identifiers: [...identifiers].sort(),
          traits,
          consents,
          eventCount,
          createdAt,
          lastSeenAt,
          keys,
        }),
      )
      .sort((a, b) => (a.identifiers[0] < b.identifiers[0] ? -1 : 1));
  assert.deepEqual(view(new Random(1).shuffle(events)), view(events));
});
