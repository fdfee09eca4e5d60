// What the edges show to whom: segments and traits to the audience they are marked for, a person's things to the
// browser whose they are, and no browser to anybody else.
import assert from "node:assert/strict";
import { request } from "./support/http.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const ORIGIN = "http://127.0.0.1";
const EMAIL = "jane@example.com";
const where = { event: "Order Completed" };
const EDGES = { nobody: [], page: ["page"], staff: ["staff"], both: ["page", "staff"] };

const byEdge = (make) => Object.fromEntries(Object.entries(EDGES).map(([key, edge]) => [key, make(key, edge)]));

const bought = (person, n = 0) => ({ type: "track", event: "Order Completed", messageId: `${JSON.stringify(person)}${n}`, ...person });

// Jane, who has bought something in the browser a1, and a stranger in the browser a2.
async function startShop(t, options) {
  const segments = byEdge((key, edge) => ({ name: `Name of ${key}`, edge, where }));
  const site = await startSite(t, { segments: { ...segments, unmarked: { where } }, ...options });
  const { hub } = site;
  const collector = site.collectors.web ?? site.collector;
  for (const [key, edge] of Object.entries(EDGES)) await hub.put(`/v1/traits/${key}`, { edge });
  const traits = { email: EMAIL, ...byEdge((key) => `value of ${key}`), unmarked: "value" };
  const jane = { userId: "jane", anonymousId: "a1" };
  await collector.send([{ type: "identify", ...jane, traits }, bought(jane), bought({ anonymousId: "a2" })]);
  await waitUntil(async () => (await collector.me("a1")).segments.length === 2 && (await collector.me("a1")).traits.both);
  await waitUntil(async () => (await collector.me("a2")).segments.length === 2);
  await waitUntil(async () => (await collector.customer("email", EMAIL)).body.traits?.both);
  return { site, hub, collector };
}

const names = ({ segments, traits }) => ({ segments: [...segments].sort(), traits: Object.keys(traits).sort() });
const of = (...keys) => ({ segments: keys, traits: keys });

test("segments and traits are shown to whom they are marked for, unmarked ones to nobody", async (t) => {
  const { collector } = await startShop(t);
  assert.deepEqual(names(await collector.me("a1")), of("both", "page"));
  const { body: card } = await collector.customer("email", EMAIL);
  assert.deepEqual(names(card), of("both", "staff"));
  assert.deepEqual(card.segmentNames, { both: "Name of both", staff: "Name of staff" });
  const event = { type: "track", event: "A", anonymousId: "a1" };
  const { body } = await collector.post("/v1/b?me=1", { batch: [event] }, { headers: { cookie: "trb_aid=a1" } });
  assert.deepEqual(names(body.me), of("both", "page"));
  assert.doesNotMatch(JSON.stringify([card, body, await collector.me("a1")]), /nobody|unmarked/);
});

test("an audience that changes is in force at the box at once, and whoever waits is told", async (t) => {
  const { hub, collector } = await startShop(t);
  const put = (key, edge) => hub.put(`/v1/segments/${key}`, { name: "N", edge, where });
  const { version } = await collector.me("a1");
  const waiting = request(`${collector.url}/v1/me?anonymousId=a1&wait=25s&version=${version}`, { headers: { cookie: "trb_aid=a1" } });
  const start = performance.now();
  await put("both", ["staff"]);
  assert.deepEqual((await waiting).body.segments, ["page"]);
  assert.ok(performance.now() - start < 5000, "long before its time");
  t.diagnostic(`from the definition to the page: ${(performance.now() - start).toFixed(0)} ms`);
  assert.deepEqual((await collector.customer("email", EMAIL)).body.segments.sort(), ["both", "staff"]);

  await put("staff", []);
  await hub.put("/v1/traits/both", { edge: [] });
  await waitUntil(async () => {
    const { segments, traits } = names((await collector.customer("email", EMAIL)).body);
    return segments.join() === "both" && traits.join() === "staff";
  });
  await put("nobody", ["page"]);
  await waitUntil(async () => (await collector.me("a1")).segments.includes("nobody"), { what: "what nobody saw to come" });
  assert.equal((await hub.get("/v1/segments/nobody")).status, "live", "and it has not changed its meaning");

  await collector.kill("SIGKILL");
  await hub.kill("SIGKILL");
  await collector.start();
  assert.deepEqual(names(await collector.me("a1")), { segments: ["nobody", "page"], traits: ["page"] });
});

test("a known person's things are told to the browser itself alone, a stranger's to whoever names it", async (t) => {
  const { collector } = await startShop(t);
  const ask = async (anonymousId, headers) => (await collector.me(anonymousId, headers)).segments.length;
  const told = [
    { cookie: "trb_aid=a1" },
    { cookie: "other=1; trb_aid=a1", "sec-fetch-site": "same-origin" },
    { cookie: "sp=a1" },
    { origin: ORIGIN },
    { origin: ORIGIN, "sec-fetch-site": "cross-site" },
  ];
  const untold = [
    {},
    { cookie: "trb_aid=a2" },
    { origin: "https://elsewhere.example" },
    { cookie: "trb_aid=a1", origin: "https://elsewhere.example", "sec-fetch-site": "cross-site" },
  ];
  for (const headers of told) assert.equal(await ask("a1", headers), 2, JSON.stringify(headers));
  for (const headers of untold) {
    assert.deepEqual(await collector.me("a1", headers), { anonymousId: "a1", segments: [], traits: {}, version: 0 });
    assert.equal(await ask("a2", headers), 2, "of a stranger there is nothing to keep");
  }
  const context = { consent: { categoryPreferences: { analytics: true } } };
  const event = { type: "track", event: "A", anonymousId: "a1", context };
  const send = async (headers) =>
    (await collector.post("/v1/b?me=1", { batch: [event] }, { writeKey: "shop-web", headers })).body.me.version;
  assert.equal(await send({}), 0);
  assert.equal(await send({ cookie: "trb_aid=a2" }), 0);
  assert.ok((await send({ origin: ORIGIN })) > 0);
});

test("a browser is told of a known person for as long as the last evidence holds", async (t) => {
  const { hub, collector } = await startShop(t);
  const rules = await hub.get("/v1/identity-rules");
  assert.equal(rules.me_for, "30d");
  const isTold = async (id) => (await collector.me(id)).segments.length > 0;
  await hub.put("/v1/identity-rules", { ...rules, me_for: "3s" });
  await waitUntil(async () => !(await isTold("a1")), { what: "the evidence to be old" });
  assert.equal((await collector.me("a1")).version, 0);
  assert.ok(await isTold("a2"), "a stranger needs none");
  assert.equal((await collector.customer("email", EMAIL)).status, 200, "and the till neither");
  await collector.send([bought({ userId: "jane", anonymousId: "a1" }, 1)]);
  await waitUntil(() => isTold("a1"), { what: "the new evidence" });
  await waitUntil(async () => !(await isTold("a1")), { what: "that to be old" });
  const wrong = await hub.api("PUT", "/v1/identity-rules", { ...rules, me_for: "long" });
  assert.equal(wrong.status, 400);
  assert.match(wrong.body.error.message, /me_for/);
});

test("a box knows the browsers that it has seen, and shows none to anybody", async (t) => {
  const { site, hub } = await startShop(t, { collectors: ["web", "till"] });
  const { web, till } = site.collectors;
  await hub.put("/v1/collectors/till", { scope: { kind: "everybody" } });
  await waitUntil(async () => (await hub.get("/v1/collectors/till")).cache.status === "complete", { timeout: 30_000 });
  for (const box of [web, till]) {
    const { body } = await box.customer("email", EMAIL);
    assert.deepEqual(body.identifiers.map(({ type }) => type).sort(), ["email", "user_id"], box.name);
  }
  assert.equal((await till.me("a1")).version, 0, "it was not seen there");
  await till.send([{ type: "track", event: "A", userId: "jane", anonymousId: "a1" }]);
  await waitUntil(async () => (await till.me("a1")).segments.length === 2);
  await hub.kill();
  assert.equal((await till.me("a1")).segments.length, 2);
  assert.equal((await web.me("a1")).segments.length, 2);
});

test("a wrong audience is refused with its place", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  const rows = [
    [true, "/edge", /must be a list/],
    ["page", "/edge", /must be a list/],
    [["pages"], "/edge/0", /"pages" is no audience; there are "page" and "staff"/],
    [["staff", 7], "/edge/1", /is no audience/],
    [["page", "page"], "/edge/1", /twice/],
  ];
  for (const [edge, field, message] of rows) {
    for (const [path, more, code] of [["/v1/segments/s", { where }, "invalid-segment"], ["/v1/traits/s", {}, "invalid-trait"]]) {
      const { status, body } = await hub.api("PUT", path, { ...more, edge });
      assert.equal(status, 400);
      assert.equal(body.error.code, code);
      assert.equal(body.error.field, field);
      assert.match(body.error.message, message);
    }
  }
  await hub.put("/v1/segments/s", { where });
  await hub.put("/v1/traits/s", { edge: ["staff", "page"] });
  assert.deepEqual((await hub.get("/v1/segments/s")).edge, []);
  assert.deepEqual((await hub.get("/v1/traits/s")).edge, ["page", "staff"]);
});
