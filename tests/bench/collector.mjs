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
import { loaded, p99Asked, quantile, ratio, startNginx, syncDisk, wrk } from "./machine.mjs";

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

const single = (bodies, pause = []) => ["post", "/v1/track", bodies.singles.file, WRITE_KEY, ...pause];
const batch = (bodies) => ["post", "/v1/batch", bodies.batches.file, WRITE_KEY];
const discarded = (nginx, bodies) => ({ pid: nginx.worker, url: nginx.url, args: ["post", "/", bodies.singles.file, WRITE_KEY] });
const subject = (collector, args) => ({ pid: collector.child.pid, url: collector.url, args });
const size = ({ resident, own }) => `${resident.toFixed(1)} (${own.toFixed(1)})`;
const latency = ({ p50, p99 }) => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;

function requireAnswers(report, title, { errors, refused }) {
  if (errors + refused > 0) report.fail(`requests, ${title}`, errors + refused);
}

async function postSingles({ settings, report }, collector, bodies, nginx) {
  const [beside, r] = await loaded([
    discarded(nginx, bodies),
    subject(collector, single(bodies)),
  ], settings);
  requireAnswers(report, "64 connections", r);
  report.add("nginx, reads a single event, stores nothing", beside.rate, "req/s");
  report.add("single events, 64 connections", r.rate, "req/s", { target: "≥ 0.6 × nginx", reference: `nginx: × ${ratio(r, beside).toFixed(2)}` });
  report.add("  latency p50 / p99", latency(r), "ms", { reference: `nginx ${latency(beside)}` });
  report.add("  CPU an event", r.cpu, "µs", { reference: `nginx ${beside.cpu.toFixed(1)}` });
  report.add("  resident (own) memory", size(r.memory), "MiB", { target: "≤ 24", reference: `nginx ${beside.memory.resident.toFixed(1)}` });
  return r.rate;
}

/* nginx shows what so many connections cost the machine. */
async function postOnManyConnections({ settings, report }, collector, bodies, nginx) {
  const counts = [64, 512, 1000];
  const on = (one) => counts.map((connections) => ({ ...one, connections }));
  const results = await loaded([...on(subject(collector, single(bodies))), ...on(discarded(nginx, bodies))], settings);
  const [few, ...more] = results.slice(0, counts.length);
  const [fewBeside, ...moreBeside] = results.slice(counts.length);
  requireAnswers(report, "64 connections", few);
  for (const [i, r] of more.entries()) {
    const title = `${counts[i + 1]} connections`;
    const reference = `on 64: × ${ratio(r, few).toFixed(2)}; nginx × ${ratio(moreBeside[i], fewBeside).toFixed(2)}`;
    requireAnswers(report, title, r);
    report.add(`single events, ${title}`, r.rate, "req/s", { target: "≥ on 64", reference });
    report.add("  latency p50 / p99", latency(r), "ms");
    report.add("  CPU an event", r.cpu, "µs");
    report.add("  resident (own) memory", size(r.memory), "MiB", { target: "≤ 40" });
  }
}

/* Latency where the collector is not the bottleneck: each connection pauses, so that in all they ask for
 * half of what it can do. Between the rounds the disk is measured by itself: no answer is quicker. */
async function postAtHalfLoad({ dir, settings, report }, collector, bodies, fullRate) {
  const pause = Math.max(1, Math.round((64 / (fullRate / 2)) * 1000));
  const disk = [];
  const meanwhile = () => disk.push(p99Asked(syncDisk(dir, settings.seconds / 2), pause));
  const [r] = await loaded([subject(collector, single(bodies, [String(pause)]))], { ...settings, meanwhile });
  report.add(`single events, 64 connections that pause ${pause} ms`, r.rate, "req/s", { reference: `half load: × ${(r.rate / fullRate).toFixed(2)} of the full one` });
  report.add("  latency p50 / p99", latency(r), "ms", {
    target: "p99 ≤ 5",
    reference: `the disk alone ${quantile(disk, 0.5).toFixed(1)}, ${Math.min(...disk).toFixed(1)} to ${Math.max(...disk).toFixed(1)}`,
  });
}

async function postBatches({ settings, report }, collector, bodies) {
  const before = await collector.metrics();
  const [r] = await loaded([subject(collector, batch(bodies))], settings);
  const after = await collector.metrics();
  const change = (name) => after[name] - before[name];
  const events = change("tributary_events_total");
  requireAnswers(report, "batches", r);
  report.add("50-event batches, 64 connections", r.rate * BATCH, "events/s", { target: "≥ 400,000" });
  report.add("  latency p50 / p99", latency(r), "ms");
  report.add("  CPU an event", r.cpu / BATCH, "µs");
  report.add("  resident (own) memory", size(r.memory), "MiB", { target: "≤ 24" });
  report.add("  events in a commit", events / change("tributary_commits_total"), "");
  report.add("  on the wire", change("tributary_event_sealed_bytes_total") / events, "bytes/event", { reference: `JSON ${(bodies.batches.bytes / BATCH).toFixed(0)}` });
}

/* After all else: what it leaves to be written keeps the disk busy. */
async function logBatches({ settings, report }, bodies, nginx) {
  const args = ["post", "/log/", bodies.batches.file, WRITE_KEY];
  const [r] = await loaded([{ pid: nginx.worker, url: nginx.url, args }], { ...settings, rounds: 1 });
  report.add("nginx, appends such batches to a file, unsynced", r.rate * BATCH, "events/s");
  report.add("  CPU an event", r.cpu / BATCH, "µs");
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
  const [port] = await freePorts(1);
  const nginx = await startNginx(join(dir, "nginx"), port);
  const { collector } = await startLonely(context, "lonely", true);
  const rate = await postSingles(context, collector, bodies, nginx);
  await postAtHalfLoad(context, collector, bodies, rate);
  await postBatches(context, collector, bodies);
  await postOnManyConnections(context, collector, bodies, nginx);
  await logBatches(context, bodies, nginx);
  await nginx.stop();
  report.section("Bytes on the wire");
  await sealBlocks(context, collector, "lean events", lean);
  await sealBlocks(context, collector, "events of browsers", (event) => event);
  await collector.kill();
  for (const name of ["nginx", "lonely"]) rmSync(join(dir, name), { recursive: true, force: true });
}

/* Fill the spool while the hub is away; let the hub come back. */
export async function drainSection(context) {
  const { report, dir, settings } = context;
  report.section("Spool drained to the hub that is back, which applies meanwhile");
  const bodies = writeBodies(dir);
  const { hub, collector } = await startLonely(context, "drain", false);
  await wrk(collector.url, batch(bodies), { seconds: settings.seconds > 1 ? 3 : 1 });
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
