// The story the product is for, told through Segment's own SDK for Node, unmodified: a store customer
// browses anonymously, signs in, and is recognised on the page within a second.
import assert from "node:assert/strict";
import { Analytics } from "@segment/analytics-node";
import { settle, startSite, test, waitUntil } from "./support/site.mjs";

const EMAIL = "wanda.quixote@example.com";
const VISITOR = "visitor-1";

// What the till knows: a card, an e-mail, an order.
async function buyInStore(till) {
  const context = { externalIds: [{ type: "loyalty_id", id: "L-42" }] };
  await till.send([
    {
      type: "identify",
      messageId: "till-1",
      context,
      traits: { email: " Wanda.Quixote@example.com", loyalty_id: "L-42", firstName: "Wanda" },
    },
    {
      type: "track",
      messageId: "till-2",
      context,
      event: "Order Completed",
      properties: { channel: "store", total: 80 },
    },
  ]);
}

// Segment's client, sending each event at once; an error of its own fails the test.
function startSdk(t, collector) {
  const failures = [];
  const sdk = new Analytics({
    writeKey: collector.writeKey,
    host: collector.url,
    flushAt: 1,
    maxRetries: 0,
    disable: false,
  });
  sdk.on("error", (error) => failures.push(error));
  t.after(async () => {
    await sdk.closeAndFlush({ timeout: 2000 });
    assert.deepEqual(failures, []);
  });
  return sdk;
}

test("a store customer who signs in is a hot lead on the page in less than a second", async (t) => {
  const {
    hub,
    collectors: { web, store },
  } = await startSite(t, { collectors: ["web", "store"] });
  await buyInStore(store);
  const sdk = startSdk(t, web);
  for (const product of ["kettle-01", "lamp-04", "tent-07"]) {
    sdk.track({ anonymousId: VISITOR, event: "Product Viewed", properties: { product_id: product } });
  }
  await waitUntil(async () => (await hub.profile("anonymous_id", VISITOR))?.eventCount === 3, {
    what: "three views",
  });
  await waitUntil(async () => (await hub.profile("loyalty_id", "L-42"))?.eventCount === 2, {
    what: "the till's events",
  });
  assert.equal((await hub.profile("anonymous_id", VISITOR)).known, false);
  assert.deepEqual((await web.me(VISITOR)).segments, []);

  const decided = performance.now();
  sdk.identify({ anonymousId: VISITOR, userId: "u-wanda", traits: { email: EMAIL } });
  await waitUntil(async () => (await web.me(VISITOR)).segments.includes("hot-leads"), {
    every: 5,
    what: "hot-leads at the edge",
  });
  const took = performance.now() - decided;
  t.diagnostic(`identify to /v1/me: ${took.toFixed(0)} ms`);
  assert.ok(took < 1000, `took ${took} ms`);

  // The edge may know before every part of the hub has caught up with the merge.
  const profile = await waitUntil(
    async () => {
      const found = await hub.profile("email", EMAIL);
      return found?.eventCount === 6 && found;
    },
    { what: "both histories in one profile" },
  );
  assert.deepEqual(profile.identifiers.map(({ type, value }) => `${type}:${value}`).sort(), [
    `anonymous_id:${VISITOR}`,
    `email:${EMAIL}`,
    "loyalty_id:L-42",
    "user_id:u-wanda",
  ]);
  const owners = [
    ["anonymous_id", VISITOR],
    ["loyalty_id", "L-42"],
    ["user_id", "u-wanda"],
  ];
  for (const [type, value] of owners) {
    await settle(
      async () => (await hub.profile(type, value))?.id,
      () => profile.id,
    );
  }
  const names = async () => (await hub.timeline(profile.id)).map((event) => event.event ?? event.type).sort();
  const views = Array(3).fill("Product Viewed");
  await settle(names, () => ["Order Completed", ...views, "identify", "identify"]);
  await settle(
    () => hub.members("hot-leads"),
    () => [profile.id],
  );
  assert.ok(
    profile.segments.some(({ key }) => key === "hot-leads"),
    JSON.stringify(profile.segments),
  );
  assert.match(JSON.stringify(await hub.get(`/v1/profiles/${profile.id}/identity`)), /wanda/);
});

test("the till is told who stands before it, and nobody without its token", async (t) => {
  const {
    collectors: { web, store },
  } = await startSite(t, { collectors: ["web", "store"] });
  await buyInStore(store);
  await web.send([{ type: "identify", userId: "u-wanda", traits: { email: EMAIL } }]);
  const card = await waitUntil(
    async () => {
      const answer = await store.customer("email", EMAIL);
      return answer.status === 200 && answer.body.segments.includes("store-buyers") ? answer.body : undefined;
    },
    { what: "the customer's card at the store" },
  );
  assert.ok(card.profileId && card.asOf, JSON.stringify(card));
  assert.ok(
    card.identifiers.some(({ type, value }) => type === "loyalty_id" && value === "L-42"),
    JSON.stringify(card),
  );
  for (const token of [null, "wrong"])
    assert.equal((await store.customer("email", EMAIL, token)).status, 401);
  assert.equal((await store.customer("email", "nobody@example.com")).status, 404);
});
