// Segment's SDK for Node, unmodified: each of its calls arrives whole, once and at the right time.
import assert from "node:assert/strict";
import { Analytics } from "@segment/analytics-node";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource, setClockWrong } from "./support/sdk.mjs";
import { startSite, test } from "./support/site.mjs";

const who = { userId: "u1", anonymousId: "a1" };
const context = { ip: "192.0.2.7", traits: { plan: "gold" }, campaign: { name: "spring" } };

// Call each method of the API; gives what was sent, by type.
async function callAll(sdk) {
  const calls = {
    identify: { ...who, traits: { email: "Jane@example.com", age: 41, address: { city: "Lyon" } } },
    track: { ...who, event: "Order Completed", properties: { total: 80.5, products: [{ sku: "a" }] } },
    page: { ...who, name: "Home", category: "shop", properties: { url: "https://shop.example/" } },
    screen: { ...who, name: "Cart", properties: { items: 2 } },
    group: { ...who, groupId: "g1", traits: { name: "Acme" } },
    alias: { userId: "u1", previousId: "a1" },
  };
  const sent = {};
  for (const [type, message] of Object.entries(calls)) {
    const options = { ...message, context, integrations: { All: true, Other: false } };
    sent[type] = await new Promise((resolve, reject) => {
      sdk[type](options, (error, delivered) => (error ? reject(error) : resolve(delivered.event)));
    });
  }
  return { calls, sent };
}

function startSdk(t, url, options) {
  const failures = [];
  const sdk = new Analytics({ writeKey: KEY, host: url, maxRetries: 0, ...options });
  sdk.on("error", (error) => failures.push(error));
  t.after(async () => {
    await sdk.closeAndFlush({ timeout: 2000 });
    assert.deepEqual(failures, []);
  });
  return sdk;
}

test("every call of the SDK arrives whole and once", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const start = Date.now();
  const { calls, sent } = await callAll(startSdk(t, collector.url, { flushAt: 1 }));
  const end = Date.now();
  const { profile, find } = await arrived(hub, ["user_id", "u1"], 6);
  assert.equal(profile.traits.email, "Jane@example.com");
  assert.equal(profile.traits.address.city, "Lyon");
  for (const [type, call] of Object.entries(calls)) {
    const event = find(type === "track" ? call.event : type);
    assert.equal(event.messageId, sent[type].messageId);
    assertTimeBetween(event, start, end);
    assert.equal(event.userId, "u1");
    assert.equal(event.anonymousId, call.anonymousId);
    for (const member of ["properties", "traits", "groupId", "previousId", "category"]) {
      assert.deepEqual(event[member], sent[type][member], `${type}.${member}`);
    }
    for (const [name, value] of Object.entries(call.properties ?? {})) {
      assert.deepEqual(event.properties[name], value, `${type}.${name}`);
    }
    assert.deepEqual(event.context, JSON.parse(JSON.stringify(sent[type].context)), type);
    assert.deepEqual(event.integrations, { All: true, Other: false });
  }
});

test("a wrong clock of the client is put right", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const now = setClockWrong(t, -5 * HOUR_MS);
  const sdk = startSdk(t, collector.url, { flushAt: 100, flushInterval: 60_000 });
  const start = now();
  sdk.track({ ...who, event: "Now" });
  sdk.track({ ...who, event: "Earlier", timestamp: new Date(Date.now() - HOUR_MS) });
  await sdk.flush();
  const end = now();
  const { find } = await arrived(hub, ["user_id", "u1"], 2);
  assertTimeBetween(find("Now"), start, end);
  assertTimeBetween(find("Earlier"), start - HOUR_MS, end - HOUR_MS);
});
