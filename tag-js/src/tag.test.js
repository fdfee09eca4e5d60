import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { VERSION } from "./context.js";
import { createFakeWindow, respond } from "./fake-window.js";
import { install } from "./install.js";
import { createTag } from "./tag.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function start({ requireConsent = false, ...options } = {}) {
  const fake = createFakeWindow(options);
  fake.tag = createTag(fake.window, { host: "https://c.example", writeKey: "KEY", requireConsent });
  return fake;
}

test("the version is that of package.json", () => {
  const file = readFileSync(new URL("../package.json", import.meta.url));
  assert.equal(VERSION, JSON.parse(file).version);
});

test("an event carries identity, page, browser and campaign in Segment's shape", async () => {
  const url = "https://shop.example/a?utm_source=mail&utm_campaign=spring";
  const { tag, collector, advance } = start({ url });
  const taken = tag.track("Product Viewed", { sku: "SKU-1" });
  await advance(10);

  const [event] = collector.events();
  assert.match(event.messageId, UUID);
  assert.match(event.anonymousId, UUID);
  assert.deepEqual(event, {
    type: "track",
    event: "Product Viewed",
    properties: { sku: "SKU-1" },
    messageId: event.messageId,
    anonymousId: tag.user().anonymousId,
    timestamp: "2026-01-01T00:00:00.000Z",
    context: {
      page: {
        url,
        path: "/a",
        title: "A page",
        referrer: "",
        search: "?utm_source=mail&utm_campaign=spring",
      },
      userAgent: "fake",
      locale: "fr-FR",
      library: { name: "tributary.js", version: VERSION },
      campaign: { source: "mail", name: "spring" },
    },
  });
  assert.equal((await taken).messageId, event.messageId);
});

test("page() takes a name, a category and a name, properties, or nothing", async () => {
  const { tag, collector, advance } = start();
  tag.page();
  tag.page("Home");
  tag.page("Home", undefined);
  tag.page("Shop", "Home", { a: 1 });
  tag.page({ a: 1 });
  await advance(10);
  const seen = collector.events().map(({ category, name, properties }) => [category, name, properties.a]);
  assert.deepEqual(seen, [
    [undefined, undefined, undefined],
    [undefined, "Home", undefined],
    [undefined, "Home", undefined],
    ["Shop", "Home", 1],
    [undefined, undefined, 1],
  ]);
  assert.equal(collector.events()[0].properties.path, "/a");
});

test("identify() is remembered and its user id is in every later event, of later pages too", async () => {
  const before = start();
  before.tag.identify({ email: "jane@example.com" });
  before.tag.identify(7, { plan: "gold" });
  before.tag.identify(null);
  before.tag.group("g1", { size: 3 });
  await before.advance(10);
  const [first, second, third, group] = before.collector.events();
  assert.deepEqual([first.userId, first.traits], [undefined, { email: "jane@example.com" }]);
  assert.deepEqual([second.userId, second.traits], ["7", { plan: "gold" }]);
  assert.deepEqual([third.userId, third.traits], ["7", {}]);
  assert.deepEqual([group.userId, group.groupId, group.traits], ["7", "g1", { size: 3 }]);

  const after = start({ disk: before.disk });
  assert.deepEqual(after.tag.user(), {
    anonymousId: first.anonymousId,
    userId: "7",
    traits: { email: "jane@example.com", plan: "gold" },
  });
});

test("alias() links the user so far, or the anonymous id, to a new user id", async () => {
  const { tag, collector, advance } = start();
  tag.alias("new");
  tag.alias("new", "old");
  await advance(10);
  const [first, second] = collector.events();
  assert.deepEqual([first.userId, first.previousId], ["new", first.anonymousId]);
  assert.deepEqual([second.userId, second.previousId], ["new", "old"]);
});

test("the cookie's anonymous id goes before the stored one and survives its loss", () => {
  const disk = { trb_aid: "stored" };
  assert.equal(start({ disk }).tag.user().anonymousId, "stored");
  assert.equal(start({ disk, cookie: "a=b; trb_aid=given; c=d" }).tag.user().anonymousId, "given");
  assert.equal(disk.trb_aid, "given");
});

test("reset() makes a new visitor, which the old cookie does not undo", () => {
  const { tag, disk, window } = start({ cookie: "trb_aid=given" });
  tag.identify("u1", { plan: "gold" });
  tag.reset();
  const { anonymousId, userId, traits } = tag.user();
  assert.match(anonymousId, UUID);
  assert.deepEqual([userId, traits], [undefined, {}]);
  assert.equal(start({ disk, cookie: "trb_aid=given" }).tag.user().anonymousId, anonymousId);
  window.document.cookie = "trb_aid=" + anonymousId;
  assert.equal(tag.user().anonymousId, anonymousId);
});

test("another user in the same browser gets another anonymous id", async () => {
  const { tag, collector, advance } = start();
  tag.identify("u1", { plan: "gold" });
  tag.identify("u2");
  await advance(10);
  const [first, second] = collector.events();
  assert.notEqual(first.anonymousId, second.anonymousId);
  assert.deepEqual(tag.user().traits, {});
});

test("on a plain http page without crypto.randomUUID ids are still version 4 UUIDs", () => {
  const fake = createFakeWindow();
  fake.window.crypto = { getRandomValues: (bytes) => webcrypto.getRandomValues(bytes) };
  const tag = createTag(fake.window, { host: "http://c.example", writeKey: "KEY" });
  assert.match(tag.user().anonymousId, UUID);
});

test("where the browser refuses localStorage the tag works in memory", async () => {
  const fake = createFakeWindow();
  Object.defineProperty(fake.window, "localStorage", {
    get() {
      throw new Error("SecurityError");
    },
  });
  const tag = createTag(fake.window, { host: "https://c.example", writeKey: "KEY" });
  tag.identify("u1");
  tag.track("A");
  await fake.advance(10);
  assert.deepEqual(fake.collector.events().map(({ userId }) => userId), ["u1", "u1"]);
  assert.equal(new Set(fake.collector.events().map(({ anonymousId }) => anonymousId)).size, 1);
});

test("before a required decision nothing is stored or sent; then all of it, with the decision", async () => {
  const { tag, collector, advance, disk } = start({ requireConsent: true, cookie: "trb_aid=given" });
  const properties = { n: 1 };
  const taken = tag.track("A", properties);
  tag.identify("u1", { plan: "gold" });
  tag.segments(() => {});
  properties.n = 2;
  await advance(1000);
  assert.deepEqual([disk, collector.batches, collector.asked], [{}, [], []]);

  tag.consent({ analytics: true, marketing: false });
  await advance(10);
  const [first, second, told] = collector.events();
  assert.deepEqual(first.context.consent, { categoryPreferences: { analytics: true, marketing: false } });
  assert.deepEqual([first.anonymousId, first.timestamp, first.properties], ["given", "2026-01-01T00:00:00.000Z", { n: 1 }]);
  assert.equal(second.userId, "u1");
  assert.equal(told.event, "Segment Consent Preference Updated");
  assert.equal((await taken).event, "A");
  assert.equal(JSON.parse(disk.trb_consent).at, "2026-01-01T00:00:01.000Z");
  assert.equal(disk.trb_user, "u1");
});

test("a visitor who refuses leaves nothing but the refusal", async () => {
  const { tag, collector, advance, disk } = start({ requireConsent: true });
  const refused = [tag.track("A")];
  tag.consent({ analytics: false, marketing: false });
  refused.push(tag.track("B"));
  await advance(1000);
  for (const promise of refused) await assert.rejects(promise, /consent/);
  assert.deepEqual(Object.keys(disk), ["trb_consent"]);
  assert.deepEqual(collector.batches, []);
});

test("a withdrawal is told to the collector and removes what was stored", async () => {
  const { tag, collector, advance, disk } = start({ requireConsent: true });
  tag.consent({ analytics: true });
  tag.identify("u1");
  await advance(10);
  tag.consent({ analytics: false });
  tag.track("B");
  await advance(1000);
  const last = collector.events().pop();
  assert.equal(last.event, "Segment Consent Preference Updated");
  assert.deepEqual(last.context.consent.categoryPreferences, { analytics: false });
  assert.deepEqual(Object.keys(disk), ["trb_consent"]);
});

test("a decision is remembered on later pages and repeating it sends nothing", async () => {
  const { disk } = start();
  disk.trb_consent = JSON.stringify({ preferences: { analytics: true } });
  const { tag, collector, advance, window } = start({ disk, requireConsent: true });
  window.navigator.globalPrivacyControl = true;
  tag.consent({ analytics: true });
  tag.track("A");
  await advance(10);
  const [event, ...others] = collector.events();
  assert.deepEqual(event.context.consent, { categoryPreferences: { analytics: true }, gpc: true });
  assert.deepEqual(others, []);
});

test("people who log out before deciding are not mixed up afterwards", async () => {
  const { tag, collector, advance } = start({ requireConsent: true });
  tag.identify("u1");
  tag.identify("u2");
  tag.consent({ analytics: true });
  await advance(10);
  const [first, second, told] = collector.events();
  assert.notEqual(first.anonymousId, second.anonymousId);
  assert.equal(second.anonymousId, told.anonymousId);
});

test("what cannot be sent rejects quietly", async () => {
  const { tag, collector, advance } = start();
  const loop = {};
  loop.loop = loop;
  await assert.rejects(tag.track("A", loop));
  collector.answers = [respond(401, { error: { code: "unknown-key", message: "No." } })];
  tag.track("B"); // the test runner would report an unhandled rejection
  await advance(10);
});

test("a hidden page and a page that is left flush by beacon", () => {
  for (const name of ["pagehide", "visibilitychange"]) {
    const { tag, collector, handlers, window } = start();
    tag.track("A");
    if (name === "visibilitychange") handlers[name]();
    assert.equal(collector.beacons.length, 0);
    window.document.visibilityState = "hidden";
    handlers[name]();
    assert.equal(collector.beacons.length, 1);
  }
});

test("calls made before loading are replayed in order, and old references stay good", async () => {
  const fake = createFakeWindow();
  const early = (fake.window.tributary = [["track", "A", { a: 1 }], ["nonsense"]]);
  early.push(["identify", "u1"]);
  let created = 0;
  const create = () => {
    created++;
    return createTag(fake.window, { host: "https://c.example", writeKey: "KEY" });
  };
  install(fake.window, create);
  install(fake.window, create);
  early.push(["track", "B"]);
  fake.window.tributary.track("C");
  await fake.advance(10);
  assert.equal(created, 1);
  assert.deepEqual(fake.collector.events().map(({ event, type }) => event || type), ["A", "identify", "B", "C"]);
});
