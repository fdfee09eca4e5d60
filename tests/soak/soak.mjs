// A collector under full load for a long time, while the line to the hub is cut and restored again and
// again and the collector itself is killed once: nothing may be lost, nothing counted twice, and the
// collector's memory must stay flat. `make soak`; tests/e2e/soak.test.mjs runs the short form.
//
//   SOAK_SECONDS (600)   SOAK_CUTS (6)   SOAK_CONNECTIONS (64)   SOAK_SPOOL (64MiB)
//
// Every event is sent until it is answered with 200, by clients that retry with the same messageId, and
// some requests are sent once more although they were answered. At the end each person's profile at the
// hub must have exactly the events that were made for that person.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { createHub, define, enrol } from "../e2e/support/deployment.mjs";
import { freePorts } from "../e2e/support/ports.mjs";
import { waitUntil } from "../e2e/support/wait.mjs";

const PEOPLE = 5000;
const BATCH = 20;
const SINGLE_SHARE = 0.5; // of the requests carry one event, the others BATCH
const AGAIN_SHARE = 0.02; // of the answered requests are sent once more
const SAMPLE_MS = 1000;
const WRITE_KEY = "soak";

/* A line to the hub that can be cut: existing connections die, new ones are refused. */
class CuttableLine {
  constructor(port, hubPort) {
    Object.assign(this, { port, hubPort, sockets: new Set() });
  }

  async restore() {
    this.server = createServer((near) => {
      const far = connect(this.hubPort, "127.0.0.1");
      near.pipe(far).pipe(near);
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => this.sockets.delete(socket) && other.destroy());
      }
    });
    await new Promise((done) => this.server.listen(this.port, "127.0.0.1", done));
  }

  cut() {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/* Makes requests for one of PEOPLE each, and counts the events made for each. */
class Traffic {
  constructor() {
    this.made = new Uint32Array(PEOPLE);
    this.events = 0;
  }

  event(person) {
    this.made[person]++;
    const id = `soak-${(this.events++).toString(36)}`;
    const at = new Date().toISOString();
    return `{"type":"track","event":"Product Viewed","messageId":"${id}","anonymousId":"person-${person}","timestamp":"${at}","properties":{"product_id":"${this.events % 977}","price":${(this.events % 9000) / 100},"currency":"EUR","category":"Soak"},"context":{"page":{"url":"https://soak.example/p/${this.events % 977}","title":"Soak"},"library":{"name":"soak","version":"1"}}}`;
  }

  body() {
    const count = Math.random() < SINGLE_SHARE ? 1 : BATCH;
    const events = Array.from({ length: count }, () => this.event(Math.floor(Math.random() * PEOPLE)));
    return `{"batch":[${events.join(",")}]}`;
  }
}

function post(agent, url, body) {
  return new Promise((done) => {
    const options = { agent, method: "POST", headers: { "x-write-key": WRITE_KEY, "content-length": Buffer.byteLength(body) } };
    const request = httpRequest(`${url}/v1/batch`, options, (response) => {
      response.resume();
      response.on("end", () => done(response.statusCode));
      response.on("error", () => done(0));
    });
    request.setTimeout(30_000, () => request.destroy());
    request.on("error", () => done(0));
    request.end(body);
  });
}

/* One connection's worth of load: each body until it is taken. Ends with the load, not before its last
 * body was taken. */
async function client(state, traffic, collector) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  while (!state.over) {
    const body = traffic.body();
    let status;
    while ((status = await post(agent, collector.url, body)) !== 200) {
      state.answers[status] = (state.answers[status] ?? 0) + 1;
      if (status !== 0 && status !== 503) throw new Error(`an event was answered with ${status}`);
      await pause(100 + Math.random() * 200);
    }
    state.answers[200] = (state.answers[200] ?? 0) + 1;
    if (Math.random() < AGAIN_SHARE) await post(agent, collector.url, body);
  }
  agent.destroy();
}

const residentMiB = (pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

async function watchMemory(state, collector) {
  while (!state.over) {
    await pause(SAMPLE_MS);
    if (collector.running) state.memory.push(residentMiB(collector.child.pid));
  }
}

/* Cut and restore `cuts` times, the line being down a third of the time; kill the collector in the middle. */
async function disturb({ seconds, cuts, log }, line, collector) {
  const each = (seconds * 1000) / cuts;
  for (let n = 0; n < cuts; n++) {
    await pause(each / 3);
    line.cut();
    log(`the line is cut (${n + 1} of ${cuts})`);
    await pause(each / 3);
    if (n === Math.floor(cuts / 2)) {
      log("the collector is killed and started again");
      await collector.kill("SIGKILL");
      await collector.start();
    }
    await line.restore();
    log(`the line is back; ${await collector.metric("tributary_spool_bytes")} bytes wait in the spool`);
    await pause(each / 3);
  }
}

async function progress(state, traffic, { seconds, log }) {
  const start = performance.now();
  while (!state.over) {
    await pause(Math.min(10_000, (seconds * 1000) / 3));
    const passed = (performance.now() - start) / 1000;
    log(`${passed.toFixed(0)} s: ${traffic.events} events, ${Math.round(traffic.events / passed)}/s, ${state.memory.at(-1)?.toFixed(1)} MiB, answers ${JSON.stringify(state.answers)}`);
  }
}

/* Each person's events at the hub against what was made; the differences. */
async function compare(hub, traffic) {
  const wrong = [];
  const seen = new Map();
  for (const profile of await hub.profiles()) {
    const person = profile.identifiers.find(({ type }) => type === "anonymous_id")?.value;
    seen.set(person, profile.eventCount);
  }
  for (let n = 0; n < PEOPLE; n++) {
    const there = seen.get(`person-${n}`) ?? 0;
    if (there !== traffic.made[n]) wrong.push({ person: n, made: traffic.made[n], there });
  }
  return wrong;
}

const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/* Run it; what came out. The log gets lines of text. */
export async function soak({ seconds, cuts, connections = 64, spool = "64MiB", log = () => {} }) {
  const dir = mkdtempSync(join(tmpdir(), "tributary-soak-"));
  const [httpPort, linkPort, linePort, port] = await freePorts(4);
  const line = new CuttableLine(linePort, linkPort);
  const hub = await createHub(dir, { httpPort, linkPort });
  let collector;
  try {
    await hub.start();
    await define(hub, { sources: { [WRITE_KEY]: { name: "Soak", trust: "server", consent: { exempt: true } } } });
    hub.link = `tcp://127.0.0.1:${linePort}`;
    collector = await enrol(hub, "soak", { port, writeKey: WRITE_KEY });
    collector.args.push("--spool_bytes_max", spool);
    await line.restore();
    await collector.start();
    // With its spool full, as behind a line that is cut for long, it is alive and not ready.
    collector.isReady = async () => (await fetch(`${collector.url}/healthz`)).ok;

    const traffic = new Traffic();
    const state = { over: false, answers: {}, memory: [] };
    const load = Promise.all(Array.from({ length: connections }, () => client(state, traffic, collector)));
    const watchers = [watchMemory(state, collector), progress(state, traffic, { seconds, log })];
    await Promise.race([disturb({ seconds, cuts, log }, line, collector), load]);
    state.over = true;
    await Promise.all([load, ...watchers]);

    log("the load has ended; waiting for the hub to have applied everything");
    await waitUntil(async () => (await collector.metric("tributary_spool_blocks")) === 0, { timeout: 600_000, every: 500, what: "the spool to be empty" });
    await waitUntil(async () => (await hub.overview()).events >= traffic.events, { timeout: 600_000, every: 500, what: `${traffic.events} events at the hub` });
    const { events, duplicates } = await hub.overview();
    // The first tenth is the start; the same time after the kill is the start once more.
    const calm = state.memory.slice(Math.ceil(state.memory.length / 10));
    const third = Math.max(1, Math.floor(calm.length / 3));
    return {
      made: traffic.events, events, duplicates, wrong: await compare(hub, traffic), answers: state.answers,
      memory: { early: middle(calm.slice(0, third)), late: middle(calm.slice(-third)), peak: Math.max(0, ...state.memory) },
    };
  } finally {
    await collector?.kill("SIGKILL");
    await hub.kill("SIGKILL");
    line.cut();
    rmSync(dir, { recursive: true, force: true });
  }
}

/* What must hold of a result; the sentences that do not. */
export function faults(result) {
  const found = [];
  if (result.events !== result.made) found.push(`${result.made} events were acknowledged, the hub counted ${result.events}`);
  if (result.wrong.length > 0) found.push(`${result.wrong.length} profiles differ, the first: ${JSON.stringify(result.wrong[0])}`);
  if (result.memory.late > result.memory.early * 1.15 + 2) found.push(`memory grew from ${result.memory.early.toFixed(1)} to ${result.memory.late.toFixed(1)} MiB`);
  return found;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const number = (name, usual) => Number(process.env[name] ?? usual);
  const result = await soak({
    seconds: number("SOAK_SECONDS", 600),
    cuts: number("SOAK_CUTS", 6),
    connections: number("SOAK_CONNECTIONS", 64),
    spool: process.env.SOAK_SPOOL ?? "64MiB",
    log: (text) => console.log(`${new Date().toISOString().slice(11, 19)} ${text}`),
  });
  console.log({ ...result, wrong: result.wrong.length });
  const found = faults(result);
  console.log(found.length === 0 ? "Nothing lost, nothing double, memory flat." : `FAILED: ${found.join("; ")}`);
  process.exit(found.length === 0 ? 0 : 1);
}
