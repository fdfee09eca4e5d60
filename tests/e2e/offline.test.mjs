// The line to the hub breaks; the collector goes on, and nothing is lost or counted twice.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
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
    segments: { greeted: { name: "Greeted", edge: ["page"], where: { event: "Hello" } } },
  });
  await collector.send([{ type: "track", event: "Hello", anonymousId: "a1" }]);
  await waitUntil(async () => (await collector.me("a1")).segments.includes("greeted"));
  await hub.kill("SIGKILL");
  assert.deepEqual((await collector.me("a1")).segments, ["greeted"]);
  await collector.kill();
  await collector.start();
  assert.deepEqual((await collector.me("a1")).segments, ["greeted"]);
});

test("a hub that is back is known within two seconds, and so is that it is away", async (t) => {
  const { hub, collector } = await startSite(t);
  const says = async () => (await collector.get("/readyz")).body.hub;
  await waitUntil(async () => (await says()) === "connected");
  // Long enough for every pause to have grown; a poll waits at the hub when it dies.
  for (const away of [1000, 9000]) {
    await hub.kill("SIGKILL");
    const died = performance.now();
    await waitUntil(async () => /^unreachable since/.test(await says()), { what: "the collector to miss the hub" });
    assert.ok(performance.now() - died < 2000, `missed after ${performance.now() - died} ms`);
    await collector.send([track(`away-${away}`, 0)]);
    await pause(away - (performance.now() - died));
    await hub.start();
    const back = performance.now();
    await waitUntil(async () => (await says()) === "connected", { what: "the collector to find the hub" });
    await waitUntil(async () => (await arrived(hub)).includes(`away-${away}`), { what: "what waited to arrive" });
    const found = performance.now() - back;
    assert.ok(found < 2000, `found after ${found} ms`);
    t.diagnostic(`away for ${away} ms, found after ${found.toFixed(0)} ms`);
  }
});
