// What real sites, tills and clients send, and what must become of it: inputs of our own, and those that failed in the
// field, which lie beside the repository.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { ROOT } from "./support/cli.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const run = promisify(execFile);
const CASES = process.env.E2E_CASES ?? join(ROOT, "..", "shared", "cases");
const PLAYER = join(CASES, "play.mjs");

/* Of each case: what must be printed, and what must not; how many profiles there are, and how many with an e-mail. */
const PLAYED = {
  "01": { has: [/rejected\//, /line 2,/, /line 3,/, /line 5,/, /"total":1234\.5/], lacks: [/1250|"total":99|"total":1234\b(?!\.5)/] },
  "02": { has: [/"total":30\b/, /"total":45\b/, /"total":50\b/] },
  "03": { profiles: 8 },
  "04": { has: [/loyalty_id="00417"/, /"total":9\.9/, /"total":5\b/, /"total":7\b/], profiles: 1 },
  "06": { has: [/done\//, /"total":9\.9/] },
  "07": { has: [/done\//, /(?:[^]*"total":1234\.5){3}/] },
  "09": { has: [/done\//, /"total":9\.9/, /"total":1\.1/], profiles: 2 },
  10: { has: [/done\//, /"total":30\b/, /Cup/, /Plate/], profiles: 1 },
  11: { has: [/"total":9\.9/, /"total":1\.1/] },
  20: { lacks: [/user_id/], people: 2 },
  21: { lacks: [/user_id/], people: 8 },
  23: { lacks: [/(?:loyalty_id="[^"]*" .*){6}/] },
  24: { has: [/phone="\+33612345678"/], lacks: [/phone="33612345678"|phone="0033/] },
  30: { has: [/ab\ufffdAYZ/] },
  31: { has: [/"a\ufffd"/, /"\ufffda"/, /"😀"/] },
  32: { has: [/identify/, / E /, / F /] },
  33: { has: [/ E0 /, / E1 /, / E2 /, / E3 /, / E4 /, / E5 /] },
  34: { has: [/ A /, / C /, /"index":1/] },
  35: { has: [/ E /] },
  37: { has: [/answer: 200/] },
  38: { has: [/jane@example\.com 200/, /%00zz 404/], lacks: [/ E \{/] },
  39: { has: [/ 1 [^]* 2 [^]* 3 [^]* 4 [^]* 5 [^]* 6 /] },
  40: { has: [/segments by-product/] },
};

for (const [number, { has = [], lacks = [], profiles, people }] of Object.entries(PLAYED)) {
  const skip = !existsSync(PLAYER) && `the inputs of the field are not at ${CASES}`;
  test(`the input ${number} of the field comes to what it should`, { skip }, async () => {
    const file = readdirSync(CASES).find((name) => name.startsWith(number) && !name.endsWith(".mapping"));
    const { stdout } = await run(process.execPath, [PLAYER, join(CASES, file)], { cwd: ROOT, timeout: 120_000 });
    const came = stdout.replace(/^right:.*$/m, "");
    for (const pattern of has) assert.match(came, pattern);
    for (const pattern of lacks) assert.doesNotMatch(came, pattern);
    if (people !== undefined) assert.equal(came.match(/^profile .*\bemail=/gm)?.length, people, came);
    if (profiles !== undefined) assert.equal(came.match(/^profile /gm)?.length, profiles, came);
  });
}

test("requests as clients write them lose no event and make nobody of no value", async (t) => {
  const { hub, collector } = await startSite(t);
  const post = async (path, body, headers = {}, status = 200) => {
    const answer = await collector.post(path, body, { headers });
    assert.equal(answer.status, status, `${path}: ${answer.text}`);
    return answer.body;
  };
  const track = (event, more = {}) => JSON.stringify({ userId: "field", event, ...more });
  await post("/v1/track", "\ufeff" + track("with a mark"));
  await post("/v1/track", track("half \ud83d", { properties: { s: "\udc00" } }));
  await post("/v1/track", track("php", { properties: [], context: [], integrations: [], traits: [] }));
  await post("/v1/track", track("yesterday", { timestamp: "yesterday" }));
  await post("/v1/track", track("epoch", { timestamp: 1795168800123 }));
  const gzip = Buffer.concat([gzipSync(track("in members").slice(0, 20)), gzipSync(track("in members").slice(20))]);
  await post("/v1/track", gzip, { "content-encoding": "gzip" });
  const nan = await post("/v1/batch", `{"batch":[${["A", "B", "C"]
    .map((name) => `{"type":"track","userId":"field","event":"${name}","properties":{"x":${name === "B" ? "-Infinity" : 1}}}`)
    .join()}]}`);
  assert.deepEqual(nan.rejected.map(({ index, code }) => [index, code]), [[1, "number-out-of-range"]]);
  for (const id of ["None", "<nil>", " 'NULL' ", "0", "[object Object]", "{{ id }}", false, []]) {
    const refused = await post("/v1/track", { userId: id, event: "nobody's" }, {}, 400);
    assert.equal(refused.error.code, "nobody", JSON.stringify(id));
  }
  await post("/v1/identify", { userId: "undefined", anonymousId: "visitor", traits: { email: "N/A", phone: "0000000000" } });

  const profile = await waitUntil(async () => {
    const found = await hub.profile("user_id", "field");
    return found?.eventCount === 8 && found;
  });
  const events = new Map((await hub.timeline(profile.id)).map((event) => [event.event, event]));
  assert.ok(events.get("half \ufffd").properties.s === "\ufffd", [...events.keys()].join());
  assert.ok(events.has("with a mark") && events.has("in members") && events.has("A") && events.has("C"));
  assert.deepEqual(events.get("php").properties, {});
  assert.equal(events.get("yesterday").context.timeUnreadable, true);
  assert.equal(events.get("epoch").timestamp, "2026-11-20T10:00:00.123Z");
  const visitor = await waitUntil(() => hub.profile("anonymous_id", "visitor"));
  assert.deepEqual(visitor.identifiers.map(({ type }) => type), ["anonymous_id"]);
  for (const [type, value] of [["user_id", "undefined"], ["email", "n/a"], ["phone", "0000000000"]]) {
    assert.equal(await hub.profile(type, value), undefined, `${type} ${value}`);
    assert.equal((await collector.customer(type, value)).status >= 400, true);
  }
});

test("the list of values that name nobody is shown, and an operator adds to it", async (t) => {
  const { hub, collector } = await startSite(t);
  const rules = await hub.get("/v1/identity-rules");
  assert.ok(rules.alwaysBlocked.values.includes("none") && rules.alwaysBlocked.kinds.length > 3);
  assert.deepEqual(
    Object.fromEntries(rules.identifiers.map(({ type, limit }) => [type, limit])),
    { user_id: 1, loyalty_id: 5, email: 5, phone: 5, anonymous_id: 0 },
  );
  Object.assign(rules.identifiers.find(({ type }) => type === "email"), {
    blocked: ["House@Shop.example"],
    blockedPatterns: ["*@till.example"],
  });
  assert.equal((await hub.api("PUT", "/v1/identity-rules", rules)).status, 200);
  const emails = ["house@shop.example", "Lyon@TILL.example", "jane@shop.example"];
  await collector.send(
    emails.map((email, i) => ({ type: "identify", userId: `u${i}`, traits: { email } })),
  );
  await waitUntil(() => hub.profile("user_id", "u2"));
  await waitUntil(() => hub.profile("email", emails[2]));
  assert.equal(await hub.profile("email", emails[0]), undefined);
  assert.equal(await hub.profile("email", emails[1]), undefined);
});

test("a telephone number is one person in every spelling, of the country that the rules tell", async (t) => {
  const { hub, collector } = await startSite(t);
  const rules = { ...(await hub.get("/v1/identity-rules")), phone: { country: "FR" } };
  assert.equal((await hub.api("PUT", "/v1/identity-rules", rules)).status, 200);
  const wrong = await hub.api("PUT", "/v1/identity-rules", { ...rules, phone: { country: "France" } });
  assert.equal(wrong.status, 400);
  const spellings = ["+33 6 12 34 56 78", "0033612345678", "+33 (0)6 12 34 56 78", "06 12 34 56 78", "\uff0b33612345678"];
  await collector.send(
    spellings.map((phone, i) => ({ type: "identify", anonymousId: `p${i}`, traits: { phone } })),
  );
  await waitUntil(async () => (await hub.profile("phone", "+33612345678"))?.eventCount === spellings.length);
  await waitUntil(async () => (await collector.customer("phone", "06.12.34.56.78")).status === 200);
});

/* A shop's address on every card: the merges end, and the journal says why. */
test("an address on fifty cards joins no more than five, and the refusal is in the journal", async (t) => {
  const { hub, collector } = await startSite(t);
  const cards = Array.from({ length: 50 }, (_, i) => `card-${i}`);
  await collector.send(
    cards.map((id) => ({
      type: "track",
      event: "Order Completed",
      context: { externalIds: [{ type: "loyalty_id", id }, { type: "email", id: "boutique@shop.example" }] },
    })),
  );
  await waitUntil(async () => (await hub.overview()).events >= 50);
  let refusals = 0;
  for (const { id } of await hub.profiles()) {
    const { identifiers } = await hub.get(`/v1/profiles/${id}`);
    assert.ok(identifiers.filter(({ type }) => type === "loyalty_id").length <= 5);
    const { journal = [], refused = [] } = await hub.get(`/v1/profiles/${id}/identity`);
    refusals += [...journal, ...refused].filter((entry) => /refused/.test(JSON.stringify(entry))).length;
  }
  assert.ok(refusals > 0, "no refusal is journalled");
});

test("files as spreadsheets and old tills write them become the orders that they hold", async (t) => {
  const site = await startSite(t);
  const folder = join(site.dir, "drop");
  mkdirSync(folder);
  await site.collector.kill();
  site.collector.args.push("--drop_folder", folder, "--drop_zone", "Europe/Paris", "--drop_settle_ms", "1s");
  await site.collector.start();
  const mapping = {
    source: SERVER_WRITE_KEY,
    delimiter: ";",
    decimal: ",",
    thousands: ".",
    messageId: ["Shop", "Ticket"],
    event: {
      type: "track",
      event: "Order Completed",
      timestamp: { column: "At", as: "date", format: "%d/%m/%Y %H:%M" },
      properties: {
        order_id: { column: "Ticket" },
        total: { column: "Total", as: "number" },
        products: { each_line: { sku: { column: "Sku" } } },
      },
      context: { externalIds: [{ type: "loyalty_id", id: { column: "Card" } }] },
    },
  };
  writeFileSync(join(folder, "m.mapping"), JSON.stringify({ files: "*.csv", ...mapping }));
  const rows = [
    "sep=;",
    "Shop;Ticket;At;Card;Total;Sku;",
    'Lyon;1;20/11/2026 10:00;="00417";(1.234,50 €);A',
    "Lyon;1;20/11/2026 10:00;'00417;;B;",
    ";;;;;;",
    "Lyon;1;21/11/2026 10:00;00417;12,- EUR;C",
    "Lyon;2;21/11/2026 10:05;N/A;5\u2212;D",
    "Lyon;3;21/11/2026 10:06;00417;12.50;E",
    "\x1a",
  ];
  writeFileSync(join(folder, "orders.csv"), rows.join("\r"));
  const report = join(folder, "rejected", "orders.csv.report");
  await waitUntil(() => existsSync(report), { timeout: 60_000, what: "the report" });
  const said = readFileSync(report, "utf8");
  assert.match(said, /line 7: nobody/, "a card that is none");
  assert.match(said, /line 8, column "Total": the digits between the marks of thousands/);
  const customer = await waitUntil(async () => {
    const found = await site.hub.profile("loyalty_id", "00417");
    return found?.eventCount === 2 && found;
  });
  const orders = (await site.hub.timeline(customer.id)).map(({ properties }) => properties).reverse();
  assert.deepEqual(orders, [
    { order_id: "1", total: -1234.5, products: [{ sku: "A" }, { sku: "B" }] },
    { order_id: "1", total: 12, products: [{ sku: "C" }] },
  ]);
});

test("what one client sends in one moment keeps its order in the timeline", async (t) => {
  const { hub, collector } = await startSite(t);
  const timestamp = "2026-11-20T10:00:00.123Z";
  const names = Array.from({ length: 40 }, (_, i) => `step ${i}`);
  await collector.send(names.map((event) => ({ type: "track", userId: "u", event, timestamp })));
  const late = ["300", "100", "200"].map((micros) => ({
    type: "track",
    userId: "v",
    event: micros,
    timestamp: `2026-11-20T10:00:00.123${micros}Z`,
  }));
  await collector.send(late);
  const timelineOf = async (id, count) => {
    const profile = await waitUntil(async () => {
      const found = await hub.profile("user_id", id);
      return found?.eventCount === count && found;
    });
    return (await hub.timeline(profile.id)).map(({ event }) => event).reverse();
  };
  assert.deepEqual(await timelineOf("u", names.length), names);
  assert.deepEqual(await timelineOf("v", 3), ["100", "200", "300"]);
});
