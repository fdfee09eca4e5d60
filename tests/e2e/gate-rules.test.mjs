// What a source asks of its events beside their form: consent, objections, people, addresses, a rate.
import assert from "node:assert/strict";
import { request } from "./support/http.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const CHROME =
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
const CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const ORIGIN = "https://shop.example";
// A source of a server, whose key pages of this origin use too: nobody has to prove anything here.
const SERVER = { trust: "server", origins: [ORIGIN] };
const EXEMPT = { exempt: true };

/* A browser's request: it has an origin, and says what it is. */
const browser = (headers = {}) => ({ origin: ORIGIN, "user-agent": CHROME, ...headers });
const preferring = (categoryPreferences) => ({ consent: { categoryPreferences } });

async function refusals(collector, source, reason) {
  const { text } = await request(`${collector.url}/metrics`);
  const line = text.split("\n").find((row) => row.includes(`{source="${source}",reason="${reason}"}`));
  return Number(line?.split(" ")[1] ?? 0);
}

/* The event of this message as the hub keeps it. */
async function stored(hub, userId, messageId) {
  return waitUntil(async () => {
    const profile = await hub.profile("user_id", userId);
    const events = profile ? await hub.timeline(profile.id) : [];
    return events.find((event) => event.messageId === messageId);
  });
}

test("a withdrawal reaches the hub although the event that says so is refused", async (t) => {
  const { hub, collector } = await startSite(t, { sources: { web: { ...SERVER } }, segments: {}, writeKey: "web" });
  const seen = (userId, messageId, analytics) =>
    collector.post("/v1/track", {
      event: "Product Viewed",
      userId,
      messageId,
      properties: { product: "secret" },
      context: { ...preferring({ analytics, marketing: true }), page: { url: "https://shop.example/secret" } },
    });
  assert.equal((await seen("jane", "m1", true)).status, 200);
  await waitUntil(async () => (await hub.profile("user_id", "jane"))?.consents.analytics?.granted === true);

  for (const [userId, messageId] of [["nobody", "m2"], ["jane", "m3"]]) {
    const answer = await seen(userId, messageId, false);
    assert.deepEqual([answer.status, answer.body.error.code], [400, "consent-denied"], answer.text);
  }
  const jane = await waitUntil(async () => {
    const profile = await hub.profile("user_id", "jane");
    return profile.consents.analytics.granted === false && profile;
  });
  assert.equal(jane.consents.marketing.granted, true);
  assert.equal(jane.eventCount, 1);

  const [withdrawal, viewed] = await hub.timeline(jane.id);
  assert.equal(viewed.messageId, "m1");
  assert.doesNotMatch(JSON.stringify(withdrawal), /secret|m3|Product/);
  assert.deepEqual(withdrawal.context, preferring({ analytics: false, marketing: true }));

  // Who was never known stays unknown, and the same event counts once there is consent again.
  assert.equal((await seen("jane", "m3", true)).status, 200);
  assert.ok(await stored(hub, "jane", "m3"));
  assert.equal(await hub.profile("user_id", "nobody"), undefined);
});

test("in a batch the withdrawal is named as rejected, and its neighbours are taken", async (t) => {
  const { hub, collector } = await startSite(t, { sources: { web: { ...SERVER } }, segments: {}, writeKey: "web" });
  const event = (analytics) => ({ type: "track", event: "E", userId: "u1", context: preferring({ analytics }) });
  const answer = await collector.post("/v1/batch", { batch: [event(true), event(false)] });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    answer.body.rejected.map(({ index, code }) => [index, code]),
    [[1, "consent-denied"]],
  );
  await waitUntil(async () => (await hub.profile("user_id", "u1"))?.eventCount === 1);
});

test("Sec-GPC objects to the categories that the source names, and the hub keeps that it did", async (t) => {
  const sources = {
    web: { ...SERVER, consent: { required: ["analytics"], gpc: ["marketing"] } },
    strict: { ...SERVER, consent: { required: ["analytics"], gpc: ["analytics"] } },
    other: { ...SERVER, consent: { required: ["analytics"] } },
  };
  const { hub, collector } = await startSite(t, { sources, segments: {}, writeKey: "web" });
  const post = (writeKey, userId, headers) =>
    collector.post(
      "/v1/track",
      { event: "E", userId, messageId: `m-${userId}`, context: preferring({ analytics: true, marketing: true }) },
      { writeKey, headers: browser(headers) },
    );
  assert.equal((await post("web", "objector", { "sec-gpc": "1" })).status, 200);
  assert.equal((await post("web", "silent")).status, 200);
  assert.equal((await post("other", "elsewhere", { "sec-gpc": "1" })).status, 200);
  const event = await stored(hub, "objector", "m-objector");
  assert.deepEqual(event.context.consent, { gpc: true, categoryPreferences: { analytics: true, marketing: false } });
  const granted = async (userId) => {
    const profile = await waitUntil(() => hub.profile("user_id", userId));
    return Object.entries(profile.consents).filter(([, consent]) => consent.granted).map(([category]) => category);
  };
  assert.deepEqual(await granted("objector"), ["analytics"]);
  assert.deepEqual(await granted("silent"), ["analytics", "marketing"]);
  assert.deepEqual(await granted("elsewhere"), ["analytics", "marketing"]);

  // An objection to what storing needs is a withdrawal.
  const refused = await post("strict", "objector", { "sec-gpc": "1" });
  assert.deepEqual([refused.status, refused.body.error.code], [400, "consent-denied"], refused.text);
  await waitUntil(async () => !(await granted("objector")).includes("analytics"));
});

test("programs are refused and counted, unless the source keeps them; servers' SDKs are none", async (t) => {
  const sources = { web: { ...SERVER, consent: EXEMPT }, open: { ...SERVER, consent: EXEMPT, bots: "keep" } };
  const { hub, collector } = await startSite(t, { sources, segments: {}, writeKey: "web" });
  const post = (userId, { writeKey, headers, context } = {}) =>
    collector.post("/v1/track", { event: "E", userId, context }, { writeKey, headers });

  const crawler = await post("crawler", { headers: browser({ "user-agent": CRAWLER }) });
  assert.deepEqual([crawler.status, crawler.body.error.code], [400, "bot"], crawler.text);
  const passedOn = await post("crawler", { context: { userAgent: CRAWLER } });
  assert.deepEqual([passedOn.status, passedOn.body.error.field], [400, "/context/userAgent"], passedOn.text);
  assert.equal(await refusals(collector, "web", "bot"), 2);

  assert.equal((await post("person", { headers: browser() })).status, 200);
  assert.equal((await post("server", { headers: { "user-agent": "axios/1.7.9" } })).status, 200);
  assert.equal((await post("kept", { writeKey: "open", headers: browser({ "user-agent": CRAWLER }) })).status, 200);
  for (const userId of ["person", "server", "kept"]) await waitUntil(() => hub.profile("user_id", userId));
  assert.equal(await hub.profile("user_id", "crawler"), undefined);
});

test("clients' addresses are kept, cut or dropped as the source says, also behind a proxy", async (t) => {
  const rules = ["as_sent", "keep", "truncate", "drop"];
  const sources = Object.fromEntries(rules.map((ip) => [ip, { ...SERVER, consent: EXEMPT, ip }]));
  const { hub, collector } = await startSite(t, { sources, segments: {}, writeKey: "keep" });
  const post = (writeKey, messageId, headers, context) =>
    collector.post("/v1/track", { event: "E", userId: "u1", messageId, context }, { writeKey, headers });
  const forwarded = { "x-forwarded-for": "1.1.1.1, 198.51.100.99" };

  // Nobody is trusted yet: what a client claims is not believed.
  await post("keep", "direct", browser(forwarded));
  assert.equal((await stored(hub, "u1", "direct")).context.ip, "127.0.0.1");

  await collector.kill();
  collector.args.push("--trusted_proxies", "10.0.0.0/8, 127.0.0.1");
  await collector.start();
  for (const rule of rules) {
    await post(rule, `${rule}-none`, browser(forwarded));
    await post(rule, `${rule}-sent`, browser(forwarded), { ip: "2001:db8:1:2::3", library: { name: "x" } });
    await post(rule, `${rule}-server`, forwarded);
  }
  const told = {};
  for (const rule of rules) {
    const ips = [];
    for (const what of ["none", "sent", "server"]) ips.push((await stored(hub, "u1", `${rule}-${what}`)).context?.ip);
    told[rule] = ips;
  }
  assert.deepEqual(told, {
    as_sent: [undefined, "2001:db8:1:2::3", undefined],
    keep: ["198.51.100.99", "2001:db8:1:2::3", undefined],
    truncate: ["198.51.100.0", "2001:db8:1::", undefined],
    drop: [undefined, undefined, undefined],
  });
});

test("a list of trusted proxies that is wrong stops the collector with the entry that is", async (t) => {
  const { collector } = await startSite(t, { segments: {} });
  await collector.kill();
  collector.args.push("--trusted_proxies", "10.0.0.0/8, 10.0.0.0/33");
  await assert.rejects(collector.start());
  assert.match(collector.tail(), /trusted_proxies: "10\.0\.0\.0\/33" is neither/);
});

test("over its rate a source is told when to come again, and nothing of the request is stored", async (t) => {
  const limited = { consent: EXEMPT, rate: { events_per_second: 0.01, burst: 10 } };
  const { hub, collector } = await startSite(t, {
    sources: { web: limited, free: { ...SERVER, consent: EXEMPT } },
    segments: {},
    writeKey: "web",
  });
  const batch = (count, user) => ({ batch: Array.from({ length: count }, (_, i) => ({ type: "track", event: "E", anonymousId: `${user}${i}` })) });
  assert.equal((await collector.post("/v1/batch", batch(8, "first"))).status, 200);

  const over = await collector.post("/v1/batch", batch(3, "over"), { headers: { origin: ORIGIN } });
  assert.deepEqual([over.status, over.body.error.code], [429, "rate-limited"], over.text);
  assert.ok(Number(over.headers["retry-after"]) > 90 && Number(over.headers["retry-after"]) <= 100, over.text);
  assert.match(over.headers["access-control-expose-headers"], /Retry-After/);
  assert.equal(await refusals(collector, "web", "rate-limited"), 3);
  const authorization = `Bearer ${collector.customerToken}`;
  const told = await request(`${collector.url}/v1/refusals`, { headers: { authorization } });
  assert.ok(told.body.last.some(({ source, code }) => source === "web" && code === "rate-limited"), told.text);
  assert.equal((await collector.post("/v1/batch", batch(2, "rest"))).status, 200);
  assert.equal((await collector.post("/v1/batch", batch(50, "free"), { writeKey: "free" })).status, 200);

  // Another version of the definitions fills no bucket.
  await hub.put("/v1/sources/web", { ...limited, origins: [ORIGIN] });
  await waitUntil(async () => {
    const answer = await collector.post("/v1/batch", batch(1, "over"), { headers: { origin: ORIGIN } });
    assert.equal(answer.status, 429, answer.text);
    return answer.headers["access-control-allow-credentials"] === "true";
  });
  assert.equal((await collector.post("/v1/batch", batch(1, "last"), { writeKey: "free" })).status, 200);
  await waitUntil(() => hub.profile("anonymous_id", "last0"));
  await waitUntil(async () => (await hub.overview()).events === 61);
  assert.equal(await hub.profile("anonymous_id", "over0"), undefined);
});

test("the hub refuses rules that are wrong, and names the member", async (t) => {
  const { hub } = await startSite(t, { collectors: [], sources: {}, segments: {} });
  for (const [field, source] of [
    ["/consent/gpc", { consent: { gpc: "marketing" } }],
    ["/bots", { bots: "maybe" }],
    ["/trust", { trust: "friend" }],
    ["/writeKeys", { writeKeys: [] }],
    ["/ip", { ip: "hash" }],
    ["/rate/events_per_second", { rate: { burst: 5 } }],
    ["/rate/burst", { rate: { events_per_second: 5, burst: -1 } }],
  ]) {
    const answer = await hub.api("PUT", "/v1/sources/web", source);
    assert.deepEqual([answer.status, answer.body.error.code, answer.body.error.field], [400, "invalid-source", field], answer.text);
  }
  assert.equal((await hub.api("GET", "/v1/sources/web")).status, 404);
});
