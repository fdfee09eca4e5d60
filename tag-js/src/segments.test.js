import assert from "node:assert/strict";
import { test } from "node:test";
import { createFakeWindow, respond } from "./fake-window.js";
import { createTag } from "./tag.js";

function start(options) {
  const fake = createFakeWindow(options);
  fake.tag = createTag(fake.window, { host: "https://c.example", writeKey: "KEY" });
  fake.seen = [];
  fake.note = (segments) => fake.seen.push(segments);
  return fake;
}

test("nothing is asked while nobody listens", async () => {
  const { tag, collector, advance, note } = start();
  tag.track("A");
  await advance(5000);
  tag.segments(note)();
  await advance(10);
  const asked = collector.asked.length;
  tag.track("B");
  await advance(5000);
  assert.equal(collector.asked.length, asked);
});

test("a subscriber gets the collector's answer, and the next page knows it at once", async () => {
  const { tag, collector, advance, note, seen, disk } = start();
  collector.segments = ["vip"];
  tag.segments(note);
  await advance(0);
  assert.deepEqual(seen, [["vip"]]);

  const next = start({ disk });
  next.collector.segments = ["vip"];
  next.tag.segments(next.note);
  assert.deepEqual(next.seen, [["vip"]]);
  await next.advance(0);
  assert.equal(next.collector.asked.length, 1);
  assert.deepEqual(next.seen, [["vip"]], "told again only when the list changes");
});

test("after a delivery the collector is asked often at first, for one second", async () => {
  const { tag, collector, advance, note } = start();
  tag.segments(note);
  tag.track("A");
  await advance(5000);
  assert.deepEqual(collector.asked, [0, 40, 70, 130, 260, 510, 1010]);
});

test("a change reaches every subscriber, also one after another that fails", async () => {
  const { tag, collector, advance, note, seen } = start();
  tag.segments(() => {
    throw new Error("the page's mistake");
  });
  tag.segments(note);
  tag.track("A");
  await advance(100);
  collector.segments = ["hot-leads"];
  await advance(100);
  assert.deepEqual(seen, [[], ["hot-leads"]]);
  assert.equal(collector.complaints.length, 2);
});

test("a slow answer skips the checks that it took the time of", async () => {
  const { tag, collector, advance, note, window } = start();
  const fetch = window.fetch;
  window.fetch = async (to, options) => {
    if (!options.method) await new Promise((resolve) => window.setTimeout(resolve, 200));
    return fetch(to, options);
  };
  tag.segments(note);
  tag.track("A");
  await advance(5000);
  assert.deepEqual(collector.asked, [200, 240, 460, 710, 1210]);
});

test("a newer delivery starts the schedule anew", async () => {
  const { tag, collector, advance, note } = start();
  tag.segments(note);
  tag.track("A");
  await advance(300);
  tag.track("B");
  await advance(5000);
  assert.deepEqual(collector.asked, [0, 40, 70, 130, 260, 340, 370, 430, 560, 810, 1310]);
});

test("an answer that a later one has overtaken changes nothing", async () => {
  const { tag, collector, advance, note, seen, window } = start();
  const fetch = window.fetch;
  window.fetch = async (to, options) => {
    window.fetch = fetch;
    const answer = await fetch(to, options);
    await new Promise((resolve) => window.setTimeout(resolve, 200));
    return answer;
  };
  tag.segments(note);
  await advance(0);
  collector.segments = ["vip"];
  tag.track("A");
  await advance(5000);
  assert.deepEqual(seen, [["vip"]]);
});

test("reset() forgets the segments and the answers still on their way", async () => {
  const { tag, collector, advance, note, seen, window } = start();
  collector.segments = ["vip"];
  tag.segments(note);
  await advance(0);
  tag.track("A");
  await advance(10);
  const fetch = window.fetch;
  window.fetch = async (to) => {
    const answer = await fetch(to);
    tag.reset();
    return answer;
  };
  await advance(30);
  assert.deepEqual(seen, [["vip"], []]);
  tag.segments(note);
  assert.equal(seen.length, 2, "nothing is known of the new visitor yet");
});

test("an answer about somebody else, or an error, changes nothing", async () => {
  const { tag, advance, note, seen, window } = start();
  window.fetch = async () => respond(200, { anonymousId: "other", segments: ["vip"], version: 1 });
  tag.segments(note)();
  await advance(10);
  window.fetch = async () => respond(503, {});
  tag.segments(note);
  await advance(10);
  assert.deepEqual(seen, []);
});
