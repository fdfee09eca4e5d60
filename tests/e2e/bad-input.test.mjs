// What is wrong is answered with what is wrong, and the daemon goes on.
import assert from "node:assert/strict";
import { WRITE_KEY } from "../demo/segments.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const hello = { event: "Hello", userId: "u1" };
const nested = (depth) => `${"[".repeat(depth)}${"]".repeat(depth)}`;

// Each row: what it is, the path, the body, the status, and the codes that may be answered.
const REFUSED = [
  ["text that is no JSON", "/v1/track", "hello", 400, ["invalid-json"]],
  ["an empty body", "/v1/track", "", 400, ["invalid-json"]],
  ["JSON that breaks off", "/v1/track", '{"event":"Hello","userId":"u1"', 400, ["invalid-json"]],
  ["JSON with something after it", "/v1/track", '{"event":"Hello","userId":"u1"} x', 400, ["invalid-json"]],
  ["an array in place of an event", "/v1/track", [hello], 400, ["invalid-shape"]],
  ["a number in place of an event", "/v1/track", "42", 400, ["invalid-shape"]],
  ["a batch that is no array", "/v1/batch", { batch: hello }, 400, ["invalid-shape"]],
  ["a batch without its array", "/v1/batch", {}, 400, ["invalid-shape"]],
  ["properties that are no object", "/v1/track", { ...hello, properties: "x" }, 400, ["invalid-shape"]],
  ["an event that names nobody", "/v1/track", { event: "Hello" }, 400, ["missing-identifier"]],
  [
    "identifiers that are all empty",
    "/v1/track",
    { event: "Hello", userId: "", anonymousId: "  " },
    400,
    ["missing-identifier"],
  ],
  [
    "bytes that are no UTF-8",
    "/v1/track",
    bytes('{"event":"', [0xff, 0xfe], '","userId":"u1"}'),
    400,
    ["invalid-utf8", "invalid-json"],
  ],
  [
    "UTF-8 in an overlong form",
    "/v1/track",
    bytes('{"event":"', [0xc0, 0xaf], '","userId":"u1"}'),
    400,
    ["invalid-utf8", "invalid-json"],
  ],
  [
    "10,000 arrays in each other",
    "/v1/track",
    `{"event":"Hello","userId":"u1","properties":{"a":${nested(10_000)}}}`,
    400,
    ["too-deep"],
  ],
  ["10,000 arrays in place of an event", "/v1/track", nested(10_000), 400, ["too-deep", "invalid-shape"]],
  [
    "a number beyond all doubles",
    "/v1/track",
    '{"event":"Hello","userId":"u1","properties":{"total":1e999}}',
    400,
    ["number-out-of-range"],
  ],
];

test("a refused request is answered with its code and one sentence, and the next event is taken", async (t) => {
  const { hub, collector } = await startSite(t);
  for (const [what, path, body, status, codes] of REFUSED) {
    const answer = await collector.post(path, body);
    const told = `${what}: ${answer.status} ${answer.text}`;
    assert.equal(answer.status, status, told);
    assert.ok(codes.includes(answer.body?.error?.code), told);
    assert.ok(answer.body.error.message.length > 0, told);
  }
  await collector.send([{ type: "track", ...hello, messageId: "after" }]);
  const profile = await waitUntil(() => hub.profile("user_id", "u1"));
  assert.equal(profile.eventCount, 1);
});

test("a write key that is unknown or missing is answered with 401", async (t) => {
  const { collector } = await startSite(t);
  for (const writeKey of ["nobody's", null]) {
    const answer = await collector.post("/v1/track", hello, { writeKey });
    assert.equal(answer.status, 401, answer.text);
    assert.equal(answer.body.error.code, "unknown-write-key");
  }
});

test("a request over the limit is answered with 413, and an event over its own limit is rejected alone", async (t) => {
  const { hub, collector } = await startSite(t);
  const large = { type: "track", ...hello, properties: { text: "x".repeat(40 * 1024) } };
  const request = await collector.post("/v1/batch", { batch: Array(14).fill(large) });
  assert.equal(request.status, 413, request.text);
  assert.equal(request.body.error.code, "request-too-large");

  const batch = await collector.post("/v1/batch", {
    batch: [large, { type: "track", ...hello, userId: "small" }],
  });
  assert.equal(batch.status, 200, batch.text);
  assert.deepEqual(
    batch.body.rejected.map(({ index }) => index),
    [0],
  );
  await waitUntil(() => hub.profile("user_id", "small"));
});

test("a page of another origin reads why its body was refused before anybody looked into it, and it is counted", async (t) => {
  const { collector } = await startSite(t);
  const origin = { origin: "https://elsewhere.example" };
  const large = await collector.post("/v1/batch", Buffer.alloc(600 * 1024, " "), { headers: origin });
  assert.equal(large.status, 413, large.text);
  const gzip = await collector.post("/v1/batch", "no gzip", {
    headers: { ...origin, "content-encoding": "gzip" },
  });
  assert.deepEqual([gzip.status, gzip.body?.error?.code], [400, "invalid-gzip"], gzip.text);
  for (const { headers } of [large, gzip]) assert.equal(headers["access-control-allow-origin"], "*");
  const metrics = (await collector.get("/metrics")).text;
  for (const code of ["request-too-large", "invalid-gzip"]) {
    assert.ok(metrics.includes(`tributary_refused_events_total{source="",reason="${code}"} 1\n`), metrics);
  }
});

test("bad items do not taint their batch: each is named with its own code", async (t) => {
  const { hub, collector } = await startSite(t);
  const body = `{"batch":[
    {"type":"track","event":"Hello"},
    {"type":"track","event":"Hello","userId":"u1","properties":{"total":-1e999}},
    {"type":"track","event":"Hello","userId":"u1","properties":[1]},
    {"type":"track","event":"Hello","userId":"good"}]}`;
  const answer = await collector.post("/v1/batch", body);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    answer.body.rejected.map(({ index, code }) => [index, code]),
    [
      [0, "missing-identifier"],
      [1, "number-out-of-range"],
      [2, "invalid-shape"],
    ],
  );
  await waitUntil(() => hub.profile("user_id", "good"));
  assert.equal(await hub.profile("user_id", "u1"), undefined);
});

test("without the consent that its source requires an event is refused before it is stored", async (t) => {
  const { hub, collector } = await startSite(t);
  const event = (userId, categoryPreferences) => ({
    type: "track",
    event: "Hello",
    userId,
    ...(categoryPreferences && { context: { consent: { categoryPreferences } } }),
  });
  const web = { writeKey: WRITE_KEY };
  const missing = await collector.post("/v1/track", event("silent"), web);
  const denied = await collector.post(
    "/v1/track",
    event("denier", { analytics: false, marketing: true }),
    web,
  );
  assert.deepEqual([missing.status, missing.body?.error?.code], [400, "consent-missing"], missing.text);
  assert.deepEqual([denied.status, denied.body?.error?.code], [400, "consent-denied"], denied.text);

  const batch = await collector.post(
    "/v1/batch",
    {
      batch: [event("silent"), event("denier", { analytics: false }), { ...event("giver", { analytics: true }), anonymousId: "giver" }],
    },
    web,
  );
  assert.equal(batch.status, 200, batch.text);
  assert.deepEqual(
    batch.body.rejected.map(({ index, code }) => [index, code]),
    [
      [0, "consent-missing"],
      [1, "consent-denied"],
    ],
  );
  await waitUntil(() => hub.profile("anonymous_id", "giver"));
  for (const userId of ["silent", "denier"]) assert.equal(await hub.profile("user_id", userId), undefined);
});
