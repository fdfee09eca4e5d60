// What the edge tells a visitor's browser: in the answer to its events, and as soon as it changes.
import assert from "node:assert/strict";
import { request } from "./support/http.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const bought = (anonymousId) => ({ type: "track", event: "Order Completed", anonymousId, properties: { channel: "store" } });

test("events are answered with their visitor's segments where the browser asks for it", async (t) => {
  const { collector } = await startSite(t);
  const event = { type: "track", event: "A", anonymousId: "a1" };
  assert.equal((await collector.post("/v1/b", { batch: [event] })).text, '{"success":true}');
  assert.deepEqual((await collector.post("/v1/b?me=1", { batch: [event] })).body, {
    success: true,
    me: { anonymousId: "a1", segments: [], traits: {}, version: 0 },
  });
  await collector.send([bought("a1")]);
  await waitUntil(async () => {
    const { body } = await collector.post("/v1/b?me=1", { batch: [event, { type: "nonsense" }] });
    return body.rejected.length === 1 && body.me.segments.includes("store-buyers");
  });
  const refused = await collector.post("/v1/b?me=1", { batch: [{ type: "nonsense" }] });
  assert.equal(refused.status, 400);
  assert.equal(refused.body.me, undefined);
});

test("a request for news is answered when something changes, or when its time is over", async (t) => {
  const { collector } = await startSite(t);
  const ask = (query) => request(`${collector.url}/v1/me?anonymousId=a1&${query}`);
  const start = performance.now();
  assert.deepEqual((await ask("wait=1s&version=0")).body.segments, []);
  assert.ok(performance.now() - start > 900, "it waited");
  assert.equal((await ask("wait=25s&version=7")).body.version, 0, "another version is answered at once");
  assert.equal((await ask("wait=soon")).status, 400);

  const news = ask("wait=25s&version=0");
  await collector.send([bought("a1")]);
  const { body } = await news;
  assert.ok(body.version > 0);
  await waitUntil(async () => (await collector.me("a1")).segments.includes("store-buyers"));
});

test("too many who wait are refused, and a collector that stops answers all of them", async (t) => {
  const { collector } = await startSite(t);
  await collector.kill("SIGTERM");
  collector.args.push("--waiters_max", "2");
  await collector.start();
  const ask = () => request(`${collector.url}/v1/me?anonymousId=a1&wait=25s&version=0`);
  const waiting = Promise.allSettled([ask(), ask()]);
  const count = async () => /^tributary_me_waiting (\d+)/m.exec((await request(`${collector.url}/metrics`)).text)[1];
  await waitUntil(async () => (await count()) === "2", { what: "two who wait" });
  const refused = await ask();
  assert.equal(refused.status, 503);
  assert.equal(refused.body.error.code, "too-many-waiting");
  assert.ok(refused.headers["retry-after"]);
  await collector.kill("SIGTERM");
  const answers = await waiting;
  assert.ok(answers.every(({ value }) => value?.status === 200), JSON.stringify(answers));
});

test("an event that grants nothing removes the cookie", async (t) => {
  const { collector } = await startSite(t);
  const event = (analytics) => ({ type: "track", event: "A", anonymousId: "a1", context: { consent: { categoryPreferences: { analytics } } } });
  const send = (analytics, cookie) =>
    collector.post("/v1/b", { batch: [event(analytics)] }, { writeKey: "shop-web", headers: { origin: "http://127.0.0.1", ...(cookie && { cookie }) } });
  assert.match(String((await send(true)).headers["set-cookie"]), /^trb_aid=a1;/);
  assert.match(String((await send(false, "trb_aid=a1")).headers["set-cookie"]), /^trb_aid=; .*Max-Age=0/);
  assert.equal((await send(false)).headers["set-cookie"], undefined);
});
