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

test("the module can be imported where there is no window", () => {
  assert.equal(typeof load, "function");
});

test("the package has the module, its types, the script and the manual, and nothing else", () => {
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: here(".."), stdio: ["ignore", "pipe", "ignore"] }));
  const paths = files.map(({ path }) => path).sort();
  assert.deepEqual(paths, ["README.md", "dist/index.js", "dist/t.js", "handover.js", "package.json", "snippet.js", "src/index.d.ts"]);
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
