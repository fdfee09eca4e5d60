// What matters of the tag, in Chromium, Firefox and WebKit: that events arrive, once, from whatever tab, as consent
// allows, from applications of one page, from pages in the back-forward cache and from pages that are being left.
import assert from "node:assert/strict";
import { ENGINES } from "./support/engines.mjs";
import { startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

const inEach = (name, scenario) => ENGINES.forEach((engine) => test(`${engine}: ${name}`, (t) => scenario(t, engine)));
const names = (events) => events.map(({ event, type }) => event ?? type).sort();
const queueOf = (shop, tab) => shop.stored(tab).then((stored) => stored.filter((key) => key.startsWith("trb_q")).length);

inEach("views, calls, clicks and the cookie", async (t, engine) => {
  const shop = await startTagged(t, { engine });
  if (!shop) return;
  const tab = shop.page;
  shop.put("/", { head: shop.script({ auto: "page links" }), body: '<a href="http://away.example/" target="nowhere" onclick="event.preventDefault()">x</a>' });
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  await tab.evaluate(() => window.tributary.track("A", { n: 1 }));
  await tab.evaluate(() => window.tributary.identify("u1", { plan: "gold" }, { proof: "a.b.c" }).then(() => true));
  await tab.click("a");
  const events = await shop.events(anonymousId, 4);
  assert.deepEqual(names(events), ["A", "Outbound Link Clicked", "identify", "page"]);
  await waitUntil(async () => (await queueOf(shop, tab)) === 0, { what: "an empty queue" });
  await waitUntil(() => tab.evaluate(() => document.cookie), { what: "the cookie" });
  assert.match(await tab.evaluate(() => document.cookie), new RegExp(`trb_aid=${anonymousId}`));
});

inEach("events of two tabs arrive once each, also when one is closed in the middle", async (t, engine) => {
  const shop = await startTagged(t, { engine });
  if (!shop) return;
  const EACH = 150;
  shop.put("/", { head: shop.script({ auto: "" }) });
  const [first, second] = [shop.page, await shop.page.newTab()];
  await shop.open("/", first);
  await shop.open("/", second);
  await first.evaluate(() => window.tributary.track("Hello"));
  const anonymousId = await shop.anonymousId(first);
  assert.equal(await shop.anonymousId(second), anonymousId);
  for (const [tab, name] of [[first, "a"], [second, "b"]]) {
    await tab.evaluate(
      ([count, own]) => {
        for (let n = 0; n < count; n++) window.tributary.track("Counted", { id: own + n });
      },
      [EACH, name],
    );
  }
  await first.close();
  const events = await shop.events(anonymousId, 2 * EACH + 1, { timeout: 60_000 });
  const ids = events.filter(({ event }) => event === "Counted").map(({ properties }) => properties.id);
  assert.deepEqual([ids.length, new Set(ids).size], [2 * EACH, 2 * EACH]);
  await waitUntil(async () => (await queueOf(shop, second)) === 0, { what: "an empty queue" });
});

inEach("before a decision nothing is stored or sent, and a withdrawal leaves nothing", async (t, engine) => {
  const shop = await startTagged(t, { engine, source: { consent: { required: ["analytics"] } } });
  if (!shop) return;
  const tab = shop.page;
  shop.put("/", { head: shop.script({ "require-consent": "", auto: "page gcm" }) });
  await shop.open("/");
  await tab.evaluate(() => {
    window.dataLayer = window.dataLayer || [];
    window.gtag = function () { window.dataLayer.push(arguments); };
    window.tributary.track("A").catch(() => {});
  });
  await tab.waitForFunction(() => window.dataLayer.push !== Array.prototype.push);
  await tab.evaluate(() => window.gtag("consent", "update", { functionality_storage: "granted" }));
  const taken = async () => (await shop.collector.metrics()).tributary_events_total;
  assert.deepEqual([await shop.stored(), await taken(), await tab.evaluate(() => document.cookie)], [[], 0, ""]);
  await tab.evaluate(() => window.gtag("consent", "update", { analytics_storage: "granted" }));
  const anonymousId = await shop.anonymousId();
  assert.deepEqual(names(await shop.events(anonymousId, 3)), ["A", "Segment Consent Preference Updated", "page"]);
  await waitUntil(() => tab.evaluate(() => document.cookie), { what: "the cookie" });
  await tab.evaluate(() => window.tributary.consent({ analytics: false }).then(() => true));
  await waitUntil(async () => (await tab.evaluate(() => document.cookie)) === "", { what: "the cookie to go" });
  assert.deepEqual(await shop.stored(), ["trb_consent"]);
});

inEach("an application of one page: late titles, replaced addresses, back", async (t, engine) => {
  const shop = await startTagged(t, { engine });
  if (!shop) return;
  const tab = shop.page;
  shop.put("/", { head: shop.script({ auto: "page spa" }) });
  await shop.open("/");
  const step = async (act, count) => {
    await tab.evaluate(act);
    await shop.events(await shop.anonymousId(), count);
  };
  await shop.events(await shop.anonymousId(), 1);
  await step(() => {
    history.pushState({}, "", "/product");
    setTimeout(() => (document.title = "Product"), 60);
  }, 2);
  await step(() => history.replaceState({}, "", "/product?variant=2"), 2);
  await step(() => {
    history.replaceState({}, "", "/cart");
    setTimeout(() => (document.title = "Cart"), 200);
  }, 3);
  await tab.evaluate(() => void (location.hash = "part"));
  await shop.events(await shop.anonymousId(), 4);
  await tab.evaluate(() => history.back());
  const views = (await shop.events(await shop.anonymousId(), 5)).map(({ properties: { url, title } }) => [url.slice(shop.origin.length), title]);
  assert.deepEqual(views, [["/", "/"], ["/product", "Product"], ["/cart", "Cart"], ["/cart#part", "Cart"], ["/cart", "Cart"]]);
});

inEach("a page that is left in the middle of a delivery keeps no lock, and is viewed again when it is back", async (t, engine) => {
  const shop = await startTagged(t, { engine });
  if (!shop) return;
  const [first, second] = [shop.page, await shop.page.newTab()];
  shop.put("/", { head: shop.script({ auto: "page" }) });
  shop.put("/next", {});
  await shop.open("/", first);
  await shop.open("/", second);
  const anonymousId = await shop.anonymousId(first);
  await shop.events(anonymousId, 2);
  // What the first tab sends gets no answer, so that it has the lock when it goes into the cache.
  await first.evaluate(() => {
    Object.defineProperty(document, "hidden", { get: () => false }); // some browsers hide all tabs but the last
    const real = window.fetch;
    window.fetch = () => new Promise(() => {});
    addEventListener("pageshow", () => (window.fetch = real), true);
    window.before = true;
    window.tributary.track("Held").catch(() => {});
  });
  await waitUntil(() => first.evaluate(async () => (await navigator.locks.query()).held.some(({ name }) => name === "trb")), { what: "the lock" });
  await first.goto(`${shop.origin}/next`);
  const start = performance.now();
  await second.evaluate(() => window.tributary.track("From the other"));
  assert.ok(performance.now() - start < 15_000, "the other tab does not wait for the lock");
  assert.deepEqual(names(await shop.events(anonymousId, 4)), ["From the other", "Held", "page", "page"]);

  await first.goBack();
  await first.waitForFunction(() => window.tributary?.user && document.readyState === "complete");
  const isRestored = await first.evaluate(() => window.before === true);
  t.diagnostic(isRestored ? "out of the back-forward cache" : "loaded anew");
  await shop.events(anonymousId, 5);
});

inEach("what a page tracks in its last handlers arrives, without another page of the site", async (t, engine) => {
  const shop = await startTagged(t, { engine });
  if (!shop) return;
  const tab = shop.page;
  shop.put("/", {
    head: `${shop.script({ auto: "" })}<script>
      addEventListener("load", () => {
        addEventListener("pagehide", () => tributary.track("In pagehide"));
        document.addEventListener("visibilitychange", () => tributary.track("In visibilitychange"));
      });</script>`,
  });
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  await tab.evaluate(() => window.tributary.track("Hello"));
  await tab.goto("about:blank");
  const events = await shop.events(anonymousId, 3);
  assert.deepEqual(names(events), ["Hello", "In pagehide", "In visibilitychange"]);
});

inEach("six tabs with the live channel hold one connection, and each hears the news", async (t, engine) => {
  const shop = await startTagged(t, { engine, segments: { vip: { name: "Bought", edge: ["page"], where: { event: "Order Completed" } } } });
  if (!shop) return;
  shop.put("/", { head: shop.script({ auto: "page live" }) });
  const tabs = [shop.page];
  while (tabs.length < 6) tabs.push(await shop.page.newTab());
  // Whether a tab is seen, the drivers' browsers do not agree on.
  for (const tab of tabs) {
    await shop.open("/", tab);
    await tab.evaluate(() => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => false });
      document.dispatchEvent(new Event("visibilitychange"));
      window.heard = [];
      window.tributary.segments((keys) => window.heard.push(keys.join()));
    });
  }
  const anonymousId = await shop.anonymousId();
  const waiting = async () => (await shop.collector.metrics()).tributary_me_waiting;
  await waitUntil(async () => (await waiting()) === 1, { what: "one question" });
  await tabs[5].evaluate(() => window.tributary.track("Through"));
  await shop.events(anonymousId, 7);
  assert.equal(await waiting(), 1);
  await shop.collector.send([{ type: "track", event: "Order Completed", anonymousId }]);
  for (const tab of tabs) await tab.waitForFunction(() => window.heard.includes("vip"));
});
