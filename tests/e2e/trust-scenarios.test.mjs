// What collector/TRUST.md promises, scenario by scenario: who becomes whom, by which evidence, and who stays a visitor.
import assert from "node:assert/strict";
import { test, waitUntil } from "./support/site.mjs";
import { assertVisitor, claimsOf, eventsOf, openShop, valuesOf } from "./support/trust.mjs";

const JANE = "jane@example.com";
const jane = { sub: "u-jane", email: JANE };
const tom = { sub: "u-tom", email: "tom@example.com" };
const byEmail = (id) => ({ externalIds: [{ type: "email", id }] });

test("guest checkout: the order is the address's, the browser only claims it", async (t) => {
  const shop = await openShop(t);
  await shop.browser("a-1").view("/kettles");
  await shop.browser("a-1").identify({ email: JANE });
  await shop.server({
    type: "track",
    event: "Order Completed",
    anonymousId: "a-1",
    properties: { order_id: "1", total: 40 },
    context: byEmail(JANE),
  });
  const buyer = await shop.profile("email", JANE, ({ eventCount }) => eventCount === 1);
  await shop.settled();
  assert.deepEqual(valuesOf(buyer, "anonymous_id"), []);
  const visitor = await shop.profile("anonymous_id", "a-1");
  assertVisitor(visitor, "a-1");
  assert.deepEqual(claimsOf(visitor, "email"), [JANE]);
  assert.deepEqual(await eventsOf(shop.hub, visitor), ["identify", "/kettles"]);
  assert.deepEqual((await shop.collector.me("a-1")).segments, []);

  // The guest makes an account: from here on the browser is hers, with all that it did before.
  await shop.browser("a-1").prove(jane);
  const known = await shop.profile("email", JANE, ({ eventCount }) => eventCount === 4);
  assert.deepEqual(valuesOf(known, "anonymous_id"), ["a-1"]);
  assert.deepEqual(claimsOf(known, "email"), []);
});

test("newsletter form: the visitor's own traits, until she signs in", async (t) => {
  const shop = await openShop(t);
  await shop.till({ type: "identify", context: byEmail(JANE), traits: { email: JANE, firstName: "Jane" } });
  await shop.profile("email", JANE);
  await shop.browser("a-1").identify({ email: JANE, newsletter: true, firstName: "J." });
  const visitor = await shop.profile("anonymous_id", "a-1", (profile) => claimsOf(profile, "email").length === 1);
  assertVisitor(visitor, "a-1");
  assert.equal(visitor.traits.newsletter, true);
  assert.deepEqual(visitor.segments.map(({ key }) => key), ["readers"]);
  assert.equal((await shop.hub.profile("email", JANE)).traits.newsletter, undefined);

  await shop.browser("a-1").prove(jane);
  const known = await shop.profile("email", JANE, ({ traits }) => traits.newsletter === true);
  assert.equal(known.traits.firstName, "J.", "what she said of herself is the latest now");
});

test("shared tablet: another user opens a visitor of her own, a proof hands the tablet over", async (t) => {
  const shop = await openShop(t);
  const tablet = shop.browser("tablet");
  await tablet.prove(jane);
  await tablet.track("Looked", {});
  await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 2);
  await tablet.track("Unproven", {}, { userId: "u-tom" });
  await shop.settled();
  assert.equal(await shop.hub.profile("user_id", "u-tom"), undefined);
  assert.ok(!(await eventsOf(shop.hub, await shop.profile("user_id", "u-jane"))).includes("Unproven"));

  await tablet.prove(tom);
  await tablet.track("Bought", {}, { userId: "u-tom" });
  const toms = await shop.profile("user_id", "u-tom", ({ eventCount }) => eventCount >= 2);
  assert.deepEqual(valuesOf(toms, "email"), ["tom@example.com"]);
  const janes = await eventsOf(shop.hub, await shop.profile("user_id", "u-jane"));
  assert.ok(janes.includes("Looked") && !janes.includes("Bought"), janes.join());
});

test("shared tablet: once another was proven there its pages are told nothing of the first, until she proves again", async (t) => {
  const shop = await openShop(t);
  const order = { type: "track", event: "Order Completed", properties: { order_id: "1", total: 80 } };
  await shop.till({ ...order, userId: "u-jane" });
  const tablet = shop.browser("tablet");
  const told = (keys) =>
    waitUntil(async () => (await shop.collector.me("tablet")).segments.join() === keys, { what: `the tablet to be told ${keys}` });
  await tablet.prove(jane);
  await told("buyers");
  await tablet.prove(tom);
  await told("");
  await tablet.prove(jane);
  await told("buyers");
});

test("second device: a proof on each joins them", async (t) => {
  const shop = await openShop(t);
  await shop.browser("phone").view("/");
  await shop.browser("laptop").view("/");
  await shop.browser("phone").prove(jane);
  await shop.browser("laptop").prove({ sub: "u-jane" });
  const known = await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 4);
  assert.deepEqual(valuesOf(known, "anonymous_id").sort(), ["laptop", "phone"]);
});

test("logout without reset: the browser stays hers, what another proves is his", async (t) => {
  const shop = await openShop(t);
  const browser = shop.browser("a-1");
  await browser.prove(jane);
  await browser.view("/after-logout");
  const hers = await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 2);
  assert.ok((await eventsOf(shop.hub, hers)).includes("/after-logout"));
  await browser.prove(tom);
  await browser.view("/toms", { userId: "u-tom" });
  const his = await shop.profile("user_id", "u-tom", ({ eventCount }) => eventCount >= 2);
  assert.ok((await eventsOf(shop.hub, his)).includes("/toms"));
  assert.ok(!(await eventsOf(shop.hub, await shop.profile("user_id", "u-jane"))).includes("/toms"));
});

test("an app: its proofs need not name the installation", async (t) => {
  const shop = await openShop(t);
  await shop.browser("install-1", "app", shop.appSigner).prove(jane, {}, undefined);
  const known = await shop.profile("user_id", "u-jane");
  assert.deepEqual(valuesOf(known, "anonymous_id"), ["install-1"]);
});

test("a site without a server: what it opens counts, and the journal says so", async (t) => {
  const shop = await openShop(t);
  await shop.browser("a-1", "open").identify({ email: JANE });
  const known = await shop.profile("email", JANE, (profile) => valuesOf(profile, "anonymous_id").includes("a-1"));
  const { journal } = await shop.hub.get(`/v1/profiles/${known.id}/identity`);
  assert.ok(journal.some(({ evidence }) => evidence === "open"), JSON.stringify(journal));
});

test("a server: who is signed in counts, an address that was typed does not", async (t) => {
  const shop = await openShop(t);
  await shop.browser("a-1").view("/");
  await shop.server({ type: "track", event: "Signed In", userId: "u-jane", anonymousId: "a-1" });
  const known = await shop.profile("user_id", "u-jane", ({ eventCount }) => eventCount === 2);
  assert.deepEqual(valuesOf(known, "anonymous_id"), ["a-1"]);
  await shop.browser("a-2").view("/");
  await shop.server({
    type: "track",
    event: "Signed In",
    anonymousId: "a-2",
    context: { ...byEmail(JANE), authenticated: true },
  });
  const joined = await shop.profile("email", JANE, ({ eventCount }) => eventCount === 2);
  assert.deepEqual(valuesOf(joined, "anonymous_id"), ["a-2"]);
  const { journal } = await shop.hub.get(`/v1/profiles/${joined.id}/identity`);
  assert.ok(journal.some(({ evidence }) => evidence === "server-event"), JSON.stringify(journal));
});
