// One version: what runs can be asked for it, and every document and package names the same.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { program, ROOT } from "./support/cli.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const run = promisify(execFile);
const read = (name) => readFileSync(join(ROOT, name), "utf8");
const [, VERSION] = /TRIBUTARY_VERSION "(.+)"/.exec(read("shared/version.h"));

test("each program says its name and version", async () => {
  for (const name of ["tributary", "tributary-hub", "tributary-collector"]) {
    const { stdout } = await run(program(name), ["--version"]);
    assert.equal(stdout, `${name} ${VERSION}\n`);
    assert.match((await run(program(name), ["--help"])).stdout, /--version/);
  }
});

test("metrics, the list of collectors and the command say which version runs", async (t) => {
  const site = await startSite(t, { segments: {} });
  for (const daemon of [site.hub, site.collector]) {
    assert.equal(await daemon.metric(`tributary_build_info{version="${VERSION}"}`), 1);
  }
  const reported = async () => (await site.hub.get("/v1/collectors/edge")).version;
  assert.equal(await waitUntil(reported, { what: "the collector to report its version" }), VERSION);
  assert.match(await site.cli("collectors"), new RegExp(`VERSION.*\n.*\\b${VERSION.replaceAll(".", "\\.")}\\b`));
});

test("packages, documents and the change log are of this version", () => {
  assert.equal(JSON.parse(read("tag-js/package.json")).version, VERSION);
  assert.equal(JSON.parse(read("package-lock.json")).packages["tag-js"].version, VERSION);
  assert.equal(/VERSION = "(.+)"/.exec(read("tag-js/src/context.js"))[1], VERSION);
  for (const name of ["hub/openapi.yaml", "collector/openapi.yaml"]) {
    assert.equal(/^ {2}version: "(.+)"$/m.exec(read(name))[1], VERSION, name);
  }
  assert.equal(/^## (\S+)/m.exec(read("CHANGELOG.md"))[1], VERSION);
});
