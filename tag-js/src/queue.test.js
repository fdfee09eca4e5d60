import assert from "node:assert/strict";
import { test } from "node:test";
import { createFakeWindow, respond } from "./fake-window.js";
import { createQueue } from "./queue.js";
import { createStore } from "./store.js";

function start(options) {
  const fake = createFakeWindow(options);
  const store = createStore(fake.window);
  store.open();
  fake.delivered = 0;
  fake.queue = createQueue(fake.window, {
    url: "https://c.example/v1/b",
    writeKey: "KEY",
    store,
    onDelivered: () => fake.delivered++,
  });
  return fake;
}

const event = (n, more) => ({ type: "track", messageId: "m" + n, event: "E", ...more });
const ids = (batch) => batch.map(({ messageId }) => messageId);

async function outcome(promise) {
  return promise.then(() => "taken", (error) => error.code || error.message);
}

test("events made together leave together within 10 ms, without a preflight", async () => {
  const { queue, collector, advance, disk } = start();
  const taken = [queue.push(event(1)), queue.push(event(2))];
  await advance(10);

  assert.equal(collector.batches.length, 1);
  assert.deepEqual(ids(collector.events()), ["m1", "m2"]);
  assert.equal(collector.batches[0].writeKey, "KEY");
  assert.equal(collector.batches[0].sentAt, "2026-01-01T00:00:00.010Z");
  const [{ to, headers, credentials, keepalive }] = collector.posts;
  assert.equal(to, "https://c.example/v1/b");
  assert.deepEqual({ headers, credentials, keepalive }, {
    headers: { "Content-Type": "text/plain" }, credentials: "include", keepalive: true,
  });
  assert.deepEqual(await Promise.all(taken), [event(1), event(2)]);
  assert.deepEqual(disk, {}, "nothing stays behind");
});

test("a failure is retried with growing pauses, a fresh sentAt and the same messageId", async () => {
  const { queue, collector, advance } = start();
  collector.answers = [new Error("offline"), respond(500, ""), respond(408, ""), respond(200, "<html>")];
  const taken = outcome(queue.push(event(1)));
  await advance(20000);

  assert.equal(await taken, "taken");
  assert.deepEqual(collector.batches.map(({ at }) => at), [10, 510, 1510, 3510, 7510]);
  assert.equal(new Set(collector.batches.map(({ sentAt }) => sentAt)).size, 5);
  assert.deepEqual(ids(collector.events()), Array(5).fill("m1"));
});

test("Retry-After of a 429 or 503 is honoured, also when the page goes away", async () => {
  for (const status of [429, 503]) {
    const { queue, collector, advance } = start();
    collector.answers = [respond(status, "", { "Retry-After": "7" })];
    queue.push(event(1));
    await advance(1000);
    queue.leave();
    await advance(6000);
    assert.equal(collector.batches.length, 1);
    assert.equal(collector.beacons.length, 0);
    await advance(2000);
    assert.equal(collector.batches.length, 2);
  }
});

test("other client errors are final and drop the batch", async () => {
  for (const status of [400, 401, 413]) {
    const { queue, collector, advance, delivered } = start();
    collector.answers = [respond(status, { error: { code: "unknown-key", message: "No." } })];
    const refused = outcome(queue.push(event(1)));
    await advance(100000);
    assert.equal(await refused, "unknown-key");
    assert.equal(collector.batches.length, 1);
    assert.equal(delivered, 0);
  }
});

test("a rejected item rejects its own promise only", async () => {
  const { queue, collector, advance } = start();
  const rejected = [{ index: 1, code: "consent-denied", message: "No." }];
  collector.answers = [respond(200, { success: true, rejected })];
  const outcomes = [1, 2, 3].map((n) => outcome(queue.push(event(n))));
  await advance(10);
  assert.deepEqual(await Promise.all(outcomes), ["taken", "consent-denied", "taken"]);
});

test("the next page sends what this one could not, in order", async () => {
  const before = start();
  before.collector.answers = [new Error("offline")];
  for (let n = 0; n < 20; n++) before.queue.push(event(n));
  await before.advance(10);

  const after = start({ disk: before.disk });
  after.queue.restore();
  await after.advance(0);
  assert.deepEqual(ids(after.collector.events()), Array.from({ length: 20 }, (_, n) => "m" + n));
  assert.deepEqual(after.disk, {});
});

test("events made during a delivery go with the next one", async () => {
  const { queue, collector, advance, window } = start();
  const answer = collector.post.bind(collector);
  window.fetch = async (to, options) => {
    if (collector.posts.length === 0) queue.push(event(2));
    return answer(to, options);
  };
  queue.push(event(1));
  await advance(20);
  assert.deepEqual(collector.batches.map(({ batch }) => ids(batch)), [["m1"], ["m2"]]);
});

test("batches stay under the limit of keepalive requests, and one huge event goes alone without it", async () => {
  const { queue, collector, advance } = start();
  const large = { text: "é".repeat(20000) };
  queue.push(event(1, large));
  queue.push(event(2, large));
  queue.push(event(3, { text: "é".repeat(40000) }));
  await advance(20);
  assert.deepEqual(collector.batches.map(({ batch }) => ids(batch)), [["m1"], ["m2"], ["m3"]]);
  assert.deepEqual(collector.posts.map(({ keepalive }) => keepalive), [true, true, false]);
});

test("the queue keeps the newest 500 events", async () => {
  const { queue, collector, advance, disk } = start();
  collector.answers = [new Error("offline")];
  const outcomes = Array.from({ length: 510 }, (_, n) => outcome(queue.push(event(n))));
  assert.equal(Object.keys(disk).length, 500);
  assert.equal(await outcomes[0], "The queue is full.");
  await advance(10000);
  assert.equal(await outcomes[10], "taken");
});

test("a page that goes away hands its events to one beacon and keeps them until they are confirmed", async () => {
  const { queue, collector, advance, disk } = start();
  queue.push(event(1));
  queue.leave();
  queue.leave();
  assert.deepEqual(collector.beacons.map(({ batch }) => ids(batch)), [["m1"]]);
  assert.equal(Object.keys(disk).length, 1);
  await advance(10);
  assert.equal(Object.keys(disk).length, 0);
});

test("where the beacon is refused, a request that outlives the page takes its place", async () => {
  const { queue, collector, window } = start();
  window.navigator.sendBeacon = () => false;
  queue.push(event(1));
  queue.leave();
  assert.deepEqual(ids(collector.events()), ["m1"]);
});

test("a request without an answer is given up after 30 s and tried again", async () => {
  const { queue, collector, advance, window } = start();
  const answer = window.fetch;
  window.fetch = (to, { signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  queue.push(event(1));
  await advance(30000);
  window.fetch = answer;
  await advance(1000);
  assert.deepEqual(ids(collector.events()), ["m1"]);
});
