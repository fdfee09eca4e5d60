// Damage on disk is said at the start, with the file and how much, and there is a way on. Nothing that was
// acknowledged is missing without a word.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startSite, test, waitUntil } from "./support/site.mjs";

const EXIT_DAMAGED = 65;

const hello = (n) => ({
  type: "track",
  event: "Hello",
  messageId: `m${n}`,
  userId: `u${n % 3}`,
  properties: { text: randomBytes(200).toString("hex") },
});
const hellos = (from, to) => Array.from({ length: to - from }, (_, i) => hello(from + i));
const count = async (hub) => (await hub.overview()).events;

/* The files of a store with this ending, but empty ones. */
const filesOf = (folder, ending) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name))
    .filter((path) => readFileSync(path).some((byte) => byte !== 0));

/* Turn one bit, or write over some bytes, of what was written. */
function damage(path, { bytes = 0, place = 0.5 } = {}) {
  const content = readFileSync(path);
  const end = content.findLastIndex((byte) => byte !== 0);
  const at = Math.floor(end * place);
  if (bytes === 0) content[at] ^= 1 << at % 8;
  else randomBytes(bytes).copy(content, at);
  writeFileSync(path, content);
}

/* It must not start, and say why; answers what it said. */
async function refusesToStart(daemon) {
  await assert.rejects(daemon.start(), /ended instead of starting/);
  assert.equal(daemon.child.exitCode, EXIT_DAMAGED);
  return daemon.tail();
}

/* Start it once with these options beside its own. */
async function startOnceWith(daemon, ...options) {
  const { args } = daemon;
  daemon.args = [...args, ...options];
  await daemon.start();
  daemon.args = args;
}

const partitionsOf = (hub) => readdirSync(hub.dataDir).filter((name) => /^partition-\d+$/.test(name));

test("a bit turned in the hub's log is said at the start, turned back by --salvage, and nothing is lost", async (t) => {
  const { hub, collector } = await startSite(t);
  for (let n = 0; n < 30; n += 3) await collector.send(hellos(n, n + 3));
  await waitUntil(async () => (await count(hub)) === 30);
  await hub.kill("SIGKILL");
  const [log] = filesOf(join(hub.dataDir, "log"), ".log");
  damage(log);
  const said = await refusesToStart(hub);
  assert.match(said, /start-failed.*log: \d+\.log is damaged at byte \d+: \d+ bytes .* cannot be read, \d+ writes before and \d+ after/);
  assert.match(said, /--salvage/);
  await startOnceWith(hub, "--salvage");
  assert.match(hub.tail(), /salvage-done.*files=1 bits_mended=1 log_changes_lost=0/);
  await collector.send(hellos(30, 33));
  await waitUntil(async () => (await count(hub)) === 33);
});

test("of the hub's log what is written over is lost, counted, and the rest is there", async (t) => {
  const { hub, collector } = await startSite(t, { partitions: 1 });
  for (let n = 0; n < 30; n += 3) await collector.send(hellos(n, n + 3));
  await waitUntil(async () => (await count(hub)) === 30);
  await hub.kill("SIGKILL");
  const [log] = filesOf(join(hub.dataDir, "log"), ".log");
  damage(log, { bytes: 16, place: 0.8 });
  await refusesToStart(hub);
  await startOnceWith(hub, "--salvage");
  assert.match(hub.tail(), /salvaged.*changes are lost/);
  assert.match(hub.tail(), /salvage-done.*log_changes_lost=[1-9]/);
  assert.ok(existsSync(join(hub.dataDir, "log", "lost")));
  await waitUntil(async () => (await hub.overview()).missingRecords === 1, { what: "the gap to be counted" });
  assert.equal(await hub.metric("tributary_missing_log_records"), 1);
  await collector.send(hellos(30, 33));
  await waitUntil(async () => (await count(hub)) === 33);
});

test("a partition that is damaged beyond one bit is made anew from the log", async (t) => {
  const { hub, collector } = await startSite(t, { partitions: 2 });
  for (let n = 0; n < 30; n += 3) await collector.send(hellos(n, n + 3));
  await waitUntil(async () => (await count(hub)) === 30);
  await hub.kill("SIGKILL");
  const [partition] = partitionsOf(hub);
  damage(filesOf(join(hub.dataDir, partition), ".log")[0], { bytes: 20, place: 0.3 });
  assert.match(await refusesToStart(hub), /--rebuild/);
  await startOnceWith(hub, "--rebuild");
  await waitUntil(async () => (await count(hub)) === 30);
  for (const user of ["u0", "u1", "u2"]) assert.equal((await hub.profile("user_id", user)).eventCount, 10);
  assert.equal(readdirSync(hub.dataDir).filter((name) => name.includes(".before-")).length, 2);
  assert.match(hub.tail(), /rebuilding/);
});

test("a table that is damaged is said at the start", async (t) => {
  const { hub, collector } = await startSite(t, { partitions: 1 });
  await collector.send(hellos(0, 30));
  await waitUntil(async () => (await count(hub)) === 30);
  await hub.kill("SIGKILL");
  await hub.start(); // its logs become tables
  await hub.kill("SIGKILL");
  damage(filesOf(join(hub.dataDir, "partition-0000"), ".ldb")[0], { place: 0.2 });
  assert.match(await refusesToStart(hub), /partition-0000: \d+\.ldb is damaged at byte \d+/);
  await startOnceWith(hub, "--salvage");
  assert.equal(await count(hub), 30);
});

test("a table that is damaged while the hub runs is found, and said everywhere", async (t) => {
  const site = await startSite(t, { partitions: 1 });
  const { hub, collector } = site;
  hub.args.push("--scrub_every_ms", "1s");
  await collector.send(hellos(0, 30));
  await waitUntil(async () => (await count(hub)) === 30);
  await hub.kill("SIGKILL");
  await hub.start(); // its logs become tables
  await waitUntil(async () => (await hub.overview()).scrubbedAt !== null, { what: "a first pass" });
  assert.ok((await hub.overview()).scrubbedBytes > 10_000);
  assert.equal(await hub.metric("tributary_damaged_files"), 0);
  damage(filesOf(join(hub.dataDir, "log"), ".ldb")[0], { place: 0.3 });
  await waitUntil(async () => (await hub.metric("tributary_damaged_files")) === 1, { what: "it to be found" });
  const ready = await hub.api("GET", "/readyz");
  assert.equal(ready.status, 503);
  assert.match(ready.body.problems[0].message, /log: \d+\.ldb is damaged at byte \d+/);
  assert.match(hub.tail(), /damage-found.*log: \d+\.ldb is damaged/);
  await assert.rejects(site.cli("status"), ({ cause }) => /NOT READY[^]*is damaged at byte/.test(cause.stdout));
  await hub.kill("SIGKILL");
  assert.match(await refusesToStart(hub), /start-failed.*log: \d+\.ldb is damaged/);
});

test("a bit turned in a spool is said at the start, and turned back", async (t) => {
  const { hub, collector } = await startSite(t);
  await hub.kill();
  for (let n = 0; n < 10; n++) await collector.send([hello(n)]);
  await collector.kill("SIGKILL");
  damage(filesOf(join(collector.dataDir, "spool"), ".log")[0]);
  const said = await refusesToStart(collector);
  assert.match(said, /start-failed.*spool: \d+\.log is damaged/);
  assert.match(said, /--salvage/);
  await startOnceWith(collector, "--salvage");
  assert.match(collector.tail(), /salvage-done.*bits_mended=1 changes_lost=0/);
  await hub.start();
  await waitUntil(async () => (await count(hub)) === 10);
});

test("an edge cache that is damaged is emptied with a line, and filled again", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.send(hellos(0, 9));
  await waitUntil(async () => (await count(hub)) === 9);
  await collector.kill("SIGKILL");
  damage(filesOf(join(collector.dataDir, "edge"), ".log")[0], { place: 0.2 });
  await collector.start();
  assert.match(collector.tail(), /edge-emptied/);
});

test("what a power cut left of a log is no damage", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.send(hellos(0, 9));
  await waitUntil(async () => (await count(hub)) === 9);
  await hub.kill("SIGKILL");
  await collector.kill("SIGKILL");
  const logs = [join(hub.dataDir, "log"), join(collector.dataDir, "spool"), ...partitionsOf(hub).map((name) => join(hub.dataDir, name))]
    .flatMap((folder) => filesOf(folder, ".log"));
  for (const path of logs) {
    const content = readFileSync(path);
    const end = content.findLastIndex((byte) => byte !== 0);
    content.fill(0, end - 3);
    writeFileSync(path, content);
  }
  await hub.start();
  await collector.start();
  assert.doesNotMatch(hub.tail(), /damaged/);
});

test("a MANIFEST that is missing stops the start, and the tables are found again", async (t) => {
  const { hub, collector } = await startSite(t, { partitions: 1 });
  await collector.send(hellos(0, 9));
  await waitUntil(async () => (await count(hub)) === 9);
  await hub.kill("SIGKILL");
  await hub.start();
  await hub.kill("SIGKILL");
  const folder = join(hub.dataDir, "partition-0000");
  for (const name of readdirSync(folder).filter((file) => file.startsWith("MANIFEST"))) rmSync(join(folder, name));
  assert.match(await refusesToStart(hub), /MANIFEST-\d+ is missing/);
  await startOnceWith(hub, "--salvage");
  assert.equal(await count(hub), 9);
});
