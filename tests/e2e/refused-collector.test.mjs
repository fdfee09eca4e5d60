// A box that the hub takes nothing from any more, because it was revoked or its name given to another
// key: it says so, takes no events that would never arrive, and the hub's operator sees whose box it is.
import assert from "node:assert/strict";
import { join } from "node:path";
import { startSite, test, waitUntil } from "./support/site.mjs";

const hello = (messageId) => ({ type: "track", event: "Hello", messageId, userId: "u1" });

/* Wait until the collector takes no events, for this reason. */
async function isRefused(collector, code) {
  const answer = await waitUntil(
    async () => {
      const posted = await collector.post("/v1/track", hello("late"));
      return posted.status === 503 && posted;
    },
    { what: `${collector.name} to take no events` },
  );
  assert.equal(answer.body.error.code, code);
  assert.ok(Number(answer.headers["retry-after"]) > 0);
  const ready = await collector.get("/readyz");
  assert.equal(ready.status, 503);
  assert.equal(ready.body.error.code, code);
  assert.equal(await collector.metric("tributary_refused_by_hub"), 1);
  await collector.logged(new RegExp(`error ${code}`));
}

const refusedAtHub = (site, collector, reason) =>
  waitUntil(
    () => site.hub.metric(`tributary_collector_messages_refused_total{collector="${collector}",reason="${reason}"}`),
    { what: `the hub to count what it refuses of ${collector}` },
  );

test("a name that is taken is given to another key only with --replace, and the box that had it says so", async (t) => {
  const site = await startSite(t);
  const enrol = (out, ...options) =>
    site.cli("enroll", "edge", "--link", site.hub.link, "--out", join(site.dir, out), ...options);
  await site.collector.send([hello("m1")]);
  await waitUntil(() => site.hub.profile("user_id", "u1"));

  await assert.rejects(enrol("second"), /edge is enrolled already.*--replace/s);
  const answer = await site.hub.api("PUT", "/v1/collectors/edge", { publicKey: "11".repeat(32) });
  assert.equal(answer.status, 409);
  assert.equal(answer.body.error.code, "collector-exists");
  await site.collector.send([hello("m2")]); // nothing has changed for it

  await enrol("second", "--replace");
  await isRefused(site.collector, "collector-replaced");
  await refusedAtHub(site, "edge", "replaced");
  await site.hub.logged(/collector-refused .*collector=edge reason=replaced/);

  await t.test("also after the hub, and the box, have started again", async () => {
    await site.hub.kill();
    await site.hub.start();
    await site.collector.kill();
    site.collector.isReady = async () => (await site.collector.get("/healthz")).status === 200;
    await site.collector.start();
    await isRefused(site.collector, "collector-replaced");
  });

  await t.test("with the new file the box is taken again", async () => {
    await site.collector.kill();
    site.collector.args = site.collector.args.map((arg) =>
      arg.endsWith("edge.enrolment") ? join(site.dir, "second") : arg,
    );
    await site.collector.start();
    await site.collector.send([hello("m3")]);
    await waitUntil(async () => (await site.hub.profile("user_id", "u1")).eventCount === 3);
  });
});

test("a revoked box says so once a minute and takes no events; the name can be enrolled again", async (t) => {
  const site = await startSite(t);
  await site.collector.send([hello("m1")]);
  await site.cli("revoke", "edge");
  await isRefused(site.collector, "collector-revoked");
  await refusedAtHub(site, "edge", "revoked");
  // Many refusals, few lines.
  await waitUntil(async () => (await site.collector.metric("tributary_refused_by_hub")) === 1);
  const lines = (daemon, pattern) => daemon.log.filter((line) => pattern.test(line)).length;
  for (let i = 0; i < 20; i++) await site.collector.post("/v1/track", hello(`late-${i}`));
  assert.equal(lines(site.collector, /collector-revoked|poll-failed/), 1, site.collector.tail());
  assert.equal(lines(site.hub, /collector-refused|message-refused|block-refused/), 1, site.hub.tail());
  await site.cli("enroll", "edge", "--link", site.hub.link, "--out", join(site.dir, "again"));
});
