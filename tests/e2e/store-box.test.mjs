// A small box under the counter of a shop: days without the hub, a full spool, a slow line, a clock that
// begins in 1970 each time, and next to nothing to do in between.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { enrol } from "./support/deployment.mjs";
import { Line } from "./support/line.mjs";
import { Machine } from "./support/machine.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

const order = (id) => ({ type: "track", event: "Order Completed", messageId: id, userId: "buyer" });
// Of random text, so that it does not compress.
const view = (id, bytes) => ({
  type: "page",
  messageId: id,
  anonymousId: "visitor",
  properties: { path: randomBytes(bytes / 2).toString("hex") },
});

const dropped = (box, name) => box.metric(`tributary_collector_events_dropped_total{class="${name}"}`);

const arrived = async (hub, type, value) => {
  const profile = await hub.profile(type, value);
  return profile ? hub.timeline(profile.id) : [];
};

/* A site whose one collector has these settings and, maybe, a line of its own to the hub. */
async function startBox(t, settings = [], { bytesPerSecond, machine } = {}) {
  const site = await startSite(t, { collectors: [] });
  const [linePort, port] = await freePorts(2);
  let { hub } = site;
  if (bytesPerSecond) {
    const line = new Line(Number(hub.link.split(":").at(-1)), { bytesPerSecond });
    await line.open(t, linePort);
    hub = Object.create(hub, { link: { value: line.address } });
  }
  const box = await enrol(hub, "box", { port, writeKey: SERVER_WRITE_KEY });
  box.args.push(...settings);
  if (machine) {
    box.machine = new Machine(join(site.dir, "machine"));
    box.machine.carry(box);
  }
  site.daemons.push(box);
  return { hub: site.hub, box, site };
}

/* What the hub knows of the box, once that is true of it, and what `tributary status` says of it. */
async function told(site, isTrue) {
  const facts = await waitUntil(
    async () => {
      const collector = await site.hub.get("/v1/collectors/box");
      return isTrue(collector) && collector;
    },
    { timeout: 30_000, what: "the hub to be told by the box" },
  );
  const lines = (await site.cli("status")).split("\n");
  const cells = (name) => lines.find((line) => line.trim().startsWith(`${name} `)).trim().split(/ {2,}/);
  const heads = cells("COLLECTOR");
  return { facts, status: Object.fromEntries(cells("box").map((cell, n) => [heads[n], cell])) };
}

test("a full spool refuses new events and says so, and takes them again when there is room", async (t) => {
  const { hub, box } = await startBox(t, ["--spool_bytes_max", "1MiB"]);
  await hub.kill();
  await box.start();
  let answer;
  let taken = 0;
  do {
    answer = await box.post("/v1/batch", { batch: Array.from({ length: 8 }, (_, n) => view(`v${taken + n}`, 16_000)) });
    taken += answer.status === 200 ? 8 : 0;
  } while (answer.status === 200 && taken < 1000);
  assert.equal(answer.status, 503);
  assert.equal(answer.body.error.code, "spool-full");
  assert.ok(Number(answer.headers["retry-after"]) > 0);
  assert.ok(taken > 40, `${taken} events fitted into 1 MiB`);
  assert.equal((await fetch(`${box.url}/readyz`)).status, 503);
  await hub.start();
  await waitUntil(async () => (await box.post("/v1/track", order("o1"))).status === 200, { timeout: 20_000 });
  await waitUntil(async () => (await arrived(hub, "anonymous_id", "visitor")).length === taken, { timeout: 20_000 });
});

test("on a disk with less room than wanted the spool is full", async (t) => {
  const { box } = await startBox(t, ["--disk_free_bytes_min", "1000000GiB"]);
  box.isReady = async () => (await fetch(`${box.url}/healthz`)).status === 200; // it will never be quite
  await box.start();
  assert.equal((await fetch(`${box.url}/readyz`)).status, 503);
  const answer = await box.post("/v1/track", order("o1"));
  assert.deepEqual([answer.status, answer.body.error.code], [503, "spool-full"]);
});

test("a full spool that may drop loses page views before purchases, and counts them", async (t) => {
  const { hub, box, site } = await startBox(t, ["--spool_bytes_max", "1MiB", "--when_full", "drop-oldest"]);
  await hub.kill();
  await box.start();
  await box.send([order("first")]);
  let views = 0;
  while (views < 40 || (await dropped(box, "low")) === 0) {
    await box.send(Array.from({ length: 8 }, (_, n) => view(`v${String(views + n).padStart(4, "0")}`, 16_000)));
    views += 8;
  }
  await box.send([order("last")]);
  assert.equal((await fetch(`${box.url}/readyz`)).status, 200);
  const lost = await dropped(box, "low");
  await box.kill("SIGKILL");
  await box.start();
  assert.equal(await dropped(box, "low"), lost, "the count survives");
  assert.deepEqual([await dropped(box, "high"), await dropped(box, "normal")], [0, 0]);
  await hub.start();
  const { facts, status } = await told(site, ({ droppedEvents }) => droppedEvents.low > 0);
  assert.deepEqual(facts.droppedEvents, { high: 0, normal: 0, low: lost });
  assert.equal(status.DROPPED, String(lost));
  await waitUntil(async () => (await box.metric("tributary_spool_blocks")) === 0, { timeout: 30_000 });
  await waitUntil(async () => (await arrived(hub, "anonymous_id", "visitor")).length === views - lost);
  const ids = (await arrived(hub, "anonymous_id", "visitor")).map(({ messageId }) => messageId).sort();
  assert.equal(ids[0], `v${String(lost).padStart(4, "0")}`, "the oldest are gone");
  const orders = (await arrived(hub, "user_id", "buyer")).map(({ messageId }) => messageId).sort();
  assert.deepEqual(orders, ["first", "last"]);
});

test("one request with events of all classes becomes small blocks, and all of it arrives once", async (t) => {
  const { hub, box } = await startBox(t, ["--upload_bytes_per_second_max", "16KiB"]);
  await hub.kill();
  await box.start();
  const all = Array.from({ length: 120 }, (_, n) => {
    const each = [order(`m${n}`), view(`m${n}`, 400), { type: "track", event: "Product Viewed", messageId: `m${n}` }];
    return { ...each[n % 3], userId: "buyer" };
  });
  await box.send(all);
  const blocks = await box.metric("tributary_spool_blocks");
  assert.ok(blocks >= 4, `${blocks} blocks`);
  assert.equal(await box.metric("tributary_commits_total"), 1);
  await hub.start();
  await waitUntil(async () => (await arrived(hub, "user_id", "buyer")).length === 120, { timeout: 30_000 });
  assert.equal((await hub.overview()).duplicates, 0);
});

test("while a long backlog drains over a slow line a new purchase takes five seconds at most", async (t) => {
  const rate = 12 * 1024;
  const line = { bytesPerSecond: rate * 1.1 };
  const { hub, box, site } = await startBox(t, ["--upload_bytes_per_second_max", String(rate)], line);
  await hub.kill();
  await box.start();
  const views = 60;
  const start = performance.now();
  for (let n = 0; n < views; n++) await box.send([view(`v${n}`, 6000)]);
  assert.ok((await box.metric("tributary_spool_bytes")) > 15 * rate, "fifteen seconds wait at least");
  await waitUntil(() => performance.now() - start > 1.5 * SECOND, { timeout: 5 * SECOND });
  await hub.start();
  await waitUntil(async () => (await arrived(hub, "anonymous_id", "visitor")).length > 0, { timeout: 30_000 });
  const { facts, status } = await told(site, ({ spoolBlocks, lagMs }) => spoolBlocks > 0 && lagMs > SECOND);
  assert.ok(facts.spoolBytes > 12 * rate, `${facts.spoolBytes} bytes wait`);
  assert.ok(status.SPOOLED > 10 && status.SPOOLED <= facts.spoolBlocks, `${status.SPOOLED} blocks wait`);
  assert.match(status.BYTES, /^\d+\.\d KiB$/);
  assert.match(status.LAG, /^[1-9]\d*s$/);
  for (let n = 0; n < 4; n++) {
    await box.send([order(`o${n}`)]);
    await waitUntil(async () => (await arrived(hub, "user_id", "buyer")).length === n + 1, {
      timeout: 5 * SECOND,
      what: `purchase ${n}`,
    });
  }
  assert.ok((await box.metric("tributary_spool_blocks")) > 10, "the backlog is still there");
  await waitUntil(async () => (await arrived(hub, "anonymous_id", "visitor")).length === views, { timeout: 60_000 });
});

test("a box that begins in 1970 each time keeps the order, and times get right once the hub is heard", async (t) => {
  const { hub, box, site } = await startBox(t, [], { machine: true });
  const { machine } = box;
  const customer = (id, more) => ({ type: "track", event: "Seen", messageId: id, userId: "c1", ...more });
  const own = new Date(Date.now() - DAY).toISOString();
  const later = new Date(Date.now() + 20 * MINUTE).toISOString();
  await hub.kill();

  machine.boot(20 * SECOND);
  await box.start();
  await box.send([customer("a1"), customer("own", { timestamp: own })]);
  const sent = { originalTimestamp: "2020-01-01T00:00:00Z", sentAt: "2020-01-01T00:01:00Z" };
  await box.send([customer("a-minute-before", sent)]);
  machine.pass(10 * MINUTE);
  await box.send([customer("a2")]);
  await box.kill("SIGKILL");

  machine.boot(20 * SECOND);
  await box.start();
  await box.send([customer("b1")]);
  machine.pass(5 * MINUTE);
  await box.send([customer("b2"), customer("later", { timestamp: later })]);

  await hub.start();
  await waitUntil(async () => (await arrived(hub, "user_id", "c1")).length === 7, { timeout: 20_000 });
  const { facts, status } = await told(site, ({ clockOffsetMs }) => clockOffsetMs > DAY);
  assert.equal(status.CLOCK, `+${Math.trunc(facts.clockOffsetMs / SECOND)} s`, "the hub's clock is ahead");
  machine.setWallClock(Date.now()); // somebody sets it
  await box.send([customer("set")]);
  await waitUntil(async () => (await arrived(hub, "user_id", "c1")).length === 8);

  // What this boot has learnt holds for what stays behind.
  await hub.kill();
  await box.send([customer("left")]);
  await box.kill("SIGKILL");
  machine.boot(20 * SECOND);
  await box.start();
  machine.pass(120 * MINUTE); // of which the hub knows nothing: this boot's offset is another
  await hub.start();
  await waitUntil(async () => (await arrived(hub, "user_id", "c1")).length === 9, { timeout: 20_000 });

  const times = Object.fromEntries(
    (await arrived(hub, "user_id", "c1")).map(({ messageId, timestamp }) => [messageId, Date.parse(timestamp)]),
  );
  const near = (id, expected) =>
    assert.ok(Math.abs(times[id] - expected) < 30 * SECOND, `${id} at ${new Date(times[id]).toISOString()}`);
  const now = Date.now();
  near("set", now);
  near("left", now);
  near("b2", now);
  near("b1", now - 5 * MINUTE);
  near("a2", now - 5 * MINUTE); // the first boot ends where the second begins
  near("a1", now - 15 * MINUTE);
  near("a-minute-before", now - 16 * MINUTE);
  assert.equal(times.own, Date.parse(own), "a client's own time is not shifted");
  assert.equal(times.later, Date.parse(later), "nor one that is a little ahead");
  assert.ok(times.a1 <= times.a2 && times.a2 <= times.b1 && times.b1 <= times.b2 && times.b2 <= times.set);
});

test("a box and a hub with nothing to do do nothing", async (t) => {
  const { hub, box } = await startBox(t);
  await box.start();
  await box.send([order("o1")]);
  await waitUntil(async () => (await arrived(hub, "user_id", "buyer")).length === 1);
  // Hundredths of a second on a core.
  const ticks = ({ child }) => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const start = performance.now();
  const before = [ticks(box), ticks(hub)];
  await waitUntil(() => performance.now() - start > 10 * SECOND, { timeout: 15 * SECOND, every: 500 });
  for (const [n, daemon] of [box, hub].entries()) {
    const percent = (ticks(daemon) - before[n]) / ((performance.now() - start) / SECOND);
    assert.ok(percent < 0.5, `${daemon.name} uses ${percent} % of a core`);
  }
});
