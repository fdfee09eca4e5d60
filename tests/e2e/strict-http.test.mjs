// HTTP is read strictly at both daemons: what two programs could read differently is refused with 400, and its
// connection closed, so that nothing that follows in it is taken for a request.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { httpsSettings } from "./support/certificates.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const GET = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
const POST = "POST /nothing HTTP/1.1\r\nHost: x\r\n";
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

/* What must be refused, by name. */
const WRONG = {
  "no Host": "GET /healthz HTTP/1.1\r\n\r\n",
  "two Hosts": `${GET}Host: y\r\n\r\n`,
  "the same Host twice": `${GET}Host: x\r\n\r\n`,
  "two lengths that differ": `${POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`,
  "the same length twice": `${POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`,
  "a list of lengths": `${POST}Content-Length: 2, 2\r\n\r\nab`,
  "a length and chunks": `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "chunks and a length": `${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  "a length with a sign": `${POST}Content-Length: +2\r\n\r\nab`,
  "a length below zero": `${POST}Content-Length: -2\r\n\r\nab`,
  "a length in hex": `${POST}Content-Length: 0x2\r\n\r\nab`,
  "a length with something behind": `${POST}Content-Length: 2a\r\n\r\nab`,
  "an empty length": `${POST}Content-Length:\r\n\r\n`,
  "a length beyond all numbers": `${POST}Content-Length: 99999999999999999999999\r\n\r\nab`,
  "a space before the colon": `${GET}X-A : b\r\n\r\n`,
  "a tab before the colon": `${GET}X-A\t: b\r\n\r\n`,
  "a space before the colon of a length": `${POST}Content-Length : 2\r\n\r\nab`,
  "a space within a name": `${GET}X A: b\r\n\r\n`,
  "a name with other signs": `${GET}X(A): b\r\n\r\n`,
  "no name": `${GET}: b\r\n\r\n`,
  "no colon": `${GET}X-A\r\n\r\n`,
  "a folded value": `${GET}X-A: b\r\n c\r\n\r\n`,
  "a folded value, by a tab": `${GET}X-A: b\r\n\tc\r\n\r\n`,
  "a folded first line": "GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
  "a bare LF behind the first line": "GET /healthz HTTP/1.1\nHost: x\r\n\r\n",
  "a bare LF behind a header": "GET /healthz HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
  "a bare LF behind the last header": "GET /healthz HTTP/1.1\r\nHost: x\n\r\n",
  "a bare LF at the end of the head": "GET /healthz HTTP/1.1\r\nHost: x\r\n\n",
  "bare LFs throughout": "GET /healthz HTTP/1.1\nHost: x\n\n",
  "a bare CR behind a header": "GET /healthz HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n",
  "a bare CR within a value": `${GET}X-A: b\rc\r\n\r\n`,
  "a NUL within a value": `${GET}X-A: b\0c\r\n\r\n`,
  "a NUL within a name": `${GET}X\0A: b\r\n\r\n`,
  "a NUL within the first line": "GET /heal\0thz HTTP/1.1\r\nHost: x\r\n\r\n",
  "another coding than chunked": `${POST}Transfer-Encoding: gzip\r\n\r\n`,
  "chunked before another": `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
  "chunked twice": `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "a coding that only looks like chunked": `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  "chunked at HTTP/1.0": "POST /healthz HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "a chunk's size that is none": `${CHUNKED}zz\r\nab\r\n0\r\n\r\n`,
  "a chunk's size with a sign": `${CHUNKED}+2\r\nab\r\n0\r\n\r\n`,
  "a chunk's size below zero": `${CHUNKED}-2\r\nab\r\n0\r\n\r\n`,
  "a chunk's size with 0x": `${CHUNKED}0x2\r\nab\r\n0\r\n\r\n`,
  "a chunk's size beyond all numbers": `${CHUNKED}ffffffffffffffffff\r\nab\r\n0\r\n\r\n`,
  "an empty chunk's size": `${CHUNKED}\r\nab\r\n0\r\n\r\n`,
  "a chunk longer than its size": `${CHUNKED}2\r\nabcd\r\n0\r\n\r\n`,
  "a space within the address": "GET /healthz b HTTP/1.1\r\nHost: x\r\n\r\n",
  "a version that does not exist": "GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n",
  "no version": "GET /healthz\r\nHost: x\r\n\r\n",
  "two spaces in the first line": "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
  "rubbish": "\x01\x02\x03\x04\r\n\r\n",
};

/* libmicrohttpd answers these by itself, some with no answer at all. */
const OTHER_ANSWERS = {
  "a length beyond all numbers": [413],
  "a chunk's size beyond all numbers": [413],
  "a version that does not exist": [505],
  rubbish: [],
};

/* What clients may send, and must go on to be able to. */
const RIGHT = {
  "a plain request": `${GET}\r\n`,
  "an empty value": `${GET}X-A:\r\n\r\n`,
  "no space behind the colon": `${GET}X-A:b\r\n\r\n`,
  "space around a value": `${GET}X-A:  \t b \t \r\n\r\n`,
  "an empty line before": `\r\n${GET}\r\n`,
  "a query": "GET /healthz?a=b&c=%20d+e&f HTTP/1.1\r\nHost: x\r\n\r\n",
  "cookies": `${GET}Cookie: a=b; c="d"; e=f\r\n\r\n`,
  "the same header twice": `${GET}X-A: b\r\nX-A: c\r\n\r\n`,
  "a long header": `${GET}X-A: ${"b".repeat(8000)}\r\n\r\n`,
  "many headers": `${GET}${Array.from({ length: 60 }, (_, i) => `X-${i}: ${"v".repeat(i)}\r\n`).join("")}\r\n`,
  "letters of Latin-1": `${GET}X-A: \xe9\r\n\r\n`,
  "a head of nearly all that is allowed": `${GET}X-A: ${"b".repeat(11000)}\r\nX-B: c\r\n\r\n`,
  "many requests at once": `${GET}\r\n`.repeat(20),
  "a body, and what follows": `${POST}Content-Length: 5000\r\n\r\n${"x".repeat(5000)}${GET}X-A: b\r\n\r\n`,
  "chunks, and what follows": `${CHUNKED}5;a=b\r\nhello\r\n0\r\nX-T: u\r\n\r\n${GET}X-A: b\r\n\r\n`,
  "an upper case coding": `${POST}transfer-encoding: Chunked\r\n\r\n0\r\n\r\n`,
  "HTTP/1.0 without Host": "GET /healthz HTTP/1.0\r\n\r\n",
};

/* Send the bytes as they are, in pieces of `piece` bytes; what was answered, and whether the connection ended. */
async function exchange(open, bytes, piece = Infinity) {
  const socket = open();
  const seen = { text: "", closed: false };
  socket.on("data", (data) => (seen.text += data.toString("latin1")));
  socket.on("error", () => (seen.closed = true));
  socket.on("close", () => (seen.closed = true));
  socket.on("end", () => (seen.closed = true));
  socket.setNoDelay(true);
  const buffer = Buffer.from(bytes, "latin1");
  for (let at = 0; at < buffer.length && !seen.closed; at += piece) {
    socket.write(buffer.subarray(at, piece === Infinity ? undefined : at + piece));
    if (piece !== Infinity) await new Promise((done) => setImmediate(done));
  }
  return { socket, seen };
}

/* There is nothing at the path of POST. */
const ANSWERS = {
  "many requests at once": Array(20).fill(200),
  "a body, and what follows": [404, 200],
  "chunks, and what follows": [404, 200],
  "an upper case coding": [404],
};

const statuses = (text) => [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map((match) => Number(match[1]));

async function assertRefused(open, name, bytes, piece) {
  // A second request stands behind: it must not be answered, whatever the first was taken for.
  const { socket, seen } = await exchange(open, `${bytes}${GET}\r\n`, piece);
  await waitUntil(() => seen.closed, { what: `"${name}" to be closed`, timeout: 8000 });
  socket.destroy();
  // It writes the head of an answer of its own twice.
  const answered = [...new Set(statuses(seen.text))];
  assert.deepEqual(answered, OTHER_ANSWERS[name] ?? [400], `"${name}": ${JSON.stringify(seen.text)}`);
}

async function assertTaken(open, name, bytes, piece) {
  const { socket, seen } = await exchange(open, bytes, piece);
  const answers = ANSWERS[name] ?? [200];
  await waitUntil(() => statuses(seen.text).length >= answers.length || seen.closed, { what: `"${name}" to be answered` });
  assert.deepEqual(statuses(seen.text), answers, `"${name}" by ${piece}: ${JSON.stringify(seen.text)}`);
  socket.destroy();
}

const plain = (daemon) => () => connect(Number(new URL(daemon.url).port), "127.0.0.1");

/* The doors of both daemons, by name: how a connection to each is opened. */
async function openDoors(t) {
  const [port] = await freePorts(1);
  const site = await startSite(t, { settings: httpsSettings(t, port) });
  return {
    collector: plain(site.collector),
    "collector by TLS": () => connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false }),
    hub: plain(site.hub),
  };
}

test("what can be read in two ways is refused, at both daemons", async (t) => {
  for (const [door, open] of Object.entries(await openDoors(t))) {
    const tries = Object.entries(WRONG).map(([name, bytes]) => assertRefused(open, name, bytes));
    const failures = (await Promise.allSettled(tries)).filter(({ status }) => status === "rejected");
    assert.deepEqual(failures.map(({ reason }) => `${door}: ${reason.message}`), []);
  }
});

test("what clients send is taken, however it is cut", async (t) => {
  for (const [door, open] of Object.entries(await openDoors(t))) {
    for (const [name, bytes] of Object.entries(RIGHT)) {
      for (const piece of [Infinity, 7, 1000, ...(bytes.length < 1000 ? [1] : [])]) {
        await assertTaken(open, name, bytes, piece).catch((error) => assert.fail(`${door}: ${error.message}`));
      }
    }
  }
});
