// A till writes files into the drop folder; each row becomes one event, whatever happens meanwhile.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { SERVER_WRITE_KEY } from "../demo/segments.mjs";
import { ROOT } from "./support/cli.mjs";
import { settle, startSite, test, waitUntil } from "./support/site.mjs";

/* Data that is not ours lies beside the repository, or where E2E_DATA says. */
const DATA = process.env.E2E_DATA ?? join(ROOT, "..", "shared", "data");
const RETAIL = join(DATA, "uci_online_retail", "online_retail.csv.xz");

/* A site whose collector has a drop folder in the time zone of a shop in Lyon. */
async function startTill(t, args = []) {
  const site = await startSite(t);
  const folder = join(site.dir, "drop");
  mkdirSync(folder);
  const { collector } = site;
  await collector.kill();
  collector.args.push("--drop_folder", folder, "--drop_zone", "Europe/Paris", "--drop_settle_ms", "1s", ...args);
  await collector.start();
  const path = (...names) => join(folder, ...names);
  return {
    ...site,
    collector,
    path,
    map: (name, mapping) => writeFileSync(path(`${name}.mapping`), JSON.stringify(mapping)),
    write: (name, text, encoding = "utf8") => writeFileSync(path(name), text, encoding),
    done: (name) => waitUntil(() => existsSync(path("done", name)), { timeout: 60_000, what: `${name} in done/` }),
    rejected: (name) =>
      waitUntil(() => existsSync(path("rejected", name)), { timeout: 60_000, what: `${name} in rejected/` }),
  };
}

/* Events of the hub once nothing is on its way any more, and how many came twice. */
async function arrivedAt(hub, count, timeout = 60_000) {
  await waitUntil(async () => (await hub.overview()).events >= count, { timeout, what: `${count} events` });
  return hub.overview();
}

const HELLO = {
  files: "hello*.csv",
  source: SERVER_WRITE_KEY,
  event: {
    type: "track",
    event: "Hello",
    userId: { column: "who", required: true },
    properties: { number: { column: "n", as: "integer" } },
  },
};
const hellos = (from, to) =>
  Array.from({ length: to - from }, (_, i) => `u${(from + i) % 500},${from + i}\n`).join("");

test("a till's CSV in French becomes orders of known customers", async (t) => {
  const { hub, path, write, done } = await startTill(t);
  copyFileSync(join(ROOT, "deploy", "drop", "tickets.mapping"), path("tickets.mapping"));
  write(
    "tickets-2026-11-20.csv",
    [
      "Magasin;Ticket;Date;Carte;E-mail;Total TTC;Articles;Cadeau;Caissière",
      'Lyon;4711;20/11/2026 18:05:09;L-77;;"1 234,50";12;non;Zoë',
      "Lyon;4712;20/07/2026 18:05:09;;Jane@Example.com;9,90;1;oui;",
      "",
    ].join("\r\n"),
    "latin1",
  );
  await done("tickets-2026-11-20.csv");

  const member = await waitUntil(() => hub.profile("loyalty_id", "L-77"));
  const [order] = await hub.timeline(member.id);
  assert.equal(order.event, "Order Completed");
  assert.equal(order.timestamp, "2026-11-20T17:05:09.000Z", "winter time in Lyon");
  assert.deepEqual(order.properties, {
    order_id: "4711",
    total: 1234.5,
    currency: "EUR",
    items: 12,
    gift: false,
    channel: "store",
    store: "Lyon",
    cashier: "Zoë",
  });
  assert.deepEqual(
    member.identifiers.map(({ type, value }) => `${type}:${value}`),
    ["loyalty_id:L-77"],
    "an empty e-mail is no identifier",
  );
  const jane = await waitUntil(() => hub.profile("email", "jane@example.com"));
  const [gift] = await hub.timeline(jane.id);
  assert.equal(gift.timestamp, "2026-07-20T16:05:09.000Z", "summer time in Lyon");
  assert.equal(gift.properties.gift, true);
  assert.equal("cashier" in gift.properties, false, "an empty cell is left out");
});

test("lines of NDJSON are whole events, and one that comes twice counts once", async (t) => {
  const { hub, map, write, done, rejected, path } = await startTill(t);
  map("events", { files: "*.ndjson", format: "ndjson", source: SERVER_WRITE_KEY });
  const event = { type: "track", event: "Hello", userId: "u1", timestamp: "2026-11-20T10:00:00Z" };
  const lines = [
    { ...event, messageId: "mine" },
    { ...event, properties: { text: 'a "quoted" line\n', total: 1.5 } },
    { ...event, messageId: "mine" },
    { type: "identify", userId: "u1", traits: { firstName: "Jané" }, sentAt: "2020-01-01T00:00:00Z" },
  ];
  write("a.ndjson", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await done("a.ndjson");
  const profile = await waitUntil(async () => {
    const found = await hub.profile("user_id", "u1");
    return found?.eventCount === 3 && found;
  });
  assert.equal(profile.traits.firstName, "Jané");
  const timeline = await hub.timeline(profile.id);
  assert.ok(timeline.some(({ messageId }) => messageId === "mine"));
  assert.deepEqual(timeline.find(({ properties }) => properties?.total)?.properties, lines[1].properties);

  write("b.ndjson", `${JSON.stringify({ ...event, messageId: "b" })}\n{"type":"track",\n[1]\n{"type":"dance","userId":"u1"}\n`);
  await rejected("b.ndjson");
  const report = readFileSync(path("rejected", "b.ndjson.report"), "utf8");
  assert.match(report, /3 of 4 rows/);
  for (const reason of [/line 2: .*JSON/, /line 3: .*object/, /line 4: invalid-type/]) assert.match(report, reason);
  await waitUntil(async () => (await hub.profile("user_id", "u1")).eventCount === 4);
});

test("bad rows are reported with line, column and reason, the good ones are in; a corrected file adds the rest", async (t) => {
  const { hub, map, write, rejected, done, path, collector } = await startTill(t);
  map("hello", HELLO);
  write("hello.csv", `who,n\nu1,1\nu2,two\n,3\nu4,4,4\nu5,"5"x\n\nu6,6\n`);
  await rejected("hello.csv");
  const report = readFileSync(path("rejected", "hello.csv.report"), "utf8");
  assert.match(report, /^hello\.csv: 4 of 6 rows were not taken/);
  for (const line of [
    'line 3, column "n": this is no number',
    'line 4, column "who": this is required and empty',
    "line 5: the row has 3 cells, the header 2",
    "line 6: a quote stands where none may",
  ]) {
    assert.ok(report.includes(line), `${line}\nis not in\n${report}`);
  }
  await arrivedAt(hub, 2);
  assert.equal(await collector.metric('tributary_drop_rows_total{result="rejected"}'), 4);
  assert.equal(await collector.metric('tributary_drop_files_total{result="rejected"}'), 1);

  const corrected = readFileSync(path("rejected", "hello.csv"), "utf8")
    .replace("two", "2").replace("\n,3", "\nu3,3").replace("4,4\n", "4\n").replace('"5"x', "5");
  write("hello.csv", corrected);
  await done("hello.csv");
  await settle(async () => (await hub.overview()).events, () => 6);
});

test("a file that a till writes anew with more rows adds only what is new", async (t) => {
  const { hub, map, write, done, path } = await startTill(t);
  map("hello", HELLO);
  write("hello.csv", `who,n\n${hellos(0, 10)}`);
  await done("hello.csv");
  write("hello.csv", `who,n\n${hellos(0, 25)}`);
  await done("hello.csv.2");
  await settle(async () => (await hub.overview()).events, () => 25);
  assert.deepEqual(readdirSync(path("done")).sort(), ["hello.csv", "hello.csv.2"]);
});

test("a file is left alone until it is complete and has a mapping; a wrong mapping stops no other", async (t) => {
  const { hub, map, write, done, path, collector } = await startTill(t);
  map("hello", HELLO);
  writeFileSync(path("broken.mapping"), '{\n  "files": "broken*.csv",\n  "source": "shop-server",\n  "sepparator": ";"\n}');
  for (const name of ["hello.csv.part", ".hello.csv", "hello.tmp", "else.csv", "broken.csv"]) {
    write(name, `who,n\n${hellos(0, 5)}`);
  }
  await waitUntil(() => collector.log.some((line) => line.includes("broken.mapping:4: sepparator:")));
  appendFileSync(path("hello.csv"), "who,n\n");
  appendFileSync(path("hello.csv"), hellos(0, 5));
  await done("hello.csv");
  renameSync(path("hello.csv.part"), path("hello-2.csv"));
  await done("hello-2.csv");
  await settle(async () => (await hub.overview()).events, () => 10);
  for (const name of [".hello.csv", "hello.tmp", "else.csv", "broken.csv"]) assert.ok(existsSync(path(name)), name);
  assert.equal(await collector.metric("tributary_drop_files_unmatched"), 2);
});

test("odd files are refused with a report, and the collector goes on", async (t) => {
  const { hub, map, write, done, rejected, path } = await startTill(t);
  map("hello", HELLO);
  symlinkSync("/etc/hostname", path("hello-link.csv"));
  execFileSync("mkfifo", [path("hello-pipe.csv")]);
  write("hello-header.csv", "name,n\nu1,1\n");
  write("hello-utf16.csv", "\ufeffwho,n\nu8,8\n", "utf16le");
  write("hello-long.csv", `who,n\nu1,1\n${"x".repeat(10_000_000)}\nu2,2\nu\0,3\nu3,3`);
  write("hello-bom.csv", "\ufeffwho,n\r\nu9,9\r\n");
  const expected = {
    "hello-link.csv": /symbolic link/,
    "hello-pipe.csv": /no regular file/,
    "hello-header.csv": /no column "who"/,
    "hello-long.csv": /2 of 5 rows[^]*line 3: the row is longer[^]*line 5: the row has a zero byte/,
  };
  for (const [name, reason] of Object.entries(expected)) {
    await rejected(`${name}.report`);
    assert.match(readFileSync(path("rejected", `${name}.report`), "utf8"), reason);
  }
  await done("hello-bom.csv");
  await done("hello-utf16.csv");
  await settle(async () => (await hub.overview()).events, () => 5);
});

test("rows of a source that needs consent are refused without it", async (t) => {
  const { hub, map, write, rejected, path, collector } = await startTill(t);
  await hub.put("/v1/sources/counter", { trust: "server", consent: { required: ["analytics"] } });
  map("hello", { ...HELLO, source: "counter" });
  write("hello.csv", "who,n\nu1,1\n");
  await rejected("hello.csv");
  assert.match(readFileSync(path("rejected", "hello.csv.report"), "utf8"), /line 2: consent-missing/);
  assert.equal(
    await collector.metric('tributary_refused_events_total{source="counter",reason="consent-missing"}'),
    1,
  );
});

test("a collector killed in the middle of a file takes every row once", async (t) => {
  const { hub, map, write, done, collector } = await startTill(t);
  const ROWS = 60_000;
  map("hello", HELLO);
  write("hello.csv", `who,n\n${hellos(0, ROWS)}`);
  let inTheMiddle = 0;
  for (let kill = 0; kill < 3; kill++) {
    await waitUntil(async () => (await collector.metric('tributary_drop_rows_total{result="taken"}')) > 5000, {
      every: 1,
      timeout: 30_000,
      what: "rows to be taken",
    });
    await collector.kill("SIGKILL");
    inTheMiddle += !existsSync(join(hub.dir, "drop", "done", "hello.csv"));
    await collector.start();
  }
  assert.equal(inTheMiddle, 3, "each time the file was not done");
  await done("hello.csv");
  const { events } = await arrivedAt(hub, ROWS);
  assert.equal(events, ROWS);
  await settle(async () => (await hub.profile("user_id", "u7")).eventCount, () => ROWS / 500);
});

test("a file waits while the spool is nearly full, and is taken when the hub is back", async (t) => {
  const { hub, map, write, done, collector } = await startTill(t, ["--spool_bytes_max", "1MiB"]);
  const ROWS = 100_000;
  map("hello", HELLO);
  await hub.kill();
  write("hello.csv", `who,n\n${hellos(0, ROWS)}`);
  await waitUntil(() => collector.log.some((line) => line.includes("drop-waits")), { timeout: 30_000, what: "the file to wait" });
  assert.ok(await collector.isReady(), "whoever cannot wait is still served");
  await collector.send([{ type: "track", event: "Hello", userId: "till" }]);
  await hub.start();
  await done("hello.csv");
  assert.equal((await arrivedAt(hub, ROWS + 1)).events, ROWS + 1);
  assert.ok(!collector.log.some((line) => line.includes("commit-failed")));
});

test("100,000 rows are taken in seconds", async (t) => {
  const { hub, map, write, done, collector } = await startTill(t);
  map("hello", HELLO);
  write("hello.csv", `who,n\n${hellos(0, 100_000)}`);
  await done("hello.csv");
  const [, ms] = await collector.logged(/drop-file-done.* ms=(\d+)/);
  t.diagnostic(`100,000 rows in ${ms} ms, with the hub applying them on the same machine`);
  assert.ok(Number(ms) < 30_000, `took ${ms} ms`);
  assert.equal((await arrivedAt(hub, 100_000)).events, 100_000);
});

const lacking = [RETAIL, "/usr/bin/xz"].filter((file) => !existsSync(file));
test("order lines of a real shop", { skip: lacking.length > 0 && `absent: ${lacking}` }, async (t) => {
  const { hub, map, done, path, collector } = await startTill(t);
  map("retail", {
    files: "online_retail.csv",
    source: SERVER_WRITE_KEY,
    zone: "utc",
    event: {
      type: "track",
      event: "Order Line",
      timestamp: { column: "InvoiceDate", as: "date", format: "%Y-%m-%d %H:%M:%S", required: true },
      userId: { column: "CustomerID" },
      anonymousId: { column: "InvoiceNo" },
      properties: {
        sku: { column: "StockCode" },
        description: { column: "Description" },
        quantity: { column: "Quantity", as: "integer", required: true },
        price: { column: "UnitPrice", as: "number", required: true },
        country: { column: "Country" },
      },
    },
  });
  const all = execFileSync("xz", ["-dc", RETAIL], { maxBuffer: 1 << 27, encoding: "utf8" }).split("\n");
  const rows = all.slice(0, 50_001);
  writeFileSync(path(".online_retail.csv"), `${rows.join("\n")}\n`);
  renameSync(path(".online_retail.csv"), path("online_retail.csv"));
  await done("online_retail.csv");
  t.diagnostic((await collector.logged(/drop-file-done.*/))[0]);
  assert.equal((await arrivedAt(hub, 50_000)).events, 50_000);
  const lines = rows.filter((row) => row.includes(",17850.0,")).length;
  await settle(async () => (await hub.profile("user_id", "17850.0"))?.eventCount, () => lines);
});
