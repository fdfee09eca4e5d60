// Why identifiers belong together can be asked, and so can why others do not.
import assert from "node:assert/strict";
import { startSite, test, waitUntil } from "./support/site.mjs";

const identify = (messageId, ids, traits = {}) => ({
  type: "identify",
  messageId,
  timestamp: "2026-11-20T10:00:00Z",
  ...ids,
  traits,
});

const journal = async (hub, profile) => hub.get(`/v1/profiles/${profile.id}/identity`);
const events = async (hub) => (await hub.overview()).events;

test("each link names its event, its rule and its time, and a merge names the other profile", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.send([identify("m1", { userId: "u1" }, { email: "Jane@Example.com" })]);
  await collector.send([identify("m2", { anonymousId: "a1" })]);
  await waitUntil(async () => (await events(hub)) === 2);
  const [older, younger] = [await hub.profile("user_id", "u1"), await hub.profile("anonymous_id", "a1")];
  assert.notEqual(older.id, younger.id);
  await collector.send([{ ...identify("m3", { anonymousId: "a1" }, { email: "jane@example.com" }), context: { authenticated: true } }]);
  const merged = await waitUntil(async () => {
    const profile = await hub.profile("anonymous_id", "a1");
    return profile?.mergedIds.length === 1 && profile;
  });
  assert.equal(merged.id, older.id, "the older profile survives");
  assert.deepEqual(merged.mergedIds, [younger.id]);
  assert.equal((await hub.get(`/v1/profiles/${younger.id}`)).id, older.id, "the old id leads to the survivor");

  const identity = await journal(hub, merged);
  const email = identity.links.find(({ messageId }) => messageId === "m1");
  assert.deepEqual(email.identifier, { type: "email", value: "jane@example.com" });
  assert.deepEqual(email.with, { type: "user_id", value: "u1" });
  assert.deepEqual([email.kind, email.rule, email.at], ["link", "same event", "2026-11-20T10:00:00.000Z"]);
  const merge = identity.journal.find(({ kind }) => kind === "merge");
  assert.deepEqual([merge.messageId, merge.profile], ["m3", younger.id]);
  assert.deepEqual(merge.identifier, { type: "email", value: "jane@example.com" });
});

test("two people in one browser stay two, and the refused link says why", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.send([identify("m1", { anonymousId: "shared", userId: "u1" })]);
  await waitUntil(async () => (await events(hub)) === 1);
  await collector.send([identify("m2", { anonymousId: "shared", userId: "u2" })]);
  await waitUntil(async () => (await events(hub)) === 2);
  const first = await hub.profile("user_id", "u1");
  const second = await hub.profile("user_id", "u2");
  assert.notEqual(first.id, second.id);
  assert.equal((await hub.profile("anonymous_id", "shared")).id, first.id, "the browser stays with whom it met first");
  assert.deepEqual([first.eventCount, second.eventCount], [1, 1]);
  const refused = (await journal(hub, first)).journal.find(({ kind }) => kind === "refused");
  assert.deepEqual(refused.identifier, { type: "user_id", value: "u2" });
  assert.equal(refused.messageId, "m2");
  assert.match(refused.reason, /identity rules/);
});

test("profiles of two users that share an e-mail address are not merged, and both journals say why", async (t) => {
  const { hub, collector } = await startSite(t);
  await collector.send([identify("m1", { userId: "u1" }, { email: "home@example.com" })]);
  await waitUntil(async () => (await events(hub)) === 1);
  await collector.send([identify("m2", { userId: "u2" }, { email: "home@example.com" })]);
  const second = await waitUntil(async () => {
    const profile = await hub.profile("user_id", "u2");
    return profile && (await journal(hub, profile)).journal.some(({ kind }) => kind === "refused") && profile;
  });
  const first = await hub.profile("user_id", "u1");
  assert.notEqual(first.id, second.id);
  assert.equal((await hub.profile("email", "home@example.com")).id, first.id);
  assert.ok(!(await hub.profile("user_id", "u2")).identifiers.some(({ type }) => type === "email"));
  await waitUntil(async () => (await journal(hub, first)).journal.some(({ kind }) => kind === "refused"));
});
