// RudderStack's SDK for Node, unmodified: it sends gzip and calls it a form.
import assert from "node:assert/strict";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource, setClockWrong } from "./support/sdk.mjs";
import { startSite, test } from "./support/site.mjs";

const who = { userId: "u1", anonymousId: "a1" };
const context = { ip: "192.0.2.7", traits: { plan: "gold" } };
const calls = {
  identify: { ...who, context, traits: { email: "Jane@example.com", age: 41 } },
  track: { ...who, context, event: "Order Completed", properties: { total: 80.5, products: [{ sku: "a" }] } },
  page: { ...who, context, name: "Home", properties: { url: "https://shop.example/" } },
  screen: { ...who, context, name: "Cart", properties: { items: 2 } },
  group: { ...who, context, groupId: "g1", traits: { name: "Acme" } },
  alias: { userId: "u1", previousId: "a1", context },
};

// A request that fails fails the test; `requests` are those that were made, as they went out.
function startSdk(t, url, options) {
  const failures = [];
  const sdk = new RudderAnalytics(KEY, {
    dataPlaneUrl: url,
    retryCount: 0,
    logLevel: "error",
    errorHandler: (error) => failures.push(error),
    ...options,
  });
  const requests = [];
  sdk.axiosInstance.interceptors.response.use((response) => {
    requests.push(response.request);
    return response;
  });
  t.after(() => assert.deepEqual(failures, []));
  return { sdk, requests };
}

test("every call of the SDK arrives whole and once", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const start = Date.now();
  const { sdk, requests } = startSdk(t, collector.url, { flushAt: 100 });
  for (const [type, call] of Object.entries(calls)) {
    sdk[type]({ ...call, messageId: `m-${type}`, integrations: { All: true } });
  }
  await sdk.flush();
  const end = Date.now();
  assert.ok(requests.length > 0);
  for (const request of requests) {
    assert.equal(request.getHeader("Content-Type"), "application/x-www-form-urlencoded");
    assert.equal(request.getHeader("Content-Encoding"), "gzip");
  }

  const { profile, find } = await arrived(hub, ["user_id", "u1"], 6);
  assert.equal(profile.traits.email, "Jane@example.com");
  for (const [type, call] of Object.entries(calls)) {
    const event = find(type === "track" ? call.event : type);
    assert.equal(event.messageId, `m-${type}`);
    assertTimeBetween(event, start, end);
    for (const member of ["userId", "anonymousId", "properties", "traits", "groupId", "previousId"]) {
      assert.deepEqual(event[member], call[member], `${type}.${member}`);
    }
    assert.equal(event.context.ip, context.ip);
    // This SDK also puts the traits of an identify into the context.
    assert.deepEqual(event.context.traits, type === "identify" ? call.traits : context.traits);
    assert.equal(event.context.library.name, "analytics-node");
    assert.deepEqual(event.integrations, { All: true });
  }
});

test("a wrong clock of the client is put right", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const now = setClockWrong(t, 7 * HOUR_MS);
  const { sdk } = startSdk(t, collector.url, { flushAt: 100 });
  const start = now();
  sdk.track({ ...who, event: "Now" });
  sdk.track({ ...who, event: "Earlier", originalTimestamp: new Date(Date.now() - HOUR_MS) });
  await sdk.flush();
  const end = now();
  const { find } = await arrived(hub, ["user_id", "u1"], 2);
  assertTimeBetween(find("Now"), start, end);
  assertTimeBetween(find("Earlier"), start - HOUR_MS, end - HOUR_MS);
});
