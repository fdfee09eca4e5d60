// Crowds of one address: they hold neither all connections of a collector nor all places of those who wait for
// news, and whoever hangs up frees his place at once.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { startSite, test, waitUntil } from "./support/site.mjs";

const HALF = "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
const WHOLE = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const wait = (id, headers = "") => `GET /v1/me?anonymousId=${id}&wait=30s&version=0 HTTP/1.1\r\nHost: x\r\n${headers}\r\n`;

/* A connection of this address, which sends the text; it notes what it reads and that it was closed. */
function open(t, collector, from, text) {
  const socket = connect({ port: Number(new URL(collector.url).port), host: "127.0.0.1", localAddress: from });
  const client = { socket, text: "", closed: false };
  socket.on("data", (data) => (client.text += data));
  socket.on("error", () => {});
  socket.on("close", () => (client.closed = true));
  if (text) socket.write(text);
  t.after(() => socket.destroy());
  return client;
}

const closed = (clients) => clients.filter((client) => client.closed).length;
const answered = (client, status) => waitUntil(() => client.text.startsWith(`HTTP/1.1 ${status} `), { what: `a ${status}`, timeout: 5000 });
const connections = (collector) => collector.metric("tributary_http_connections");

for (const [what, text] of [
  ["silent connections", undefined],
  ["half-sent requests", HALF],
  ["idle connections", WHOLE],
]) {
  test(`${what} of one address are bounded, the oldest go first, and others are served`, async (t) => {
    const { collector } = await startSite(t, { settings: { connections_per_address_max: 50 } });
    const crowd = Array.from({ length: 50 }, () => open(t, collector, "127.0.0.2", text));
    await waitUntil(async () => (await connections(collector)) >= 50, { what: "the crowd to be there" });
    const other = open(t, collector, "127.0.0.3", WHOLE);
    await answered(other, 200);
    // They are no longer just about to send.
    await waitUntil(
      async () => {
        const next = open(t, collector, "127.0.0.2", WHOLE);
        await waitUntil(() => next.closed || next.text, { what: "a connection of the crowd's address" });
        return next.text.startsWith("HTTP/1.1 200 ");
      },
      { what: "the crowd's address to be served" },
    );
    assert.ok(closed(crowd) >= 1, "an old one went for it");
    assert.ok((await connections(collector)) <= 53);
    assert.ok((await collector.metric("tributary_http_crowded_connections_total")) >= 1);
    assert.equal(other.closed, false);
  });
}

test("half-sent requests of many addresses give way to whoever comes", async (t) => {
  const { collector } = await startSite(t, { settings: { connections_max: 60, request_ms_max: "60s" } });
  const crowd = Array.from({ length: 60 }, (_, i) => open(t, collector, `127.0.0.${2 + i}`, HALF));
  const begun = performance.now();
  for (let n = 0; n < 20; n++) {
    const answer = await collector.get("/healthz", { headers: { connection: "close" }, timeout: 10_000 });
    assert.equal(answer.status, 200);
  }
  assert.ok(performance.now() - begun < 15_000, "long before the deadline of requests");
  assert.ok(closed(crowd) >= 1 && closed(crowd) <= 40, `${closed(crowd)} of 60 went`);
});

test("whoever waits for news and hangs up frees his place at once", async (t) => {
  const { collector } = await startSite(t, { settings: { waiters_max: 20 } });
  const waiting = () => collector.metric("tributary_me_waiting");
  for (let round = 0; round < 3; round++) {
    const clients = Array.from({ length: 20 }, (_, i) => open(t, collector, "127.0.0.1", wait(`v-${i}`)));
    await waitUntil(async () => (await waiting()) === 20, { what: "all to wait", timeout: 5000 });
    const late = open(t, collector, "127.0.0.1", wait("late"));
    await answered(late, 503);
    for (const { socket } of clients) socket.destroy();
    late.socket.destroy();
    await waitUntil(async () => (await waiting()) === 0, { what: "their places to be free", timeout: 5000 });
  }
});

test("one address cannot take all places of those who wait, also behind a trusted proxy", async (t) => {
  const { collector } = await startSite(t, {
    settings: { waiters_max: 200, waiters_per_address_max: 10, trusted_proxies: "127.0.0.9" },
  });
  const tries = [
    ["127.0.0.2", () => ""],
    ["127.0.0.9", () => "X-Forwarded-For: 198.51.100.7\r\n"],
  ];
  for (const [from, headers] of tries) {
    const many = Array.from({ length: 30 }, (_, i) => open(t, collector, from, wait(`${from}-${i}`, headers(i))));
    await waitUntil(() => many.filter(({ text }) => text.startsWith("HTTP/1.1 503 ")).length === 20, { what: `20 of ${from} to be sent away`, timeout: 5000 });
  }
  // Each of many clients of the proxy may wait, and so may the proxy where it does not say for whom.
  for (const headers of [(i) => `X-Forwarded-For: 203.0.113.${i}\r\n`, () => ""]) {
    const others = Array.from({ length: 30 }, (_, i) => open(t, collector, "127.0.0.9", wait(`o-${i}`, headers(i))));
    const before = await collector.metric("tributary_me_waiting");
    assert.ok(before >= 20);
    await waitUntil(async () => (await collector.metric("tributary_me_waiting")) >= 45, { what: "clients of the proxy to wait", timeout: 5000 });
    for (const { socket } of others) socket.destroy();
    await waitUntil(async () => (await collector.metric("tributary_me_waiting")) <= 20, { what: "them to be gone", timeout: 5000 });
  }
});
