// Who may be told what at the doors of both daemons: tokens, metrics, and the id that goes to another site.
import assert from "node:assert/strict";
import { freePorts } from "./support/ports.mjs";
import { request } from "./support/http.mjs";
import { startSite, test } from "./support/site.mjs";

test("guesses at the hub's token are slowed down, and never lock out who has it", async (t) => {
  const { hub } = await startSite(t, { partitions: 2 });
  const ask = (token) => request(`${hub.url}/v1/sources`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  for (let n = 0; n < 10; n++) assert.equal((await ask(`guess-${n}`)).status, 401);
  const refused = await ask("guess");
  assert.deepEqual([refused.status, refused.body.error.code], [429, "too-many-wrong-tokens"]);
  assert.ok(Number(refused.headers["retry-after"]) > 0 && Number(refused.headers["retry-after"]) <= 60);
  assert.equal((await ask()).status, 401, "a request without a token is no guess");
  assert.equal((await ask(hub.token)).status, 200);
});

test("with a listener of their own, metrics are there and nowhere else", async (t) => {
  const [atHub, atCollector] = await freePorts(2);
  const site = await startSite(t, { partitions: 2, settings: { metrics_listen: `127.0.0.1:${atCollector}` } });
  const { hub, collector } = site;
  assert.equal((await request(`${hub.url}/metrics`)).status, 200, "by default they are at the API");
  await hub.kill();
  hub.args.push("--metrics_listen", `127.0.0.1:${atHub}`);
  await hub.start();
  for (const [daemon, port, metric] of [
    [hub, atHub, "tributary_link_connections"],
    [collector, atCollector, "tributary_http_connections"],
  ]) {
    assert.equal((await request(`${daemon.url}/metrics`)).status, 404);
    assert.equal((await request(`${daemon.url}/healthz`)).status, 200);
    const own = `http://127.0.0.1:${port}`;
    const metrics = await request(`${own}/metrics`);
    assert.equal(metrics.status, 200);
    assert.match(metrics.text, new RegExp(`^${metric} \\d+$`, "m"));
    for (const path of ["/healthz", "/v1/me", "/v1/sources", "/"]) {
      assert.equal((await request(own + path)).status, 404, path);
    }
    assert.equal((await request(`${own}/v1/track`, { method: "POST", body: {} })).status, 404);
  }
});

test("metrics name a source by its id, and no write key stands in them, be it known or not", async (t) => {
  const sources = { shop: { name: "Shop", writeKeys: ["key-of-the-shop", "older-key"], consent: { required: ["analytics"] } } };
  const { collector, hub } = await startSite(t, { sources, segments: {}, writeKey: "key-of-the-shop" });
  for (const writeKey of ["key-of-the-shop", "older-key", "key-of-nobody"]) {
    const refused = await collector.post("/v1/track", { event: "Seen", anonymousId: "v-1", messageId: writeKey }, { writeKey });
    assert.equal(refused.status, writeKey === "key-of-nobody" ? 401 : 400, refused.text);
  }
  const { text } = await collector.get("/metrics");
  assert.match(text, /^tributary_refused_events_total\{source="shop",reason="consent-missing"\} 2$/m);
  assert.match(text, /^tributary_refused_events_total\{source="",reason="unknown-write-key"\} 1$/m);
  for (const metrics of [text, (await request(`${hub.url}/metrics`)).text]) assert.doesNotMatch(metrics, /key-of|older-key/);
});

test("a token for another site is given to the browser that holds the id, for a page that a source names", async (t) => {
  const origin = "https://shop.example";
  const sources = { web: { name: "web", origins: [origin], consent: { exempt: true } } };
  const { collector } = await startSite(t, { sources, segments: {}, writeKey: "web" });
  const cookie = { cookie: "trb_aid=v-1" };
  const here = { "sec-fetch-site": "same-origin" };
  const cases = [
    ["its cookie and a named origin", 200, "", { ...cookie, origin }],
    ["another's id in the address beside its cookie", 200, "?anonymousId=victim", { ...cookie, origin }],
    ["another's id in the address alone", 400, "?anonymousId=victim", { origin }],
    ["no id at all", 400, "", { origin }],
    ["a cookie that is no id", 400, "", { cookie: "trb_aid=a b", origin }],
    ["an origin that nobody names", 403, "", { ...cookie, origin: "https://evil.example" }],
    ["an opaque origin", 403, "", { ...cookie, origin: "null" }],
    ["no origin", 403, "", cookie],
    ["an origin that nobody names, of the same site", 403, "", { ...cookie, origin: "https://evil.example", "sec-fetch-site": "same-site" }],
    ["a page of this host, which nobody names", 403, "", { ...cookie, ...here }],
    ["no origin, across sites", 403, "", { ...cookie, "sec-fetch-site": "cross-site" }],
  ];
  for (const [name, status, query, headers] of cases) {
    const answer = await request(`${collector.url}/v1/link${query}`, { headers });
    assert.equal(answer.status, status, `${name}: ${answer.text}`);
    if (status === 200) {
      const taken = await request(`${collector.url}/v1/link?token=${answer.body.token}`, { headers: { origin } });
      assert.deepEqual(taken.body, { anonymousId: "v-1" }, name);
    }
  }
});

test("a page of the collector's own host that a source names needs no header of its origin", async (t) => {
  const [port] = await freePorts(1);
  const site = await startSite(t, { collectors: [] });
  const source = { name: "web", origins: [`http://127.0.0.1:${port}`], consent: { exempt: true } };
  await site.hub.put("/v1/sources/own", source);
  const { enrol } = await import("./support/deployment.mjs");
  const collector = await enrol(site.hub, "own", { port, writeKey: "own" });
  site.daemons.push(collector);
  await collector.start();
  const answer = await request(`${collector.url}/v1/link`, { headers: { cookie: "trb_aid=v-1", "sec-fetch-site": "same-origin" } });
  assert.equal(answer.status, 200, answer.text);
});
