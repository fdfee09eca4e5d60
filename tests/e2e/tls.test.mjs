// HTTPS in the collector itself: events by TLS, and certificates that change under load.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { Agent, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { Authority, replaceFile } from "./support/certificates.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const authorization = (key) => `Basic ${Buffer.from(`${key}:`).toString("base64")}`;

// A site whose collector has an HTTPS port with a certificate of the test's own authority.
async function startSecureSite(t, { days } = {}) {
  const dir = mkdtempSync(join(tmpdir(), "tributary-tls-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const authority = new Authority(join(dir, "ca"));
  const files = { certificate: join(dir, "live", "certificate.pem"), key: join(dir, "live", "key.pem") };
  mkdirSync(join(dir, "live"));
  const install = (pair) => {
    replaceFile(files.key, pair.key);
    replaceFile(files.certificate, pair.certificate);
  };
  install(authority.issue({ days }));
  const [port] = await freePorts(1);
  const site = await startSite(t, {
    collectorArgs: [
      ...["--https_listen", `127.0.0.1:${port}`],
      ...["--tls_certificate", files.certificate, "--tls_key", files.key],
    ],
  });
  return Object.assign(site, { authority, files, install, port });
}

/* One request; {status, headers, text, name of the certificate, socket}. */
function ask({ port, authority }, { agent, path = "/healthz", body, headers = {}, ...tls } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path, agent, ca: authority.ca, headers, ...tls };
    const sent = httpsRequest({ ...options, method: body ? "POST" : "GET" }, (answer) => {
      const { socket } = answer;
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      answer.on("end", () => {
        const name = socket.getPeerCertificate().subject?.CN;
        resolve({ status: answer.statusCode, headers: answer.headers, text, name, socket });
      });
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body && JSON.stringify(body));
  });
}

const logged = (collector, id) => collector.log.filter((line) => line.includes(` ${id} `));

test("events come by HTTPS, and the cookie of a secure request is for secure requests", async (t) => {
  const site = await startSecureSite(t);
  const { hub, collector } = site;
  const headers = { authorization: authorization(collector.writeKey), "sec-fetch-site": "same-origin" };
  const event = { event: "Hello", anonymousId: "a1", userId: "u1" };
  const answer = await ask(site, { path: "/v1/track", body: event, headers, agent: new Agent() });
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.headers["set-cookie"][0], /; Secure/);
  const plain = await collector.post("/v1/track", event, { headers });
  assert.equal(plain.status, 200);
  assert.doesNotMatch(plain.headers["set-cookie"], /; Secure/);
  await waitUntil(async () => (await hub.profile("user_id", "u1"))?.eventCount === 2);
});

test("large requests and many of them pass through TLS whole", async (t) => {
  const site = await startSecureSite(t);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  t.after(() => agent.destroy());
  const headers = { authorization: authorization(site.collector.writeKey) };
  const batch = Array.from({ length: 200 }, (_, n) => ({
    ...{ type: "track", event: "Hello", userId: "u1" },
    properties: { text: "x".repeat(1500 + n) },
  }));
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => ask(site, { agent, headers, path: "/v1/batch", body: { batch } })),
  );
  for (const { status, text } of answers) assert.deepEqual([status, text], [200, '{"success":true}']);
  await waitUntil(async () => (await site.hub.overview()).events === 40 * 200, { timeout: 30_000 });
});

test("what is older than TLS 1.2 is refused, 1.2 and 1.3 are spoken", async (t) => {
  const site = await startSecureSite(t);
  const speak = (version) =>
    new Promise((resolve) => {
      const socket = connect({
        ...{ host: "127.0.0.1", port: site.port, ca: site.authority.ca },
        ...{ minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" },
      });
      socket.on("secureConnect", () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.on("error", () => resolve("refused"));
    });
  assert.equal(await speak("TLSv1.1"), "refused");
  assert.equal(await speak("TLSv1.2"), "TLSv1.2");
  assert.equal(await speak("TLSv1.3"), "TLSv1.3");
});

test("a certificate is replaced under load: nobody is cut off, new connections get the new one", async (t) => {
  const site = await startSecureSite(t);
  const { collector } = site;
  const headers = { authorization: authorization(collector.writeKey) };
  let over = false;
  let answers = 0;
  const names = new Set();
  // Each client keeps one connection for good; a request that fails fails the test.
  const clients = Array.from({ length: 8 }, async (_, client) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set();
    for (let n = 0; !over; n++) {
      const body = { event: "Hello", userId: "u1", messageId: `${client}-${n}` };
      const answer = await ask(site, { agent, headers, path: "/v1/track", body });
      assert.equal(answer.status, 200);
      sockets.add(answer.socket);
      answers++;
    }
    agent.destroy();
    return sockets.size;
  });
  for (let renewal = 1; renewal <= 3; renewal++) {
    const before = answers;
    const pair = site.authority.issue();
    site.install(pair);
    if (renewal > 1) collector.child.kill("SIGHUP"); // the first is noticed without being told
    await waitUntil(async () => (await ask(site, { agent: new Agent() })).name === pair.name, {
      what: `the certificate of ${pair.name}`,
    });
    names.add(pair.name);
    await waitUntil(() => answers > before + 200);
  }
  over = true;
  assert.deepEqual(await Promise.all(clients), Array(8).fill(1), "each client had one connection all the time");
  assert.equal(names.size, 3);
  assert.ok(logged(collector, "certificate-changed").length >= 3);
});

test("files that are no matching pair are refused and complained about; the old certificate stays", async (t) => {
  const site = await startSecureSite(t);
  const { collector, authority, files } = site;
  const expires = await collector.metric("tributary_collector_tls_certificate_expires_seconds");
  const { name } = await ask(site, { agent: new Agent() });
  const mistakes = [
    ["a key of another certificate", "key", authority.issue().key],
    ["no PEM", "certificate", "hello\n"],
    ["an empty file", "certificate", ""],
    ["a certificate cut in the middle", "certificate", authority.issue().certificate.subarray(0, 300)],
  ];
  for (const [n, [what, file, bytes]] of mistakes.entries()) {
    replaceFile(files[file], bytes);
    collector.child.kill("SIGHUP");
    await waitUntil(() => logged(collector, "certificate-refused").length === n + 1, { what });
    assert.equal((await ask(site, { agent: new Agent() })).name, name, what);
  }
  assert.equal(await collector.metric("tributary_collector_tls_certificate_expires_seconds"), expires);
  const good = authority.issue();
  site.install(good);
  await waitUntil(async () => (await ask(site, { agent: new Agent() })).name === good.name);
});

test("a certificate that ends soon is warned of, and when it ends can be measured", async (t) => {
  const { collector } = await startSecureSite(t, { days: 3 });
  assert.equal(logged(collector, "certificate-expires").length, 1);
  const expires = await collector.metric("tributary_collector_tls_certificate_expires_seconds");
  assert.ok(Math.abs(expires - (Date.now() / 1000 + 3 * 86400)) < 120, String(expires));
});

test("a collector whose certificate cannot be read does not start, and says which file", async (t) => {
  const { collector, files } = await startSecureSite(t);
  await collector.kill();
  rmSync(files.key);
  await assert.rejects(collector.start(), /ended instead of starting/);
  assert.ok(collector.log.some((line) => line.includes("start-failed") && line.includes(files.key)));
});
