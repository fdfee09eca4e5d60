// What is altered, repeated, or sent by a collector that was revoked does not get in, is counted and
// logged, and does not harm what comes after it.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { enrol } from "./support/deployment.mjs";
import { alterRecord } from "./support/leveldb-log.mjs";
import { Line } from "./support/line.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const hello = (messageId) => ({ type: "track", event: "Hello", messageId, userId: "u1" });

const events = async (hub) => (await hub.overview()).events;
const figures = async (hub, name) =>
  (await hub.get("/v1/collectors")).collectors.find(({ id }) => id === name);

/* A site whose one collector reaches the hub through a line that can be tampered with. */
async function startTampered(t) {
  const site = await startSite(t, { collectors: [] });
  const [linePort, port] = await freePorts(2);
  const line = new Line(Number(site.hub.link.split(":").at(-1)));
  await line.open(t, linePort);
  const throughLine = Object.create(site.hub, { link: { value: line.address } });
  const collector = await enrol(throughLine, "edge", { port, writeKey: SERVER_WRITE_KEY });
  site.daemons.push(collector);
  site.collectors.edge = collector;
  await collector.start();
  return { hub: site.hub, collector, line };
}

test("a message altered on the line by one bit is refused, and comes through when it is sent again", async (t) => {
  const { hub, collector, line } = await startTampered(t);
  line.alterNext = true;
  await collector.send([hello("m1")]);
  await waitUntil(async () => (await events(hub)) === 1);
  await collector.send([hello("m2")]);
  await waitUntil(async () => (await events(hub)) === 2);
  assert.equal(line.altered, 1);
  assert.ok((await hub.overview()).strangersRefused >= 1, "the altered message was counted");
  assert.match(hub.tail(), /message-refused|collector-refused .*collector=edge reason=wrong-key/);
});

test("a block that somebody repeats is recognised, counted and changes nothing", async (t) => {
  const { hub, collector, line } = await startTampered(t);
  await collector.send([hello("m1")]);
  await waitUntil(async () => (await events(hub)) === 1);
  line.replay(line.blocks[0]);
  await waitUntil(async () => (await figures(hub, "edge")).replayed === 1);
  await collector.send([hello("m2")]);
  await waitUntil(async () => (await events(hub)) === 2);
  assert.match(hub.tail(), /block-replayed/);
  assert.equal((await hub.overview()).duplicates, 0);
});

test("a block altered by one bit on the collector's disk is refused and set aside; the next one arrives", async (t) => {
  const { hub, collector } = await startSite(t);
  await hub.kill();
  await collector.send([{ ...hello("m1"), properties: { text: randomBytes(600).toString("hex") } }]);
  await collector.kill("SIGKILL");
  assert.ok(alterRecord(join(collector.dataDir, "spool"), 500), "a record of the spool was altered");
  await collector.start();
  await collector.send([hello("m2")]);
  await hub.start();
  await waitUntil(async () => (await events(hub)) === 1);
  await waitUntil(async () => (await collector.metric("tributary_spool_blocks_aside")) === 1);
  assert.equal((await hub.profile("user_id", "u1")).eventCount, 1);
  assert.ok((await figures(hub, "edge")).refused >= 1);
  assert.match(hub.tail(), /block-refused.*status=damaged/);
  assert.match(collector.tail(), /block-set-aside/);

  // The operator has it sent again, which does not help, and gives it up.
  await collector.kill();
  collector.args.push("--blocks_aside", "retry");
  await collector.start();
  await waitUntil(async () => (await figures(hub, "edge")).refused >= 6, { what: "it to be refused again" });
  await waitUntil(async () => (await collector.metric("tributary_spool_blocks_aside")) === 1);
  await collector.kill();
  collector.args.push("--blocks_aside", "drop");
  await collector.start();
  assert.equal(await collector.metric("tributary_spool_blocks_aside"), 0);
  assert.equal(await collector.metric('tributary_collector_events_dropped_total{class="normal"}'), 1);
});

test("a revoked collector is refused, keeps what it has, and others go on", async (t) => {
  const site = await startSite(t, { collectors: ["edge", "stolen"] });
  const { hub } = site;
  const { edge, stolen } = site.collectors;
  await stolen.send([hello("m1")]);
  await waitUntil(async () => (await events(hub)) === 1);
  // What it has when it is revoked stays there; more it does not take.
  await hub.kill();
  await stolen.send([hello("m2")]);
  await stolen.kill();
  await hub.start();
  await site.cli("revoke", "stolen");
  stolen.isReady = async () => (await stolen.get("/healthz")).status === 200;
  await stolen.start();
  await waitUntil(async () => (await figures(hub, "stolen")).refused >= 1);
  await waitUntil(async () => (await stolen.post("/v1/track", hello("m4"))).body.error?.code === "collector-revoked");
  await edge.send([hello("m3")]);
  await waitUntil(async () => (await events(hub)) === 2);
  assert.ok((await figures(hub, "stolen")).revokedAt, "the hub says when");
  assert.equal(await stolen.metric("tributary_spool_blocks"), 1);
  assert.match(hub.tail(), /collector-refused .*collector=stolen reason=revoked/);
  assert.match(stolen.tail(), /collector-revoked/);
});
