// Tracking plans: what is not as planned is flagged, held back or refused, and never lost in between.
import assert from "node:assert/strict";
import { startPlanned, violationsOf } from "./support/plans.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const exempt = { trust: "server", consent: { exempt: true } };

const ORDER = {
  properties: {
    type: "object",
    required: ["total", "currency"],
    properties: {
      total: { type: "number", minimum: 0 },
      currency: { enum: ["EUR", "CHF"] },
      coupon: { type: ["string", "null"], minLength: 3, maxLength: 8 },
      paidAt: { type: "string", format: "date-time" },
      items: {
        type: "array",
        items: { type: "object", required: ["sku"], properties: { sku: { type: "string" }, "a/b~c": { const: 1 } } },
      },
    },
    additionalProperties: false,
  },
};
const good = { total: 80, currency: "EUR", items: [{ sku: "A" }] };

const order = (messageId, properties, members) => ({
  type: "track",
  event: "Order Completed",
  messageId,
  userId: `user of ${messageId}`,
  properties,
  ...members,
});

/* A site with one source for each way to treat events. */
const planned = (t, plans) =>
  startPlanned(
    t,
    Object.fromEntries(
      Object.entries(plans).map(([key, plan]) => [key, { events: { "Order Completed": ORDER }, ...plan }]),
    ),
  );

async function event(site, messageId) {
  const profile = await waitUntil(() => site.hub.profile("user_id", `user of ${messageId}`), { what: messageId });
  return (await site.hub.timeline(profile.id))[0];
}

test("an event that is as planned goes through as it is; one that is not is flagged with what is wrong", async (t) => {
  const site = await planned(t, { flagging: { violations: "flag", unplanned: "flag" } });
  await site.collector.send([
    order("fine", good),
    order("wrong", { total: -1, coupon: "ab", paidAt: "yesterday", items: [{ sku: 1 }, { sku: "B", "a/b~c": 2 }], x: 1 }),
    order("empty", undefined, { context: { locale: "fr", violations: "mine" } }),
    { ...order("other", {}), event: "Order Canceled" },
    { type: "page", name: "Home", messageId: "page", userId: "user of page", properties: { total: "many" } },
  ]);
  assert.equal((await event(site, "fine")).context, undefined);
  assert.deepEqual((await event(site, "fine")).properties, good);
  assert.deepEqual(violationsOf(await event(site, "wrong")), [
    "/properties/coupon minLength",
    "/properties/currency required",
    "/properties/items/0/sku type",
    "/properties/items/1/a~1b~0c const",
    "/properties/paidAt format",
    "/properties/total minimum",
    "/properties/x additionalProperties",
  ]);
  const empty = await event(site, "empty");
  assert.deepEqual(violationsOf(empty), ["/properties/currency required", "/properties/total required"]);
  assert.equal(empty.context.locale, "fr");
  assert.deepEqual(violationsOf(await event(site, "other")), ["/event unplanned"]);
  assert.equal((await event(site, "page")).context, undefined);
});

test("a refused event is answered with what is wrong and where; its neighbours are taken", async (t) => {
  const site = await planned(t, { refusing: { violations: "refuse" } });
  const answer = await site.collector.post("/v1/batch", {
    batch: [order("fine", good), order("wrong", { ...good, total: "80" }), { ...order("other", {}), event: "X" }],
  });
  assert.equal(answer.status, 200);
  const [rejected, ...more] = answer.body.rejected;
  assert.deepEqual(more, []);
  assert.equal(rejected.index, 1);
  assert.equal(rejected.code, "plan-violation");
  assert.equal(rejected.field, "/properties/total");
  assert.match(rejected.message, /type/);
  await event(site, "fine");
  assert.equal((await event(site, "other")).event, "X");
});

test("a quarantined event is answered with success, waits, and counts once when it is released", async (t) => {
  const site = await planned(t, {
    holding: { violations: "quarantine", unplanned: "quarantine" },
    planless: { violations: "refuse" },
  });
  const at = "2026-11-20T10:00:00.000Z";
  await site.collector.send([
    order("fine", good),
    order("wrong", { ...good, total: "80" }, { timestamp: at }),
    order("worse", {}),
    { ...order("other", {}), event: "Odd" },
  ]);
  const held = async (query = "") => (await site.hub.get(`/v1/quarantine${query}`)).events;
  await waitUntil(async () => (await held()).length === 3);
  assert.deepEqual((await held()).map(({ messageId }) => messageId), ["wrong", "worse", "other"]);
  const [wrong] = await held();
  assert.deepEqual(violationsOf(wrong), ["/properties/total type"]);
  assert.equal(wrong.collector, "edge");
  assert.equal(wrong.source, "holding");
  assert.deepEqual((await held("?event=Odd")).map(({ messageId }) => messageId), ["other"]);
  assert.deepEqual(await held("?source=planless"), []);
  const page = await site.hub.get("/v1/quarantine?limit=2");
  assert.equal(page.events.length, 2);
  assert.equal((await held(`?limit=2&cursor=${page.next}`)).length, 1);
  await event(site, "fine");
  assert.equal(await site.hub.profile("user_id", "user of wrong"), undefined);

  await t.test("the hub's death changes nothing: it is still there, and not twice", async () => {
    await site.hub.kill("SIGKILL");
    await site.hub.start();
    assert.equal((await held()).length, 3);
  });

  await t.test("the command lists it with what is wrong", async () => {
    assert.match(await site.cli("quarantine", "--event", "Order Completed"), /holding.*\/properties\/total type/);
  });

  await t.test("released, it has its own time; released again, nothing happens; after a crash neither", async () => {
    assert.match(await site.cli("quarantine", "release", wrong.id), /^1 event is released/);
    assert.equal((await event(site, "wrong")).timestamp, at);
    assert.match(await site.cli("quarantine", "release", wrong.id), /^0 events/);
    await site.hub.kill("SIGKILL");
    await site.hub.start();
    assert.deepEqual((await held()).map(({ messageId }) => messageId), ["worse", "other"]);
    const profile = await site.hub.profile("user_id", "user of wrong");
    assert.equal(profile.eventCount, 1);
  });

  await t.test("discarded, it is gone for good", async () => {
    assert.match(await site.cli("quarantine", "discard", "--event", "Odd"), /^1 event is discarded/);
    await site.hub.kill("SIGKILL");
    await site.hub.start();
    assert.deepEqual((await held()).map(({ messageId }) => messageId), ["worse"]);
    assert.equal(await site.hub.profile("user_id", "user of other"), undefined);
  });

  await t.test("somebody who was suppressed meanwhile is not let in by a release", async () => {
    await site.cli("suppress", "user_id=user of worse");
    assert.match(await site.cli("quarantine", "release", "--all"), /^1 event/);
    await waitUntil(async () => (await site.hub.overview()).suppressedEvents === 1);
    assert.equal(await site.hub.profile("user_id", "user of worse"), undefined);
    assert.match(await site.cli("quarantine"), /Nothing is in quarantine/);
  });
});

test("behind 20,000 others in quarantine an event is found, released and discarded by its name", async (t) => {
  const site = await planned(t, { holding: { unplanned: "quarantine" } });
  const others = 20_010;
  for (let from = 0; from < others; from += 2000) {
    const count = Math.min(2000, others - from);
    await site.collector.send(Array.from({ length: count }, (_, i) => ({ ...order(`${from + i}`, {}), event: "Odd" })));
  }
  await waitUntil(async () => (await site.hub.overview()).quarantinedEvents === others);
  await site.collector.send(["one", "two"].map((id) => ({ ...order(id, {}), event: `Rare ${id}` })));
  await waitUntil(async () => (await site.hub.overview()).quarantinedEvents === others + 2);
  assert.match(await site.cli("quarantine", "--event", "Rare one"), /Rare one/);
  assert.match(await site.cli("quarantine", "release", "--event", "Rare one"), /^1 event is released/);
  assert.equal((await event(site, "one")).event, "Rare one");
  assert.match(await site.cli("quarantine", "discard", "--event", "Rare two"), /^1 event is discarded/);
  const first = await site.hub.api("POST", "/v1/quarantine/discard", { event: "Rare two" });
  assert.deepEqual({ ...first.body, next: typeof first.body.next }, { discarded: 0, more: true, next: "string" });
  const last = await site.hub.api("POST", "/v1/quarantine/discard", { event: "Rare two", cursor: first.body.next });
  assert.deepEqual(last.body, { discarded: 0, more: false, next: null });
  assert.equal((await site.hub.api("POST", "/v1/quarantine/discard", { all: true, cursor: "?" })).status, 400);
  assert.match(await site.cli("quarantine", "discard", "--all"), new RegExp(`^${others} events are discarded`));
  assert.match(await site.cli("quarantine"), /Nothing is in quarantine/);
});

test("what a definition may not say is refused with its place", async (t) => {
  const site = await startSite(t, { sources: { other: {} }, segments: {} });
  const put = (body) => site.hub.api("PUT", "/v1/tracking-plans/web", body);
  const about = (schema) => ({ events: { Seen: { properties: schema } } });
  for (const [body, field, code = "invalid-tracking-plan"] of [
    [{}, "/events"],
    [{ events: [] }, "/events"],
    [{ events: {}, unplanned: "refuse" }, "/unplanned"],
    [{ events: {}, violations: "allow" }, "/violations"],
    [{ events: {}, strict: true }, "/strict", "unknown-member"],
    [{ events: {}, name: 7 }, "/name"],
    [{ events: { Seen: { description: [] } } }, "/events/Seen/description"],
    [{ events: { Seen: { traits: {} } } }, "/events/Seen/traits", "unknown-member"],
    [about({ type: "text" }), "/events/Seen/properties/type"],
    [about({ properties: { "a/b": { pattern: "^x" } } }), "/events/Seen/properties/properties/a~1b/pattern", "unknown-member"],
    [about({ items: { oneOf: [] } }), "/events/Seen/properties/items/oneOf", "unknown-member"],
    [about({ enum: [{}] }), "/events/Seen/properties/enum"],
    [about({ format: "email" }), "/events/Seen/properties/format"],
    [about({ minLength: -1 }), "/events/Seen/properties/minLength"],
    [about({ required: "total" }), "/events/Seen/properties/required"],
  ]) {
    const answer = await put(body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.equal(answer.body.error.code, code, answer.text);
    assert.equal(answer.body.error.field, field, answer.text);
  }
  const unknown = await site.hub.api("PUT", "/v1/sources/web", { ...exempt, tracking_plan: "web" });
  assert.equal(unknown.status, 400);
  assert.equal(unknown.body.error.code, "unknown-tracking-plan");
  await site.hub.put("/v1/tracking-plans/web", { name: "Web", ...about({ type: "object" }) });
  await site.hub.put("/v1/sources/web", { ...exempt, tracking_plan: "web" });
  assert.equal((await site.hub.get("/v1/tracking-plans")).trackingPlans[0].key, "web");
  const needed = await site.hub.api("DELETE", "/v1/tracking-plans/web");
  assert.equal(needed.status, 400);
  assert.match(needed.body.error.message, /"web"/);
  await site.hub.put("/v1/sources/web", exempt);
  assert.equal((await site.hub.api("DELETE", "/v1/tracking-plans/web")).status, 204);
});
