// The npm package: what is in it, and that its types fit.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { load } from "../dist/index.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

test("load() does no harm where there is no window: every call is there and does nothing", async () => {
  const tag = load({ writeKey: "KEY", host: "https://data.example.com" });
  for (const call of ["page", "track", "identify", "group", "alias", "consent"]) assert.equal(await tag[call]("A", {}), undefined);
  for (const call of ["on", "segments", "onSegment"]) assert.equal(tag[call]("track", () => assert.fail())(), undefined);
  assert.equal(tag.ready(() => assert.fail()), undefined);
  assert.equal(tag.reset(), undefined);
  assert.deepEqual(tag.user(), { traits: {} });
  assert.equal(typeof load().track, "function");
});

test("what npm packs can be installed and imported", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-package-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const npm = (...args) => execFileSync("npm", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const name = npm("pack", "--ignore-scripts", "--silent", here("..")).trim().split("\n").pop();
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  npm("install", "--offline", "--no-audit", "--no-fund", `./${name}`);
  const code = 'import { load } from "@tributary/tag"; console.log(typeof load({ writeKey: "KEY" }).track);';
  assert.equal(execFileSync(process.execPath, ["--input-type=module", "-e", code], { cwd: folder, encoding: "utf8" }), "function\n");
});

test("the package has the module, its types, the script and the manual, and nothing else", () => {
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: here(".."), stdio: ["ignore", "pipe", "ignore"] }));
  const paths = files.map(({ path }) => path).sort();
  assert.deepEqual(paths, ["README.md", "dist/index.js", "dist/t.js", "dist/t.more.js", "handover.js", "package.json", "snippet.js", "src/index.d.ts"]);
});

test("the types accept what the manual shows and refuse what is wrong", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-types-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(
    join(folder, "use.ts"),
    `import { load } from ${JSON.stringify(here("./index.d.ts").replace(".d.ts", ""))};
     const tag = load({ writeKey: "KEY", host: "https://data.example.com", auto: ["page", "spa"], requireConsent: true });
     tag.track("Signed Up", { plan: "gold" }).then(({ messageId }) => messageId.length);
     tag.page("Shop", "Home", {}, { context: {} }, () => {});
     tag.identify(7, { email: "jane@example.com" });
     tag.identify("u1", null, { proof: "a.b.c" });
     tag.track("Signed Up", null, { context: {} });
     tag.segments((keys, ageMs) => keys.includes("vip") && ageMs > 0)();
     tag.onSegment("vip", () => {});
     tag.user().anonymousId.length;
     // @ts-expect-error: a write key is needed
     load({ host: "https://data.example.com" });
     // @ts-expect-error: no such thing is captured
     load({ writeKey: "KEY", host: "https://data.example.com", auto: ["everything"] });
     // @ts-expect-error: a decision is about categories
     tag.consent("yes");`,
  );
  const tsc = here("../../node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "--noEmit", "--strict", "--target", "es2018", "--moduleResolution", "node", join(folder, "use.ts")]);
});

test("the manual shows the snippet as it is", () => {
  const manual = readFileSync(here("../README.md"), "utf8");
  assert.ok(manual.includes(readFileSync(here("../snippet.js"), "utf8").trim()));
});
