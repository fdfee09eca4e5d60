// One event from the collector to the profile, batches, and events that come twice.
import assert from "node:assert/strict";
import { settle, startSite, test, waitUntil } from "./support/site.mjs";

test("one event becomes a profile with its identifiers, traits and times", async (t) => {
  const { hub, collector } = await startSite(t);
  const answer = await collector.post("/v1/identify", {
    messageId: "first",
    userId: "u1",
    timestamp: "2026-11-20T10:00:00+02:00",
    traits: { email: " Jane@Example.com", firstName: "Jané", age: 41 },
  });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(answer.body, { success: true });

  const profile = await waitUntil(() => hub.profile("email", "jane@example.com"));
  assert.equal(profile.eventCount, 1);
  assert.equal(profile.known, true);
  assert.equal(profile.createdAt, "2026-11-20T08:00:00.000Z");
  assert.equal(profile.lastSeenAt, "2026-11-20T08:00:00.000Z");
  assert.deepEqual(profile.traits, { email: " Jane@Example.com", firstName: "Jané", age: 41 });
  assert.deepEqual(profile.identifiers.map(({ type, value }) => `${type}:${value}`).sort(), [
    "email:jane@example.com",
    "user_id:u1",
  ]);
  // The e-mail and the user id may have their homes in different partitions, which agree a moment later.
  await settle(
    async () => (await hub.profile("user_id", "u1"))?.id,
    () => profile.id,
  );
  assert.equal((await hub.get(`/v1/profiles/${profile.id}`)).id, profile.id);
  assert.deepEqual(
    (await hub.timeline(profile.id)).map((event) => event.messageId),
    ["first"],
  );
});

test("an identifier that nobody owns is answered with 404", async (t) => {
  const { hub } = await startSite(t);
  const answer = await hub.api("GET", "/v1/profiles?email=nobody%40example.com");
  assert.equal(answer.status, 404, answer.text);
  assert.ok(answer.body.error.code && answer.body.error.message, answer.text);
});

test("a batch keeps its good items and names the bad ones", async (t) => {
  const { hub, collector } = await startSite(t);
  const good = (n) => ({ type: "track", event: "Hello", messageId: `good-${n}`, userId: `u${n}` });
  const answer = await collector.post("/v1/batch", {
    batch: [
      good(1),
      { type: "track", event: "Nobody" },
      good(2),
      "no object",
      { userId: "u9", type: "dance" },
      good(3),
    ],
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.success, true);
  assert.deepEqual(
    answer.body.rejected.map(({ index }) => index),
    [1, 3, 4],
  );
  assert.equal(answer.body.rejected[0].code, "missing-identifier");
  for (const { code, message } of answer.body.rejected) assert.ok(code && message, answer.text);
  await settle(
    async () => (await hub.overview()).events,
    () => 3,
  );
  for (const n of [1, 2, 3]) assert.equal((await hub.profile("user_id", `u${n}`)).eventCount, 1);
});

test("the outer context of a batch reaches each of its events", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.post("/v1/batch", {
    context: { consent: { categoryPreferences: { marketing: true } }, app: { name: "outer" } },
    batch: [{ type: "track", event: "Hello", userId: "u1", context: { app: { name: "inner" } } }],
  });
  const profile = await waitUntil(() => hub.profile("user_id", "u1"));
  assert.equal(profile.consents.marketing.granted, true);
  const [event] = await hub.timeline(profile.id);
  assert.equal(event.context.app.name, "inner");
});

test("an event that comes twice counts once, also in one batch and after a restart of both daemons", async (t) => {
  const { hub, collector } = await startSite(t);
  const event = { type: "track", event: "Hello", messageId: "twice", userId: "u1" };
  await collector.send([event, event]);
  await collector.send([event]);
  await settle(
    async () => (await hub.profile("user_id", "u1"))?.eventCount,
    () => 1,
  );
  await collector.kill();
  await collector.start();
  await hub.kill();
  await hub.start();
  // The last event is new: once it is there, so is everything that was sent before it.
  await collector.send([event]);
  await collector.send([{ ...event, messageId: "last" }]);
  await waitUntil(async () =>
    (await hub.timeline((await hub.profile("user_id", "u1")).id)).some(
      ({ messageId }) => messageId === "last",
    ),
  );
  assert.equal((await hub.profile("user_id", "u1")).eventCount, 2);
  assert.equal((await hub.overview()).events, 2);
});

test("a write key is taken from the user name, the body, the address or its header", async (t) => {
  const { hub, collector } = await startSite(t);
  const event = (n) => ({ event: "Hello", userId: "u1", messageId: `key-${n}` });
  const key = collector.writeKey;
  const answers = [
    await collector.post("/v1/track", event(1)),
    await collector.post("/v1/track", { ...event(2), writeKey: key }, { writeKey: null }),
    await collector.post(`/v1/track?writeKey=${key}`, event(3), { writeKey: null }),
    await collector.post("/v1/t", event(4), { writeKey: null, headers: { "x-write-key": key } }),
    await collector.post(
      "/v1/b",
      { writeKey: key, batch: [{ type: "track", ...event(5) }] },
      { writeKey: null, headers: { "content-type": "text/plain" } },
    ),
  ];
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 200],
  );
  await settle(
    async () => (await hub.profile("user_id", "u1"))?.eventCount,
    () => 5,
  );
});
