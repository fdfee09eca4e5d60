// The hub's sections: events to committed profiles, the way back to the edge, and backfill.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { randomUUID } from "node:crypto";
import { createHub, define, enrol } from "../e2e/support/deployment.mjs";
import { freePorts } from "../e2e/support/ports.mjs";
import { waitUntil } from "../e2e/support/wait.mjs";
import { writeBodies } from "./collector.mjs";
import { compile } from "./compile.mjs";
import { LATE, MARKED, MARKING, SEGMENTS, SOURCES, WRITE_KEY } from "./definitions.mjs";
import { lean, variedEvents } from "./events.mjs";
import { cpuTime, folderBytes, idle, loaded, memory, pinTo, quantile, wrk } from "./machine.mjs";

/* A hub with its segments, an enrolled collector that runs, and one for the load. */
export async function startCentre({ dir, keep }) {
  const home = join(dir, "centre");
  mkdirSync(home, { recursive: true });
  const [httpPort, linkPort, port, unused] = await freePorts(4);
  const hub = keep(await createHub(home, { httpPort, linkPort }));
  await hub.start();
  await define(hub, { sources: SOURCES, segments: SEGMENTS });
  const collector = keep(await enrol(hub, "web", { port, writeKey: WRITE_KEY }));
  const loader = await enrol(hub, "loader", { port: unused, writeKey: WRITE_KEY });
  await collector.start();
  return { hub, collector, loader };
}

function templates() {
  const events = variedEvents({ seed: 8, count: 4000 }).map(lean).filter((event) => event.anonymousId && event.type !== "identify");
  const lines = [];
  for (let i = 0; i < events.length; i += 100) lines.push(JSON.stringify({ batch: events.slice(i, i + 100) }));
  return `${lines.join("\n")}\n`;
}

/* Ship events through load.c and wait until the hub has committed them all. What is counted in a second
 * tells the stalls. */
async function apply({ keep }, { hub, loader }, args) {
  const count = Number(args[3]);
  const child = spawn(compile("load"), [loader.enrolment, ...args.map(String)], { stdio: ["pipe", "pipe", "inherit"] });
  keep({ kill: async () => child.kill("SIGKILL") });
  let said = "";
  child.stdout.on("data", (data) => (said += data));
  child.stdin.end(templates());
  await waitUntil(() => said.startsWith("ready") || child.exitCode !== null, { timeout: 600_000, what: "the load to be made" });
  const before = (await hub.overview()).events;
  const cpu = cpuTime(hub.child.pid);
  const start = performance.now();
  const seconds = [];
  child.kill("SIGUSR1");
  let peak = memory(hub.child.pid).resident;
  for (let at = start, last = before; ; ) {
    const { events } = await hub.overview();
    const now = performance.now();
    if (now - at >= 1000) {
      seconds.push(((events - last) * 1000) / (now - at));
      [at, last] = [now, events];
      peak = Math.max(peak, memory(hub.child.pid).resident);
    }
    if (events >= before + count) break;
    if (now - start > 1_800_000) throw new Error(`the hub applied ${events - before} of ${count} events in half an hour`);
    await pause(50);
  }
  const took = (performance.now() - start) / 1000;
  if (child.exitCode === null) await once(child, "exit");
  return {
    rate: count / took,
    cpu: (cpuTime(hub.child.pid) - cpu) / count,
    slowest: seconds.length > 1 ? Math.min(...seconds) : count / took,
    stalled: seconds.filter((rate) => rate < 0.2 * (count / took)).length,
    seconds,
    peak,
    load: JSON.parse(said.split("\n")[1]),
  };
}

/* Load the profiles, then sessions over them. */
export async function hubSection(context, centre) {
  const { report, settings, dir } = context;
  const { hub } = centre;
  const { profiles, events } = settings;
  report.section(`Hub, ${profiles.toLocaleString("en")} profiles, ${Object.keys(SEGMENTS).length} live segments, event to committed profile`);
  const fill = await apply(context, centre, ["fill", profiles, 0, profiles, 1]);
  report.add("first events of new visitors", fill.rate, "events/s");
  report.add("  CPU an event", fill.cpu, "µs");
  report.add("  slowest second", fill.slowest, "events/s", { reference: `${fill.stalled} of ${fill.seconds.length} s below a fifth` });
  await idle(hub.child.pid, 60_000);
  const visits = await apply(context, centre, ["sessions", profiles, 0, events, 2]);
  report.add("sessions of returning visitors", visits.rate, "events/s", { target: "≥ 50,000 (1 M profiles), 25,000 (6 M)", reference: "published peers 1,000 to 1,500" });
  report.add("  CPU an event", visits.cpu, "µs");
  report.add("  slowest second", visits.slowest, "events/s", { reference: `${visits.stalled} of ${visits.seconds.length} s below a fifth` });
  report.add("  acknowledged, in the log", visits.load.events / visits.load.seconds, "events/s");
  report.add("  on the wire, blocks of 1,000", visits.load.bytes / visits.load.events, "bytes/event");
  const { resident, own } = memory(hub.child.pid);
  report.add("resident (own) memory", `${resident.toFixed(0)} (${own.toFixed(0)})`, "MiB", { target: "≤ 1,024 (6 M)" });
  report.add("resident memory, peak", Math.max(fill.peak, visits.peak), "MiB", { target: "≤ 1,024 (6 M)" });
  await idle(hub.child.pid, 60_000);
  const home = join(dir, "centre", "hub");
  report.add("log on disk", folderBytes(join(home, "log")) / (profiles + events), "bytes/event");
  report.add("all on disk", folderBytes(home) / 2 ** 20, "MiB");
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });

// node's fetch costs more than what is measured here.
function ask(url, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const call = httpRequest(url, { method, agent, headers }, (response) => {
      let text = "";
      response.on("data", (data) => (text += data));
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    call.on("error", reject);
    call.end(body);
  });
}

/* The time from the request with the deciding event to the first answer that shows the segment. */
async function showUp(collector, anonymousId) {
  const start = performance.now();
  const body = JSON.stringify({ ...MARKING, anonymousId, messageId: randomUUID(), writeKey: WRITE_KEY });
  const posted = await ask(`${collector.url}/v1/track`, { method: "POST", body, headers: { "content-type": "application/json" } });
  if (posted.status !== 200) throw new Error(`${posted.status} ${posted.text}`);
  while (!JSON.parse((await ask(`${collector.url}/v1/me?anonymousId=${anonymousId}`)).text).segments.includes(MARKED)) {
    if (performance.now() - start > 10_000) throw new Error("a segment did not come to the edge in 10 s");
    await pause(1);
  }
  return performance.now() - start;
}

async function measureLatency({ report, settings }, { collector, hub }) {
  await idle(hub.child.pid, 60_000);
  const times = [];
  const known = [];
  for (let i = 0; i < settings.visits; i++) {
    const anonymousId = randomUUID();
    times.push(await showUp(collector, anonymousId));
    known.push(anonymousId);
    await pause(Math.random() * 20);
  }
  report.add("event in the page to segment at the edge, p50", quantile(times, 0.5), "ms");
  report.add("event in the page to segment at the edge, p99", quantile(times, 0.99), "ms", { target: "< 250", reference: "peers: minutes to a day" });
  return known;
}

/* Let the edge know enough visitors that look-ups are spread over its store. */
async function meetVisitors({ collector }, count) {
  const visitors = [];
  for (let i = 0; i < count; i += 500) {
    const batch = Array.from({ length: 500 }, () => ({ type: "identify", messageId: randomUUID(), anonymousId: randomUUID(), userId: `edge-${i}-${randomUUID()}`, traits: { city: "Lyon", newsletter: true, points: 700 } }));
    await collector.send(batch, { writeKey: WRITE_KEY });
    visitors.push(...batch);
  }
  await waitUntil(async () => (await collector.me(visitors.at(-1).anonymousId)).segments.length > 0, { timeout: 60_000, what: "cards at the edge" });
  return visitors;
}

/* Give the box everybody, and measure how long it takes until it has them; then only whom it saw again. */
async function measureRefill({ report }, { hub, collector }) {
  const path = `/v1/collectors/${collector.name}`;
  const filled = async () => (await hub.get(path)).cache.status === "complete";
  const start = performance.now();
  await hub.put(path, { scope: { kind: "everybody" } });
  await waitUntil(filled, { timeout: 600_000, what: "the refill" });
  const { known } = await hub.overview();
  report.add("refill of a box with everybody", known / ((performance.now() - start) / 1000), "cards/s", { reference: `${known} cards` });
  await hub.put(path, { scope: { kind: "seen" } });
  await waitUntil(filled, { timeout: 600_000, what: "the box to be as before" });
}

export async function edgeSection(context, centre) {
  const { report, dir, settings } = context;
  const { collector } = centre;
  report.section("Edge");
  await measureLatency(context, centre);
  const visitors = await meetVisitors(centre, settings.seconds > 1 ? 20_000 : 2000);
  await pause(1000);
  const paths = (name, path) => {
    const file = join(dir, name);
    writeFileSync(file, visitors.map((visitor) => `${path(visitor)}\n`).join(""));
    return file;
  };
  const lookups = [
    ["/v1/me", ["get", paths("me", ({ anonymousId }) => `/v1/me?anonymousId=${anonymousId}`)]],
    ["/v1/customers", ["get", paths("customers", ({ userId }) => `/v1/customers?user_id=${userId}`), collector.customerToken]],
  ];
  for (const [name, args] of lookups) {
    const busy = await wrk(collector.url, args, { seconds: 2 * settings.seconds });
    const calm = await wrk(collector.url, args, { seconds: settings.seconds, connections: 4 });
    if (busy.errors + busy.refused + calm.refused > 0) report.fail(`${name}`, busy.errors + busy.refused + calm.refused);
    report.add(`${name}, 64 connections`, busy.requests / busy.seconds, "req/s");
    report.add("  latency p50 / p99", `${busy.p50.toFixed(2)} / ${busy.p99.toFixed(2)}`, "ms");
    report.add(`${name}, 4 connections`, calm.requests / calm.seconds, "req/s");
    report.add("  latency p99", calm.p99, "ms", { target: "< 1", reference: "200 (Segment Profile API, published)" });
  }
  await measureRefill(context, centre);
  await measureTill(context, centre, lookups[1][1]);
}

/* What a till asks while events come: four tills, and 64 browsers that send one event every 16 ms. The
 * box has a core of its own, as in a shop; the hub, which is elsewhere then, must not delay who measures. */
async function measureTill({ report, dir, settings }, { collector, hub }, args) {
  const { singles } = writeBodies(dir);
  const { rounds, seconds } = settings;
  await idle(hub.child.pid, 60_000);
  pinTo(0, collector.child.pid);
  pinTo(1, hub.child.pid);
  const ask = async (title) => {
    const lasting = { seconds: Math.ceil(rounds * (seconds + 0.5)) + 1 };
    const load = wrk(collector.url, ["post", "/v1/track", singles.file, WRITE_KEY, "16"], lasting);
    const till = { pid: collector.child.pid, url: collector.url, args: [...args, "2"], connections: 4 };
    const [asked] = await loaded([till], { ...settings, isFirst: true });
    const taken = await load;
    const failures = asked.errors + asked.refused + taken.errors + taken.refused;
    if (failures > 0) report.fail("/v1/customers under load", failures);
    report.add(`/v1/customers, 4 tills, ${title}`, asked.rate, "req/s", { reference: `${Math.round(taken.requests / taken.seconds).toLocaleString("en")} events/s taken meanwhile` });
    report.add("  latency p50 / p99", `${asked.p50.toFixed(2)} / ${asked.p99.toFixed(2)}`, "ms", { target: "p99 < 1" });
  };
  await ask("hub up");
  await hub.kill();
  await ask("hub down");
  await hub.start();
}

export async function backfillSection({ report }, { hub }) {
  report.section("Backfill of a new segment while the hub runs");
  await idle(hub.child.pid, 60_000);
  const { profiles } = await hub.overview();
  const cpu = cpuTime(hub.child.pid);
  const start = performance.now();
  await hub.put("/v1/segments/late", LATE);
  await waitUntil(async () => (await hub.get("/v1/segments/late")).status === "live", { timeout: 1_800_000, every: 50, what: "the backfill" });
  const seconds = (performance.now() - start) / 1000;
  const cores = (cpuTime(hub.child.pid) - cpu) / 1e6 / seconds;
  report.add("profiles", profiles / seconds, "profiles/s");
  report.add("profiles, a core", profiles / seconds / cores, "profiles/s", { target: "≥ 100,000", reference: `${cores.toFixed(2)} cores used` });
}
