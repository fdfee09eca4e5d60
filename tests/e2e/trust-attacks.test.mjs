// Whoever reads the write key off a page can send what she likes about anybody. What she gets, and what she changes,
// is nothing.
import assert from "node:assert/strict";
import { request } from "./support/http.mjs";
import { test, waitUntil } from "./support/site.mjs";
import { assertVisitor, eventsOf, openShop, valuesOf } from "./support/trust.mjs";

const JANE = "jane@example.com";
const ids = (type, id) => ({ externalIds: [{ type, id }] });

/* Jane, as the till and her own browser know her: the till has her order, her browser a proof. */
async function openWithJane(t) {
  const shop = await openShop(t);
  await shop.till({
    type: "identify",
    userId: "u-jane",
    traits: { email: JANE, firstName: "Jane", city: "Lyon" },
    context: { consent: { categoryPreferences: { marketing: true } } },
  });
  await shop.till({ type: "track", event: "Order Completed", userId: "u-jane", properties: { order_id: "1", total: 80 } });
  await shop.browser("hers").prove({ sub: "u-jane", email: JANE });
  await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 3);
  await waitUntil(async () => (await shop.collector.me("hers")).segments.includes("buyers"), { what: "her segments" });
  return shop;
}

/* Everything of Jane that others could have changed. */
async function pictureOf(shop) {
  await shop.settled();
  const { identifiers, traits, consents, segments, eventCount } = await shop.hub.profile("user_id", "u-jane");
  return { identifiers, traits, consents, segments, eventCount, events: await eventsOf(shop.hub, { id: (await shop.hub.profile("email", JANE)).id }) };
}

async function cardOf(shop) {
  const answer = await request(`${shop.collector.url}/v1/customers?email=${JANE}`, {
    headers: { authorization: `Bearer ${shop.collector.customerToken}` },
  });
  const { purchases, segments, traits, identifiers } = answer.body;
  return { purchases, segments, traits, identifiers };
}

/* Run what the stranger does; Jane must be as before, and the stranger nobody. */
async function attack(t, strike) {
  const shop = await openWithJane(t);
  const before = await pictureOf(shop);
  const card = await cardOf(shop);
  await strike(shop, shop.browser("stranger"));
  assert.deepEqual(await pictureOf(shop), before);
  assert.deepEqual(await cardOf(shop), card);
  assertVisitor(await shop.profile("anonymous_id", "stranger"), "stranger");
  assert.deepEqual((await shop.collector.me("hers")).segments, ["buyers"]);
  return shop;
}

test("identify with somebody's address shows nothing of her", async (t) => {
  const shop = await attack(t, async (_, stranger) => {
    await stranger.identify({ email: JANE }, { userId: "u-jane" });
    await stranger.view("/");
  });
  const me = await shop.collector.me("stranger");
  assert.deepEqual([me.segments, me.traits], [[], {}]);
});

test("her traits are not overwritten", (t) =>
  attack(t, (_, stranger) => stranger.identify({ email: JANE, firstName: "Mallory", city: null }, { userId: "u-jane" })));

for (const granted of [true, false]) {
  test(`her consent is not ${granted ? "given" : "withdrawn"} for her`, (t) =>
    attack(t, (_, stranger) => {
      const consent = { categoryPreferences: { marketing: granted, profiling: granted } };
      return stranger.identify({ email: JANE }, { userId: "u-jane", context: { consent } });
    }));
}

test("no purchase comes onto her card", (t) =>
  attack(t, async (shop, stranger) => {
    const order = { order_id: "2", total: 9999 };
    await stranger.track("Order Completed", order, { userId: "u-jane" });
    await stranger.track("Order Completed", { ...order, order_id: "3" }, { context: ids("email", JANE) });
    // The same id as the till's order has: it uses up nothing of hers.
    await stranger.track("Order Completed", { order_id: "1", total: 1 }, { userId: "u-jane", messageId: "m2" });
  }));

test("a proof that is signed by nobody, or for another, counts as none", (t) =>
  attack(t, async (shop, stranger) => {
    const head = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    const [, claims] = shop.signer.prove({ sub: "u-jane", email: JANE }, "stranger").split(".");
    const stolen = shop.signer.prove({ sub: "u-jane", email: JANE }, "hers");
    const elsewhere = shop.appSigner.prove({ sub: "u-jane", email: JANE }, "stranger");
    for (const proof of [`${head}.${claims}.`, `${head}.${claims}.AA`, stolen, elsewhere, "x", 7, null, { sub: "u-jane" }]) {
      await stranger.identify({ email: JANE }, { userId: "u-jane", context: { proof } });
    }
  }));

test("an address is not claimed before its owner comes", async (t) => {
  const shop = await openShop(t);
  await shop.browser("stranger").identify({ email: JANE, firstName: "Mallory" }, { userId: "u-jane" });
  await shop.profile("anonymous_id", "stranger");
  await shop.till({ type: "identify", userId: "u-jane", traits: { email: JANE, firstName: "Jane" } });
  await shop.browser("hers").prove({ sub: "u-jane", email: JANE });
  const jane = await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 2);
  await shop.settled();
  assert.deepEqual(valuesOf(jane, "anonymous_id"), ["hers"]);
  assert.equal(jane.traits.firstName, "Jane");
  assertVisitor(await shop.hub.profile("anonymous_id", "stranger"), "stranger");
});

test("strangers are not joined by one request that names them all", async (t) => {
  const shop = await openShop(t);
  const people = Array.from({ length: 16 }, (_, i) => `p${i}@example.com`);
  for (const email of people) await shop.till({ type: "identify", traits: { email }, context: ids("email", email) });
  await shop.settled();
  const idsBefore = await Promise.all(people.map(async (email) => (await shop.hub.profile("email", email)).id));
  await shop.browser("stranger").identify({}, { context: { externalIds: people.map((id) => ({ type: "email", id })) } });
  await shop.settled();
  const idsAfter = await Promise.all(people.map(async (email) => (await shop.hub.profile("email", email)).id));
  assert.deepEqual(idsAfter, idsBefore);
  assert.equal(new Set(idsAfter).size, people.length);
});

test("her 512 traits are not filled", (t) =>
  attack(t, (_, stranger) => {
    const traits = Object.fromEntries(Array.from({ length: 600 }, (__, i) => [`t${i}`, i]));
    return stranger.identify({ ...traits, email: JANE }, { userId: "u-jane" });
  }));

test("her own browser is not pushed off her card", async (t) => {
  await attack(t, async (shop, stranger) => {
    await stranger.view("/");
    const crowd = Array.from({ length: 700 }, (_, i) => ({
      type: "identify",
      messageId: `crowd${i}`,
      anonymousId: `crowd-${i}`,
      userId: "u-jane",
      traits: { email: JANE },
    }));
    await shop.collector.send(crowd, { writeKey: "shop" });
  });
});
