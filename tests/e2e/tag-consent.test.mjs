// Consent first: a required decision, consent managers, Global Privacy Control, anonymous mode, withdrawal.
import assert from "node:assert/strict";
import { startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

const source = { consent: { required: ["analytics"] } };
const required = { "require-consent": "" };

/* What the page sends to the collector, as it goes by. */
function watch(page, collector) {
  const sent = [];
  page.on("request", (request) => {
    if (request.method() === "POST" && request.url().startsWith(collector.url)) sent.push(...JSON.parse(request.postData()).batch);
  });
  return sent;
}

test("before a decision nothing is stored or sent; each event carries the decision and its time", async (t) => {
  const shop = await startTagged(t, { source });
  if (!shop) return;
  const sent = watch(shop.page, shop.collector);
  shop.put("/", { head: shop.script(required) });
  await shop.open("/");
  await shop.page.evaluate(() => void window.tributary.track("A"));
  await shop.page.waitForLoadState("networkidle");
  assert.deepEqual([sent, await shop.stored(), await shop.page.context().cookies()], [[], [], []]);

  await shop.page.evaluate(() => window.tributary.consent({ analytics: true, marketing: false }));
  const events = await shop.events(await shop.anonymousId(), 3);
  assert.deepEqual(events.map(({ event, type }) => event ?? type).sort(), ["A", "Segment Consent Preference Updated", "page"]);
  for (const { context } of sent) {
    assert.deepEqual(context.consent.categoryPreferences, { analytics: true, marketing: false });
    assert.match(context.consent.at, /^\d{4}-.*Z$/);
  }
});

test("the consent framework's stub decides", async (t) => {
  const shop = await startTagged(t, { source });
  if (!shop) return;
  const sent = watch(shop.page, shop.collector);
  shop.put("/", {
    head: `<script>
      const listeners = [];
      window.__tcfapi = (command, version, callback, id) => command === "addEventListener" && listeners.push(callback);
      window.decide = (consents) => listeners.forEach((callback) => callback({
        eventStatus: "useractioncomplete", gdprApplies: true, tcfPolicyVersion: 5, tcString: "CP", purpose: { consents },
      }, true));
    </script>${shop.script({ ...required, auto: "page tcf" })}`,
  });
  await shop.open("/");
  assert.deepEqual(sent, []);
  await shop.page.evaluate(() => window.decide({ 1: true, 3: false, 4: false, 8: true }));
  await shop.events(await shop.anonymousId(), 2);
  const { consent } = sent[0].context;
  assert.deepEqual([consent.categoryPreferences, consent.version], [{ analytics: true, marketing: false }, 5]);
});

test("Google Consent Mode decides through the dataLayer", async (t) => {
  const shop = await startTagged(t, { source });
  if (!shop) return;
  const sent = watch(shop.page, shop.collector);
  shop.put("/", {
    head: `<script>
      window.dataLayer = window.dataLayer || [];
      function gtag() { dataLayer.push(arguments); }
      gtag("consent", "default", { ad_storage: "denied", analytics_storage: "denied", wait_for_update: 500 });
    </script>${shop.script({ ...required, auto: "page gcm" })}`,
  });
  await shop.open("/");
  assert.deepEqual(sent, []);
  await shop.page.evaluate(() => window.gtag("consent", "update", { analytics_storage: "granted" }));
  await shop.events(await shop.anonymousId(), 2);
  assert.deepEqual(sent[0].context.consent.categoryPreferences, { analytics: true, marketing: false });
});

test("Global Privacy Control denies marketing", async (t) => {
  const shop = await startTagged(t, { source });
  if (!shop) return;
  const sent = watch(shop.page, shop.collector);
  await shop.page.addInitScript(() => Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { value: true }));
  shop.put("/", { head: shop.script(required) });
  await shop.open("/");
  await shop.page.evaluate(() => window.tributary.consent({ analytics: true, marketing: true }));
  await shop.events(await shop.anonymousId(), 2);
  assert.ok(sent.every(({ context }) => context.consent.gpc && !context.consent.categoryPreferences.marketing));
});

test("in anonymous mode there is no storage and no cookie, and an id for the page only", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  shop.put("/", { head: shop.script({ auto: "page anonymous" }) });
  await shop.open("/");
  const first = await shop.anonymousId();
  await shop.events(first, 1);
  await shop.open("/");
  const second = await shop.anonymousId();
  await shop.events(second, 1);
  assert.notEqual(first, second);
  assert.deepEqual([await shop.stored(), await shop.page.context().cookies()], [[], []]);
});

test("a withdrawal deletes what is stored, the cookie too, and is the last that the collector hears", async (t) => {
  const shop = await startTagged(t, { source });
  if (!shop) return;
  shop.put("/", { head: shop.script(required) });
  await shop.open("/");
  await shop.page.evaluate(() => window.tributary.consent({ analytics: true }));
  await shop.page.evaluate(() => window.tributary.identify("u1", { plan: "gold" }));
  const anonymousId = await shop.anonymousId();
  await shop.events(anonymousId, 3);
  const names = async () => (await shop.page.context().cookies()).map(({ name }) => name);
  assert.deepEqual(await names(), ["trb_aid"]);

  const sent = watch(shop.page, shop.collector);
  await shop.page.evaluate(() => {
    window.tributary.consent({ analytics: false });
    window.tributary.track("never");
  });
  await waitUntil(async () => (await names()).length === 0, { what: "the cookie to go" });
  assert.deepEqual(await shop.stored(), ["trb_consent"]);
  assert.deepEqual(sent.map(({ event }) => event), ["Segment Consent Preference Updated"]);
  assert.deepEqual(sent[0].context.consent.categoryPreferences, { analytics: false });
  assert.equal(sent[0].anonymousId, anonymousId);

  await shop.open("/");
  await shop.page.waitForLoadState("networkidle");
  assert.equal(sent.length, 1, "the next page sends nothing");
  assert.deepEqual(await shop.page.context().cookies(), []);
});
