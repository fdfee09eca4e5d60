// Whoever asks later what was changed at a hub, and when, finds one line in its log for each change: of definitions,
// collectors, suppressions and the quarantine. Nobody's data is in it, and nobody's name can forge a line.
import assert from "node:assert/strict";
import { startSite, test } from "./support/site.mjs";

const KEY = "ab".repeat(32);
const JANE = { identifiers: [{ type: "email", value: "jane@example.com" }] };

// Method, path and body of a change; the line that it leaves.
const CHANGES = [
  ["PUT", "/v1/tracking-plans/web", { events: {} }, /definition-changed {2}.+ stored\. kind=tracking-plan key=web$/],
  ["PUT", "/v1/sources/web", { name: "Web", tracking_plan: "web" }, /definition-changed {2}.+ stored\. kind=source key=web$/],
  ["PUT", "/v1/sources/web", { name: "Web" }, /definition-changed {2}.+ stored\. kind=source key=web$/],
  ["DELETE", "/v1/tracking-plans/web", undefined, /definition-changed {2}.+ deleted\. kind=tracking-plan key=web$/],
  ["PUT", "/v1/segments/sold%0aforged", { where: { event: "Sold" } }, /definition-changed {2}.+ kind=segment key=sold\?forged$/],
  ["DELETE", "/v1/segments/sold%0aforged", undefined, /definition-changed {2}.+ deleted\. kind=segment key=sold\?forged$/],
  ["PUT", "/v1/traits/city", { edge: ["staff"] }, /definition-changed {2}.+ stored\. kind=trait key=city$/],
  ["PUT", "/v1/purchases", { events: ["Sold"] }, /definition-changed {2}.+ stored\. kind=purchases key=purchases$/],
  ["PUT", "/v1/identity-rules", { identifiers: [{ type: "email" }] }, /definition-changed {2}.+ stored\. kind=identity-rules key=rules$/],
  ["PUT", "/v1/collectors/box", { publicKey: KEY }, /collector-enrolled {2}A collector was enrolled\. collector=box$/],
  ["PUT", "/v1/collectors/box", { scope: { kind: "everybody" } }, /collector-scope-changed {2}.+ collector=box kind=everybody segments=0$/],
  ["DELETE", "/v1/collectors/box", undefined, /collector-revoked {2}.+ collector=box$/],
  ["PUT", "/v1/suppressions", { ...JANE, reason: "asked for it" }, /suppressions-changed {2}.+ suppressed=1 version=1$/],
  ["DELETE", "/v1/suppressions", JANE, /suppressions-changed {2}.+ unsuppressed=1 version=2$/],
  ["POST", "/v1/quarantine/release", { all: true }, /quarantine-released {2}.+ events=0 source= event=$/],
  ["POST", "/v1/quarantine/discard", { event: "Sold" }, /quarantine-discarded {2}.+ events=0 source= event=Sold$/],
];

test("each change leaves one line in the hub's log, without anybody's data", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  await hub.logged(/ ready /);
  const lines = () => hub.log.map((line) => line.trimEnd()).filter((line) => / info {2}(?!refill)/.test(line));
  for (const [method, path, body, line] of CHANGES) {
    const before = lines().length;
    const { status, text } = await hub.api(method, path, body);
    assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
    await hub.logged(new RegExp(line.source, "m"));
    const added = lines().slice(before);
    assert.equal(added.length, 1, added.join("\n"));
    assert.match(added[0], line);
  }
  assert.doesNotMatch(hub.log.join(""), /jane|asked for it/);
});

test("what was refused or changed nothing leaves no line", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  await hub.put("/v1/suppressions", JANE);
  await hub.logged(/suppressions-changed/);
  const before = hub.log.length;
  await hub.put("/v1/suppressions", JANE);
  for (const [method, path, body] of [
    ["PUT", "/v1/segments/s", { where: {} }],
    ["DELETE", "/v1/segments/none", undefined],
    ["PUT", "/v1/sources/web", { orgins: [] }],
    ["DELETE", "/v1/collectors/none", undefined],
  ]) {
    assert.ok((await hub.api(method, path, body)).status >= 400, path);
  }
  await hub.put("/v1/traits/city", {});
  await hub.logged(/kind=trait key=city/);
  assert.equal(hub.log.length, before + 1, hub.log.slice(before).join(""));
});
