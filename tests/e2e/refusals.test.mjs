// What was refused can be seen: at the collector, with the hub up or down, and at the hub for all of them.
import assert from "node:assert/strict";
import { startPlanned } from "./support/plans.mjs";
import { request } from "./support/http.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const EMAIL = "jane.doe@example.com";
const PRIVATE = ["jane.doe", "example.com", "4711", "Rue de la Paix", "u-secret"];

/* GET /v1/refusals of a collector. */
async function refusalsOf(collector, query = "", token = collector.customerToken) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  return request(`${collector.url}/v1/refusals${query}`, { headers });
}

const count = (refusals, source, code) =>
  refusals.find((row) => row.source === source && row.code === code)?.count ?? 0;

/* Polls wait; a change of the definitions ends them, and the next one has the report. */
const wakePolls = (site) => site.hub.put("/v1/traits/any", { edge: ["page"] }).then(() => site.hub.put("/v1/sources/wake", {}));

test("the last refusals of each source are told with the hub down, and nobody's data in them", async (t) => {
  const site = await startSite(t);
  await site.hub.kill("SIGKILL");
  const event = {
    type: "track",
    event: "Order Completed",
    userId: "u-secret",
    properties: { total: "4711", street: "Rue de la Paix", [EMAIL]: true, 4711471147: 1, lines: [1, 2] },
    context: { traits: { email: EMAIL, age: 40 } },
  };
  const denied = { context: { ...event.context, consent: { categoryPreferences: { analytics: false } } } };
  await site.collector.post("/v1/batch", { batch: [event, { ...event, ...denied }, { type: "track" }] }, { writeKey: "shop-web" });
  await site.collector.post("/v1/track", event, { writeKey: "no-such-key" });
  await site.collector.post("/v1/track", "{no json", {});

  const { status, body, text } = await refusalsOf(site.collector);
  assert.equal(status, 200);
  for (const secret of PRIVATE) assert.ok(!text.includes(secret), `${secret} in ${text}`);
  assert.equal(count(body.refusals, "shop-web", "consent-missing"), 1);
  assert.equal(count(body.refusals, "shop-web", "consent-denied"), 1);
  assert.equal(count(body.refusals, "shop-web", "missing-event-name"), 1);
  assert.equal(count(body.refusals, "", "unknown-write-key"), 1);
  assert.equal(count(body.refusals, "", "invalid-json"), 1);
  const seen = body.last.find(({ code }) => code === "consent-missing");
  assert.equal(seen.source, "shop-web");
  assert.equal(seen.event, "Order Completed");
  assert.equal(seen.type, "track");
  assert.equal(seen.field, "/context/consent/categoryPreferences");
  assert.match(
    seen.sample,
    /^userId:text\(8\) properties\{total:text\(4\),street:text\(14\),…:boolean,…:number,lines:array\(2\)\} context\{traits\{email:text\(20\) j…@…,age:number\}\}$/,
  );
  assert.deepEqual(
    (await refusalsOf(site.collector, "?source=shop-web")).body.last.map(({ source }) => source),
    ["shop-web", "shop-web", "shop-web"],
  );
  assert.equal((await refusalsOf(site.collector, "", null)).status, 401);
  assert.equal((await refusalsOf(site.collector, "", "wrong")).status, 401);
});

test("only the last twenty of a source are kept, the counts are exact, and no write key makes a new count", async (t) => {
  const site = await startSite(t);
  for (let n = 0; n < 30; n++) {
    await site.collector.post("/v1/track", { event: `Event ${n}`, userId: "u1" }, { writeKey: "shop-web" });
    await site.collector.post("/v1/track", { event: "Hello", userId: "u1" }, { writeKey: `made up ${n}` });
  }
  const { body } = await refusalsOf(site.collector);
  const shown = body.last.filter(({ source }) => source === "shop-web");
  assert.deepEqual(shown.map(({ event }) => event), Array.from({ length: 20 }, (_, n) => `Event ${29 - n}`));
  assert.equal(count(body.refusals, "shop-web", "consent-missing"), 30);
  assert.equal(count(body.refusals, "", "unknown-write-key"), 30);
  assert.equal(body.refusals.length, 2);
  const metrics = await (await fetch(`${site.collector.url}/metrics`)).text();
  const lines = metrics.split("\n").filter((line) => line.startsWith("tributary_refused_events_total{"));
  assert.deepEqual(lines.sort(), [
    'tributary_refused_events_total{source="",reason="unknown-write-key"} 30',
    'tributary_refused_events_total{source="shop-web",reason="consent-missing"} 30',
  ]);
});

test("the hub is told, adds up over restarts of the collector, and the command shows it", async (t) => {
  const site = await startPlanned(t, {
    till: {
      events: { Sold: { properties: { type: "object", properties: { total: { type: "number" } } } } },
      violations: "refuse",
    },
  });
  const wrong = { event: "Sold", userId: "u-secret", properties: { total: "4711" } };
  const told = async (total) => {
    await wakePolls(site);
    return waitUntil(
      async () => {
        const answer = await site.hub.get("/v1/refusals?collector=edge&source=till");
        return answer.refusals[0]?.total === total && answer;
      },
      { timeout: 40_000, what: `the hub to know ${total} refusals` },
    );
  };
  for (let n = 0; n < 3; n++) await site.collector.post("/v1/track", wrong);
  const { refusals, last } = await told(3);
  assert.deepEqual(refusals, [
    { collector: "edge", source: "till", code: "plan-violation", lastHour: 3, sinceStart: 3, total: 3 },
  ]);
  assert.equal(last.length, 3);
  assert.equal(last[0].field, "/properties/total");
  assert.equal(last[0].sample, "userId:text(8) properties{total:text(4)}");
  assert.ok(Math.abs(Date.now() - Date.parse(last[0].at)) < 60_000);
  assert.deepEqual((await site.hub.get("/v1/refusals?source=other")).refusals, []);

  await site.collector.kill("SIGKILL");
  await site.collector.start();
  for (let n = 0; n < 2; n++) await site.collector.post("/v1/track", wrong);
  const again = await told(5);
  assert.equal(again.refusals[0].sinceStart, 2);
  assert.equal(again.refusals[0].lastHour, 5);

  const edge = await site.hub.get("/v1/collectors/edge");
  assert.deepEqual(edge.refusalsLastHour, { "plan-violation": 5 });
  assert.equal(edge.lagMs, 0);
  assert.ok(edge.gateVersion > 0);

  const table = await site.cli("refusals", "--collector", "edge", "--source", "till");
  assert.match(table, /edge +till +plan-violation +5 +2 +5/);
  assert.match(table, /\/properties\/total +Sold +userId:text\(8\)/);
  const status = await site.cli("status");
  assert.match(status, /Refusals of the last hour\n.*\n +edge +till +plan-violation +5/);
  assert.match(status, /COLLECTOR .*LAST SEEN.*CLOCK.*SPOOLED.*BYTES.*LAG.*GATE/);

  await t.test("a hub that starts again is told what the collector still has", async () => {
    await site.hub.kill("SIGKILL");
    await site.hub.start();
    const { refusals: kept, last: shown } = await waitUntil(
      async () => {
        const answer = await site.hub.get("/v1/refusals");
        return answer.last.length > 0 && answer;
      },
      { timeout: 40_000 },
    );
    assert.deepEqual([kept[0].sinceStart, kept[0].lastHour, shown.length], [2, 0, 2]);
  });
});
