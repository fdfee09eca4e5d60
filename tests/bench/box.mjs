// The box section: what a small machine under a counter pays. Bytes written to disk for an event, memory
// with a full spool and a full cache, and what doing nothing costs.
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createHub, define, enrol } from "../e2e/support/deployment.mjs";
import { freePorts } from "../e2e/support/ports.mjs";
import { waitUntil } from "../e2e/support/wait.mjs";
import { SEGMENTS, SOURCES, WRITE_KEY } from "./definitions.mjs";
import { lean, variedEvents } from "./events.mjs";
import { diskWritten, memory } from "./machine.mjs";

const SINGLES = 3000;
const BATCH = 50;
const SPOOL_BYTES = 50 * 2 ** 20;
const CARDS = 10_000;
const LANES = ["--when_full", "drop-oldest"];

async function startBox({ dir, keep }, name, settings = []) {
  const home = join(dir, name);
  mkdirSync(home, { recursive: true });
  const [httpPort, linkPort, port] = await freePorts(3);
  const hub = keep(await createHub(home, { httpPort, linkPort }));
  await hub.start();
  await define(hub, { sources: SOURCES, segments: SEGMENTS });
  const box = keep(await enrol(hub, "box", { port, writeKey: WRITE_KEY }));
  box.args.push(...settings);
  return { hub, box, home };
}

/* What the process had the kernel write to the disk so far: whole pages, as they were synced. */
const written = ({ child }) =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${child.pid}/io`, "utf8"))[1]);

/* Seconds on a core of all threads so far. */
function cpuSeconds({ child }) {
  const tasks = `/proc/${child.pid}/task`;
  const each = readdirSync(tasks).map((task) => Number(readFileSync(join(tasks, task, "schedstat"), "utf8").split(" ")[0]));
  return each.reduce((sum, ns) => sum + ns, 0) / 1e9;
}

async function writeEvents({ report, dir }, box, title, events, size) {
  const state = async () => ({ bytes: written(box), disk: diskWritten(dir), ...(await box.metrics()) });
  const before = await state();
  for (let at = 0; at < events.length; at += size) await box.send(events.slice(at, at + size));
  const after = await state();
  const change = (name) => after[name] - before[name];
  const bytes = change("bytes") / events.length;
  const sealed = change("tributary_event_sealed_bytes_total") / events.length;
  report.add(`written for an event, ${title}`, bytes, "bytes", {
    reference: `sealed ${sealed.toFixed(0)}: × ${(bytes / sealed).toFixed(1)}; by the disk's own count ${(change("disk") / events.length).toFixed(0)}`,
  });
}

async function measureWrites(context) {
  const { settings } = context;
  const recent = (event, i) => ({ ...event, messageId: undefined, timestamp: new Date(Date.now() - i).toISOString() });
  const singles = variedEvents({ seed: 7, count: settings.seconds > 1 ? SINGLES : 300 }).map(lean).map(recent);
  const many = variedEvents({ seed: 8, count: settings.seconds > 1 ? 400 * BATCH : 40 * BATCH }).map(lean).map(recent);
  for (const [name, lanes] of [["one lane", []], ["three lanes", LANES]]) {
    const { hub, box, home } = await startBox(context, `writes-${lanes.length}`, lanes);
    await box.start();
    await writeEvents(context, box, `one at a time, taken by the hub at once, ${name}`, singles, 1);
    await hub.kill();
    await writeEvents(context, box, `one at a time, kept, ${name}`, singles, 1);
    await writeEvents(context, box, `in batches of ${BATCH}, kept, ${name}`, many, BATCH);
    await box.kill();
    rmSync(home, { recursive: true, force: true });
  }
}

/* A spool of 50 MiB, a cache of 10,000 cards, 20 requests a second. */
async function measureMemory(context) {
  const { report, settings } = context;
  const cards = settings.seconds > 1 ? CARDS : 500;
  const bytes = settings.seconds > 1 ? SPOOL_BYTES : 2 ** 20;
  const { hub, box, home } = await startBox(context, "memory", LANES);
  await box.start();
  const customer = (n) => ({ type: "identify", userId: `c${n}`, traits: { email: `c${n}@example.com`, loyalty_id: `L${n}`, firstName: "Jo", city: "Lyon" } });
  for (let n = 0; n < cards; n += 500) await box.send(Array.from({ length: 500 }, (_, i) => customer(n + i)));
  await waitUntil(async () => (await box.customer("loyalty_id", `L${cards - 1}`)).status === 200, { timeout: 60_000, what: "the cards" });
  await hub.kill();
  const noise = variedEvents({ seed: 9, count: 2000 });
  while ((await box.metrics()).tributary_spool_bytes < bytes) await box.send(noise.map((event, i) => ({ ...event, messageId: `${performance.now()}-${i}` })).slice(0, 250));
  await box.kill();
  const start = performance.now();
  await box.start();
  report.add(`start with ${(bytes / 2 ** 20).toFixed(0)} MiB of spool until ready`, performance.now() - start, "ms");
  for (let n = 0; n < (settings.seconds > 1 ? 200 : 20); n++) {
    await box.post("/v1/track", { ...lean(noise[n]), messageId: `m${n}` });
    await box.customer("loyalty_id", `L${(n * 37) % cards}`);
    await pause(25);
  }
  const { resident, own } = memory(box.child.pid);
  report.add(`resident (own) memory, ${(bytes / 2 ** 20).toFixed(0)} MiB of spool, ${cards.toLocaleString("en")} cards`, `${resident.toFixed(1)} (${own.toFixed(1)})`, "MiB", { target: "comfortable in 256" });
  await box.kill();
  rmSync(home, { recursive: true, force: true });
}

/* Connected and silent; then without the hub, trying to reach it. */
async function measureIdleness(context) {
  const { report, settings } = context;
  const seconds = settings.seconds > 1 ? 60 : 5;
  const { hub, box, home } = await startBox(context, "idle");
  await box.start();
  await box.send([lean(variedEvents({ seed: 1, count: 1 })[0])]);
  await pause(2000);
  const percent = async (...daemons) => {
    const before = daemons.map(cpuSeconds);
    await pause(seconds * 1000);
    return daemons.map((daemon, i) => ((cpuSeconds(daemon) - before[i]) / seconds) * 100);
  };
  const [ofBox, ofHub] = await percent(box, hub);
  await hub.kill();
  await pause(2000);
  const [alone] = await percent(box);
  report.add(`collector with nothing to do, ${seconds} s`, ofBox, "% of a core", { target: "≤ 0.1" });
  report.add("hub with nothing to do", ofHub, "% of a core", { target: "≤ 0.1" });
  report.add("collector with nothing to do, hub away", alone, "% of a core", { target: "≤ 0.1" });
  await box.kill();
  rmSync(home, { recursive: true, force: true });
}

export async function boxSection(context) {
  context.report.section("Store box");
  await measureWrites(context);
  await measureMemory(context);
  await measureIdleness(context);
}
