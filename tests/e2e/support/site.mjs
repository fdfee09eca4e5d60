// The scenarios' stage: a hub and collectors on free ports in a temporary folder, taken down at the end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import nodeTest from "node:test";
import { SEGMENTS, SERVER_WRITE_KEY, sourcesFor } from "../../demo/segments.mjs";
import { createHub, define, enrol, operate } from "./deployment.mjs";
import { freePorts } from "./ports.mjs";

export { settle, waitUntil } from "./wait.mjs";

/* Every random choice of a scenario comes from this number; a failure prints it. */
export const SEED = Number(process.env.E2E_SEED ?? 1);

const TEST_MS = 180_000;
const sites = new Map();

/* node's test, which on failure also prints the seed and the end of the daemons' logs. */
export function test(name, options, fn = options) {
  const settings = { timeout: TEST_MS, ...(typeof options === "object" && options) };
  return nodeTest(name, settings, async (t) => {
    try {
      await fn(t);
    } catch (error) {
      console.error(`--- "${name}" failed with E2E_SEED=${SEED}`);
      for (const site of sites.get(t) ?? []) console.error(site.tails());
      throw error;
    }
  });
}

class Site {
  constructor(dir) {
    Object.assign(this, { dir, daemons: [], collectors: {} });
  }

  /* The one collector of a site that has only one. */
  get collector() {
    return Object.values(this.collectors)[0];
  }

  cli(...args) {
    return operate(this.hub, args);
  }

  tails() {
    return this.daemons.map((daemon) => daemon.tail()).join("");
  }

  // Take everything down, whatever state it is in; the first failure to end cleanly is told.
  async stop() {
    const ends = await Promise.allSettled([...this.daemons].reverse().map((daemon) => daemon.kill()));
    rmSync(this.dir, { recursive: true, force: true });
    const failure = ends.find((end) => end.status === "rejected");
    if (failure) throw failure.reason;
  }
}

/* Start a hub and its collectors and wait until all are ready. Options: `collectors` (their names),
 * `sources` and `segments` by key, `partitions`; `settings` and `collectorArgs` of all collectors. By default one
 * collector and the demo's definitions. */
export async function startSite(
  t,
  {
    collectors = ["edge"],
    sources = sourcesFor(["http://127.0.0.1"]),
    segments = SEGMENTS,
    partitions = 16,
    writeKey = SERVER_WRITE_KEY,
    settings = {},
    collectorArgs = [],
  } = {},
) {
  const site = new Site(mkdtempSync(join(tmpdir(), "tributary-e2e-")));
  sites.set(t, [...(sites.get(t) ?? []), site]);
  t.after(() => site.stop());
  const [httpPort, linkPort, ...ports] = await freePorts(2 + collectors.length);
  site.hub = await createHub(site.dir, { httpPort, linkPort, partitions });
  site.daemons.push(site.hub);
  await site.hub.start();
  await define(site.hub, { sources, segments });
  for (const [index, name] of collectors.entries()) {
    const collector = await enrol(site.hub, name, {
      port: ports[index],
      writeKey,
      settings,
      args: collectorArgs,
    });
    site.collectors[name] = collector;
    site.daemons.push(collector);
    await collector.start();
  }
  return site;
}
