// Strangers at the port where boxes reach the hub: they may connect, keep silent, drip or send rubbish, and
// neither end the hub nor keep a box away, fill its memory or its log.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { startSite, test, waitUntil } from "./support/site.mjs";

const GREETING = Buffer.from([0, 0x53, 0x50, 0, 0, 0x30, 0, 0]);

/* The daemon's next start has these limits of open files: "-S" the soft one, "-" both. */
function limitFiles(daemon, which, files) {
  const script = `ulimit ${which}n ${files} && exec "$0" "$@"`;
  const { command, args } = daemon;
  Object.assign(daemon, { command: "/bin/sh", args: ["-c", script, command, ...args] });
}

async function restart(daemon) {
  await daemon.kill();
  await daemon.start();
}

/* Connections to the hub's link, each from an address that `from` gives; they are open when it returns. */
function knock(t, hub, count, from, greeting) {
  const port = Number(new URL(hub.link).port);
  const sockets = Array.from({ length: count }, (_, i) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress: from(i) });
    socket.on("error", () => {});
    socket.on("data", () => {});
    if (greeting) socket.write(greeting);
    t.after(() => socket.destroy());
    return socket;
  });
  return Promise.all(
    sockets.map((socket) => new Promise((done) => socket.once("connect", () => done(socket)).once("close", () => done(socket)))),
  );
}

const everywhere = (i) => `127.0.${1 + (i >> 8)}.${i & 255 || 1}`;

async function assertServed(site, name) {
  const id = `after-${name}`;
  await site.collector.send([{ type: "track", event: "Seen", userId: id, messageId: id }]);
  await waitUntil(() => site.hub.profile("user_id", id), { what: `${name}: the event of a box to reach the hub` });
}

for (const [which, files] of [
  ["-S", 1024],
  ["-", 400],
]) {
  test(`a thousand silent connections do not end a hub with ulimit ${which}n ${files}`, async (t) => {
    const site = await startSite(t, { partitions: 4 });
    limitFiles(site.hub, which, files);
    await restart(site.hub);
    await knock(t, site.hub, 1000, () => "127.0.0.2");
    await assertServed(site, "those of one address");
    const crowd = await knock(t, site.hub, 1000, everywhere, GREETING);
    await assertServed(site, "those of a thousand addresses");
    // A box that comes while they are all there is let in.
    await restart(site.collector);
    await assertServed(site, "a box that comes later");
    await waitUntil(() => crowd.every((socket) => socket.destroyed), { what: "all silent ones to be closed", timeout: 40_000 });
    assert.equal(await site.hub.metric("tributary_link_strangers"), 0);
    assert.ok((await site.hub.metric('tributary_link_closed_connections_total{reason="slow"}')) > 0);
    assert.ok((await site.hub.metric('tributary_link_closed_connections_total{reason="crowded"}')) >= 900);
    assert.ok(site.hub.running);
  });
}

test("rubbish from strangers is counted, and told in a few lines", async (t) => {
  const site = await startSite(t, { partitions: 4 });
  const [socket] = await knock(t, site.hub, 1, () => "127.0.0.2", GREETING);
  const body = Buffer.from("rubbish");
  const head = Buffer.alloc(12);
  head.writeUInt32BE(4 + body.length, 4);
  head.writeUInt32BE(0x80000001, 8);
  const message = Buffer.concat([head, body]);
  for (let i = 0; i < 2000; i++) socket.write(message);
  await waitUntil(async () => (await site.hub.metric("tributary_strangers_refused_total")) === 2000, { what: "2,000 messages to be counted" });
  const lines = site.hub.log.filter((line) => line.includes("message-refused"));
  assert.ok(lines.length >= 1 && lines.length <= 6, `${lines.length} lines`);
  await assertServed(site, "rubbish");
});

test("a fleet that is too large for the limits is told in the log and the metrics", async (t) => {
  const site = await startSite(t, { partitions: 4 });
  site.hub.args.push("--link_connections_max", "16");
  await restart(site.hub);
  assert.equal(await site.hub.metric("tributary_link_connections_max"), 16);
  assert.ok(!site.hub.log.some((line) => line.includes("fleet-too-large")));
  for (let i = 0; i < 16; i++) {
    await site.cli("enroll", `box-${i}`, "--link", site.hub.link, "--out", `${site.dir}/box-${i}.enrolment`);
  }
  await site.hub.logged(/fleet-too-large .*enrolled=17 connections_max=16/);
  assert.equal(await site.hub.metric("tributary_collectors_enrolled"), 17);
});
