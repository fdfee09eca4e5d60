// Clients that drip, stall or only hold connections: each is closed by a deadline of its own, and others
// are served meanwhile.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { request } from "./support/http.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const REQUEST_MS = 2000;
const IDLE_MS = 4000;
const LIMITS = ["--request_ms_max", `${REQUEST_MS / 1000}s`, "--idle_ms_max", `${IDLE_MS / 1000}s`];
const HELD = 2000;
const RSS_KIB_MAX = 64 * 1024;

// A raw connection that notes what it reads and when it was closed.
function open(t, { port }) {
  const socket = connect(port, "127.0.0.1");
  const client = { socket, text: "", closed: undefined, begun: performance.now() };
  socket.setNoDelay(true);
  socket.on("data", (data) => {
    client.text += data;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    client.closed = performance.now() - client.begun;
  });
  t.after(() => socket.destroy());
  return client;
}

// Send byte after byte; the drip itself, not a wait for something.
function drip(client, text, every = 100) {
  let at = 0;
  const timer = setInterval(() => {
    if (client.closed === undefined && at < text.length) client.socket.write(text[at++]);
    else clearInterval(timer);
  }, every);
}

const address = (collector) => ({ port: new URL(collector.url).port });
const long = `GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${"x".repeat(1000)}`;
const post = (collector, length, path = "/v1/track") =>
  `POST ${path}?writeKey=${collector.writeKey} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

async function closedWithin(client, least, most, what) {
  await waitUntil(() => client.closed !== undefined, { timeout: most + 5000, what });
  assert.ok(
    client.closed >= least && client.closed <= most,
    `${what}: closed after ${Math.round(client.closed)} ms, not ${least} to ${most}`,
  );
}

test("whoever drips or stalls is closed by a deadline, others are served meanwhile", async (t) => {
  const { collector } = await startSite(t, { collectorArgs: LIMITS });
  const at = address(collector);
  const slow = {
    "a head that drips": (c) => drip(c, long),
    "a head that drips after an answered request": (c) => {
      c.socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
      c.socket.once("data", () => drip(c, long));
    },
    "a body that drips": (c) => {
      c.socket.write(post(collector, 5000));
      drip(c, "{".repeat(4999));
    },
    "a body that stalls": (c) => c.socket.write(`${post(collector, 5000)}{`),
    "a chunked body that drips": (c) => {
      c.socket.write(post(collector, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked"));
      drip(c, "1\r\n{\r\n".repeat(500), 30);
    },
  };
  const clients = Object.entries(slow).map(([what, begin]) => {
    const client = open(t, at);
    client.socket.on("connect", () => begin(client));
    return [what, client];
  });
  const quiet = open(t, at);
  const stuck = open(t, at);
  stuck.socket.on("connect", () => stuck.socket.write("GET /hea"));
  while (clients.some(([, client]) => client.closed === undefined)) {
    await collector.send([{ type: "track", event: "Hello", userId: "u1" }]);
  }
  const { text } = await request(`${collector.url}/metrics`);
  const counted = Number(/^tributary_http_slow_connections_total (\d+)$/m.exec(text)[1]);
  assert.ok(counted >= clients.length, `${counted} counted`);
  for (const [what, client] of clients) await closedWithin(client, REQUEST_MS, REQUEST_MS + 1500, what);
  await closedWithin(stuck, REQUEST_MS, IDLE_MS + 2000, "a head that stalls");
  await closedWithin(quiet, IDLE_MS - 1100, IDLE_MS + 2000, "a connection that says nothing");
});

test("a client that is slow, but within the deadline, is served", async (t) => {
  const { collector } = await startSite(t, { collectorArgs: LIMITS });
  const body = JSON.stringify({ event: "Hello", userId: "u1" });
  const client = open(t, address(collector));
  client.socket.on("connect", () => drip(client, post(collector, body.length) + body, 10));
  await waitUntil(() => client.text.includes('{"success":true}'));
  assert.match(client.text, /^HTTP\/1.1 200/);
});

test("an answer that nobody reads does not keep its connection", async (t) => {
  const { collector } = await startSite(t, { collectorArgs: LIMITS });
  const client = open(t, address(collector));
  client.socket.pause();
  // Pipelined, more than the kernel keeps for a client that does not read.
  client.socket.on("connect", () => client.socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3000)));
  await waitUntil(async () => (await connections(collector, client)) === 0, { timeout: IDLE_MS * 4 });
});

// How many sockets of the collector have this client at their other end, by the kernel's table.
async function connections(collector, client) {
  const hex = (port) => Number(port).toString(16).toUpperCase().padStart(4, "0");
  const pair = `0100007F:${hex(new URL(collector.url).port)} 0100007F:${hex(client.socket.localPort)} 01`;
  return readFileSync("/proc/net/tcp", "utf8").split(pair).length - 1;
}

const rssKib = ({ child }) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))[1]);

test(`${HELD} idle connections, each of which has sent a large batch, are held within 64 MiB`, async (t) => {
  const { collector } = await startSite(t);
  const before = rssKib(collector);
  const batch = Array.from({ length: 100 }, (_, n) => ({ type: "track", event: "Hello", userId: `u${n}` }));
  const body = JSON.stringify({ batch: batch.map((e) => ({ ...e, properties: { text: "x".repeat(400) } })) });
  const clients = [];
  for (let n = 0; n < HELD; n += 50) {
    const some = Array.from({ length: 50 }, () => open(t, address(collector)));
    clients.push(...some);
    for (const { socket } of some) socket.write(post(collector, body.length, "/v1/batch") + body);
    await waitUntil(() => some.every(({ text }) => text.includes('{"success":true}')), { timeout: 30_000 });
  }
  assert.equal(clients.filter(({ closed }) => closed !== undefined).length, 0);
  const held = rssKib(collector);
  t.diagnostic(`VmRSS ${before} KiB without, ${held} KiB with ${HELD} idle connections`);
  assert.ok(held <= RSS_KIB_MAX, `${held} KiB`);
  await collector.send([{ type: "track", event: "Hello", userId: "u1" }]);
});

test("gzip is understood in whatever case it is named", async (t) => {
  const { collector } = await startSite(t);
  for (const name of ["gzip", "GZIP", "GZip"]) {
    const body = gzipSync(JSON.stringify({ event: "Hello", userId: "u1" }));
    const answer = await collector.post("/v1/track", body, { headers: { "content-encoding": name } });
    assert.equal(answer.status, 200, `${name}: ${answer.text}`);
  }
});
