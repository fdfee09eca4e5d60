// What a box that somebody took over can do: speak for its own sources, and for no other.
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const SOURCES = {
  pos: { name: "Tills", trust: "server", writeKeys: ["pos-secret-key"], consent: { exempt: true } },
  erp: { name: "ERP", trust: "server", writeKeys: ["erp-secret-key"], consent: { exempt: true } },
  web: { name: "Shop", writeKeys: ["web-key"], consent: { required: ["analytics"] } },
};
const sold = (messageId, userId) => ({ type: "track", event: "Sold", messageId, userId });
const events = async (hub, userId) => (await hub.profile("user_id", userId))?.eventCount ?? 0;

/* Is this text somewhere in what the process can write to? */
function memoryOf(pid) {
  const ranges = readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .filter((line) => / rw-p /.test(line))
    .map((line) => line.split(" ")[0].split("-").map((hex) => BigInt(`0x${hex}`)));
  const file = openSync(`/proc/${pid}/mem`, "r");
  const parts = ranges.map(([from, to]) => {
    const bytes = Buffer.alloc(Number(to - from));
    try {
      readSync(file, bytes, 0, bytes.length, from);
    } catch {
      // A part that cannot be read holds nothing that the program could.
    }
    return bytes;
  });
  closeSync(file);
  return (text) => parts.some((bytes) => bytes.includes(text));
}

test("a collector has the sources that it carries, and no secret key of them", async (t) => {
  const site = await startSite(t, { sources: SOURCES, writeKey: "pos-secret-key" });
  const { hub, collector } = site;
  assert.deepEqual((await hub.get("/v1/collectors/edge")).sources, ["*"]);
  assert.match(await site.cli("collectors", "sources", "edge", "pos"), /edge carries these sources/);
  assert.match(await site.cli("collectors"), /1 source\s*$/);
  assert.deepEqual((await hub.get("/v1/collectors/edge")).sources, ["pos"]);
  await waitUntil(async () => (await collector.post("/v1/track", sold("m1", "u1"), { writeKey: "erp-secret-key" })).status === 401);
  assert.equal((await collector.post("/v1/track", sold("m2", "u1"), { writeKey: "web-key" })).status, 401);
  await collector.send([sold("m3", "u1")]);
  await waitUntil(async () => (await events(hub, "u1")) === 1);

  await t.test("a file of the enrolment has them neither", async () => {
    const bytes = readFileSync(`${collector.enrolment}.gate`);
    for (const secret of ["pos-secret-key", "erp-secret-key"]) assert.ok(!bytes.includes(secret), secret);
  });

  await t.test("nor has its memory what it was not asked with", async () => {
    // A fresh start, so that no earlier gate or request is left over.
    await collector.kill();
    await collector.start();
    await waitUntil(async () => (await collector.get("/readyz")).body.hub === "connected");
    const inMemory = memoryOf(collector.child.pid);
    assert.ok(inMemory(collector.dataDir), "its memory can be read");
    for (const secret of ["pos-secret-key", "erp-secret-key"]) assert.ok(!inMemory(secret), secret);
  });

  await t.test("a list of something else is refused", async () => {
    const answer = await hub.api("PUT", "/v1/collectors/edge", { sources: "pos" });
    assert.equal(answer.status, 400);
    assert.equal(answer.body.error.code, "invalid-sources");
  });
});

test("the hub takes no event of a source that the collector may not carry, and its neighbours count", async (t) => {
  const site = await startSite(t, { sources: SOURCES, writeKey: "pos-secret-key" });
  const { hub, collector } = site;
  // Taken while it might, shipped when it may not any more: as one would do that forges its gate.
  await hub.kill();
  await collector.send([sold("m1", "u1")]);
  await collector.send([sold("m2", "u2")], { writeKey: "erp-secret-key" });
  await collector.send([sold("m3", "u1")]);
  await collector.kill();
  await hub.start();
  await hub.put("/v1/collectors/edge", { sources: ["pos"] });
  await collector.start();
  await waitUntil(async () => (await events(hub, "u1")) === 2);
  const sample = 'tributary_collector_events_refused_total{collector="edge",reason="source"}';
  await waitUntil(async () => (await hub.metric(sample)) === 1);
  assert.equal(await hub.profile("user_id", "u2"), undefined);
  assert.deepEqual((await hub.get("/v1/collectors/edge")).refusedEvents, { source: 1, consent: 0, time: 0 });
  await hub.logged(/events-refused .*collector=edge reason=source events=1/);
});
