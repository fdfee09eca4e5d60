// Segment's analytics.js in Chromium, unmodified, over HTTPS: its snippet with the collector's address in
// place of Segment's. The collector serves the script, its settings, and takes its events.
import assert from "node:assert/strict";
import { join } from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { httpsSettings } from "./support/certificates.mjs";
import { ROOT } from "./support/cli.mjs";
import { servePages, setBrowserClockWrong } from "./support/pages.mjs";
import { freePorts } from "./support/ports.mjs";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource } from "./support/sdk.mjs";
import { startSite, test } from "./support/site.mjs";

const SCRIPT = join(ROOT, "node_modules/@segment/analytics-next/dist/umd/standalone.js");

// Segment's snippet, as its users paste it. The SDK learns where its settings are from the script's
// address, because that is https.
const snippet = (address, options) => `<!doctype html><title>Kettles</title><script>
!function(){var analytics=window.analytics=window.analytics||[];analytics.invoked=true;
analytics.methods=["page","identify","track","group","alias","screen","ready","reset","on","user","register"];
analytics.factory=function(name){return function(){var call=Array.prototype.slice.call(arguments);
call.unshift(name);analytics.push(call);return analytics}};
analytics.methods.forEach(function(name){analytics[name]=analytics.factory(name)});
analytics.load=function(key,options){var script=document.createElement("script");script.async=true;
script.src="${address}/analytics.js/v1/"+key+"/analytics.min.js";
document.head.appendChild(script);analytics._loadOptions=options};
analytics._writeKey="${KEY}";analytics.SNIPPET_VERSION="5.2.0";
analytics.load("${KEY}",${JSON.stringify(options)});analytics.page()}();
</script>`;

// A site whose page has the snippet, and a browser on it. `requests`: what the page asked for.
async function openSite(t, { options = {}, clockWrong = 0 } = {}) {
  const page = await openBrowser(t, { ignoreHTTPSErrors: true });
  if (!page) return undefined;
  const [port, httpsPort] = await freePorts(2);
  const site = await startSite(t, {
    sources: openSource([`http://127.0.0.1:${port}`]),
    settings: { analytics_js_file: SCRIPT, ...httpsSettings(t, httpsPort) },
  });
  const address = `https://127.0.0.1:${httpsPort}`;
  const url = await servePages(t, port, { "/kettles": snippet(address, options), "/favicon.ico": "" });
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await setBrowserClockWrong(page, clockWrong);
  await page.goto(`${url}/kettles?q=1`);
  await page.waitForFunction(() => window.analytics.initialized);
  return { hub: site.hub, page, url, address, requests };
}

// Each call of the API after the snippet's page(); gives what the SDK says it sent, by name.
const callAll = (page) =>
  page.evaluate(async () => {
    const { analytics } = window;
    const sent = {};
    const keep = async (call) => {
      const { event } = await call;
      sent[event.event ?? event.type] = event;
    };
    await keep(analytics.identify("u1", { email: "Jane@example.com", age: 41 }));
    await keep(analytics.track("Order Completed", { total: 80.5, products: [{ sku: "a" }] }));
    await keep(analytics.screen("Cart", { items: 2 }));
    await keep(analytics.group("g1", { name: "Acme" }));
    await keep(analytics.alias("u1", "old-device"));
    return { sent: JSON.parse(JSON.stringify(sent)), anonymousId: analytics.user().anonymousId() };
  });

function assertArrived(find, { sent, anonymousId }) {
  for (const [name, call] of Object.entries(sent)) {
    const event = find(name);
    assert.equal(event.messageId, call.messageId, name);
    // The previous id of an alias stands where its anonymous id would.
    if (name !== "alias") assert.equal(event.anonymousId, anonymousId, name);
    for (const member of ["userId", "properties", "traits", "groupId", "previousId", "integrations"]) {
      assert.deepEqual(event[member], call[member], `${name}.${member}`);
    }
    for (const [member, value] of Object.entries(call.context)) {
      assert.deepEqual(event.context[member], value, `${name}.context.${member}`);
    }
  }
}

test("every call of the SDK arrives whole and once", async (t) => {
  const start = Date.now();
  const site = await openSite(t);
  if (!site) return;
  const calls = await callAll(site.page);
  const { profile, events, find } = await arrived(site.hub, ["user_id", "u1"], 6);
  const end = Date.now();
  assert.equal(profile.traits.email, "Jane@example.com");
  assertArrived(find, calls);
  const view = find("page");
  assert.deepEqual(view.properties, {
    path: "/kettles",
    referrer: "",
    search: "?q=1",
    title: "Kettles",
    url: `${site.url}/kettles?q=1`,
  });
  assert.match(view.context.userAgent, /Chrome/);
  for (const event of events) assertTimeBetween(event, start, end);
  // Nobody else was told.
  for (const request of site.requests) {
    assert.ok(request.startsWith(site.url) || request.startsWith(site.address), request);
  }
  assert.deepEqual(site.page.complaints, []);
});

test("batches arrive as well, and a wrong clock of the browser is put right", async (t) => {
  const strategy = { strategy: "batching", config: { size: 10, timeout: 300 } };
  const start = Date.now();
  const site = await openSite(t, {
    options: { integrations: { "Segment.io": { deliveryStrategy: strategy } } },
    clockWrong: -30 * HOUR_MS,
  });
  if (!site) return;
  const calls = await callAll(site.page);
  const { events, find } = await arrived(site.hub, ["user_id", "u1"], 6);
  const end = Date.now();
  assertArrived(find, calls);
  for (const event of events) assertTimeBetween(event, start, end);
  assert.ok(site.requests.some((request) => request === `${site.address}/v1/b`));
  assert.deepEqual(site.page.complaints, []);
});

test("a page may send what the SDKs send, and read when to come back", async (t) => {
  const origin = "https://shop.example";
  const { collector } = await startSite(t, { sources: openSource([origin]) });
  for (const path of ["/v1/t", "/v1/b", "/com.snowplowanalytics.snowplow/tp2", "/sourceConfig/"]) {
    const { status, headers } = await collector.get(path, { method: "OPTIONS", headers: { origin } });
    assert.equal(status, 204, path);
    assert.equal(headers["access-control-allow-origin"], origin);
    assert.equal(headers["access-control-allow-credentials"], "true");
    assert.equal(headers["access-control-expose-headers"], "Retry-After");
    const allowed = headers["access-control-allow-headers"].split(", ");
    for (const name of [
      "authorization",
      "content-type",
      "x-retry-count",
      "sp-anonymous",
      "rsa-retry-attempt",
    ]) {
      assert.ok(allowed.includes(name), name);
    }
  }
});
