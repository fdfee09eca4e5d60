// The operator defines everything with the command: what is applied is listed, shown, given back as it can be applied
// again, and deleted.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "./support/cli.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const fails = (promise, says) => assert.rejects(promise, (error) => (assert.match(error.message, says), true));

/* A file of the site's folder that holds this. */
function file(site, content) {
  const path = join(site.dir, "definitions.json");
  writeFileSync(path, JSON.stringify(content));
  return path;
}

/* The command with something on its standard input. */
function pipe(site, input, ...args) {
  const env = { ...process.env, TRIBUTARY_HUB: site.hub.url, TRIBUTARY_TOKEN: site.hub.token };
  const { stdout, stderr, status } = spawnSync(program("tributary"), args, { input, env, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

// Each command: two definitions by key, the row that the table has for the first, what `show` says of it.
const KINDS = [
  [
    "source",
    {
      "a-web": { name: "Shop", origins: ["https://a.example", "https://b.example"], consent: { required: ["marketing"] } },
      "b-till": { consent: { exempt: true } },
    },
    [/^KEY +NAME +TRUST +CONSENT +PLAN +ORIGINS$/m, /^a-web +Shop .*marketing +- +https:\/\/a\.example, https:\/\/b\.example$/m, /^b-till +- .*exempt/m],
    [/^name +Shop$/m, /^consent\n {2}\{"required":\["marketing"\]\}$/m],
  ],
  [
    "tracking-plan",
    { a: { name: "Plan", events: { Sold: {}, Seen: {} }, unplanned: "quarantine" }, b: { events: {} } },
    [/^a +2 +quarantine +flag +Plan$/m, /^b +0 +allow +flag +-$/m],
    [/^unplanned +quarantine$/m, /"Sold"/],
  ],
  ["trait", { city: { name: "City", edge: ["page", "staff"] }, zip: {} }, [/^city +page, staff +City$/m, /^zip +nobody +-$/m], [/"page"/]],
  [
    "segment",
    { a: { name: "A", where: { segment: "b" } }, b: { where: { event: "Sold" } } },
    [/^a +0 +(live|computing.*) +A$/m],
    [/"segment"/],
  ],
];

for (const [command, definitions, rows, shown] of KINDS) {
  test(`${command}: applied, listed, shown, given back, deleted`, async (t) => {
    const site = await startSite(t, { sources: {}, segments: {}, collectors: [] });
    const keys = Object.keys(definitions);
    assert.match(await site.cli(command, "list"), /^No .+ is defined/);
    const applied = await site.cli(command, "apply", file(site, definitions));
    assert.deepEqual(applied.trim().split("\n").map((line) => line.split(" ")[0]).sort(), keys);
    for (const row of rows) assert.match(await site.cli(command, "list"), row);
    for (const line of shown) assert.match(await site.cli(command, "show", keys[0]), line);
    const one = JSON.parse(await site.cli(command, "show", keys[0], "--json"));
    assert.equal(one.key ?? one.id, keys[0]);
    const all = await site.cli(command, "list", "--json");
    const order = command === "segment" ? keys : [...keys].reverse(); // a is made of b
    for (const key of order) assert.equal(await site.cli(command, "delete", key), `${key} deleted\n`);
    await fails(site.cli(command, "show", keys[0]), /There is no such/);
    assert.match(pipe(site, all, command, "apply", "-"), new RegExp(`^${keys.at(-1)} `, "m"));
    const listed = (text) => Object.values(JSON.parse(text))[0].map(({ updatedAt, status, progress, ...rest }) => rest);
    assert.deepEqual(listed(await site.cli(command, "list", "--json")), listed(all));
    pipe(site, JSON.stringify({ ...definitions[keys[1]], key: "c" }), command, "apply", "-");
    assert.match(await site.cli(command, "list"), /^c +/m);
  });

  test(`${command}: what is wrong is said in one line`, async (t) => {
    const site = await startSite(t, { sources: {}, segments: {}, collectors: [] });
    const [good] = Object.values(definitions).slice(-1);
    await fails(site.cli(command, "apply", file(site, { key: "x", ...good, nmae: 1 })), /x: "nmae" is not known here; did you mean "name"\?/);
    await fails(site.cli(command, "apply", file(site, [])), /no definition of a/);
    await fails(site.cli(command, "apply", file(site, [{}])), /definition 1: it has no "key"/);
    await fails(site.cli(command, "apply", "/nowhere"), /cannot open \/nowhere/);
    await fails(site.cli(command, "delete", "none"), /There is no such/);
    await fails(site.cli(command, "list", "more"), /nothing more/);
    await fails(site.cli(command, "grow"), /"grow"/);
  });
}

test("identity rules are shown as a table and applied as a whole", async (t) => {
  const site = await startSite(t, { sources: {}, segments: {}, collectors: [] });
  assert.match(await site.cli("identity-rules", "show"), /^TYPE .*\n(.*\n)*email +70 +\d+ +yes +email +\d+$/m);
  const rules = JSON.parse(await site.cli("identity-rules", "show", "--json"));
  rules.identifiers.push({ type: "badge", priority: 75 });
  await site.cli("identity-rules", "apply", file(site, rules));
  assert.match(await site.cli("identity-rules", "show"), /^badge +75 +0 +yes +- +0$/m);
  await fails(site.cli("identity-rules", "list"), /"list"/);
});

test("a segment is tried out before it is defined, and stays while another uses it", async (t) => {
  const site = await startSite(t, { segments: { base: { where: { event: "Sold" } }, more: { where: { segment: "base" } } } });
  await site.collector.send([1, 2, 3].map((n) => ({ type: "track", event: "Sold", messageId: `m${n}`, userId: `u${n}` })));
  await waitUntil(async () => (await site.hub.overview()).profiles === 3);
  for (const condition of [{ event: "Sold" }, { key: "x", name: "X", where: { event: "Sold" } }]) {
    const text = pipe(site, JSON.stringify(condition), "segment", "preview", "-");
    assert.match(text, /^members +3\nknown +3\nanonymous +0\nSome of them\n( {2}[0-9a-f]{32}\n){3}$/);
  }
  assert.equal(JSON.parse(await site.cli("segment", "preview", file(site, { event: "Lost" }), "--json")).size, 0);
  await fails(site.cli("segment", "delete", "base"), /There is no segment "base"/);
  await site.cli("segment", "delete", "more");
  await site.cli("segment", "delete", "base");
  assert.match(await site.cli("segment", "list"), /No segment/);
});

test("the suppression list is told page by page, and asked for one", async (t) => {
  const site = await startSite(t, { segments: {}, collectors: [] });
  assert.equal(await site.cli("suppressions"), "Nobody is suppressed.\n");
  const identifiers = Array.from({ length: 700 }, (_, n) => ({ type: "email", value: `p${n}@example.com` }));
  await site.hub.put("/v1/suppressions", { identifiers, reason: "request 17" });
  const rows = (text) => text.split("\n").filter((line) => /^[0-9a-f]{32} +\S+Z +request 17$/.test(line));
  assert.equal(new Set(rows(await site.cli("suppressions"))).size, 700);
  assert.equal(rows(await site.cli("suppressions", "--limit", "501")).length, 501);
  assert.equal(rows(await site.cli("suppressions", "email=P3@example.com")).length, 1);
  await fails(site.cli("suppressions", "email=jane@example.com"), /There is no such suppression/);
  await fails(site.cli("suppressions", "jane"), /is no TYPE=VALUE/);
});

test("the help of each command shows how it is used", async (t) => {
  const [, listed] = spawnSync(program("tributary"), ["--help"], { encoding: "utf8" }).stdout.split(/\n\ncommands.*\n|\n\noptions/);
  const commands = [...listed.matchAll(/^ {2}([a-z-]+) /gm)].map(([, name]) => name);
  assert.ok(commands.length >= 17, commands.join());
  for (const command of commands) {
    const { stdout, status } = spawnSync(program("tributary"), [command, "--help"], { encoding: "utf8" });
    assert.equal(status, 0, command);
    assert.match(stdout, new RegExp(`^usage: tributary ${command}`, "m"));
    assert.ok(stdout.split("\n").every((line) => line.length <= 100), command);
  }
});
