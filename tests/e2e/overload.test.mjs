// The disk cannot follow, or is full: clients are told to come back, memory does not grow, nothing that
// was acknowledged is lost, and the collector goes on by itself.
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { request } from "./support/http.mjs";
import { makeStallingDisk, mountSmallDisk } from "./support/disk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const MIB = 1024 * 1024;
const ready = async ({ url }) => request(`${url}/readyz`);
const codes = ({ body }) => body.reasons?.map(({ code }) => code);

function assertSentAway(answer, code) {
  assert.equal(answer.status, 503, answer.text);
  assert.match(answer.body.error.code, code);
  assert.ok(Number(answer.headers["retry-after"]) >= 1);
}

const refusedFor = ({ writeKey }, code) => `tributary_refused_events_total{source="${writeKey}",reason="${code}"}`;
const refused = async (collector, code) => (await collector.metric(refusedFor(collector, code))) ?? 0;

// A full disk is met by a write, or seen before it: it is looked at once a second.
const NO_ROOM = /^(storage-failed|spool-full)$/;

/* Events come only from `send`, which keeps the messageIds of those that were acknowledged. */
class Sender {
  constructor(collector) {
    Object.assign(this, { collector, acknowledged: [], count: 0 });
  }

  async send(textBytes = 10) {
    const messageId = `m-${this.count++}`;
    const properties = { text: "x".repeat(textBytes) };
    const answer = await this.collector.post("/v1/track", { event: "Hello", userId: "u1", messageId, properties });
    if (answer.status === 200) this.acknowledged.push(messageId);
    return answer;
  }
}

// Write until there is no room left; the file's name.
function fill(dir) {
  const name = join(dir, "ballast");
  const file = openSync(name, "w");
  for (let size = MIB; size >= 1; size = Math.floor(size / 2)) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size));
    } catch (error) {
      assert.equal(error.code, "ENOSPC");
    }
  }
  closeSync(file);
  return name;
}

async function arrived(hub) {
  const profile = await hub.profile("user_id", "u1");
  return profile ? (await hub.timeline(profile.id)).map(({ messageId }) => messageId) : [];
}

test("a full disk is answered with 503, and when it has room again all goes on; nothing acknowledged is lost", async (t) => {
  const disk = mountSmallDisk(t, 32);
  if (disk === undefined) {
    t.skip("this user may not mount a small file system");
    return;
  }
  const { hub, collector } = await startSite(t);
  await collector.kill();
  collector.args[collector.args.indexOf("--data_dir") + 1] = join(disk, "data");
  await collector.start();
  await waitUntil(async () => (await ready(collector)).body.hub === "connected");
  await hub.kill("SIGKILL"); // so that whatever is acknowledged is in the spool alone
  const sender = new Sender(collector);
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 20; n++) assert.equal((await sender.send()).status, 200);
    const ballast = fill(disk);
    await waitUntil(async () => (await sender.send(5000)).status === 503, { what: "the disk to be full" });
    for (let n = 0; n < 20; n++) assertSentAway(await sender.send(), NO_ROOM);
    const unready = await ready(collector);
    assert.equal(unready.status, 503);
    for (const code of [...codes(unready), unready.body.error.code]) assert.match(code, NO_ROOM);
    const sentAway = [await refused(collector, "storage-failed"), await refused(collector, "spool-full")];
    assert.ok(sentAway[0] + sentAway[1] > 20, `${sentAway} of ${sender.count} were counted`);
    assert.equal((await request(`${collector.url}/healthz`)).status, 200);
    rmSync(ballast);
    // Without any event: whoever looks at readiness only sends none.
    await waitUntil(async () => (await ready(collector)).status === 200);
    for (let n = 0; n < 20; n++) assert.equal((await sender.send()).status, 200);
  }
  const lines = (id) => collector.log.filter((line) => line.includes(` ${id} `)).length;
  assert.ok(lines("disk-failing") <= 2 && lines("spool-full") <= 2, "one line each time");
  await collector.kill("SIGKILL");
  await collector.start();
  await hub.start();
  const missing = async () => {
    const there = new Set(await arrived(hub));
    return sender.acknowledged.filter((id) => !there.has(id));
  };
  await waitUntil(async () => (await missing()).length === 0, { timeout: 30_000 });
  const ids = await arrived(hub);
  assert.equal(new Set(ids).size, ids.length);
});

test("while the disk stalls, what exceeds the bound is sent away, memory stays, and the rest is answered later", async (t) => {
  const disk = makeStallingDisk(t);
  const { hub, collector } = await startSite(t, { collectorArgs: ["--pending_bytes_max", "1MiB"] });
  await collector.kill();
  collector.env = { ...process.env, ...disk.env };
  await collector.start();
  const sender = new Sender(collector);
  await sender.send();
  const overloaded = refusedFor(collector, "overloaded");
  const rss = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${collector.child.pid}/status`, "utf8"))[1]);
  const before = rss();
  disk.stall();
  const answers = [];
  const sent = [];
  const post = (count) => {
    for (let n = 0; n < count; n++) sent.push(sender.send(20_000).then((answer) => answers.push(answer)));
  };
  let others = await collector.metric("tributary_http_requests_total"); // requests that are none of these
  const isSettled = async () => {
    others++;
    const metrics = await collector.metrics();
    return metrics.tributary_http_requests_total - others === sent.length && (metrics[overloaded] ?? 0) === answers.length;
  };
  while (answers.length === 0) {
    post(10);
    await waitUntil(isSettled, { what: "each to wait or to be sent away" });
  }
  post(200);
  await waitUntil(isSettled, { what: "those beyond the bound to be sent away" });
  assert.ok(answers.length > 200);
  for (const answer of answers) assertSentAway(answer, /^overloaded$/);
  const waiting = sent.length - answers.length;
  assert.ok(waiting > 10 && waiting * 20_000 < 1.5 * MIB, `${waiting} requests wait`);
  t.diagnostic(`${waiting} requests wait, ${answers.length} sent away, VmRSS ${before} → ${rss()} KiB`);
  assert.ok(rss() - before < 16 * 1024);
  disk.goOn();
  await Promise.all(sent);
  assert.equal(answers.filter(({ status }) => status === 200).length, waiting);
  assert.equal(await refused(collector, "overloaded"), answers.length - waiting);
  assert.equal((await ready(collector)).status, 200);
  await waitUntil(async () => (await arrived(hub)).length === sender.acknowledged.length);
  assert.deepEqual((await arrived(hub)).sort(), [...sender.acknowledged].sort());
});

test("a full spool is answered with 503 and a reason, and taken from again when the hub is back", async (t) => {
  const { hub, collector } = await startSite(t, { collectorArgs: ["--spool_bytes_max", "1MiB"] });
  await waitUntil(async () => (await ready(collector)).body.hub === "connected");
  await hub.kill();
  const random = () => Array.from({ length: 400 }, () => Math.random().toString(36)).join("");
  const batch = () => ({
    batch: Array.from({ length: 20 }, () => ({
      ...{ type: "track", event: "Hello", userId: "u1" },
      properties: { text: random() },
    })),
  });
  let answer;
  await waitUntil(async () => {
    answer = await collector.post("/v1/batch", batch());
    return answer.status !== 200;
  });
  assertSentAway(answer, /^spool-full$/);
  assert.equal(await refused(collector, "spool-full"), 20);
  const full = await ready(collector);
  assert.deepEqual([full.status, codes(full)], [503, ["spool-full"]]);
  await hub.start();
  await waitUntil(async () => (await ready(collector)).status === 200, { timeout: 30_000 });
  await collector.sendPatiently([{ type: "track", event: "Hello", userId: "u1" }]);
});

test("readiness tells of the hub without depending on it, and of sources that are missing", async (t) => {
  const { hub, collector } = await startSite(t);
  await waitUntil(async () => (await ready(collector)).body.hub === "connected");
  assert.deepEqual((await ready(collector)).body, { ready: true, hub: "connected" });
  await hub.kill();
  await collector.kill();
  await collector.start();
  assert.deepEqual((await ready(collector)).body, { ready: true, hub: "unreachable since the start" });
  await hub.start();
  await waitUntil(async () => (await ready(collector)).body.hub === "connected");
  for (const { id } of (await hub.get("/v1/sources")).sources) {
    await hub.api("DELETE", `/v1/sources/${encodeURIComponent(id)}`);
  }
  await waitUntil(async () => (await ready(collector)).status === 503);
  assert.deepEqual(codes(await ready(collector)), ["no-source"]);
});
