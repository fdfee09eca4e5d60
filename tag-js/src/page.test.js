// The tag on pages as they are: prerendered ones, tag managers, consent as words, and what it tells its developer.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plain, respond, startTag } from "./fake-window.js";

const outcome = (promise) => promise.then(() => "taken", (error) => error.code || error.message);
const lines = ({ said }) => said.filter((line) => line.startsWith("tributary: "));
const CONTEXT = { app: { name: "shop" } };

test("only true grants, and the developer is told of words", async () => {
  for (const word of ["denied", "granted", "true", "yes", "no", 1, {}]) {
    const page = startTag({ data: { requireConsent: "" } });
    const taken = outcome(page.tag.track("A"));
    await page.tag.consent({ analytics: word, marketing: word });
    await page.advance(1000);
    assert.equal(await taken, "no consent");
    assert.deepEqual([page.collector.batches, Object.keys(page.disk)], [[], ["trb_consent"]]);
    assert.match(lines(page)[0], /only true grants, and here analytics is .*\(consent\)$/);
    assert.equal(lines(page).length, 1);
  }
});

test("a decision that was stored as words by an earlier version does not grant", async () => {
  const disk = { trb_consent: JSON.stringify({ categoryPreferences: { analytics: "denied" } }) };
  const { tag, collector, advance } = startTag({ disk, data: { requireConsent: "" } });
  assert.equal(await outcome(tag.track("A")), "no consent");
  await advance(1000);
  assert.deepEqual(collector.batches, []);
});

test("a decision about one category leaves the others as they were", async () => {
  const { tag, collector, advance, disk } = startTag({ data: { requireConsent: "" } });
  tag.track("A");
  tag.consent({ marketing: true });
  await advance(10);
  assert.deepEqual([collector.batches, Object.keys(disk)], [[], ["trb_consent"]], "nothing about analytics yet");
  tag.consent({ analytics: true });
  tag.consent({ marketing: true, analytics: true });
  tag.consent({});
  tag.consent({ marketing: false, functional: undefined });
  await advance(10);
  assert.deepEqual(collector.events().map(({ event, context }) => [event, context.consent.categoryPreferences]), [
    ["A", { marketing: true, analytics: true }],
    ["Segment Consent Preference Updated", { marketing: true, analytics: true }],
    ["Segment Consent Preference Updated", { marketing: false, analytics: true }],
  ]);
});

test("null stands in the place of what is not given, as in analytics.js", async () => {
  const { tag, collector, advance } = startTag();
  const options = { context: CONTEXT };
  const callback = () => {};
  tag.track("X", null, options);
  tag.track("Y", undefined, options, callback);
  tag.identify("u1", null, options);
  tag.identify(null, { a: 1 }, options);
  tag.identify(undefined, null, options);
  tag.identify({ a: 1 }, options);
  tag.group("g1", null, options);
  tag.page("Home", null, options);
  tag.page("Shop", "Home", null, options);
  tag.page(null, "Home", undefined, options);
  tag.page(null, null, { a: 1 }, options);
  tag.page("Home", undefined, { a: 1 }, options);
  tag.alias("u2", "u1", options);
  tag.alias("u2", null, options);
  tag.track("Z", { a: 1 }, "no options", callback);
  await advance(10);
  const OWN = ["app", "a", "email"];
  const own = (given) => Object.fromEntries(Object.entries(given ?? {}).filter(([name]) => OWN.includes(name)));
  const last = collector.events().pop();
  assert.deepEqual([last.event, last.properties, last.context.app], ["Z", { a: 1 }, undefined]);
  assert.deepEqual(
    collector.events().slice(0, -1).map(({ event, category, name, properties, traits, context }) => [
      event ?? [category, name].join(" ").trim(), own(properties ?? traits), context.app,
    ]),
    [
      ["X", {}], ["Y", {}], ["", {}], ["", { a: 1 }], ["", {}], ["", { a: 1 }], ["", {}], ["Home", {}], ["Shop Home", {}], ["Home", {}],
      ["", { a: 1 }], ["Home", { a: 1 }], ["", {}], ["", {}],
    ].map((one) => [...one, CONTEXT.app]),
  );
  assert.deepEqual(collector.events()[0].properties, {});
});

test("a proof travels with its identify(), until that is sent, and with nothing else", async () => {
  const before = startTag();
  before.collector.answers = [new Error("offline")];
  before.tag.identify("u1", { plan: "gold" }, { proof: "a.b.c", context: CONTEXT });
  before.tag.track("A", {}, { proof: "a.b.c" });
  before.tag.identify("u1", { plan: "silver" });
  await before.advance(10);
  const after = startTag({ disk: before.disk });
  after.tag.track("B");
  await after.advance(5000);
  const events = after.collector.events();
  assert.equal(events.length, 4);
  assert.ok(events.every((event) => !("proof" in event)));
  const proven = events.filter(({ context }) => "proof" in context);
  assert.deepEqual(proven.map(({ type, traits, context }) => [type, traits, context.proof, context.app]), [
    ["identify", { plan: "gold" }, "a.b.c", CONTEXT.app],
  ]);
});

test("a proof is about this anonymous id: another user with one keeps it, without one does not", async () => {
  const { tag, collector, advance } = startTag();
  tag.identify("u1", { plan: "gold" }, { proof: "1" });
  tag.identify("u2", { age: 41 }, { proof: "2" });
  assert.deepEqual(plain(tag.user().traits), { age: 41 });
  tag.identify("u3");
  await advance(10);
  const [first, second, third] = collector.events().map(({ anonymousId }) => anonymousId);
  assert.equal(first, second);
  assert.notEqual(second, third);
});

test("a page that is loaded ahead does nothing until the visitor sees it; then it was loaded just now", async () => {
  const early = [["track", "Early"]];
  const page = startTag({ early, data: { auto: "page spa" }, change: ({ document }) => (document.prerendering = true) });
  page.window.tributary.track("Called while hidden");
  page.window.tributary.consent({ analytics: true });
  assert.deepEqual(plain(page.window.tributary.user()), { traits: {} });
  await page.advance(60_000);
  page.run();
  assert.deepEqual([page.collector.batches, page.collector.loaded, page.disk], [[], [], {}]);

  page.window.document.prerendering = false;
  page.happen("prerenderingchange");
  await page.advance(20);
  const events = page.collector.events();
  assert.deepEqual(events.map(({ event, type }) => event ?? type).sort(), ["Called while hidden", "Early", "Segment Consent Preference Updated", "page"]);
  assert.ok(events.every(({ timestamp }) => timestamp >= "2026-01-01T00:01:00"));
  page.window.tributary.track("Later");
  await page.advance(20);
  assert.equal(page.collector.events().filter(({ event }) => event === "Later").length, 1);
});

test("a page back from the browser's cache is viewed again", async () => {
  const { collector, advance, happen, goAway, window } = startTag({ data: { auto: "page" } });
  await advance(10);
  goAway();
  window.document.hidden = false;
  happen("pageshow", { persisted: true });
  await advance(10);
  assert.equal(collector.events().length, 2);
});

test("the key and the options may stand in the script's address", async () => {
  const src = "https://c.example/assets/x.js?writeKey=OTHER&auto=page+spa&requireConsent=";
  const change = ({ document }) => (document.currentScript.dataset = {});
  const { tag, collector, advance } = startTag({ src, change });
  await advance(10);
  assert.deepEqual([collector.batches, collector.loaded], [[], ["https://c.example/assets/x.more.js"]]);
  tag.consent({ analytics: true });
  await advance(10);
  assert.equal(collector.batches[0].writeKey, "OTHER");
  assert.equal(collector.posts[0].to, "https://c.example/v1/b?me=1");
});

test("a module, and an element that took the script's name, leave the script to be found by its key", async () => {
  for (const taken of [null, { src: "https://shop.example/logo.png", dataset: undefined }]) {
    const change = ({ document }) => {
      const own = document.currentScript;
      document.currentScript = taken;
      document.querySelector = (selector) => (selector === "script[data-write-key]" ? own : null);
    };
    const { tag, collector, advance } = startTag({ change });
    tag.track("A");
    await advance(10);
    assert.equal(collector.batches[0].writeKey, "KEY");
  }
  startTag({ early: [], change: ({ document }) => (document.currentScript = null) }); // does not throw
});

test("what is called tributary and is no list of calls is replaced", async () => {
  const { window, collector, advance } = startTag({ early: { id: "tributary" } });
  window.tributary.track("A");
  await advance(10);
  assert.equal(collector.events().length, 1);
});

test("without a key one line says so, nothing is sent and nothing throws", async () => {
  const page = startTag({ data: { writeKey: undefined, auto: "page links" } });
  assert.equal(await outcome(page.tag.track("A")), "no consent");
  page.tag.consent({ analytics: true });
  await page.advance(60_000);
  assert.deepEqual(page.collector.batches, []);
  assert.equal(lines(page).length, 1);
  assert.match(lines(page)[0], /no write key.*data-write-key.*\(no-write-key\)$/);
});

test("a slash at the end of the host does no harm, and a path of the site's own proxy is a host", async () => {
  for (const [host, to] of [["https://d.example/", "https://d.example/v1/b?me=1"], ["/stats", "/stats/v1/b?me=1"], ["", "/v1/b?me=1"]]) {
    const { tag, collector, advance, said } = startTag({ data: { host } });
    tag.track("A");
    await advance(10);
    assert.deepEqual([collector.posts[0].to, said], [to, []]);
  }
});

test("an unknown word in data-auto is named, with those that there are", async () => {
  const page = startTag({ data: { auto: "pages, spa" } });
  await page.advance(10);
  assert.match(lines(page)[0], /nothing called pages\. It knows page, anonymous, spa,.*\(auto\)$/);
});

test("an unknown key is told once, and ends the page's requests", async () => {
  const page = startTag();
  page.collector.answers = [respond(401, { error: { code: "unknown-write-key", message: "No source has this write key." } })];
  assert.equal(await Promise.race([outcome(page.tag.track("A")), page.advance(100)]), "unknown-write-key");
  assert.equal(await outcome(page.tag.track("B")), "no consent");
  page.happen("online");
  page.happen("pagehide");
  await page.advance(100_000);
  assert.equal(page.collector.batches.length, 1);
  assert.deepEqual(page.collector.beacons, []);
  assert.equal(lines(page).length, 1);
  assert.match(lines(page)[0], /No source has this write key\. This page has "KEY".*\(unknown-write-key\)$/);
});

test("events that other pages left are not lost to a page with an unknown key", async () => {
  const before = startTag();
  before.collector.answers = [new Error("offline")];
  for (let n = 0; n < 60; n++) before.tag.track("E" + n);
  await before.advance(10);
  const wrong = startTag({ disk: before.disk, data: { writeKey: "OTHER" } });
  wrong.collector.answers = [respond(401, { error: { code: "unknown-write-key", message: "No." } })];
  await wrong.advance(100_000);
  assert.equal(wrong.collector.batches.length, 1);
  const right = startTag({ disk: before.disk });
  await right.advance(5000);
  assert.equal(right.collector.events().length, 60);
});

test("a decision that is no list of categories decides nothing", async () => {
  for (const given of ["granted", true, null, undefined, 1]) {
    const page = startTag({ data: { requireConsent: "" } });
    page.tag.track("A");
    await page.tag.consent(given);
    await page.advance(10);
    assert.deepEqual([page.collector.batches, page.disk], [[], {}]);
  }
});

test("what the collector refuses is told once of each kind, and a withdrawal is not told", async () => {
  const page = startTag();
  const refuse = (code, message) => respond(200, { success: true, rejected: [{ index: 0, code, message, field: "/context" }] });
  page.collector.answers = [refuse("consent-missing", "No."), refuse("consent-missing", "No."), refuse("consent-denied", "No.")];
  page.tag.track("A");
  await page.advance(10);
  page.tag.track("B");
  await page.advance(10);
  page.tag.consent({ analytics: false });
  await page.advance(10);
  assert.equal(page.collector.batches.length, 3);
  assert.equal(lines(page).length, 1);
  assert.match(lines(page)[0], /No\. At \/context\. Set data-require-consent.*\(consent-missing\)$/);
});

const online = ({ navigator }) => (navigator.onLine = true);
const forNamedOrigins = () => ({ ...respond(200, { success: true }), isForNamedOrigins: true });

test("a page whose origin no source names is told so, and its events are delivered without the cookie", async () => {
  const page = startTag({ change: online });
  page.collector.answers = [forNamedOrigins(), forNamedOrigins()];
  const taken = outcome(page.tag.track("A"));
  await page.advance(10);
  assert.equal(await taken, "taken");
  page.tag.track("B");
  await page.advance(10);
  assert.deepEqual(page.collector.posts.map(({ credentials }) => credentials), ["include", "omit", "omit"]);
  assert.equal(lines(page).length, 1);
  assert.match(lines(page)[0], /No source names https:\/\/shop\.example in its origins.*\(origin\)$/);
});

test("a host that never answers is told, and a line that breaks later is not", async () => {
  const page = startTag({ change: online });
  page.collector.answers = [new Error("blocked"), new Error("blocked")];
  page.tag.track("A");
  await page.advance(10);
  assert.match(lines(page)[0], /https:\/\/c\.example does not answer.*data-host.*connect-src.*\(no-answer\)$/);
  await page.advance(5000);
  assert.equal(page.collector.batches.length, 3);

  const later = startTag({ change: online });
  later.tag.track("A");
  await later.advance(10);
  later.collector.answers = [new Error("offline")];
  later.tag.track("B");
  await later.advance(5000);
  assert.deepEqual([later.collector.batches.length, later.said], [3, []]);
});

test("what answers and is no collector is told", async () => {
  const page = startTag();
  page.collector.answers = [respond(404, "<html>")];
  page.tag.track("A");
  await page.advance(10);
  assert.match(lines(page)[0], /https:\/\/c\.example answers 404.*dropped.*\(404\)$/);

  const portal = startTag();
  portal.collector.answers = [respond(200, "<html>"), respond(200, "<html>")];
  const taken = outcome(portal.tag.track("A"));
  await portal.advance(10_000);
  assert.equal(await taken, "taken");
  assert.equal(lines(portal).length, 1);
  assert.match(lines(portal)[0], /https:\/\/c\.example answers 200.*kept.*\(200\)$/);

  for (const answer of [respond(404, "<html>"), respond(200, "<html>")]) {
    const wrong = startTag({ data: { host: "data.example.com" } });
    wrong.collector.answers = [answer];
    wrong.tag.track("A");
    await wrong.advance(10);
    assert.match(lines(wrong)[0], /"data\.example\.com" and must begin with https/);
  }
});

test("where the second file is missing the developer reads a code, and the page view is sent", async () => {
  const change = (window) => (window.load = () => Promise.reject(new TypeError("404")));
  const page = startTag({ data: { auto: "page engagement" }, change });
  await page.advance(10);
  assert.match(lines(page)[0], /^tributary: second-file TypeError/);
  assert.equal(page.collector.events().length, 1);
});

test("a page that needs nothing of it does not load the second file", async () => {
  const page = startTag({ data: { auto: "page anonymous" } });
  await page.advance(10);
  assert.deepEqual([page.collector.events().length, page.collector.loaded, page.said], [1, [], []]);
});

test("with ?tributary_debug the console shows each event and its answer", async () => {
  const page = startTag({ url: "https://shop.example/?tributary_debug", data: { requireConsent: "" } });
  page.collector.answers = [respond(200, { success: true, rejected: [{ index: 1, code: "plan", message: "No." }] }), new Error("offline")];
  page.tag.track("A");
  await page.advance(10);
  page.tag.consent({ analytics: true });
  await page.advance(10);
  page.tag.identify("u1");
  await page.advance(10);
  assert.deepEqual(
    lines(page).map((line) => line.slice(11).replace(/ ?\[object Object\]/, "")),
    [
      "settings",
      "track A waits for the visitor's decision",
      "track Segment Consent Preference Updated is on its way",
      "track A taken",
      "track Segment Consent Preference Updated refused: No. (plan)",
      "No. (plan)",
      "identify u1 is on its way",
      "identify u1 no answer, tried again later",
    ],
  );
});

test("long addresses, titles and campaigns are cut, so that the event is not refused for its size", async () => {
  const long = "x".repeat(100_000);
  const change = ({ document }) => Object.assign(document, { title: long, referrer: `https://a.example/${long}` });
  const { tag, collector, advance } = startTag({ url: `https://shop.example/${long}?utm_source=${long}#${long}`, change });
  tag.page();
  await advance(10);
  assert.ok(JSON.stringify(collector.events()[0]).length < 32_768);
  assert.equal(collector.events()[0].context.campaign.source.length, 2000);
});

test("half of an emoji does not hold up the event", async () => {
  const { tag, collector, advance } = startTag();
  tag.track("A", { cut: "a😀".slice(0, 2) });
  await advance(10);
  assert.equal(collector.events()[0].properties.cut, "a\ud83d");
});
