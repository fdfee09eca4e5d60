// A hub whose clock is wrong for a while takes what comes, routes nothing, says so, and freezes nothing.
import assert from "node:assert/strict";
import { join } from "node:path";
import { request } from "./support/http.mjs";
import { Machine } from "./support/machine.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const YEARS = 3 * 365 * 24 * 3600 * 1000;
const HOUR = 3600 * 1000;

/* A site whose hub has a clock that can be set. */
async function startOnMachine(t) {
  const site = await startSite(t);
  const machine = new Machine(join(site.dir, "machine"));
  await site.hub.kill();
  machine.carry(site.hub);
  await site.hub.start();
  return { ...site, site, machine, collector: site.collector };
}

let number = 0;
const identify = (plan) => ({ type: "identify", messageId: `plan-${number++}`, userId: "u1", traits: { plan } });
const planOf = async (hub) => (await hub.profile("user_id", "u1"))?.traits.plan;
const waitForPlan = (hub, plan) => waitUntil(async () => (await planOf(hub)) === plan, { what: `plan ${plan}` });
const problemOf = async (hub) => (await hub.api("GET", "/readyz")).body.problems?.[0];

test("a hub whose clock jumps three years ahead is held until it is right again, and no trait is frozen", async (t) => {
  const { hub, collector, machine, site } = await startOnMachine(t);
  await collector.sendPatiently([identify("a")]);
  await waitForPlan(hub, "a");
  machine.setWallClock(Date.now() + YEARS);
  await collector.send([identify("b")]);
  await waitUntil(async () => (await hub.overview()).logRecordsToRoute > 0, { what: "the block to be taken" });
  assert.equal((await problemOf(hub)).code, "clock-held");
  assert.match((await problemOf(hub)).message, /is 946\d+ s ahead of the median of 1 collectors.*--trust-clock/);
  assert.equal(await hub.metric("tributary_clock_held"), 1);
  await assert.rejects(site.cli("status"), ({ cause }) => /NOT READY[^]*nothing is routed/.test(cause.stdout));
  await waitUntil(() => /clock-held/.test(hub.tail()), { what: "a line in the log" });
  assert.equal(await planOf(hub), "a");

  machine.setWallClock(Date.now());
  await waitForPlan(hub, "b");
  await waitUntil(() => /clock-believed/.test(hub.tail()), { what: "a line in the log" });
  assert.equal(await problemOf(hub), undefined);
  await collector.send([identify("c")]);
  await waitForPlan(hub, "c");
  const { traitDetails, lastSeenAt } = await hub.profile("user_id", "u1");
  for (const at of [traitDetails?.plan?.at ?? lastSeenAt, lastSeenAt]) {
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < HOUR, `${at} is about now`);
  }
});

test("a hub that starts with a clock that is years ahead is held, unless it is told to trust it", async (t) => {
  const { hub, collector, machine } = await startOnMachine(t);
  await collector.sendPatiently([identify("a")]);
  await waitForPlan(hub, "a");
  await hub.kill();
  machine.setWallClock(Date.now() + YEARS);
  hub.isReady = async () => [200, 503].includes((await request(`${hub.url}/readyz`, { timeout: 1000 })).status);
  await hub.start();
  await collector.send([identify("b")]);
  await waitUntil(async () => (await hub.overview()).logRecordsToRoute > 0, { what: "the block to be taken" });
  await waitUntil(async () => /median of 1 collectors/.test((await problemOf(hub))?.message), { what: "the collector to be heard" });
  assert.equal(await planOf(hub), "a");
  await hub.kill();
  hub.args.push("--trust-clock");
  await hub.start();
  await waitForPlan(hub, "b");
  assert.equal(await problemOf(hub), undefined);
});
