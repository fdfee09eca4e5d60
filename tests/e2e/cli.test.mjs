// The operator's command, against a running hub.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const output = (site, ...args) => site.cli(...args);

test("segments are applied from a file, listed, shown, and their members told", async (t) => {
  const site = await startSite(t, { segments: {} });
  const file = join(site.dir, "segments.json");
  writeFileSync(
    file,
    JSON.stringify([{ key: "greeted", name: "Greeted", where: { event: "Hello", count: { gte: 2 } } }]),
  );
  assert.match(await output(site, "segment", "apply", file), /greeted/);
  for (const messageId of ["m1", "m2"]) {
    await site.collector.send([{ type: "track", event: "Hello", messageId, userId: "u1" }]);
  }
  await waitUntil(async () => (await site.hub.members("greeted")).length === 1);
  assert.match(await output(site, "segment", "list"), /greeted.*live/s);
  assert.match(await output(site, "segment", "show", "greeted"), /Hello/);
  const { id } = await site.hub.profile("user_id", "u1");
  assert.match(await output(site, "segment", "members", "greeted"), new RegExp(id));
});

test("a profile is shown by identifier and by id, and the status names every collector", async (t) => {
  const site = await startSite(t);
  await site.collector.send([
    { type: "identify", messageId: "m1", userId: "u1", traits: { email: "jane@example.com", city: "Lyon" } },
  ]);
  const profile = await waitUntil(() => site.hub.profile("user_id", "u1"));
  for (const who of ["email=Jane@Example.com", profile.id]) {
    const text = await output(site, "profile", who);
    assert.match(text, /jane@example\.com/);
    assert.match(text, /Lyon/);
  }
  assert.equal(JSON.parse(await output(site, "profile", "user_id=u1", "--json")).id, profile.id);
  assert.match(await output(site, "status"), /edge/);
  assert.match(await output(site, "collectors"), /edge/);
});

test("a replay brings every good line of a file, once, and names the bad ones", async (t) => {
  const site = await startSite(t);
  const file = join(site.dir, "events.ndjson");
  const lines = Array.from({ length: 250 }, (_, n) =>
    JSON.stringify({ type: "track", event: "Sold", messageId: `r${n}`, userId: `u${n % 7}` }),
  );
  writeFileSync(file, [...lines.slice(0, 100), "{ no json", ...lines.slice(100)].join("\n"));
  const args = ["replay", file, "--collector", site.collector.url, "--write_key", SERVER_WRITE_KEY];
  for (const _ of [1, 2]) {
    await assert.rejects(site.cli(...args), (error) => /101/.test(error.message));
  }
  await waitUntil(async () => {
    const { events, duplicates } = await site.hub.overview();
    return events === 250 && duplicates === 250;
  });
});

test("CSV is replayed with its columns as dotted paths", async (t) => {
  const site = await startSite(t);
  const file = join(site.dir, "sales.csv");
  writeFileSync(
    file,
    'type,event,messageId,userId,timestamp,properties.total,properties.shop\r\n' +
      'track,Order Completed,c1,u1,2026-11-20T10:00:00Z,12.50,"Lyon, centre"\r\n',
  );
  await site.cli("replay", file, "--collector", site.collector.url, "--write_key", SERVER_WRITE_KEY);
  const profile = await waitUntil(() => site.hub.profile("user_id", "u1"));
  const [event] = await site.hub.timeline(profile.id);
  assert.deepEqual(event.properties, { total: 12.5, shop: "Lyon, centre" });
  assert.equal(event.timestamp, "2026-11-20T10:00:00.000Z");
});

test("what cannot be done is said in one line", async (t) => {
  const site = await startSite(t);
  for (const [args, says] of [
    [["profile", "email=nobody@example.com"], /no such profile|There is no/i],
    [["segment", "show", "missing"], /no such segment/i],
    [["enroll", "Not A Name", "--link", "tcp://127.0.0.1:1", "--out", join(site.dir, "x")], /name/i],
  ]) {
    await assert.rejects(site.cli(...args), (error) => {
      assert.match(error.message, says);
      return true;
    });
  }
});
