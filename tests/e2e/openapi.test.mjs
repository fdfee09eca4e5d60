// The two OpenAPI documents are valid and true: every path and status that they name is met at the running daemons,
// every answer is as they say, and whatever is sent, no answer is a failure of the daemon.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Document, numbers, spoil } from "./support/openapi.mjs";
import { request } from "./support/http.mjs";
import { SEED, startSite, test, waitUntil } from "./support/site.mjs";

const HUB = new Document("hub/openapi.yaml");
const COLLECTOR = new Document("collector/openapi.yaml");
const ROUNDS = 12; // right and wrong bodies of each operation

for (const document of [HUB, COLLECTOR]) {
  test(`${document.name} is a valid OpenAPI 3.1 document`, async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document.root));
    assert.ok(valid, JSON.stringify(errors));
    assert.equal(validator.version, "3.1");
    // A comma in an unquoted description ends it, and what follows becomes a member of its own.
    const walk = (node, path) => {
      for (const [name, value] of Object.entries(node && typeof node === "object" ? node : {})) {
        assert.ok(value !== null || /example|enum/.test(path), `${path}/${name} has no value`);
        assert.notEqual(name, "nullable", path);
        walk(value, `${path}/${name}`);
      }
    };
    walk(document.root, "");
  });

  test(`every example in ${document.name} is as its schema says`, () => {
    const walk = (node) => {
      if (!node || typeof node !== "object") return;
      const { example, examples, schema } = node;
      for (const value of [example, ...Object.values(examples ?? {}).map((one) => one.value)]) {
        const of = schema ?? (node.type || node.properties ? node : undefined);
        if (value === undefined || !of) continue;
        const { ajv } = document;
        const validate = ajv.compile(JSON.parse(JSON.stringify(of).replaceAll('"#/', '"document#/')));
        assert.ok(validate(value), `${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`);
      }
      Object.values(node).forEach(walk);
    };
    walk(document.root);
  });
}

/* Sends requests of a document to a daemon and keeps what was answered. */
class Walk {
  constructor(document, url, general, headers) {
    Object.assign(this, { document, url, general, headers, seen: new Set() });
  }

  async send(operation, { path = {}, query = {}, body, headers = {} } = {}) {
    const place = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(path[name] ?? "none"));
    const search = new URLSearchParams(query).toString();
    const raw = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const url = `${this.url}${place}${search && `?${search}`}`;
    const sent = Object.fromEntries(Object.entries({ ...this.headers, ...headers }).filter(([, value]) => value !== undefined));
    const answer = await request(url, { method: operation.method, body: raw, headers: sent });
    const about = `${operation.method} ${url} ${raw?.slice(0, 400) ?? ""}\n${answer.status} ${answer.text.slice(0, 400)}`;
    assert.ok(answer.status < 500 || answer.status === 503, about);
    const mistake = this.document.mistake(operation, answer, this.general);
    assert.equal(mistake, undefined, `${mistake}\n${about}`);
    this.seen.add(`${operation.method} ${operation.path} ${answer.status}`);
    return answer;
  }

  /* Right and wrong bodies and parameters, made from the document. */
  async tryAll(operation, path, random) {
    const { parameters, body } = operation;
    const inQuery = parameters.filter((one) => one.in === "query");
    const right = Object.assign({}, ...inQuery.map(({ name, schema, example }) => (schema?.type === "object" ? example : example !== undefined && { [name]: example })));
    if (!body) await this.send(operation, { path, query: right });
    await this.send(operation, { path: Object.fromEntries(Object.keys(path).map((name) => [name, `no-such-${operation.method}`])), query: right, body: body && {} });
    for (const { name } of inQuery) {
      for (const value of ["", "0", "-1", "x", "99999999999999999999", "\u0000", "%", "é".repeat(300)]) {
        await this.send(operation, { path, query: { [name]: value }, body: body && this.document.sample(body, random) });
      }
    }
    if (!body) return;
    for (const text of ["", "{", "[]", "7", '"x"', '{"a":1}{', "\ufeff{}", "\u0000", "[".repeat(2000), "{".repeat(30) + '"']) {
      await this.send(operation, { path, body: text });
    }
    for (let round = 0; round < ROUNDS; round++) {
      const sample = this.document.sample(body, random);
      await this.send(operation, { path, query: right, body: sample });
      await this.send(operation, { path, query: right, body: spoil(sample, random) });
    }
  }

  /* What the document names and nobody has met. */
  unseen() {
    const all = this.document.operations().flatMap(({ method, path, responses }) => Object.keys(responses).map((status) => `${method} ${path} ${status}`));
    return all.filter((one) => !this.seen.has(one));
  }
}

const KEY = "ab".repeat(32);

/* The document names every figure that the daemon gives. */
async function checkMetrics(document, daemon) {
  const { text } = await request(`${daemon.url}/metrics`);
  const named = document.root.paths["/metrics"].get.description;
  const missing = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name).filter((name) => !new RegExp(`\\b${name}\\b`).test(named));
  assert.deepEqual(missing, [], document.name);
}

/* Everything that the hub's paths can be asked for. */
async function seed(hub) {
  await hub.put("/v1/identity-rules", { identifiers: [{ type: "email" }, { type: "user_id" }, { type: "anonymous_id", known: false }] });
  await hub.put("/v1/tracking-plans/p", { events: { Odd: { properties: { required: ["total"] } } }, violations: "quarantine" });
  await hub.put("/v1/sources/s", { tracking_plan: "p" });
  await hub.put("/v1/traits/t", { edge: ["page"] });
  await hub.put("/v1/segments/base", { where: { event: "Sold" } });
  await hub.put("/v1/segments/k", { where: { segment: "base" } });
  await hub.put("/v1/purchases", { events: ["Sold"] });
  await hub.put("/v1/business-keys/Sold", { key: "order_id" });
  await hub.put("/v1/collectors/spare", { publicKey: KEY });
  await hub.put("/v1/suppressions", { identifiers: [{ type: "email", value: "gone@example.com" }] });
}

test("the hub answers as its document says, on every path with every status", async (t) => {
  const site = await startSite(t, { segments: {} });
  const { hub, collector } = site;
  const random = numbers(SEED);
  await seed(hub);
  await hub.put("/v1/sources/shop-server", { trust: "server", consent: { exempt: true }, tracking_plan: "p" });
  const track = (event, n) => ({ type: "track", event, messageId: `${event}${n}`, userId: `u${n}`, properties: {} });
  const jane = { type: "identify", messageId: "i", anonymousId: "a1", userId: "u1", traits: { email: "jane@example.com" } };
  await waitUntil(async () => (await collector.metric("tributary_suppressed_identifiers")) === 1);
  await collector.send([jane, ...[1, 2, 3].flatMap((n) => [track("Sold", n), track("Odd", n)])]);
  await collector.post("/v1/batch", { batch: [{ type: "nonsense" }] }); // so that something was refused
  const { id } = await waitUntil(() => hub.profile("email", "jane@example.com"), { what: "jane" });
  await waitUntil(async () => (await hub.get("/v1/quarantine")).events.length === 3);

  const walk = new Walk(HUB, hub.url, [400, 401, 405, 413, 429], { authorization: `Bearer ${hub.token}` });
  const PATHS = { "/v1/profiles/{id}": { id }, "/v1/segments/{key}": { key: "k" }, "/v1/traits/{key}": { key: "t" }, "/v1/sources/{key}": { key: "s" }, "/v1/sources/{id}": { id: "s" }, "/v1/tracking-plans/{key}": { key: "p" }, "/v1/collectors/{id}": { id: "spare" }, "/v1/business-keys/{event}": { event: "Sold" } };
  for (const operation of HUB.operations()) {
    await seed(hub);
    const [, path] = Object.entries(PATHS).find(([prefix]) => operation.path.startsWith(prefix)) ?? [];
    if (operation.needsToken) {
      for (const authorization of ["", "Bearer", `Bearer ${hub.token}x`, `Basic ${hub.token}`]) {
        const { status } = await walk.send(operation, { path, headers: { authorization } });
        assert.ok([401, 429].includes(status), `${operation.method} ${operation.path} with "${authorization}"`);
      }
    }
    await walk.tryAll(operation, path ?? {}, random);
  }
  const [put, remove] = ["PUT", "DELETE"].map((method) => (path) => HUB.operations().find((one) => one.method === method && one.path === path));
  const get = (path) => HUB.operations().find((one) => one.method === "GET" && one.path === path);
  await seed(hub);
  await walk.send(put("/v1/segments/{key}"), { path: { key: "fresh" }, body: { where: { event: "Sold" } } });
  await walk.send(put("/v1/segments/{key}"), { path: { key: "fresh" }, body: { where: { event: "Sold" } } });
  await walk.send(remove("/v1/segments/{key}"), { path: { key: "base" } });
  await walk.send(remove("/v1/tracking-plans/{key}"), { path: { key: "p" } });
  await walk.send(put("/v1/tracking-plans/{key}"), { path: { key: "free" }, body: { events: {} } });
  await walk.send(remove("/v1/tracking-plans/{key}"), { path: { key: "free" } });
  await walk.send(put("/v1/collectors/{id}"), { path: { id: "spare" }, body: { scope: { kind: "everybody" } } });
  await walk.send(put("/v1/collectors/{id}"), { path: { id: "spare" }, body: { publicKey: "cd".repeat(32) } });
  await walk.send(put("/v1/collectors/{id}"), { path: { id: "nobody" }, body: { scope: { kind: "seen" } } });
  await walk.send(put("/v1/collectors/{id}"), { path: { id: "A B" }, body: { publicKey: KEY } });
  await walk.send(get("/v1/suppressions"), { query: { type: "email", value: "nobody@example.com" } });
  await walk.send(get("/v1/suppressions"), { query: { type: "email", value: "gone@example.com" } });
  await walk.send(get("/v1/profiles"), { query: { email: "nobody@example.com" } });
  await walk.send(get("/v1/profiles"), { query: { email: "a@b.c", phone: "1" } });
  await walk.send(remove("/v1/purchases"));
  await walk.send(remove("/v1/purchases"));
  for (const path of ["/v1/identity-rules", "/v1/purchases", "/v1/stats/overview"]) {
    assert.equal((await hub.api("POST", path, {})).status >= 404, true);
  }
  // Of damage that was found: damage.test.mjs.
  assert.deepEqual(walk.unseen().filter((one) => one !== "GET /readyz 503"), []);
  await checkMetrics(HUB, hub);
  assert.ok(hub.running);
});

// What needs a full disk or a crowd: the scenario that shows each.
const ELSEWHERE = {
  // overload.test.mjs; `too-many-waiting`: watch_test.c; `no-link-key`: a hub that has never been heard
  503: /^(POST|GET) .+ 503$/,
};

test("the collector answers as its document says, on every path with every status", async (t) => {
  const script = join(tmpdir(), `tributary-analytics-${process.pid}.js`);
  writeFileSync(script, "window.analytics = 1;");
  const origins = ["https://shop.example"];
  const server = { trust: "server", consent: { exempt: true } };
  const page = "https://www.example";
  const sources = { "shop-web": { origins: [page] }, "shop-server": { ...server, origins }, slow: { ...server, rate: { events_per_second: 0.001, burst: 1 } } };
  const site = await startSite(t, { sources, segments: {}, settings: { analytics_js_file: script } });
  const { collector, hub } = site;
  const random = numbers(SEED + 1);
  await collector.send([{ type: "identify", messageId: "i", userId: "u1", traits: { email: "jane@example.com" } }]);
  await waitUntil(() => hub.profile("email", "jane@example.com"), { what: "jane" });

  const basic = (key) => ({ authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}` });
  const walk = new Walk(COLLECTOR, collector.url, [404], {});
  const token = { authorization: `Bearer ${collector.customerToken}` };
  const all = COLLECTOR.operations();
  const find = (method, path) => all.find((one) => one.method === method && one.path === path);
  for (const operation of all) {
    walk.headers = operation.needsToken ? token : { ...basic("shop-server"), origin: origins[0] };
    await walk.tryAll(operation, operation.path.includes("{writeKey}") ? { writeKey: "shop-server" } : {}, random);
    if (operation.method === "POST") {
      await walk.send(operation, { headers: basic("nobody"), body: { event: "Sold", userId: "u1", data: [{ e: "pv" }] } });
      await walk.send(operation, { body: `{"x":"${"x".repeat(600 * 1024)}"}` });
      for (const origin of [undefined, undefined, "https://other.example"]) await walk.send(operation, { headers: { ...basic("slow"), origin }, body: { event: "Sold", userId: "u1", previousId: "a", groupId: "g", batch: [{ type: "track", event: "Sold", userId: "u" }], data: [{ e: "pv" }] } });
    }
  }
  walk.headers = {};
  for (const path of ["/v1/batch", "/v1/b", "/v1/import"]) {
    const event = { type: "track", event: "Sold", userId: "u1" };
    await walk.send(find("POST", path), { headers: basic("shop-server"), body: { batch: [event, { ...event, type: "odd" }] } });
  }
  for (const path of ["/v1/batch", "/v1/b", "/v1/import"]) {
    await walk.send(find("POST", path), { headers: basic("nobody"), body: { batch: [{ type: "track", event: "Sold", userId: "u1" }] } });
  }
  await walk.send(find("GET", "/v1/refusals"), { headers: { authorization: "Bearer wrong" } });
  await walk.send(find("GET", "/i"), { query: { e: "pv", aid: "nobody" } });
  for (const _ of [1, 2]) await walk.send(find("GET", "/i"), { query: { e: "pv", aid: "slow", duid: "d1" } });
  await walk.send(find("GET", "/i"), { query: { e: "pv", aid: "slow", duid: "d1" }, headers: { origin: "https://other.example" } });
  await walk.send(find("GET", "/sourceConfig/"), { headers: basic("nobody") });
  await walk.send(find("GET", "/v1/customers"), { headers: token, query: { email: "jane@example.com" } });
  await walk.send(find("GET", "/v1/customers"), { headers: token, query: { email: "nobody@example.com" } });
  const link = find("GET", "/v1/link");
  const given = await walk.send(link, { headers: { origin: page, cookie: "trb_aid=a1" } });
  await walk.send(link, { headers: { origin: page } });
  await walk.send(link, { headers: { origin: page }, query: { token: given.body?.token ?? "" } });
  await walk.send(link, { headers: { origin: "https://other.example", "sec-fetch-site": "cross-site", cookie: "trb_aid=a1" } });
  for (const path of ["/customers", "/t.js", "/t.more.js", "/analytics.js/v1/{writeKey}/analytics.min.js"]) {
    const { headers } = await walk.send(find("GET", path), { path: { writeKey: "shop-server" } });
    await walk.send(find("GET", path), { path: { writeKey: "shop-server" }, headers: { "if-none-match": headers.etag } });
  }
  // At the end, because this address is refused from then on.
  for (const path of ["/v1/customers", "/v1/refusals"]) {
    for (let n = 0; n < 12; n++) await walk.send(find("GET", path), { headers: { authorization: `Bearer wrong${n}` }, query: { email: "a@b.c" } });
  }
  await collector.kill();
  collector.args.push("--tag_file", "/nowhere/t.js", "--analytics_js_file", "/nowhere/analytics.js");
  await collector.start();
  for (const path of ["/t.js", "/t.more.js", "/analytics.js/v1/{writeKey}/analytics.min.js"]) await walk.send(find("GET", path));
  const unseen = walk.unseen().filter((one) => !Object.values(ELSEWHERE).some((pattern) => pattern.test(one)));
  assert.deepEqual(unseen, []);
  await checkMetrics(COLLECTOR, collector);
  assert.ok(collector.running);
});
