// The hub's data is moved, restored from a copy, or started with the wrong key: it says so, and its
// collectors follow the hub as it now is.
import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tributary } from "./support/cli.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const publicHalf = (keys) => readFileSync(join(keys, "hub.pub"), "utf8").slice(0, 16);

test("a hub whose key is not that of its data does not start, and says which key is wanted", async (t) => {
  const site = await startSite(t, { collectors: [] });
  await site.hub.kill();
  const others = join(site.dir, "other-keys");
  await tributary(["keygen", others]);
  const own = site.hub.args;
  site.hub.args = own.map((arg) => (arg.endsWith("hub.key") ? join(others, "hub.key") : arg));
  await assert.rejects(site.hub.start(), /ended instead of starting/);
  const said = site.hub.log.filter((line) => line.includes("start-failed"));
  assert.equal(said.length, 1, site.hub.tail());
  assert.match(said[0], new RegExp(publicHalf(join(site.dir, "keys"))));
  assert.match(said[0], new RegExp(publicHalf(others)));
  site.hub.args = own;
  await site.hub.start();
});

const hello = (messageId, members) => ({ type: "track", event: "Hello", messageId, ...members });

/* A source that wants consent to one category, beside those that exist already. */
const wanting = (category) => ({ name: "Till", trust: "server", consent: { required: [category] } });

/* With which code an event of user u-1 is refused whose person consents to `category` alone; undefined: taken. */
async function refusal(collector, category, writeKey = "till") {
  const context = { consent: { categoryPreferences: { [category]: true } } };
  const { body } = await collector.post("/v1/track", hello(undefined, { userId: "u-1", context }), { writeKey });
  return body.success ? undefined : body.error?.code ?? body.rejected?.[0]?.code;
}

const becomes = (collector, category, code) =>
  waitUntil(async () => (await refusal(collector, category)) === code, {
    what: `${collector.name} to answer consent to ${category} with ${code}`,
  });

/* The hub's data as it stands on the disk of a hub that is stopped. */
async function backUp(site) {
  await site.hub.kill();
  cpSync(site.hub.dataDir, join(site.dir, "copy"), { recursive: true });
  await site.hub.start();
}

async function restore(site) {
  await site.hub.kill("SIGKILL");
  rmSync(site.hub.dataDir, { recursive: true });
  cpSync(join(site.dir, "copy"), site.hub.dataDir, { recursive: true });
  await site.hub.start();
}

test("after the hub was restored from a copy its collectors follow it as it now is", async (t) => {
  const site = await startSite(t, { collectors: ["here", "away"], sources: { till: wanting("analytics") } });
  const { here, away } = site.collectors;
  await site.cli("suppress", "user_id=gone-1");
  await becomes(here, "analytics", undefined);
  await becomes(away, "analytics", undefined);
  await backUp(site);

  // What the copy does not have: consent to marketing, and two more who are suppressed.
  await site.hub.put("/v1/sources/till", wanting("email"));
  await site.hub.put("/v1/sources/till", wanting("marketing"));
  await site.cli("suppress", "user_id=gone-2", "user_id=gone-3");
  for (const collector of [here, away]) {
    await becomes(collector, "analytics", "consent-missing");
    await waitUntil(async () => (await collector.metric("tributary_suppressed_identifiers")) === 3);
  }
  await away.kill();
  await restore(site);

  await t.test("a collector that was there takes the copy's rules and list back", async () => {
    await becomes(here, "analytics", undefined);
    await waitUntil(async () => (await here.metric("tributary_suppressed_identifiers")) === 1);
    assert.equal(await refusal(here, "marketing"), "consent-missing");
  });

  // As many changes as were lost: every version that `away` knows is given again, to something else.
  await site.hub.put("/v1/sources/till", wanting("personalisation"));
  await site.hub.put("/v1/sources/till", wanting("profiling"));
  await site.cli("suppress", "user_id=gone-4", "user_id=gone-5");
  await site.cli("suppress", "user_id=gone-6");

  await t.test("new rules of the restored hub are followed", async () => {
    await becomes(here, "profiling", undefined);
    assert.equal(await refusal(here, "analytics"), "consent-missing");
  });

  await t.test("a collector that was away meanwhile follows them too", async () => {
    await away.start();
    await becomes(away, "profiling", undefined);
    await waitUntil(async () => (await away.metric("tributary_suppressed_identifiers")) === 4);
    const context = { consent: { categoryPreferences: { profiling: true } } };
    const of = (userId) => away.post("/v1/track", hello(undefined, { userId, context }), { writeKey: "till" });
    assert.equal((await of("gone-2")).body.success, true);
    assert.equal((await of("gone-6")).body.error.code, "suppressed");
  });

  await t.test("and starts with them when it cannot reach the hub", async () => {
    await site.hub.kill();
    await away.kill();
    await away.start();
    assert.equal(await refusal(away, "profiling"), undefined);
    assert.equal(await refusal(away, "marketing"), "consent-missing");
  });
});
