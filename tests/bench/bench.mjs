// Measures Tributary on this machine, nginx beside it, and prints each figure with its target: `make bench`.
//
// Rates of HTTP are the median of BENCH_ROUNDS (9) runs of BENCH_SECONDS (2).
// BENCH_QUICK=1 makes everything small, for about a minute. BENCH_PROFILES (1000000) and BENCH_EVENTS
// (1000000) set the size of the hub. BENCH_ONLY=collector,drain,box,drop,bots,hub,edge,backfill,tag picks sections.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../e2e/support/cli.mjs";
import { botsSection } from "./bots.mjs";
import { boxSection } from "./box.mjs";
import { collectorSection, drainSection, tagSection } from "./collector.mjs";
import { dropSection } from "./drop.mjs";
import { backfillSection, edgeSection, hubSection, startCentre } from "./hub.mjs";
import { describe, missing, usedByOthers } from "./machine.mjs";
import { Report } from "./report.mjs";

const QUICK = process.env.BENCH_QUICK === "1";
const number = (name, usual, quick) => Number(process.env[name] ?? (QUICK ? quick : usual));
const SETTINGS = {
  seconds: number("BENCH_SECONDS", 2, 1),
  rounds: number("BENCH_ROUNDS", 9, 1),
  profiles: number("BENCH_PROFILES", 1_000_000, 20_000),
  events: number("BENCH_EVENTS", 1_000_000, 40_000),
  visits: QUICK ? 40 : 300,
};
const SECTIONS = (process.env.BENCH_ONLY ?? "collector,drain,box,drop,bots,hub,edge,backfill,tag").split(",");

function requireTools() {
  if (missing(["nginx", "wrk"]).length === 0) return;
  execFileSync(join(ROOT, "deploy", "install-dependencies"), ["--bench"], { stdio: "inherit" });
  const still = missing(["nginx", "wrk", "taskset"]);
  if (still.length > 0) throw new Error(`needed and missing: ${still.join(", ")} (deploy/install-dependencies --bench)`);
}

const running = [];
const dir = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), "tributary-bench-"));

async function stopAll() {
  for (const part of running.reverse()) await part.kill("SIGKILL").catch(() => {});
  rmSync(dir, { recursive: true, force: true });
}

async function main() {
  requireTools();
  const others = `${Math.round(100 * (await usedByOthers()))} %`;
  const report = new Report({ ...describe(), "used by others before": others });
  const context = { dir, report, settings: SETTINGS, keep: (part) => running.push(part) && part };
  if (SECTIONS.includes("collector")) await collectorSection(context);
  if (SECTIONS.includes("drain")) await drainSection(context);
  if (SECTIONS.includes("bots")) botsSection(context);
  if (SECTIONS.includes("box")) await boxSection(context);
  if (SECTIONS.includes("drop")) await dropSection(context);
  if (["hub", "edge", "backfill"].some((name) => SECTIONS.includes(name))) {
    const centre = await startCentre(context);
    await hubSection(context, centre);
    if (SECTIONS.includes("edge")) await edgeSection(context, centre);
    if (SECTIONS.includes("backfill")) await backfillSection(context, centre);
  }
  if (SECTIONS.includes("tag")) tagSection(context);
  report.print();
  mkdirSync(join(ROOT, "build"), { recursive: true });
  report.write(join(ROOT, "build", "bench.json"));
  if (report.failed) process.exitCode = 1;
}

const interrupted = () => stopAll().then(() => process.exit(130));
process.once("SIGINT", interrupted);
process.once("SIGTERM", interrupted);

try {
  await main();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await stopAll();
}
