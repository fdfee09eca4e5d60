// The collector's sections: HTTP beside nginx, bytes on the wire, draining the spool, the tag's size.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ROOT } from "../e2e/support/cli.mjs";
import { createHub, define, enrol } from "../e2e/support/deployment.mjs";
import { freePorts } from "../e2e/support/ports.mjs";
import { waitUntil } from "../e2e/support/wait.mjs";
import { SEGMENTS, SOURCES, WRITE_KEY } from "./definitions.mjs";
import { lean, variedEvents } from "./events.mjs";
import { loaded, p99Asked, quantile, startNginx, syncDisk, wrk } from "./machine.mjs";

const BATCH = 50;
const SINGLES = 4000;
const BATCHES = 400;

const recent = (event, i) => ({ ...event, timestamp: new Date(Date.now() - (i % 3000)).toISOString() });

/* Bodies for wrk: lean events, of browsers and tills, whose message ids it fills in. */
export function writeBodies(dir) {
  const events = variedEvents({ seed: 5, count: BATCH * BATCHES }).map(lean).map(recent)
    .map((event) => ({ ...event, messageId: "@ID@" }));
  const singles = events.filter((event) => event.type === "track").slice(0, SINGLES);
  const batches = Array.from({ length: BATCHES }, (_, i) => ({ batch: events.slice(i * BATCH, (i + 1) * BATCH) }));
  const write = (name, bodies) => {
    const file = join(dir, name);
    writeFileSync(file, bodies.map((body) => `${JSON.stringify(body)}\n`).join(""));
    return { file, bytes: bodies.reduce((sum, body) => sum + Buffer.byteLength(JSON.stringify(body)), 0) / bodies.length };
  };
  return { singles: write("singles.ndjson", singles), batches: write("batches.ndjson", batches) };
}

const onCore = (core, daemon) => Object.assign(daemon, { args: ["-c", String(core), daemon.command, ...daemon.args], command: "taskset" });

/* A collector whose hub is known and not running, so that what it does is its own work. */
export async function startLonely({ dir, keep }, name, pinned) {
  const home = join(dir, name);
  mkdirSync(home, { recursive: true });
  const [httpPort, linkPort, port] = await freePorts(3);
  const hub = keep(await createHub(home, { httpPort, linkPort }));
  await hub.start();
  await define(hub, { sources: SOURCES, segments: SEGMENTS });
  const collector = keep(await enrol(hub, "web", { port, writeKey: WRITE_KEY }));
  if (pinned) onCore(0, collector);
  await collector.start();
  await hub.kill();
  return { hub, collector };
}

async function measureNginx({ dir, settings, report }, bodies) {
  const [port] = await freePorts(1);
  const nginx = await startNginx(join(dir, "nginx"), port);
  const { seconds, rounds } = settings;
  const single = await loaded(nginx.worker, nginx.url, ["post", "/", bodies.singles.file, WRITE_KEY], { seconds, rounds });
  const logged = await loaded(nginx.worker, nginx.url, ["post", "/log/", bodies.batches.file, WRITE_KEY], { seconds, rounds });
  await nginx.stop();
  rmSync(join(dir, "nginx"), { recursive: true, force: true });
  report.add("nginx, reads a single event, stores nothing", single.rate, "req/s");
  report.add("nginx, appends 50-event bodies to a file, unsynced", logged.rate * BATCH, "events/s");
  return { single, logged };
}

async function postSingles({ settings, report }, collector, bodies, connections, nginx) {
  const r = await loaded(collector.child.pid, collector.url, ["post", "/v1/track", bodies.singles.file, WRITE_KEY], { seconds: settings.seconds, rounds: settings.rounds, connections });
  if (r.errors + r.refused > 0) report.fail(`requests at ${connections} connections`, r.errors + r.refused);
  const isMain = connections === 64;
  report.add(`single events, ${connections} connections`, r.rate, "req/s", isMain && {
    target: `≥ ${Math.round(0.6 * nginx.single.rate).toLocaleString("en")} (0.6 × nginx)`,
    reference: `nginx ${Math.round(nginx.single.rate).toLocaleString("en")}: × ${(r.rate / nginx.single.rate).toFixed(2)}`,
  });
  report.add("  latency p50 / p99", `${r.p50.toFixed(1)} / ${r.p99.toFixed(1)}`, "ms", isMain && { reference: `nginx ${nginx.single.p50.toFixed(1)} / ${nginx.single.p99.toFixed(1)}` });
  report.add("  CPU an event", r.cpu, "µs", isMain && { reference: `nginx ${nginx.single.cpu.toFixed(1)}` });
  report.add("  resident (own) memory", `${r.memory.resident.toFixed(1)} (${r.memory.own.toFixed(1)})`, "MiB", {
    target: connections > 64 ? "≤ 40 on 1,000" : "≤ 24",
    reference: isMain ? `nginx ${nginx.single.memory.resident.toFixed(1)}` : undefined,
  });
  return r.rate;
}

/* Latency where the collector is not the bottleneck: each connection pauses, so that in all they ask for
 * half of what it can do. Between the rounds the disk is measured by itself: no answer is quicker. */
async function postAtHalfLoad({ dir, settings, report }, collector, bodies, fullRate) {
  const connections = 64;
  const pause = Math.max(1, Math.round((connections / (fullRate / 2)) * 1000));
  const args = ["post", "/v1/track", bodies.singles.file, WRITE_KEY, String(pause)];
  const disk = [];
  const meanwhile = () => disk.push(p99Asked(syncDisk(dir, settings.seconds / 2), pause));
  const r = await loaded(collector.child.pid, collector.url, args, { seconds: settings.seconds, rounds: settings.rounds, connections, meanwhile });
  report.add(`single events, 64 connections that pause ${pause} ms`, r.rate, "req/s", { reference: `half load: × ${(r.rate / fullRate).toFixed(2)} of the full one` });
  report.add("  latency p50 / p99", `${r.p50.toFixed(1)} / ${r.p99.toFixed(1)}`, "ms", { target: "p99 ≤ 5", reference: `the disk alone ${quantile(disk, 0.5).toFixed(1)}, ${Math.min(...disk).toFixed(1)} to ${Math.max(...disk).toFixed(1)}` });
}

async function postBatches({ settings, report }, collector, bodies, nginx) {
  const before = await collector.metrics();
  const r = await loaded(collector.child.pid, collector.url, ["post", "/v1/batch", bodies.batches.file, WRITE_KEY], { seconds: settings.seconds, rounds: settings.rounds });
  const after = await collector.metrics();
  const change = (name) => after[name] - before[name];
  const events = change("tributary_events_total");
  if (r.errors + r.refused > 0) report.fail("requests", r.errors + r.refused);
  report.add("50-event batches, 64 connections", r.rate * BATCH, "events/s", {
    target: "≥ 400,000",
    reference: `nginx logging ${Math.round(nginx.logged.rate * BATCH).toLocaleString("en")}: × ${(r.rate / nginx.logged.rate).toFixed(2)}`,
  });
  report.add("  latency p50 / p99", `${r.p50.toFixed(1)} / ${r.p99.toFixed(1)}`, "ms");
  report.add("  CPU an event", r.cpu / BATCH, "µs", { reference: `nginx logging ${(nginx.logged.cpu / BATCH).toFixed(2)}` });
  report.add("  resident (own) memory", `${r.memory.resident.toFixed(1)} (${r.memory.own.toFixed(1)})`, "MiB", { target: "≤ 24" });
  report.add("  events in a commit", events / change("tributary_commits_total"), "");
  report.add("  on the wire", change("tributary_event_sealed_bytes_total") / events, "bytes/event", { reference: `JSON ${(bodies.batches.bytes / BATCH).toFixed(0)}` });
}

/* One request of 256 events after the other: each becomes one block. */
async function sealBlocks({ report }, collector, title, shape) {
  const count = 256 * 20;
  const events = variedEvents({ seed: 6, count }).map(shape).map(recent);
  const before = await collector.metrics();
  for (let i = 0; i < count; i += 256) await collector.send(events.slice(i, i + 256));
  const after = await collector.metrics();
  const change = (name) => after[name] - before[name];
  const json = events.reduce((sum, event) => sum + Buffer.byteLength(JSON.stringify(event)), 0) / count;
  report.add(`blocks of 256, ${title}`, change("tributary_event_sealed_bytes_total") / change("tributary_events_total"), "bytes/event", { target: "≤ 85", reference: `JSON ${json.toFixed(0)}` });
}

export async function collectorSection(context) {
  const { report, dir } = context;
  report.section("Collector on one core, durable before the answer");
  const bodies = writeBodies(dir);
  const nginx = await measureNginx(context, bodies);
  const { collector } = await startLonely(context, "lonely", true);
  const rate = await postSingles(context, collector, bodies, 64, nginx);
  await postAtHalfLoad(context, collector, bodies, rate);
  await postBatches(context, collector, bodies, nginx);
  await postSingles(context, collector, bodies, 512, nginx);
  await postSingles(context, collector, bodies, 1000, nginx);
  report.section("Bytes on the wire");
  await sealBlocks(context, collector, "lean events", lean);
  await sealBlocks(context, collector, "events of browsers", (event) => event);
  await collector.kill();
  rmSync(join(dir, "lonely"), { recursive: true, force: true });
}

/* Fill the spool while the hub is away; let the hub come back. */
export async function drainSection(context) {
  const { report, dir, settings } = context;
  report.section("Spool drained to the hub that is back, which applies meanwhile");
  const bodies = writeBodies(dir);
  const { hub, collector } = await startLonely(context, "drain", false);
  await wrk(collector.url, ["post", "/v1/batch", bodies.batches.file, WRITE_KEY], { seconds: settings.seconds > 1 ? 3 : 1 });
  const full = await collector.metrics();
  await hub.start();
  await waitUntil(async () => (await collector.metrics()).tributary_spool_blocks < full.tributary_spool_blocks, { timeout: 30_000, what: "the first block to go" });
  const start = performance.now();
  await waitUntil(async () => (await collector.metrics()).tributary_spool_blocks === 0, { timeout: 300_000, what: "the spool to be empty" });
  const seconds = (performance.now() - start) / 1000;
  report.add("events waiting", full.tributary_events_total, "events");
  report.add("drained", full.tributary_events_total / seconds, "events/s");
  report.add("drained", full.tributary_spool_bytes / seconds / 2 ** 20, "MiB/s");
  await collector.kill();
  await hub.kill("SIGKILL");
  rmSync(join(dir, "drain"), { recursive: true, force: true });
}

export function tagSection({ report }) {
  const file = join(ROOT, "tag-js", "dist", "t.js");
  report.section("Tag");
  if (!existsSync(file)) return report.add("not built", 0, "bytes");
  report.add("gzip", gzipSync(readFileSync(file), { level: 9 }).length, "bytes", { target: "≤ 4,096", reference: "Segment 30,720 (published)" });
}
