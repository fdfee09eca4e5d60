import assert from "node:assert/strict";
import { test } from "node:test";
import { respond, startTag } from "./fake-window.js";

const names = (batch) => batch.map(({ event }) => event);
const queued = (disk) => Object.keys(disk).filter((key) => key.startsWith("trb_q"));
const outcome = (promise) => promise.then(() => "taken", (error) => error.code || error.message);

test("events made together leave together within 10 ms, without a preflight", async () => {
  const { tag, collector, advance, disk } = startTag();
  const taken = [tag.track("A"), tag.track("B")];
  await advance(10);

  assert.equal(collector.batches.length, 1);
  assert.deepEqual(names(collector.events()), ["A", "B"]);
  assert.equal(collector.batches[0].writeKey, "KEY");
  assert.equal(collector.batches[0].sentAt, "2026-01-01T00:00:00.000Z");
  const [{ to, headers, credentials, keepalive }] = collector.posts;
  assert.equal(to, "https://c.example/v1/b?me=1");
  assert.deepEqual({ headers, credentials, keepalive }, { headers: undefined, credentials: "include", keepalive: true });
  assert.deepEqual((await Promise.all(taken)).map(({ event }) => event), ["A", "B"]);
  assert.deepEqual(queued(disk), [], "nothing stays behind");
});

test("a failure is retried with growing pauses, a fresh sentAt and the same messageId", async () => {
  const { tag, collector, advance } = startTag();
  collector.answers = [new Error("offline"), respond(500, ""), respond(408, ""), respond(200, "<html>")];
  const taken = outcome(tag.track("A"));
  await advance(20000);
  assert.equal(await taken, "taken");
  assert.deepEqual(collector.batches.map(({ at }) => at), [0, 1000, 3000, 7000, 15000]);
  assert.equal(new Set(collector.batches.map(({ sentAt }) => sentAt)).size, 5);
  assert.equal(new Set(collector.events().map(({ messageId }) => messageId)).size, 1);
});

test("Retry-After is honoured, also by the page's end and by the next page", async () => {
  for (const status of [429, 503]) {
    const first = startTag();
    first.collector.answers = [respond(status, "", { "Retry-After": "7" })];
    first.tag.track("A");
    await first.advance(1000);
    first.happen("pagehide");
    assert.equal(first.collector.batches.length, 1);
    assert.equal(first.collector.beacons.length, 0);

    const next = startTag({ disk: first.disk });
    await next.advance(7000);
    assert.equal(next.collector.batches.length, 0);
    await next.advance(2000);
    assert.deepEqual(names(next.collector.events()), ["A"]);
  }
});

test("a Retry-After that is no number, or of a day, does not stop the queue", async () => {
  for (const value of ["Wed, 21 Oct 2026 07:28:00 GMT", "86400"]) {
    const { tag, collector, advance } = startTag();
    collector.answers = [respond(503, "", { "Retry-After": value })];
    tag.track("A");
    await advance(500);
    assert.equal(collector.batches.length, 1);
    await advance(300000);
    assert.equal(collector.batches.length, 2);
  }
});

test("coming back online tries again at once", async () => {
  const { tag, collector, advance, happen } = startTag();
  collector.answers = Array.from({ length: 5 }, () => new Error("offline"));
  tag.track("A");
  await advance(20000);
  const tries = collector.batches.length;
  happen("online");
  await advance(1);
  assert.equal(collector.batches.length, tries + 1);
});

test("other client errors are final and drop the batch", async () => {
  for (const status of [400, 401, 413]) {
    const { tag, collector, advance } = startTag();
    collector.answers = [respond(status, { error: { code: "unknown-key", message: "No." } })];
    const refused = outcome(tag.track("A"));
    await advance(100000);
    assert.equal(await refused, "unknown-key");
    assert.equal(collector.batches.length, 1);
  }
});

test("a rejected item rejects its own promise only", async () => {
  const { tag, collector, advance } = startTag();
  const rejected = [{ index: 1, code: "consent-denied", message: "No." }];
  collector.answers = [respond(200, { success: true, rejected })];
  const outcomes = ["A", "B", "C"].map((name) => outcome(tag.track(name)));
  await advance(10);
  assert.deepEqual(await Promise.all(outcomes), ["taken", "consent-denied", "taken"]);
});

test("the next page sends what this one could not, in order", async () => {
  const before = startTag();
  before.collector.answers = [new Error("offline")];
  for (let n = 0; n < 20; n++) before.tag.track("E" + n);
  await before.advance(10);

  const after = startTag({ disk: before.disk });
  await after.advance(5000);
  assert.deepEqual(names(after.collector.events()), Array.from({ length: 20 }, (_, n) => "E" + n));
  assert.deepEqual(queued(after.disk), []);
});

test("events of another tab are delivered too, and the other tab learns of it", async () => {
  const disk = {};
  const other = startTag({ disk });
  other.collector.answers = [new Error("offline")];
  const taken = outcome(other.tag.track("A"));
  await other.advance(10);
  const here = startTag({ disk });
  await here.advance(5000);
  assert.deepEqual(names(here.collector.events()), ["A"]);
  await other.advance(5000);
  assert.equal(await taken, "taken");
  assert.equal(other.collector.batches.length, 1);
});

test("batches stay under the limit of keepalive requests, and one huge event goes alone without it", async () => {
  const { tag, collector, advance } = startTag();
  tag.track("A", { text: "é".repeat(15000) });
  tag.track("B", { text: "é".repeat(15000) });
  tag.track("C", { text: "é".repeat(30000) });
  await advance(50);
  assert.deepEqual(collector.batches.map(({ batch }) => names(batch)), [["A"], ["B"], ["C"]]);
  assert.deepEqual(collector.posts.map(({ keepalive }) => keepalive), [true, true, false]);
  assert.ok(collector.posts.slice(0, 2).every(({ body }) => Buffer.byteLength(body) < 65536));
});

test("the queue keeps the newest 2,000 events", async () => {
  const { tag, collector, advance, disk } = startTag();
  collector.answers = [new Error("offline")];
  const outcomes = Array.from({ length: 2010 }, (_, n) => outcome(tag.track("E" + n)));
  await advance(10);
  assert.equal(queued(disk).length, 2000);
  assert.equal(await outcomes[9], "full");
  await advance(60000);
  assert.equal(await outcomes[10], "taken");
});

test("a page that goes away hands its events to one beacon and keeps them until they are confirmed", async () => {
  const { tag, collector, happen, disk } = startTag();
  tag.track("A");
  happen("pagehide");
  assert.deepEqual(collector.beacons.map(({ batch }) => names(batch)), [["A"]]);
  assert.equal(queued(disk).length, 1);
  const next = startTag({ disk });
  await next.advance(10);
  assert.equal(next.collector.events()[0].messageId, collector.beacons[0].batch[0].messageId);
  assert.equal(queued(disk).length, 0);
});

test("without sendBeacon the events stay for the next page", async () => {
  const { tag, happen, disk, advance, collector } = startTag({ change: ({ navigator }) => delete navigator.sendBeacon });
  tag.track("A");
  happen("pagehide");
  assert.equal(queued(disk).length, 1);
  await advance(10);
  assert.equal(collector.events().length, 1);
});

test("a full localStorage does not lose events of this page", async () => {
  const disk = new Proxy({}, {
    set() {
      throw new Error("QuotaExceededError");
    },
  });
  const { tag, collector, advance } = startTag({ disk });
  const taken = outcome(tag.track("A"));
  await advance(10);
  assert.equal(await taken, "taken");
  assert.deepEqual(names(collector.events()), ["A"]);
});

test("of several tabs one at a time delivers, where the browser has locks", async () => {
  const asked = [];
  const locks = { request: async (name, run) => (asked.push(name), run()) };
  const { tag, collector, advance } = startTag({ change: ({ navigator }) => (navigator.locks = locks) });
  tag.track("A");
  await advance(10);
  assert.deepEqual([...new Set(asked)], ["trb"]);
  assert.equal(collector.events().length, 1);
});

test("a page that nobody sees sends what its handlers make when they return, and hears the answer", async () => {
  const { window, tag, collector, advance, happen, disk } = startTag();
  tag.track("A");
  window.document.hidden = true;
  happen("visibilitychange");
  assert.deepEqual(names(collector.events()), ["A"], "at once");
  const taken = [tag.track("B"), tag.track("C")];
  await Promise.resolve();
  assert.deepEqual(collector.batches.map(({ batch }) => names(batch)), [["A"], ["B", "C"]]);
  assert.ok(collector.posts.every(({ keepalive }) => keepalive));
  await advance(100);
  assert.deepEqual((await Promise.all(taken)).map(({ event }) => event), ["B", "C"]);
  assert.deepEqual([collector.batches.length, collector.beacons, queued(disk)], [2, [], []], "once");
});

test("what a page tracks late in pagehide, or after it, gets a beacon of its own, and each event only one", async () => {
  const { tag, collector, goAway, disk, advance } = startTag();
  tag.track("A");
  goAway();
  tag.track("B");
  tag.track("C");
  await Promise.resolve();
  assert.deepEqual(collector.beacons.map(({ batch }) => names(batch)), [["A"], ["B", "C"]]);
  await advance(60_000);
  assert.deepEqual([collector.batches, queued(disk).length], [[], 3], "the next page confirms them");
});

test("a beacon that the browser refuses leaves its events to the next page", async () => {
  const { tag, goAway, happen, window, collector, advance, disk } = startTag({ change: ({ navigator }) => (navigator.sendBeacon = () => false) });
  tag.track("A");
  goAway();
  window.document.hidden = false;
  happen("pageshow", { persisted: true });
  await advance(10);
  assert.deepEqual([names(collector.events()), queued(disk)], [["A"], []]);
});

// One lock for all tabs, as a browser has it: a tab in the back-forward cache keeps what it has.
function lockManager() {
  let last = Promise.resolve();
  const held = [];
  return {
    held,
    async request(name, { signal }, run) {
      const before = last;
      let release;
      last = new Promise((done) => (release = done));
      const aborted = new Promise((done, failed) => signal.addEventListener("abort", () => failed(new Error("AbortError"))));
      try {
        await Promise.race([before, aborted]);
      } catch (error) {
        before.then(release);
        throw error;
      }
      held.push(name);
      await run();
      held.pop();
      release();
    },
  };
}

test("a page that is left in the middle of a delivery gives the lock to the others, and takes it again when it is back", async () => {
  const disk = {};
  const locks = lockManager();
  const change = ({ navigator }) => (navigator.locks = locks);
  const here = startTag({ disk, change });
  here.collector.fetch = () => new Promise(() => {});
  here.tag.track("A");
  await here.advance(10);
  const other = startTag({ disk, change });
  other.tag.track("B");
  await other.advance(20);
  assert.deepEqual([locks.held, other.collector.batches], [["trb"], []]);

  here.goAway();
  await other.advance(20);
  assert.deepEqual([names(other.collector.events()).sort(), queued(disk), locks.held], [["A", "B"], [], []]);

  here.window.document.hidden = false;
  here.happen("pageshow", { persisted: true });
  here.collector.fetch = other.collector.fetch;
  here.tag.track("C");
  await here.advance(20);
  assert.deepEqual(names(other.collector.events()).pop(), "C");
});

test("a page that waits for the lock does not get it when it has been left", async () => {
  const disk = {};
  const locks = lockManager();
  const change = ({ navigator }) => (navigator.locks = locks);
  const first = startTag({ disk, change });
  let answer;
  first.collector.fetch = () => new Promise((done) => (answer = done));
  first.tag.track("A");
  await first.advance(10);
  const second = startTag({ disk, change });
  await second.advance(10);
  second.goAway();
  answer(respond(200, { success: true }));
  await first.advance(10);
  await second.advance(10);
  assert.deepEqual([locks.held, second.collector.batches], [[], []]);
});

test("nobody waits for the lock without end", async () => {
  const locks = { request: (name, { signal }) => new Promise((done, failed) => (signal.addEventListener("abort", () => failed(new Error("AbortError"))))) };
  const { tag, collector, advance } = startTag({ change: ({ navigator }) => (navigator.locks = locks) });
  tag.track("A");
  await advance(30_000);
  assert.equal(collector.batches.length, 0);
  await advance(6000);
  assert.deepEqual(names(collector.events()), ["A"]);
  tag.track("B");
  await advance(20);
  assert.deepEqual(names(collector.events()), ["A", "B"], "it need not wait again");
});
