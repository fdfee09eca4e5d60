// RudderStack's SDK in Chromium, unmodified: the collector answers its question for a configuration
// and takes its events.
import assert from "node:assert/strict";
import { openBrowser } from "./support/browser.mjs";
import { addressOf, bundle, servePages, setBrowserClockWrong } from "./support/pages.mjs";
import { freePorts } from "./support/ports.mjs";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource } from "./support/sdk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const script = bundle(`
  import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";
  window.rudderanalytics = new RudderAnalytics();
`);

const pageFor = (address) => `<!doctype html><title>Kettles</title><script src="/sdk.js"></script><script>
rudderanalytics.load("${KEY}", "${address}", { configUrl: "${address}" });
rudderanalytics.page("shop", "Kettles");
</script>`;

// A site whose page has the SDK, and a browser on it. `posts`: the events' requests.
async function openSite(t, { clockWrong = 0, intercept } = {}) {
  const page = await openBrowser(t);
  if (!page) return undefined;
  const [port] = await freePorts(1);
  const site = await startSite(t, { sources: openSource([`http://127.0.0.1:${port}`]) });
  const address = addressOf(site.collector);
  const files = { "/kettles": pageFor(address), "/sdk.js": await script, "/favicon.ico": "" };
  const url = await servePages(t, port, files);
  const requests = [];
  page.on("request", (request) => requests.push(request));
  if (intercept) await page.route(`${address}/v1/*`, intercept);
  await setBrowserClockWrong(page, clockWrong);
  await page.goto(`${url}/kettles?q=1`);
  return { ...site, hub: site.hub, collector: site.collector, page, url, address, requests };
}

// Each call of the API after the page's own; gives what the SDK says it sent, by name.
const callAll = (page) =>
  page.evaluate(async () => {
    const sdk = window.rudderanalytics;
    const sent = {};
    const call = (method, ...args) =>
      new Promise((resolve) => {
        sdk[method](...args, {}, (event) => {
          sent[event.event ?? event.type] = event;
          resolve();
        });
      });
    await call("identify", "u1", { email: "Jane@example.com", age: 41 });
    await call("track", "Order Completed", { total: 80.5, products: [{ sku: "a" }] });
    await call("group", "g1", { name: "Acme" });
    await call("alias", "u1", "old-device");
    return { sent: JSON.parse(JSON.stringify(sent)), anonymousId: sdk.getAnonymousId() };
  });

test("every call of the SDK arrives whole and once", async (t) => {
  const start = Date.now();
  const site = await openSite(t);
  if (!site) return;
  const { sent, anonymousId } = await callAll(site.page);
  const { profile, events, find } = await arrived(site.hub, ["anonymous_id", anonymousId], 5);
  const end = Date.now();
  assert.equal(profile.traits.email, "Jane@example.com");
  assert.equal(profile.traits.age, 41);
  for (const [name, call] of Object.entries(sent)) {
    const event = find(name);
    assert.equal(event.messageId, call.messageId, name);
    for (const member of ["userId", "properties", "traits", "groupId", "previousId", "integrations"]) {
      assert.deepEqual(event[member] ?? null, call[member] ?? null, `${name}.${member}`);
    }
    assert.deepEqual(event.context, call.context, name);
  }
  const view = find("page");
  assert.equal(view.name, "Kettles");
  assert.equal(view.properties.category, "shop");
  assert.equal(view.properties.url, `${site.url}/kettles?q=1`);
  assert.equal(view.anonymousId, anonymousId);
  for (const event of events) assertTimeBetween(event, start, end);
  // Nobody else was told.
  for (const request of site.requests) {
    assert.ok(request.url().startsWith(site.url) || request.url().startsWith(site.address), request.url());
  }
  assert.deepEqual(site.page.complaints, []);
});

test("a wrong clock of the browser is put right", async (t) => {
  const start = Date.now();
  const site = await openSite(t, { clockWrong: 50 * HOUR_MS });
  if (!site) return;
  const { anonymousId } = await callAll(site.page);
  const { events } = await arrived(site.hub, ["anonymous_id", anonymousId], 5);
  const end = Date.now();
  for (const event of events) assertTimeBetween(event, start, end);
});

test("an event whose first attempt fails is sent again, past the browser's cross-origin check", async (t) => {
  let failed = 0;
  const intercept = (route) => {
    const isFirst = route.request().method() === "POST" && failed++ === 0;
    return isFirst ? route.abort() : route.continue();
  };
  const site = await openSite(t, { intercept });
  if (!site) return;
  const { anonymousId } = await callAll(site.page);
  await arrived(site.hub, ["anonymous_id", anonymousId], 5);
  const retried = await waitUntil(() =>
    site.requests.find((request) => request.headers()["rsa-retry-attempt"] !== undefined),
  );
  assert.equal((await retried.response()).status(), 200);
});
