// Who may say what about whom: facts of servers and of proofs, and claims of everybody else.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Random } from "../demo/random.mjs";
import { SEED, startSite, test, waitUntil } from "./support/site.mjs";

const SECRET = "0123456789abcdef0123456789abcdef";
const EXEMPT = { exempt: true };
const SOURCES = {
  web: {
    consent: EXEMPT,
    origins: ["https://shop.example"],
    proof: { keys: [{ kid: "k1", alg: "HS256", key: SECRET }] },
  },
  shop: { trust: "server", consent: EXEMPT },
  lax: { consent: EXEMPT, open: ["user_id"] },
};
const SEGMENTS = {
  vip: { where: { event: "Order Completed", from: "server" } },
  claimers: { where: { claim: "email", exists: true } },
  paris: { where: { trait: "city", eq: "Paris" } },
};
const NOW = Date.now();
const at = (seconds) => new Date(NOW - 3600_000 + seconds * 1000).toISOString();
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/* What the shop's server would sign for the browser. */
function proofOf(claims, key = SECRET) {
  const iat = Math.floor((NOW - 3700_000) / 1000);
  const body = `${part({ alg: "HS256", kid: "k1" })}.${part({ aud: "web", iat, exp: iat + 7200, ...claims })}`;
  return `${body}.${createHmac("sha256", key).update(body).digest("base64url")}`;
}

const start = (t, options = {}) =>
  startSite(t, { sources: SOURCES, segments: SEGMENTS, writeKey: "web", partitions: 4, ...options });

/* Each event in a request of its own, in this order; all are applied when this returns. */
async function sendAll(site, events) {
  for (const { from = "web", ...event } of events) {
    const answer = await site.collector.post("/v1/batch", { batch: [event] }, { writeKey: from });
    assert.equal(answer.status, 200, answer.text);
  }
  site.sent = (site.sent ?? 0) + events.length;
  await waitUntil(
    async () => {
      const { events: counted, duplicates, unidentifiedEvents, queuedBytes } = await site.hub.overview();
      return counted + duplicates + unidentifiedEvents === site.sent && queuedBytes === 0;
    },
    { what: `${site.sent} events to be applied` },
  );
  // Messages between partitions follow: they are through when nothing changes any more.
  let before;
  let same = 0;
  await waitUntil(async () => {
    const now = JSON.stringify(await site.hub.overview());
    same = now === before ? same + 1 : 0;
    before = now;
    return same >= 4;
  });
}

const identify = (anonymousId, seconds, more = {}) => ({
  type: "identify",
  messageId: `i-${anonymousId}-${seconds}`,
  anonymousId,
  timestamp: at(seconds),
  ...more,
});
const track = (event, anonymousId, seconds, more = {}) => ({
  type: "track",
  event,
  messageId: `t-${anonymousId}-${seconds}`,
  anonymousId,
  timestamp: at(seconds),
  ...more,
});
const claimsOf = (profile) => profile.claims.map(({ type, value }) => `${type}=${value}`).sort();
const idsOf = (profile) => profile.identifiers.map(({ type, value }) => `${type}=${value}`).sort();

test("a stranger who names somebody sees nothing of her and changes nothing about her", async (t) => {
  const site = await start(t);
  const { hub, collector } = site;
  await sendAll(site, [
    { from: "shop", type: "identify", userId: "jane", messageId: "s1", timestamp: at(0), traits: { email: "jane@example.com", city: "Lyon" }, context: { consent: { categoryPreferences: { marketing: false } } } },
    { from: "shop", type: "track", event: "Order Completed", userId: "jane", messageId: "s2", timestamp: at(1), properties: { total: 10 } },
  ]);
  const before = await hub.profile("user_id", "jane");
  await sendAll(site, [
    identify("evil", 10, { userId: "jane", traits: { email: "jane@example.com", city: "Paris", phone: "+33612345678" }, context: { consent: { categoryPreferences: { marketing: true } } } }),
    track("Order Completed", "evil", 11, { userId: "jane", properties: { total: 9999 } }),
    { type: "alias", messageId: "al", anonymousId: "evil", previousId: "other-browser", userId: "jane", timestamp: at(12) },
    track("Seen", "evil", 13, { context: { externalIds: Array.from({ length: 16 }, (_, i) => ({ type: "email", id: `victim${i}@example.com` })) } }),
  ]);
  const after = await hub.profile("user_id", "jane");
  assert.deepEqual({ ...after, lastSeenAt: 0 }, { ...before, lastSeenAt: 0 });
  assert.equal(after.consents.marketing.granted, false);
  assert.deepEqual(after.purchases.map(({ total }) => total), [10]);

  const evil = await hub.profile("anonymous_id", "evil");
  assert.notEqual(evil.id, after.id);
  assert.equal(evil.known, false);
  assert.deepEqual(idsOf(evil), ["anonymous_id=evil"]);
  assert.deepEqual(claimsOf(evil).slice(0, 2), ["anonymous_id=other-browser", "email=jane@example.com"]);
  assert.equal(evil.traits.city, "Paris");
  assert.equal(evil.traitDetails.city.claimed, true);
  assert.deepEqual(evil.segments.map(({ key }) => key).sort(), ["claimers", "paris"]);
  assert.deepEqual(evil.purchases, []);
  assert.equal(evil.deviceConsents.evil.marketing.granted, true);
  assert.ok(!(await collector.me("evil")).segments.includes("vip"));
  assert.equal((await hub.overview()).merges, 0);
  const found = await hub.get(`/v1/profiles?${new URLSearchParams({ "claim.email": "jane@example.com" })}`);
  assert.deepEqual(found.profiles.map(({ id }) => id), [evil.id]);
  assert.equal(await hub.profile("email", "victim3@example.com"), undefined);
});

test("a proof makes claims true, whichever comes first, and the journal names it", async (t) => {
  const proven = identify("a1", 20, { userId: "jane", context: { proof: proofOf({ sub: "jane", email: "jane@example.com", aid: "a1" }) } });
  const events = [
    { from: "shop", type: "identify", userId: "jane", messageId: "s1", timestamp: at(0), traits: { email: "jane@example.com", city: "Lyon" } },
    identify("a1", 10, { userId: "jane", traits: { email: "jane@example.com", city: "Paris", nick: "J" } }),
    track("Seen", "a1", 5),
    proven,
    identify("a1", 30, { userId: "jane", traits: { nick: "JJ" } }),
  ];
  const pictures = [];
  for (const order of [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 1, 0, 4, 2], [1, 4, 0, 2, 3]]) {
    const site = await start(t);
    await sendAll(site, order.map((i) => events[i]));
    const jane = await site.hub.profile("user_id", "jane");
    const { links } = await site.hub.get(`/v1/profiles/${jane.id}/identity`);
    assert.ok(links.some(({ evidence }) => evidence === "proof"), JSON.stringify(links));
    pictures.push({
      ids: jane.identifiers.map(({ type, value, firstSeenAt, lastSeenAt }) => [type, value, firstSeenAt, lastSeenAt]).sort(),
      claims: claimsOf(jane),
      traits: jane.traits,
      details: jane.traitDetails,
      count: jane.eventCount,
      created: jane.createdAt,
      segments: jane.segments.map(({ key }) => key),
    });
    await site.collector.kill();
    await site.hub.kill();
  }
  assert.equal(pictures[0].count, 5);
  assert.deepEqual(pictures[0].claims, []);
  assert.deepEqual(pictures[0].traits, { email: "jane@example.com", city: "Paris", nick: "JJ" });
  for (const picture of pictures) assert.deepEqual(picture, pictures[0]);
});

test("a proof that is not good changes nothing and is counted with its reason", async (t) => {
  const site = await start(t);
  const send = (anonymousId, proof) => sendAll(site, [identify(anonymousId, 1, { userId: "jane", context: { proof } })]);
  await send("b1", proofOf({ sub: "jane", aid: "b1" }, "another secret of 32 characters!"));
  await send("b2", proofOf({ sub: "jane", aid: "b1" }));
  await send("b3", proofOf({ sub: "jane" }));
  await send("b4", "no.token");
  assert.equal(await site.hub.profile("user_id", "jane"), undefined);
  for (const id of ["b1", "b2", "b3", "b4"]) {
    assert.deepEqual(claimsOf(await site.hub.profile("anonymous_id", id)), ["user_id=jane"]);
  }
  const { evidence } = await site.hub.get("/v1/sources/web");
  assert.equal(evidence.provenEvents, 0);
  assert.equal(evidence.claimedEvents, 4);
  assert.equal(Object.values(evidence.invalidProofs).reduce((a, b) => a + b), 4);
  assert.equal(evidence.invalidProofs["bad-signature"], 1);
  assert.equal(evidence.invalidProofs["other-browser"], 1);
});

test("another person at a shared tablet is somebody else, whichever comes first", async (t) => {
  const jane = identify("tablet", 10, { userId: "jane", context: { proof: proofOf({ sub: "jane", aid: "tablet" }) } });
  const bob = track("Bob Looked", "tablet", 20, { userId: "bob" });
  const bobs = identify("tablet", 25, { userId: "bob", traits: { city: "Paris" } });
  const anybody = track("Looked", "tablet", 15);
  const pictures = [];
  for (const order of [[jane, bob, bobs, anybody], [bob, anybody, bobs, jane], [anybody, bobs, jane, bob]]) {
    const site = await start(t);
    await sendAll(site, order);
    const hers = await site.hub.profile("user_id", "jane");
    const [his] = (await site.hub.get("/v1/profiles?claim.user_id=bob")).profiles;
    assert.notEqual(hers.id, his.id);
    pictures.push({
      hers: [claimsOf(hers), hers.eventCount, hers.traits, hers.createdAt, (await site.hub.timeline(hers.id)).map(({ messageId }) => messageId)],
      ids: hers.identifiers.map(({ type, value, firstSeenAt, lastSeenAt }) => [type, value, firstSeenAt, lastSeenAt]).sort(),
      his: [claimsOf(his), his.eventCount, his.known, his.traits, (await site.hub.timeline(his.id)).map(({ messageId }) => messageId)],
      total: (await site.hub.overview()).events,
      segments: [hers, his].map(({ segments }) => segments.map(({ key }) => key)),
    });
    await site.collector.kill();
    await site.hub.kill();
  }
  assert.deepEqual(pictures[0].hers[0], []);
  assert.equal(pictures[0].hers[1], 2);
  assert.deepEqual(pictures[0].his[0], ["user_id=bob"]);
  assert.equal(pictures[0].his[1], 2);
  assert.equal(pictures[0].total, 4);
  assert.deepEqual(pictures[0].segments, [[], ["paris"]]);
  for (const picture of pictures) assert.deepEqual(picture, pictures[0]);
});

test("evidence gives the second person at the tablet a seat of their own", async (t) => {
  const site = await start(t);
  await sendAll(site, [
    identify("tablet", 10, { userId: "jane", context: { proof: proofOf({ sub: "jane", aid: "tablet" }) } }),
    track("Bob Looked", "tablet", 20, { userId: "bob" }),
    identify("tablet", 30, { userId: "bob", context: { proof: proofOf({ sub: "bob", aid: "tablet" }) } }),
    track("Bob Bought", "tablet", 40, { userId: "bob" }),
  ]);
  const bob = await site.hub.profile("user_id", "bob");
  assert.equal(bob.eventCount, 3);
  assert.deepEqual(claimsOf(bob), []);
  assert.equal((await site.hub.profile("user_id", "jane")).eventCount, 1);
});

test("an e-mail typed at a guest checkout has the order, and the browser has a claim", async (t) => {
  const guest = { from: "shop", type: "track", event: "Order Completed", messageId: "o1", anonymousId: "g1", timestamp: at(20), properties: { order_id: "O1", total: 5 }, context: { traits: { email: "guest@example.com" } } };
  for (const events of [[guest, track("Seen", "g1", 1)], [track("Seen", "g1", 1), guest]]) {
    const site = await start(t);
    await sendAll(site, events);
    const person = await site.hub.profile("email", "guest@example.com");
    const browser = await site.hub.profile("anonymous_id", "g1");
    assert.notEqual(person.id, browser.id);
    assert.deepEqual(person.purchases.map(({ total }) => total), [5]);
    assert.deepEqual(claimsOf(browser), ["email=guest@example.com"]);
    assert.equal(browser.eventCount, 1);
    // Who is signed in says so.
    await sendAll(site, [{ ...guest, messageId: "o2", context: { ...guest.context, authenticated: true } }]);
    assert.equal((await site.hub.profile("anonymous_id", "g1")).id, (await site.hub.profile("email", "guest@example.com")).id);
    await site.collector.kill();
    await site.hub.kill();
  }
});

test("a site may leave an identifier open, and the journal says that it did", async (t) => {
  const site = await start(t, { writeKey: "lax" });
  await sendAll(site, [identify("x1", 1, { from: "lax", userId: "otto", traits: { email: "otto@example.com" } })]);
  const otto = await site.hub.profile("user_id", "otto");
  assert.deepEqual(idsOf(otto), ["anonymous_id=x1", "user_id=otto"]);
  assert.deepEqual(claimsOf(otto), ["email=otto@example.com"]);
  const { links } = await site.hub.get(`/v1/profiles/${otto.id}/identity`);
  assert.deepEqual(links.map(({ evidence }) => evidence), ["open"]);
});

test("a person with very many browsers stays one person", async (t) => {
  const site = await start(t);
  const browsers = 700;
  const visits = Array.from({ length: browsers }, (_, n) => ({
    type: "track", event: "Seen", messageId: `v${n}`, anonymousId: `b${n}`, userId: "jane", timestamp: at(n),
  }));
  await site.collector.send(visits, { writeKey: "shop" });
  site.sent = browsers;
  await sendAll(site, [
    { from: "shop", type: "identify", messageId: "i", userId: "jane", timestamp: at(800), traits: { loyalty_id: "L1", email: "jane@example.com" } },
    { from: "shop", type: "track", event: "Order Completed", messageId: "o", timestamp: at(801), context: { externalIds: [{ type: "loyalty_id", id: "L1" }] } },
    track("Seen", "b0", 900),
    track("Seen", "b699", 900),
  ]);
  const jane = await site.hub.profile("user_id", "jane");
  assert.equal(jane.eventCount, browsers + 4);
  assert.equal((await site.hub.overview()).profiles, 1);
  for (const [type, value] of [["loyalty_id", "L1"], ["email", "jane@example.com"], ["anonymous_id", "b0"], ["anonymous_id", "b699"]]) {
    assert.equal((await site.hub.profile(type, value)).id, jane.id, `${type} ${value}`);
  }
  assert.ok(jane.identifiers.some(({ value }) => value === "L1"));

  // As many badges: what the profile itself does not keep is hers all the same.
  const badges = Array.from({ length: browsers }, (_, n) => ({
    type: "track", event: "Badge", messageId: `b${n}`, userId: "jane", timestamp: at(n), context: { externalIds: [{ type: "badge", id: `B${n}` }] },
  }));
  await site.collector.send(badges, { writeKey: "shop" });
  site.sent += browsers;
  await sendAll(site, [0, 400, 699].map((n) => ({
    from: "shop", type: "track", event: "Order Completed", messageId: `bo${n}`, timestamp: at(2000), context: { externalIds: [{ type: "badge", id: `B${n}` }] },
  })));
  assert.equal((await site.hub.overview()).profiles, 1);
  assert.equal((await site.hub.profile("badge", "B699")).id, jane.id);
});

test("the same messageId of another source or another person is an event of its own", async (t) => {
  const site = await start(t);
  const event = (from, userId) => ({ from, type: "track", event: "E", messageId: "1", userId, timestamp: at(1) });
  await site.hub.put("/v1/sources/till", { trust: "server", consent: EXEMPT });
  await waitUntil(async () => (await fetch(`${site.collector.url}/v1/projects/till/settings`)).status === 200);
  await sendAll(site, [event("shop", "u1"), event("till", "u1"), event("shop", "u2"), event("shop", "u1"), event("till", "u1")]);
  assert.equal((await site.hub.profile("user_id", "u1")).eventCount, 2);
  assert.equal((await site.hub.timeline((await site.hub.profile("user_id", "u1")).id)).length, 2);
  assert.equal((await site.hub.profile("user_id", "u2")).eventCount, 1);
  assert.equal((await site.hub.overview()).duplicates, 2);
});

test("an order that page and server both report counts once, whichever comes first", async (t) => {
  const order = (from, messageId, seconds, more = {}) => ({
    from, type: "track", event: "Order Completed", messageId, anonymousId: "k1", userId: "kate", timestamp: at(seconds),
    properties: { order_id: from === "web" ? "77" : 77, total: seconds }, ...more,
  });
  const proof = identify("k1", 1, { userId: "kate", context: { proof: proofOf({ sub: "kate", aid: "k1" }) } });
  const events = [proof, order("web", "p1", 10), order("shop", "s1", 20), order("shop", "s2", 30), order("shop", "s3", 40, { properties: { order_id: "78", total: 40 } })];
  const segments = { twice: { where: { event: "Order Completed", count: { gte: 2 } } }, thrice: { where: { event: "Order Completed", count: { gte: 3 } } } };
  for (const indexes of [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 0, 4, 2]]) {
    const site = await start(t, { segments });
    const { hub } = site;
    await hub.put("/v1/business-keys/Order%20Completed", { key: "order_id" });
    assert.deepEqual((await hub.get("/v1/business-keys")).businessKeys, [{ event: "Order Completed", key: "order_id" }]);
    await sendAll(site, indexes.map((i) => events[i]));
    const kate = await hub.profile("user_id", "kate");
    const timeline = await hub.timeline(kate.id);
    const duplicates = Object.fromEntries(timeline.map(({ messageId, duplicateOf }) => [messageId, duplicateOf]));
    assert.deepEqual(duplicates, { s3: undefined, s2: "s1", s1: undefined, p1: "s1", [proof.messageId]: undefined });
    assert.deepEqual(kate.segments.map(({ key }) => key), ["twice"]);
    assert.deepEqual(kate.purchases.map(({ total }) => total), [40, 20]);
    assert.equal(kate.eventCount, 5);
    const preview = await hub.api("POST", "/v1/segments/preview", { where: segments.thrice.where });
    assert.equal(preview.body.size, 0);

    // Without the definition all count again, and with it once more.
    const keysOf = async () => (await hub.profile("user_id", "kate")).segments.map(({ key }) => key).sort().join();
    assert.equal((await hub.api("DELETE", "/v1/business-keys/Order%20Completed")).status, 204);
    await waitUntil(async () => (await keysOf()) === "thrice,twice");
    await hub.put("/v1/business-keys/Order%20Completed", { key: "order_id" });
    await waitUntil(async () => (await keysOf()) === "twice");
    await site.collector.kill();
    await site.hub.kill();
  }
});

/* A history of three people, of whom each has one browser that is proven to be hers, and of one that is nobody's. */
function randomHistory(random, count) {
  const people = ["ann", "ben", "cleo"];
  const email = (person) => `${person}@example.com`;
  const events = [];
  for (let n = 0; n < count; n++) {
    const browser = random.int(0, 3);
    const person = random.pick(people);
    const base = { messageId: `m${n}`, timestamp: at(random.int(0, 600)), anonymousId: `br${browser}` };
    const consent = { consent: { categoryPreferences: { marketing: random.chance(0.5) } } };
    events.push(
      random.pick([
        () => ({ ...base, type: "track", event: "Seen", context: consent }),
        () => ({ ...base, type: "track", event: "Seen", userId: person }),
        () => ({ ...base, type: "identify", userId: person, traits: { city: random.pick(["Paris", "Lyon"]), email: email(person) } }),
        () => ({ ...base, type: "identify", traits: { nick: `n${n}`, email: email(person) } }),
        () =>
          browser === 3
            ? { ...base, type: "track", event: "Seen" }
            : { ...base, type: "identify", userId: people[browser], traits: { owner: n }, context: { proof: proofOf({ sub: people[browser], aid: base.anonymousId }) } },
        () => ({ ...base, from: "shop", anonymousId: undefined, type: "identify", userId: person, traits: { email: email(person), city: `C${n}` }, context: consent }),
        () => ({ ...base, from: "shop", type: "track", event: "Order Completed", context: { traits: { email: email(person) } }, properties: { total: n } }),
      ])(),
    );
  }
  return events;
}

/* Everything that the hub shows of everybody, but ids and the moments at which segments were entered. */
async function everything(hub) {
  const found = [];
  for (const { id } of await hub.profiles()) {
    const { id: _, mergedIds, segments, ...rest } = await hub.get(`/v1/profiles/${id}`);
    const events = (await hub.timeline(id)).map(({ messageId }) => messageId);
    const sorted = (list) => list.map((one) => JSON.stringify(one)).sort();
    found.push(
      JSON.stringify({
        ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, Array.isArray(value) ? sorted(value) : value && typeof value === "object" ? sorted(Object.entries(value)) : value])),
        segments: segments.map(({ key }) => key).sort(),
        events: events.sort(),
      }),
    );
  }
  return found.sort();
}

for (const seed of [SEED, SEED + 1, SEED + 2]) {
  test(`a random history comes to the same in every order, with a crash in it (seed ${seed})`, async (t) => {
    const random = new Random(seed);
    const events = randomHistory(random, 60);
    const pictures = [];
    for (const turn of [0, 1, 2]) {
      const site = await start(t);
      const order = turn === 0 ? events : random.shuffle([...events]);
      await sendAll(site, order.slice(0, 30));
      if (turn > 0) {
        await site.hub.kill("SIGKILL");
        await site.hub.start();
      }
      await sendAll(site, order.slice(30));
      pictures.push(await everything(site.hub));
      await site.collector.kill();
      await site.hub.kill();
    }
    assert.deepEqual(pictures[1], pictures[0]);
    assert.deepEqual(pictures[2], pictures[0]);
  });
}
