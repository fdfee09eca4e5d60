// The collector is restarted under load while somebody else holds its sockets: nobody is refused, nobody
// is reset, and what was acknowledged is there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Authority } from "./support/certificates.mjs";
import { request } from "./support/http.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";
import { holdSocket } from "./support/sockets.mjs";

const RESTARTS = 5;
// A sanitizer makes everything several times slower.
const GAP_MS_MAX = /address|thread/.test(process.env.BUILD_DIR ?? "") ? 5000 : 1000;
const ACTIVATE = "/usr/bin/systemd-socket-activate";

function post(url, { agent, writeKey, ca }, event) {
  const send = url.startsWith("https") ? httpsRequest : httpRequest;
  const headers = { authorization: `Basic ${Buffer.from(`${writeKey}:`).toString("base64")}` };
  return new Promise((resolve, reject) => {
    const sent = send(`${url}/v1/track`, { method: "POST", agent, headers, ca }, (answer) => {
      answer.on("data", () => {});
      answer.on("end", () => resolve(answer.statusCode));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(event));
  });
}

/* Clients that send one event after the other until told to stop. Every request must be answered 200. */
class Load {
  constructor() {
    Object.assign(this, { over: false, acknowledged: 0, times: [], failures: [], clients: [] });
  }

  add(name, url, { keepAlive, every = 0, ...how }) {
    const Agent = url.startsWith("https") ? HttpsAgent : HttpAgent;
    const agent = new Agent({ keepAlive, maxSockets: 1 });
    const run = async () => {
      for (let n = 0; !this.over; n++) {
        const event = { event: "Hello", userId: name, messageId: `${name}-${n}` };
        try {
          const status = await post(url, { agent, ...how }, event);
          if (status !== 200) throw new Error(`status ${status}`);
          this.acknowledged++;
          if (every === 0) this.times.push(performance.now());
        } catch (error) {
          this.failures.push(`${name} at ${n}: ${error.code ?? error.message}`);
        }
        if (every > 0) await pause(every);
      }
      agent.destroy();
    };
    this.clients.push(run());
  }

  async stop() {
    this.over = true;
    await Promise.all(this.clients);
  }

  longestGap() {
    const gaps = this.times.slice(1).map((time, n) => time - this.times[n]);
    return Math.round(Math.max(...gaps));
  }
}

async function measured(fn) {
  const begun = performance.now();
  await fn();
  return Math.round(performance.now() - begun);
}

test("restarts under load refuse nobody, lose nothing, and are short", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "tributary-restart-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const authority = new Authority(dir);
  const pair = authority.issue();
  writeFileSync(join(dir, "live.pem"), pair.certificate);
  writeFileSync(join(dir, "live.key"), pair.key);
  const { hub, collector } = await startSite(t, {
    collectorArgs: [
      ...["--https_listen", "127.0.0.1:0"],
      ...["--tls_certificate", join(dir, "live.pem"), "--tls_key", join(dir, "live.key")],
    ],
  });
  await collector.kill();
  const https = holdSocket(t, "https", 0);
  collector.sockets = [holdSocket(t, "http", new URL(collector.url).port), https];
  await collector.start();

  const load = new Load();
  const how = { writeKey: collector.writeKey, ca: authority.ca };
  const secure = `https://127.0.0.1:${https.port}`;
  for (const n of [1, 2, 3, 4]) load.add(`kept-${n}`, collector.url, { ...how, keepAlive: true });
  for (const n of [1, 2, 3]) load.add(`fresh-${n}`, collector.url, { ...how, keepAlive: false });
  for (const n of [1, 2]) load.add(`kept-secure-${n}`, secure, { ...how, keepAlive: true });
  load.add("fresh-secure", secure, { ...how, keepAlive: false });
  load.add("seldom", collector.url, { ...how, keepAlive: true, every: 40 });
  for (let n = 0; n < RESTARTS; n++) {
    const before = load.acknowledged;
    await waitUntil(() => load.acknowledged > before + 300, { timeout: 30_000 });
    const stop = await measured(() => collector.kill("SIGTERM"));
    const start = await measured(() => collector.start());
    t.diagnostic(`restart ${n + 1}: stopped in ${stop} ms, ready in ${start} ms`);
  }
  const before = load.acknowledged;
  await waitUntil(() => load.acknowledged > before + 300, { timeout: 30_000 });
  await load.stop();

  const gap = load.longestGap();
  t.diagnostic(`${load.acknowledged} requests answered, longest time without an answer ${gap} ms`);
  assert.deepEqual(load.failures, []);
  assert.ok(gap < GAP_MS_MAX, `${gap} ms`);
  await waitUntil(async () => (await hub.overview()).events >= load.acknowledged, { timeout: 60_000 });
  const { events, duplicates } = await hub.overview();
  assert.deepEqual({ events, duplicates }, { events: load.acknowledged, duplicates: 0 });
});

test("what is being sent when the end comes is answered, and told that the connection ends", async (t) => {
  const { collector } = await startSite(t);
  const body = JSON.stringify({ event: "Hello", userId: "u1" });
  const socket = connect(new URL(collector.url).port, "127.0.0.1");
  let text = "";
  let closed = false;
  socket.on("data", (data) => {
    text += data;
  });
  socket.on("close", () => {
    closed = true;
  });
  const head = `POST /v1/track?writeKey=${collector.writeKey} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
  socket.write(head + body);
  await waitUntil(() => text.includes('{"success":true}'));
  assert.doesNotMatch(text, /Connection: close/i);
  text = "";
  socket.write(head + body.slice(0, 10));
  await waitUntil(() => socket.bytesWritten > head.length * 2 + body.length);
  const ended = collector.kill("SIGTERM");
  await waitUntil(() => collector.log.some((line) => line.includes(" stopping ")));
  socket.write(body.slice(10));
  await waitUntil(() => closed);
  assert.match(text, /^HTTP\/1.1 200/);
  assert.match(text, /Connection: close/i);
  await ended;
});

test("systemd's own tool hands over the socket, and the first connection is served", async (t) => {
  if (!existsSync(ACTIVATE)) {
    t.skip(`${ACTIVATE} is not there`);
    return;
  }
  const { collector } = await startSite(t);
  await collector.kill();
  const [port] = await freePorts(1);
  const args = ["--listen", `127.0.0.1:${port}`, "--fdname", "http", collector.command, ...collector.args];
  const child = spawn(ACTIVATE, args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  const ended = new Promise((resolve) => {
    child.on("exit", (code) => resolve(code));
  });
  t.after(() => child.kill("SIGKILL"));
  await waitUntil(async () => (await request(`http://127.0.0.1:${port}/readyz`)).status === 200);
  // Nobody listens where the settings say: the socket that was handed over is the one in use.
  await assert.rejects(request(`${collector.url}/readyz`));
  child.kill("SIGTERM");
  assert.equal(await ended, 0);
});
