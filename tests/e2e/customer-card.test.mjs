// Customer cards at the edge: a box keeps the cards of its scope, encrypted, and has them again after
// whatever happened to its disk or to the hub's.
import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { alterVault } from "./support/leveldb-log.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const VIP = { name: "VIP", edge: ["staff"], where: { trait: "tier", eq: "gold" } };
const email = (n) => `wanda.${n}@example.com`;

const identify = (n, traits = {}) => ({
  type: "identify",
  userId: `u${n}`,
  traits: { email: email(n), ...traits },
});

// A web site and a store; people come through the web site alone.
async function startShops(t, { people = 3, ...options } = {}) {
  const site = await startSite(t, { collectors: ["web", "till"], segments: { vip: VIP }, ...options });
  const { web, till } = site.collectors;
  await web.send(Array.from({ length: people }, (_, n) => identify(n, { tier: n === 0 ? "gold" : "none" })));
  await waitUntil(async () => (await site.hub.overview()).events === people, { what: "the people at the hub" });
  return { ...site, site, hub: site.hub, web, till };
}

const setScope = (hub, name, scope) => hub.put(`/v1/collectors/${name}`, { scope });

const isFilled = async (hub, name, kind) => {
  const { scope, cache } = await hub.get(`/v1/collectors/${name}`);
  return scope.kind === kind && cache.status === "complete" && cache.progress === 1;
};

const filled = (hub, name, kind) =>
  waitUntil(() => isFilled(hub, name, kind), { timeout: 30_000, what: `${name} to be filled` });

// Who of these people the box knows by itself: the hub must be down.
async function known(collector, people) {
  const found = [];
  for (let n = 0; n < people; n++) {
    const { status } = await collector.customer("email", email(n));
    if (status === 200) found.push(n);
  }
  return found;
}

const filesUnder = (dir) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));

test("a box keeps who was seen there, the members of segments, or everybody", async (t) => {
  const { hub, till, site } = await startShops(t);
  await filled(hub, "till", "seen");
  await hub.kill();
  assert.deepEqual(await known(till, 3), [], "nobody was at the till");

  await hub.start();
  await setScope(hub, "till", { kind: "segments", segments: ["vip"] });
  await filled(hub, "till", "segments");
  await hub.kill();
  assert.deepEqual(await known(till, 3), [0], "members of the segment");

  await hub.start();
  assert.match(await site.cli("collectors", "scope", "till", "everybody"), /filled anew/);
  await filled(hub, "till", "everybody");
  assert.match(await site.cli("collectors"), /till.*everybody/);
  await hub.kill();
  assert.deepEqual(await known(till, 3), [0, 1, 2], "everybody");

  await hub.start();
  await setScope(hub, "till", { kind: "segments", segments: ["vip"] });
  await filled(hub, "till", "segments");
  await hub.kill();
  await waitUntil(async () => (await known(till, 3)).join() === "0", { what: "the others to be removed" });
});

test("who enters a segment comes to the box at once, and who leaves it goes from there", async (t) => {
  const { hub, web, till } = await startShops(t);
  await setScope(hub, "till", { kind: "segments", segments: ["vip"] });
  await filled(hub, "till", "segments");

  await web.send([identify(1, { tier: "gold" }), identify(0, { tier: "none" })]);
  const isMember = async (n) => (await hub.profile("email", email(n))).segments.length > 0;
  await waitUntil(async () => (await isMember(1)) && !(await isMember(0)), { what: "the change at the hub" });
  await waitUntil(async () => (await till.customer("email", email(1))).body?.segments?.includes("vip"));
  // A look-up of somebody outside the scope is answered and not kept.
  assert.equal((await till.customer("email", email(2))).status, 200);
  // A later change went the same way behind it, so the removal has been taken when that is here.
  await web.send([identify(1, { phone: "+33 6 39 98 00 77" })]);
  await waitUntil(async () => {
    const { body } = await till.customer("email", email(1));
    return body.identifiers.some(({ type, value }) => type === "phone" && value === "+33639980077");
  });
  await hub.kill();
  assert.deepEqual(await known(till, 3), [1]);
});

test("nothing on the box's disk tells who a customer is, and the key is for this user alone", async (t) => {
  const { hub, till } = await startShops(t);
  await setScope(hub, "till", { kind: "everybody" });
  await filled(hub, "till", "everybody");
  const { profileId } = (await till.customer("email", email(0))).body;
  const marks = [email(0), "wanda", "gold", "vip", SERVER_WRITE_KEY, profileId, Buffer.from(profileId, "hex")];
  const found = () =>
    filesUnder(till.dataDir).flatMap((file) =>
      marks.filter((mark) => readFileSync(file).includes(mark)).map((mark) => `${mark} in ${file}`),
    );
  await till.kill("SIGKILL");
  assert.deepEqual(found(), [], "after a power cut");
  await till.start();
  await till.kill();
  assert.deepEqual(found(), [], "after a clean stop");
  const key = `${till.dataDir}.key`;
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.match(readFileSync(key, "utf8"), /^[0-9a-f]{64}\n$/);
});

test("a box whose cache was lost, or whose key is another, is filled again", async (t) => {
  const { hub, till } = await startShops(t);
  await setScope(hub, "till", { kind: "everybody" });
  await filled(hub, "till", "everybody");
  const { id } = (await hub.get("/v1/collectors/till")).cache;

  await till.kill();
  rmSync(join(till.dataDir, "edge"), { recursive: true });
  await till.start();
  await waitUntil(async () => (await hub.get("/v1/collectors/till")).cache.id !== id, { what: "the new cache" });
  await filled(hub, "till", "everybody");
  await hub.kill();
  assert.deepEqual(await known(till, 3), [0, 1, 2]);

  await till.kill();
  writeFileSync(`${till.dataDir}.key`, `${"5a".repeat(32)}\n`);
  await till.start();
  assert.ok(till.log.some((line) => line.includes("edge-emptied")));
  assert.deepEqual(await known(till, 3), [], "the old cards cannot be read");
  await hub.start();
  await waitUntil(async () => (await till.customer("email", email(2))).status === 200);
  await filled(hub, "till", "everybody");
  await hub.kill();
  assert.deepEqual(await known(till, 3), [0, 1, 2]);
});

test("a box whose suppression list or gate was altered on the disk starts, and is filled again", async (t) => {
  const { hub, till } = await startShops(t);
  await setScope(hub, "till", { kind: "everybody" });
  await filled(hub, "till", "everybody");
  await hub.put("/v1/suppressions", { identifiers: [{ type: "user_id", value: "nobody" }] });
  await hub.put("/v1/sources/newer", {});
  const isTold = async () => {
    return (
      (await till.metric("tributary_suppressed_identifiers")) === 1 &&
      till.log.some((line) => line.includes("gate-changed"))
    );
  };
  await waitUntil(isTold, { timeout: 30_000, what: "the list and the gate" });
  for (const kind of ["y", "g"]) {
    const { id } = (await hub.get("/v1/collectors/till")).cache;
    await till.kill();
    assert.ok(alterVault(join(till.dataDir, "edge"), kind) > 0, `records "${kind}" were altered`);
    till.log.length = 0;
    await till.start();
    assert.ok(till.log.some((line) => line.includes("edge-emptied")), till.tail());
    await waitUntil(async () => (await hub.get("/v1/collectors/till")).cache.id !== id, { what: "the new cache" });
    await filled(hub, "till", "everybody");
    await waitUntil(isTold, { timeout: 30_000, what: "the list and the gate again" });
    assert.equal((await till.customer("email", email(2))).status, 200);
  }
});

test("a refill goes on where it was after the box and the hub were killed in it", async (t) => {
  const people = 1500;
  const { hub, till } = await startShops(t, { people });
  await setScope(hub, "till", { kind: "everybody" });
  await hub.kill("SIGKILL");
  await till.kill("SIGKILL");
  await Promise.all([hub.start(), till.start()]);
  await filled(hub, "till", "everybody");
  await hub.kill();
  const sample = [0, 1, 749, 750, 1498, 1499];
  for (const n of sample) assert.equal((await till.customer("email", email(n))).status, 200, email(n));
});

test("a hub that was restored from an old copy of its disk brings its boxes to what it knows", async (t) => {
  const { hub, web, till } = await startShops(t);
  await setScope(hub, "till", { kind: "everybody" });
  await filled(hub, "till", "everybody");
  await hub.kill();
  const backup = `${hub.dataDir}.backup`;
  cpSync(hub.dataDir, backup, { recursive: true });
  await hub.start();
  // Changes that the backup does not have move the outboxes on; the box has u0's from there, since it
  // knew u0 before and asks nobody. What nobody acknowledged would come again.
  await web.send([identify(0, { tier: "none" }), identify(7, {})]);
  await waitUntil(async () => (await till.customer("email", email(0))).body.segments.length === 0, { what: "the change" });
  await waitUntil(async () => (await till.customer("email", email(7))).status === 200);
  await waitUntil(async () => (await web.metric("tributary_spool_blocks")) === 0, { what: "all to be acknowledged" });
  await hub.kill();
  rmSync(hub.dataDir, { recursive: true });
  cpSync(backup, hub.dataDir, { recursive: true });
  await hub.start();
  const gone = async () => (await till.customer("email", email(7))).status === 404;
  await waitUntil(gone, { timeout: 30_000, what: "what the hub does not know to leave the box" });
  await filled(hub, "till", "everybody");
  await hub.kill();
  assert.deepEqual(await known(till, 3), [0, 1, 2]);
});

test("a card tells the last purchases, newest first, in whatever order they came", async (t) => {
  const { hub, web, till } = await startShops(t);
  const order = (n, event = "Order Completed") => ({
    type: "track",
    event,
    userId: "u0",
    messageId: `o${n}`,
    timestamp: `2026-11-0${n}T10:00:00Z`,
    properties: { total: n * 10.5, currency: "EUR", order_id: `O-${n}` },
  });
  await web.send([order(4), order(1), order(7, "Order Refunded"), order(3), order(6), order(2), order(5)]);
  const wanted = [7, 6, 5, 4, 3].map((n) => ({
    at: `2026-11-0${n}T10:00:00.000Z`,
    event: n === 7 ? "Order Refunded" : "Order Completed",
    total: n * 10.5,
    currency: "EUR",
    orderId: `O-${n}`,
    source: web.writeKey,
  }));
  await waitUntil(async () => (await hub.profile("user_id", "u0")).purchases.length === 5);
  assert.deepEqual((await hub.profile("user_id", "u0")).purchases, wanted);
  assert.deepEqual((await till.customer("email", email(0))).body.purchases, wanted);

  await hub.put("/v1/purchases", { events: ["Order Refunded"] });
  await waitUntil(async () => (await hub.profile("user_id", "u0")).purchases.length === 1);
  await waitUntil(async () => (await till.customer("email", email(0))).body.purchases.length === 1);
  assert.deepEqual(await hub.get("/v1/purchases"), { events: ["Order Refunded"] });
  assert.equal((await hub.api("PUT", "/v1/purchases", { events: "all" })).status, 400);
});

test("wrong scopes are refused with what is wrong, and a segment in use cannot be deleted", async (t) => {
  const { hub, site } = await startShops(t);
  const refused = async (scope, code) => {
    const answer = await hub.api("PUT", "/v1/collectors/till", { scope });
    assert.equal(answer.status, 400, JSON.stringify(scope));
    assert.equal(answer.body.error.code, code);
    return answer.body.error.message;
  };
  await refused({ kind: "some" }, "invalid-scope");
  await refused({ kind: "segments" }, "invalid-scope");
  await refused({ kind: "seen", segments: ["vip"] }, "invalid-scope");
  assert.match(await refused({ kind: "segments", segments: ["vvip"] }, "invalid-scope"), /vvip/);
  assert.equal((await hub.api("PUT", "/v1/collectors/nobody", { scope: { kind: "seen" } })).status, 404);
  await assert.rejects(site.cli("collectors", "scope", "till", "segments", "vvip"), /vvip/);

  await setScope(hub, "till", { kind: "segments", segments: ["vip"] });
  assert.equal((await hub.api("DELETE", "/v1/segments/vip")).status, 400);
  // A revoked collector needs none; enrolled anew it keeps its scope.
  assert.equal((await hub.api("DELETE", "/v1/collectors/till")).status, 204);
  assert.equal((await hub.get("/v1/collectors/till")).scope.kind, "segments");
});

test("a question that cannot be answered is told what is wrong with it", async (t) => {
  const { hub, till } = await startShops(t);
  const ask = async (query, token = till.customerToken) => {
    const answer = await fetch(`${till.url}/v1/customers${query}`, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, hub: answer.headers.get("tributary-hub"), ...(await answer.json()) };
  };
  assert.match((await ask("")).error.message, /email=/);
  const both = await ask(`?email=${email(0)}&phone=1`);
  assert.equal(both.status, 400);
  assert.match(both.error.message, /one identifier at a time/);
  assert.equal((await ask("?email=")).status, 400);
  assert.equal((await ask(`?email=${"x".repeat(300)}`)).status, 400);
  assert.equal((await ask("?phone=abc")).error.code, "invalid-identifier");
  const found = await ask(`?email=${email(0).toUpperCase()}`);
  assert.equal(found.status, 200, "normalised as the hub does");
  assert.equal(found.hub, "connected");
  assert.equal((await ask("?email=nobody@example.com")).status, 404);
  await hub.kill();
  await waitUntil(async () => (await ask("?email=nobody@example.com")).error.message.includes("cannot reach"));

  for (let n = 0; n < 10; n++) assert.equal((await ask(`?email=${email(0)}`, `guess-${n}`)).status, 401);
  const refused = await ask(`?email=${email(0)}`, "guess");
  assert.equal(refused.status, 429);
  assert.equal(refused.error.code, "too-many-wrong-tokens");
  assert.equal((await ask(`?email=${email(0)}`)).status, 200, "the right token is never refused");
});

test("behind a trusted proxy the guesses of one client do not count for another", async (t) => {
  const { till } = await startShops(t);
  const ask = (client, token) =>
    fetch(`${till.url}/v1/customers?email=${email(0)}`, {
      headers: { authorization: `Bearer ${token}`, "x-forwarded-for": client },
    });
  await till.kill();
  till.args.push("--trusted_proxies", "127.0.0.1");
  await till.start();
  for (let n = 0; n < 10; n++) assert.equal((await ask("198.51.100.7", `guess-${n}`)).status, 401);
  assert.equal((await ask("198.51.100.7", "guess")).status, 429);
  assert.equal((await ask("198.51.100.8", "guess")).status, 401);
  assert.notEqual((await ask("198.51.100.7", till.customerToken)).status, 429);
});
