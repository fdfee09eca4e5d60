// The line to the hub breaks; the collector goes on, and nothing is lost or counted twice.
import assert from "node:assert/strict";
import { settle, startSite, test, waitUntil } from "./support/site.mjs";

const ids = (count) => Array.from({ length: count }, (_, n) => `offline-${String(n).padStart(3, "0")}`);
const track = (messageId, n) => ({
  type: "track",
  event: "Hello",
  messageId,
  userId: "u1",
  timestamp: new Date(Date.parse("2026-11-20T10:00:00Z") + n * 1000).toISOString(),
});

async function arrived(hub) {
  const profile = await hub.profile("user_id", "u1");
  return profile ? (await hub.timeline(profile.id)).map(({ messageId }) => messageId).reverse() : [];
}

test("events taken while the hub is down arrive once, in order, after it returns", async (t) => {
  const { hub, collector } = await startSite(t);
  await hub.kill("SIGKILL");
  for (const [n, id] of ids(100).entries()) await collector.send([track(id, n)]);
  await hub.start();
  await settle(
    () => arrived(hub),
    () => ids(100),
  );
  assert.equal((await hub.profile("user_id", "u1")).eventCount, 100);
  const { events, duplicates } = await hub.overview();
  assert.deepEqual({ events, duplicates }, { events: 100, duplicates: 0 });
});

test("events taken while the hub is down survive the death of the collector too", async (t) => {
  const { hub, collector } = await startSite(t);
  await hub.kill("SIGKILL");
  await collector.send(ids(100).slice(0, 50).map(track));
  await collector.kill("SIGKILL");
  await collector.start();
  await collector.send(
    ids(100)
      .slice(50)
      .map((id, n) => track(id, n + 50)),
  );
  await collector.kill("SIGKILL");
  await hub.start();
  await collector.start();
  await settle(
    () => arrived(hub),
    () => ids(100),
  );
});

test("the edge answers from what it knows while the hub is down", async (t) => {
  const { hub, collector } = await startSite(t, {
    segments: { greeted: { name: "Greeted", where: { event: "Hello" } } },
  });
  await collector.send([{ type: "track", event: "Hello", anonymousId: "a1" }]);
  await waitUntil(async () => (await collector.me("a1")).segments.includes("greeted"));
  await hub.kill("SIGKILL");
  assert.deepEqual((await collector.me("a1")).segments, ["greeted"]);
  await collector.kill();
  await collector.start();
  assert.deepEqual((await collector.me("a1")).segments, ["greeted"]);
});
