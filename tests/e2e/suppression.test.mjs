// People whose events are refused: at every collector, and at the hub where a collector did not know yet.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { startSite, test, waitUntil } from "./support/site.mjs";

const hello = (messageId, members) => ({ type: "track", event: "Hello", messageId, ...members });

const listed = (collector, count) =>
  waitUntil(async () => (await collector.metric("tributary_suppressed_identifiers")) === count, {
    timeout: 30_000,
    what: `${collector.name} to know ${count} suppressed identifiers`,
  });

/* The codes with which the events of a batch are refused; undefined for one that was taken. */
async function codes(collector, events) {
  const { body } = await collector.post("/v1/batch", { batch: events });
  const refused = new Map((body.rejected ?? []).map(({ index, code }) => [index, code]));
  return events.map((_, index) => refused.get(index));
}

test("every identifier of an event is looked at, as the hub normalises it", async (t) => {
  const site = await startSite(t);
  await site.cli("suppress", "email=Jane@Example.com", "user_id=u-1", "anonymous_id=a-1", "phone=+33 1 23 45");
  await site.cli("suppress", "shop_card=77", "--reason", "request 17");
  await listed(site.collector, 5);
  const refused = [
    hello("m1", { userId: "u-1" }),
    hello("m2", { userId: " u-1 ", anonymousId: "other" }),
    hello("m3", { anonymousId: "a-1" }),
    { type: "identify", messageId: "m4", userId: "u-2", traits: { email: " jane@EXAMPLE.com" } },
    hello("m5", { userId: "u-2", context: { traits: { phone: "+33 (1) 2345" } } }),
    hello("m6", { userId: "u-2", context: { externalIds: [{ type: "shop_card", id: 77 }] } }),
    { type: "alias", messageId: "m7", userId: "u-2", previousId: "a-1" },
  ];
  const taken = [
    hello("k1", { userId: "u-2" }),
    hello("k2", { anonymousId: "u-1" }),
    hello("k3", { userId: "u-3", properties: { email: "jane@example.com" } }),
    { type: "identify", messageId: "k4", userId: "u-3", traits: { email: "joan@example.com" } },
  ];
  assert.deepEqual(await codes(site.collector, [...refused, ...taken]), [
    ...refused.map(() => "suppressed"),
    ...taken.map(() => undefined),
  ]);
  await waitUntil(async () => (await site.hub.overview()).events === taken.length);
  assert.equal(await site.hub.profile("email", "jane@example.com"), undefined);

  await t.test("who is taken off the list is taken again", async () => {
    assert.match(await site.cli("unsuppress", "user_id=u-1", "user_id=nobody"), /^1 identifier /);
    await listed(site.collector, 4);
    await site.collector.send([hello("m1", { userId: "u-1" })]);
    await waitUntil(() => site.hub.profile("user_id", "u-1"));
  });
});

test("the list names nobody, and says when and why", async (t) => {
  const site = await startSite(t);
  const identifiers = [{ type: "email", value: "Jane@example.com" }];
  assert.deepEqual(await site.hub.put("/v1/suppressions", { identifiers, reason: "request 17" }), {
    suppressed: 1,
    version: 1,
  });
  assert.equal((await site.hub.put("/v1/suppressions", { identifiers })).suppressed, 0);
  const { count, suppressions, next } = await site.hub.get("/v1/suppressions");
  assert.deepEqual([count, suppressions.length, next], [1, 1, null]);
  assert.match(suppressions[0].hash, /^[0-9a-f]{32}$/);
  assert.equal(suppressions[0].reason, "request 17");
  const one = await site.hub.get("/v1/suppressions?type=email&value=JANE@example.com");
  assert.deepEqual(one, suppressions[0]);
  const missing = await site.hub.api("GET", "/v1/suppressions?type=email&value=joan@example.com");
  assert.equal(missing.status, 404);
  for (const [body, field] of [
    [{}, "/identifiers"],
    [{ identifiers: [] }, "/identifiers"],
    [{ identifiers: [{ type: "email", value: "a@b" }, { type: "phone", value: "none" }] }, "/identifiers/1"],
    [{ identifiers, reason: 7 }, "/reason"],
  ]) {
    const answer = await site.hub.api("PUT", "/v1/suppressions", body);
    assert.equal(answer.status, 400);
    assert.equal(answer.body.error.field, field);
  }
});

test("a collector that was away when somebody was suppressed: the hub refuses what it brings late", async (t) => {
  const site = await startSite(t);
  await site.hub.kill("SIGKILL");
  await site.collector.send([hello("late", { userId: "u-1" }), hello("other", { userId: "u-2" })]);
  await site.collector.kill("SIGKILL");
  await site.hub.start();
  await site.cli("suppress", "user_id=u-1");
  await site.collector.start();
  await waitUntil(() => site.hub.profile("user_id", "u-2"));
  await waitUntil(async () => (await site.hub.overview()).suppressedEvents === 1);
  assert.equal(await site.hub.profile("user_id", "u-1"), undefined);
  await listed(site.collector, 1);

  await t.test("and then the edge refuses by itself, without the hub and after a restart", async () => {
    await site.hub.kill("SIGKILL");
    await site.collector.kill("SIGKILL");
    await site.collector.start();
    assert.deepEqual(await codes(site.collector, [hello("x", { userId: "u-1" }), hello("y", { userId: "u-2" })]), [
      "suppressed",
      undefined,
    ]);
  });
});

test("a long list goes down in parts, once: a later change does not bring it again", async (t) => {
  const site = await startSite(t);
  const COUNT = 40_000;
  for (let from = 0; from < COUNT; from += 1000) {
    const identifiers = Array.from({ length: 1000 }, (_, i) => ({ type: "user_id", value: `gone-${from + i}` }));
    await site.hub.put("/v1/suppressions", { identifiers });
  }
  await listed(site.collector, COUNT);
  await site.cli("unsuppress", "user_id=gone-0");
  await listed(site.collector, COUNT - 1);
  const someone = [0, 1, 20_000, COUNT - 1, COUNT].map((n) => hello(`m${n}`, { userId: `gone-${n}` }));
  assert.deepEqual(await codes(site.collector, someone), [
    undefined,
    "suppressed",
    "suppressed",
    "suppressed",
    undefined,
  ]);
  await site.hub.kill("SIGKILL");
  await site.hub.start();
  assert.equal((await site.hub.get("/v1/suppressions?limit=1")).count, COUNT - 1);
});

test("of a page's event a suppressed identifier is cut out, and nobody is told", async (t) => {
  const site = await startSite(t);
  await site.hub.put("/v1/sources/app", { consent: { exempt: true } });
  await site.cli("suppress", "email=jane@example.com", "user_id=u-1", "anonymous_id=gone");
  await listed(site.collector, 3);
  const known = async () => (await site.collector.post("/v1/batch", { batch: [hello("x", { anonymousId: "x" })] }, { writeKey: "app" })).status === 200;
  await waitUntil(known, { what: "the source at the box" });
  const ask = (event) => site.collector.post("/v1/batch", { batch: [event] }, { writeKey: "app" });
  const events = [
    { type: "identify", messageId: "p1", anonymousId: "a-1", userId: "u-1", traits: { email: "Jane@example.com", city: "Lyon" } },
    { type: "identify", messageId: "p2", anonymousId: "a-2", traits: { email: "joan@example.com" } },
    hello("p3", { anonymousId: "gone" }),
    hello("p4", { anonymousId: "gone", context: { proof: "x.y.z" } }),
  ];
  for (const userId of ["u-1", "u-2"]) {
    const { body } = await ask({ ...hello("n"), userId });
    assert.equal(body.error.code, "nobody", "whoever it names");
  }
  for (const event of events) {
    const { status, text } = await ask(event);
    assert.deepEqual([status, text], [200, '{"success":true}'], event.messageId);
  }
  await waitUntil(async () => (await site.hub.overview()).events === 3, { what: "those of a visitor" });
  const { traits, identifiers } = await site.hub.profile("anonymous_id", "a-1");
  assert.deepEqual(Object.keys(traits), ["city"]);
  assert.deepEqual(identifiers.map(({ type }) => type), ["anonymous_id"]);
  assert.equal(await site.hub.profile("anonymous_id", "gone"), undefined);
  assert.match((await site.collector.get("/metrics")).text, /source="app",reason="identifier-suppressed"\} 3|reason="identifier-suppressed",source="app"\} 3/);
  const server = await site.collector.post("/v1/batch", { batch: [hello("s", { userId: "u-1" })] });
  assert.equal(server.body.error.code, "suppressed", "a server is told");

  await t.test("the hub does the same where the box did not know yet", async () => {
    await site.hub.kill("SIGKILL");
    await ask({ type: "identify", messageId: "q1", anonymousId: "a-3", traits: { email: "late@example.com", city: "Nice" } });
    await ask(hello("q2", { anonymousId: "late" }));
    await site.collector.kill("SIGKILL");
    await site.hub.start();
    await site.cli("suppress", "email=late@example.com", "anonymous_id=late");
    await site.collector.start();
    const late = await waitUntil(() => site.hub.profile("anonymous_id", "a-3"));
    assert.deepEqual(Object.keys(late.traits), ["city"]);
    await waitUntil(async () => (await site.hub.overview()).suppressedEvents === 1);
    assert.equal(await site.hub.profile("anonymous_id", "late"), undefined);
  });
});

test("a proof that names somebody who is suppressed proves nothing, and goes", async (t) => {
  const secret = "0123456789abcdef0123456789abcdef";
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const proofOf = (claims) => {
    const iat = Math.floor(Date.now() / 1000) - 60;
    const body = `${part({ alg: "HS256", kid: "k1" })}.${part({ aud: "app", iat, exp: iat + 3600, ...claims })}`;
    return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
  };
  const app = { consent: { exempt: true }, proof: { keys: [{ kid: "k1", alg: "HS256", key: secret }] } };
  const site = await startSite(t, { sources: { app }, writeKey: "app" });
  await site.cli("suppress", "user_id=u-1");
  await listed(site.collector, 1);
  const identify = (n, sub) => ({
    type: "identify",
    messageId: `m${n}`,
    anonymousId: `a-${n}`,
    traits: { city: "Lyon" },
    context: { proof: proofOf({ sub, aid: `a-${n}` }) },
  });
  await site.collector.send([identify(1, "u-1"), identify(2, "u-2")]);
  await waitUntil(() => site.hub.profile("user_id", "u-2"));
  const gone = await waitUntil(() => site.hub.profile("anonymous_id", "a-1"));
  assert.deepEqual(gone.identifiers.map(({ type }) => type), ["anonymous_id"]);
  assert.equal(await site.hub.profile("user_id", "u-1"), undefined);
  const { events } = await site.hub.get(`/v1/profiles/${gone.id}/events`);
  assert.equal(events[0].context?.proof, undefined);
});
