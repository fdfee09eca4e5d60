import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Script } from "node:vm";
import { parse } from "acorn";
import { plain, respond, startTag } from "./fake-window.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const file = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const { version } = JSON.parse(file("../package.json"));

test("the tag is a script of ES2018 with import(), its second file a module of the same age", () => {
  const script = file("../dist/t.js");
  parse(script, { ecmaVersion: 2020, sourceType: "script" });
  assert.equal(script.match(/\bimport\(/g).length, 1);
  parse(script.replace("import(", "load("), { ecmaVersion: 2018, sourceType: "script" });
  parse(file("../dist/t.more.js"), { ecmaVersion: 2018, sourceType: "module" });
});

test("an event carries identity, page, browser and campaign in Segment's shape", async () => {
  const url = "https://shop.example/a?utm_source=mail&utm_campaign=spring&gclid=x1";
  const { tag, collector, advance } = startTag({ url });
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
      page: { url, path: "/a", title: "A page", referrer: "", search: new URL(url).search },
      userAgent: "fake",
      locale: "fr-FR",
      library: { name: "tributary.js", version },
      campaign: { source: "mail", name: "spring", gclid: "x1" },
      consent: {},
    },
  });
  assert.equal((await taken).messageId, event.messageId);
});

test("page() takes a name, a category and a name, properties, or nothing", async () => {
  const { tag, collector, advance } = startTag();
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

test("calls take options and a callback, as analytics.js does", async () => {
  const { tag, collector, advance } = startTag();
  const told = [];
  tag.track("A", { a: 1 }, { timestamp: "2025-01-01T00:00:00Z", context: { ip: "192.0.2.1" } }, ({ event }) => told.push(event));
  tag.track("B", ({ event }) => told.push(event));
  await advance(10);
  const [event] = collector.events();
  assert.equal(event.timestamp, "2025-01-01T00:00:00Z");
  assert.equal(event.context.ip, "192.0.2.1");
  assert.equal(event.context.locale, "fr-FR");
  assert.deepEqual(event.properties, { a: 1 });
  assert.deepEqual(told, ["A", "B"]);
});

test("identify() is remembered and its user id is in every later event, of later pages too", async () => {
  const before = startTag();
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

  const after = startTag({ disk: before.disk });
  assert.deepEqual(plain(after.tag.user()), {
    anonymousId: first.anonymousId,
    userId: "7",
    traits: { email: "jane@example.com", plan: "gold" },
  });
});

test("alias() links the user so far, or the anonymous id, to a new user id", async () => {
  const { tag, collector, advance } = startTag();
  tag.alias("new");
  tag.alias("new", "old");
  await advance(10);
  const [first, second] = collector.events();
  assert.deepEqual([first.userId, first.previousId], ["new", first.anonymousId]);
  assert.deepEqual([second.userId, second.previousId], ["new", "old"]);
});

test("the cookie's anonymous id goes before the stored one and survives its loss", () => {
  const disk = { trb_aid: '"stored"' };
  assert.equal(startTag({ disk }).tag.user().anonymousId, "stored");
  assert.equal(startTag({ disk, cookie: "a=b; trb_aid=given; c=d" }).tag.user().anonymousId, "given");
  assert.equal(disk.trb_aid, '"given"');
});

test("reset() makes a new visitor, which the old cookie does not undo", () => {
  const { tag, disk, window } = startTag({ cookie: "trb_aid=given" });
  tag.identify("u1", { plan: "gold" });
  tag.reset();
  const { anonymousId, userId, traits } = plain(tag.user());
  assert.match(anonymousId, UUID);
  assert.deepEqual([userId, traits], [undefined, {}]);
  assert.equal(startTag({ disk, cookie: "trb_aid=given" }).tag.user().anonymousId, anonymousId);
  window.document.cookie = "trb_aid=" + anonymousId;
  assert.equal(tag.user().anonymousId, anonymousId);
});

test("another user in the same browser gets another anonymous id", async () => {
  const { tag, collector, advance } = startTag();
  tag.identify("u1", { plan: "gold" });
  tag.identify("u2");
  await advance(10);
  const [first, second] = collector.events();
  assert.notEqual(first.anonymousId, second.anonymousId);
  assert.deepEqual(plain(tag.user().traits), {});
});

test("where the browser refuses localStorage the tag works in memory", async () => {
  const refuse = (window) =>
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new Error("SecurityError");
      },
    });
  const { tag, collector, advance } = startTag({ change: refuse });
  tag.identify("u1");
  tag.track("A");
  await advance(10);
  assert.deepEqual(collector.events().map(({ userId }) => userId), ["u1", "u1"]);
  assert.equal(new Set(collector.events().map(({ anonymousId }) => anonymousId)).size, 1);
});

test("before a required decision nothing is stored or sent; then all of it, with the decision", async () => {
  const { tag, collector, advance, disk } = startTag({ data: { requireConsent: "" }, cookie: "trb_aid=given" });
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
  assert.deepEqual(first.context.consent, {
    categoryPreferences: { analytics: true, marketing: false },
    at: "2026-01-01T00:00:01.000Z",
  });
  assert.deepEqual([first.anonymousId, first.timestamp, first.properties], ["given", "2026-01-01T00:00:00.000Z", { n: 1 }]);
  assert.equal(second.userId, "u1");
  assert.equal(told.event, "Segment Consent Preference Updated");
  assert.equal((await taken).event, "A");
  assert.equal(disk.trb_user, '"u1"');
});

test("data-require-consent may name the category that must be granted", async () => {
  const { tag, collector, advance } = startTag({ data: { requireConsent: "statistics" } });
  tag.track("A");
  tag.consent({ analytics: true, statistics: false });
  await advance(10);
  assert.deepEqual(collector.batches, []);
  tag.consent({ analytics: false, statistics: true });
  tag.track("B");
  await advance(10);
  assert.deepEqual(collector.events().map(({ event }) => event), ["Segment Consent Preference Updated", "B"]);
});

test("a visitor who refuses leaves nothing but the refusal", async () => {
  const { tag, collector, advance, disk } = startTag({ data: { requireConsent: "" } });
  const refused = [tag.track("A")];
  tag.consent({ analytics: false, marketing: false });
  refused.push(tag.track("B"));
  tag.identify("u1");
  await advance(1000);
  for (const promise of refused) await assert.rejects(promise, /consent/);
  assert.deepEqual(Object.keys(disk), ["trb_consent"]);
  assert.deepEqual(collector.batches, []);
});

test("a withdrawal is told to the collector and removes what was stored", async () => {
  for (const data of [{ requireConsent: "" }, {}]) {
    const { tag, collector, advance, disk } = startTag({ data });
    tag.consent({ analytics: true });
    tag.identify("u1");
    await advance(10);
    const { anonymousId } = tag.user();
    tag.track("never sent");
    tag.consent({ analytics: false });
    assert.deepEqual(Object.keys(disk), ["trb_consent"]);
    tag.track("B");
    tag.identify("u2");
    await advance(1000);
    const last = collector.events().pop();
    assert.equal(last.event, "Segment Consent Preference Updated");
    assert.equal(last.anonymousId, anonymousId);
    assert.deepEqual(last.context.consent.categoryPreferences, { analytics: false });
    assert.equal(collector.events().length, 3);
    assert.deepEqual(Object.keys(disk), ["trb_consent"]);
    assert.deepEqual(plain(tag.user().traits), {});
  }
});

test("a withdrawal in one tab binds the others", async () => {
  const disk = {};
  const here = startTag({ disk, data: { requireConsent: "" } });
  here.tag.consent({ analytics: true });
  await here.advance(10);
  const other = startTag({ disk, data: { requireConsent: "", auto: "live" } });
  await other.advance(10);
  here.tag.consent({ analytics: false });
  await here.advance(10);
  other.tag.identify("u2", { plan: "gold" });
  other.tag.user();
  const asked = other.collector.asked.length;
  await other.advance(60000);
  assert.deepEqual(Object.keys(disk), ["trb_consent"]);
  assert.deepEqual(other.collector.batches, []);
  assert.equal(other.collector.asked.length, asked);
});

test("a decision is remembered on later pages and repeating it sends nothing", async () => {
  const disk = { trb_consent: JSON.stringify({ categoryPreferences: { analytics: true }, at: "2025-12-31T00:00:00.000Z" }) };
  const { tag, collector, advance } = startTag({ disk, data: { requireConsent: "" } });
  tag.consent({ analytics: true });
  tag.track("A");
  await advance(10);
  const [event, ...others] = collector.events();
  assert.deepEqual(event.context.consent, { categoryPreferences: { analytics: true }, at: "2025-12-31T00:00:00.000Z" });
  assert.deepEqual(others, []);
});

test("Global Privacy Control denies marketing and is told", async () => {
  const change = ({ navigator }) => (navigator.globalPrivacyControl = true);
  const { tag, collector, advance } = startTag({ data: { requireConsent: "" }, change });
  tag.consent({ analytics: true, marketing: true });
  tag.track("A");
  await advance(10);
  for (const { context } of collector.events()) {
    assert.equal(context.consent.gpc, true);
    assert.deepEqual(context.consent.categoryPreferences, { analytics: true, marketing: false });
  }
});

test("in anonymous mode nothing is stored and no cookie is sent or read", async () => {
  const { tag, collector, advance, disk, happen } = startTag({ data: { auto: "anonymous" }, cookie: "trb_aid=given" });
  tag.consent({ analytics: true });
  tag.identify("u1", { plan: "gold" });
  await advance(10);
  tag.track("last");
  happen("pagehide");
  assert.deepEqual(disk, {});
  assert.notEqual(collector.events()[0].anonymousId, "given");
  assert.ok(collector.posts.every(({ credentials }) => credentials === "omit"));
  assert.equal(collector.events().pop().event, "last");
  assert.deepEqual(collector.beacons, []);
});

test("people who log out before deciding are not mixed up afterwards", async () => {
  const { tag, collector, advance } = startTag({ data: { requireConsent: "" } });
  tag.identify("u1");
  tag.identify("u2");
  tag.consent({ analytics: true });
  await advance(10);
  const [first, second, told] = collector.events();
  assert.notEqual(first.anonymousId, second.anonymousId);
  assert.equal(second.anonymousId, told.anonymousId);
});

test("what cannot be sent rejects quietly, and nonsense does not throw", async () => {
  const { tag, collector, advance } = startTag();
  const hostile = { get loop() { throw new Error("the page's own"); } };
  await assert.rejects(tag.track("A", hostile), /the page's own/);
  for (const name of Object.keys(tag)) tag[name]();
  tag.push(["nonsense"]);
  await advance(10);
  collector.answers = [respond(401, { error: { code: "unknown-write-key", message: "No." } })];
  tag.track("B"); // the test runner would report an unhandled rejection
  await advance(10);
});

test("circles and nodes of the page are left out, a BigInt is a number where it can be one", async () => {
  const { tag, collector, advance } = startTag();
  const loop = { n: 1, twice: [{ a: 1 }] };
  loop.loop = loop;
  loop.again = loop.twice;
  loop.twice.push(loop.twice);
  loop.node = { nodeType: 1, large: 1 };
  loop.map = new Map();
  tag.track("A", loop);
  tag.track("B", { small: 12n, large: 2n ** 70n, date: new Date(0) });
  tag.identify("u1", loop);
  await advance(10);
  const [first, second, third] = collector.events();
  const whole = { n: 1, twice: [{ a: 1 }, null], again: [{ a: 1 }, null], map: {} };
  assert.deepEqual(first.properties, whole);
  assert.deepEqual(second.properties, { small: 12, large: String(2n ** 70n), date: "1970-01-01T00:00:00.000Z" });
  assert.deepEqual(third.traits, whole);
});

test("toJSON() and methods that an old library gives to all arrays and objects change nothing", async () => {
  const change = (window) => {
    window.addLibrary = new Script(`
      Array.prototype.toJSON = function () { return "[" + this.join(", ") + "]"; };
      Date.prototype.toJSON = function () { return '"' + this + '"'; };
      Object.prototype.toJSON = function () { return "{}"; };
      Object.prototype.each = function (run) { for (var key in this) run(this[key]); };
      Array.prototype.entries = Array.prototype.toArray = function () { return this; };`);
  };
  const { window, tag, collector, advance } = startTag({ data: { auto: "page spa links forms engagement datalayer gcm" }, change });
  window.addLibrary.runInContext(window);
  await advance(10);
  const at = new window.Date("1970-01-01T00:00:00.000Z");
  const taken = window.tributary.track("A", { products: [{ id: "a" }], at, never: new window.Date(NaN) });
  window.dataLayer.push({ event: "purchase", ecommerce: { transaction_id: "T1", items: [{ item_id: "P1" }] } });
  await advance(1000);
  await taken;
  assert.equal(typeof tag.each, "function", "the library is there");
  const [page, event, order] = collector.events();
  assert.equal(page.type, "page");
  assert.deepEqual(event.properties, { products: [{ id: "a" }], at: "1970-01-01T00:00:00.000Z", never: null });
  assert.deepEqual(order.properties, { order_id: "T1", products: [{ product_id: "P1" }] });
});

test("on() hears calls with what they were given", async () => {
  const { tag, advance } = startTag();
  const heard = [];
  const end = tag.on("track", (...args) => heard.push(plain(args)));
  tag.track("A", { a: 1 });
  await advance(10);
  end();
  tag.track("B");
  await advance(10);
  assert.deepEqual(heard, [["A", { a: 1 }]]);
});

test("calls made before loading are replayed in order, and old references stay good", async () => {
  const early = [["track", "A", { a: 1 }], ["nonsense"]];
  early.push(["identify", "u1"]);
  const { window, collector, advance, run } = startTag({ early });
  run();
  early.push(["track", "B"]);
  window.tributary.track("C");
  await advance(10);
  assert.deepEqual(collector.events().map(({ event, type }) => event || type), ["A", "identify", "B", "C"]);
});

test("what Segment's snippet adds to a call about the page is left out, and what the tag does not have does nothing", async () => {
  const early = [["ready", Object]];
  let pushes = 0;
  early.debug = () => window.tributary.push(["debug", pushes++]);
  early.push(["track", "A", { a: 1 }, { __t: "bpc", u: "https://shop.example/" }], ["page", { __t: "bpc", t: "Shop" }]);
  const { window, collector, advance, run } = startTag({ early });
  run();
  window.tributary.debug();
  await advance(10);
  const [track, page] = collector.events();
  assert.deepEqual(plain(track.properties), { a: 1 });
  assert.ok(!("u" in track) && !("__t" in track));
  assert.ok(!("t" in page.properties));
  assert.equal(pushes, 1);
});

test("segments of the last visit are there at once with their age, fresh ones come with an event's answer", async () => {
  const first = startTag();
  first.collector.segments = ["vip"];
  first.tag.track("A");
  await first.advance(10);

  const { tag, collector, advance } = startTag({ disk: first.disk });
  const seen = [];
  const heard = [];
  tag.segments((keys, age) => seen.push([plain(keys), age >= 0]));
  tag.onSegment("vip", () => heard.push("in"), () => heard.push("out"));
  assert.deepEqual(seen, [[["vip"], true]]);
  collector.segments = ["vip", "new"];
  tag.track("B");
  await advance(20);
  collector.segments = ["new"];
  tag.track("C");
  await advance(20);
  assert.deepEqual(seen.map(([keys]) => keys), [["vip"], ["vip", "new"], ["new"]]);
  assert.deepEqual(heard, ["in", "out"]);
  assert.deepEqual(collector.asked, [], "no request but the events'");
});

test("a page is told what is new to it, though another tab has stored it before", async () => {
  const { disk, tag, collector, advance } = startTag();
  const seen = [];
  tag.segments((keys) => seen.push(plain(keys)));
  collector.segments = [];
  tag.track("A");
  await advance(20);
  disk.trb_segments = JSON.stringify({ anonymousId: tag.user().anonymousId, segments: ["vip"], at: 1 });
  collector.segments = ["vip"];
  tag.track("B");
  await advance(20);
  assert.deepEqual(seen, [[], ["vip"]]);
});

test("an answer about somebody else says nothing, and reset() forgets the segments", async () => {
  const { tag, collector, advance } = startTag();
  const seen = [];
  tag.segments((keys) => seen.push(plain(keys)));
  collector.answers = [respond(200, { success: true, me: { anonymousId: "else", segments: ["vip"] } })];
  tag.track("A");
  await advance(10);
  assert.deepEqual(seen, []);
  collector.segments = ["vip"];
  tag.track("B");
  await advance(20);
  tag.reset();
  await advance(20);
  assert.deepEqual(seen, [["vip"], []]);
});

test("one rule shows and hides elements, and is stored for the next page's first paint", async () => {
  const rules = [];
  const sheet = { replaceSync: (css) => rules.push(css) };
  const early = Object.assign([], { sheet });
  const { tag, collector, advance, disk } = startTag({ early });
  collector.segments = ["vip"];
  tag.track("A");
  await advance(10);
  assert.deepEqual(rules, [
    '[data-segment]:not([data-segment^="!"],[data-segment="vip"]),[data-segment="!vip"]{display:none!important}',
  ]);
  assert.equal(JSON.parse(disk.trb_css), rules[0]);
});
