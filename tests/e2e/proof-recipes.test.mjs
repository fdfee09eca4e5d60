// The recipes of collector/TRUST.md, as they stand there: what they sign is what the hub wants.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./support/cli.mjs";
import { test } from "./support/site.mjs";

const SECRET = "the secret of the shop's server, 32 bytes at least";
const USER = { id: "u-17", email: "zoë@example.com" };
const MANUAL = readFileSync(join(ROOT, "collector/TRUST.md"), "utf8");

/* The code under this heading. */
const recipe = (heading) => MANUAL.match(new RegExp(`### ${heading}\n\`\`\`\\w+\n([^]*?)\n\`\`\``))[1];

const LANGUAGES = [
  {
    heading: "node",
    program: "node",
    file: "recipe.mjs",
    source: (code) => `${code}\nconsole.log(proofFor(${JSON.stringify(USER)}, process.argv[2]));`,
  },
  {
    heading: "PHP",
    program: "php",
    file: "recipe.php",
    source: (code) => `<?php\n${code}\necho proof_for(json_decode('${JSON.stringify(USER)}', true), $argv[1]);`,
  },
  {
    heading: "Python",
    program: "python3",
    file: "recipe.py",
    source: (code) => `import sys\n${code}\nprint(proof_for(${JSON.stringify(USER)}, sys.argv[1]))`,
  },
];

const decode = (part) => JSON.parse(Buffer.from(part, "base64url"));

for (const { heading, program, file, source } of LANGUAGES) {
  test(`the recipe in ${heading} signs a token as it should be`, (t) => {
    if (spawnSync(program, ["--version"]).status !== 0) return t.skip(`${program} is not there`);
    const code = recipe(heading);
    assert.ok(code.split("\n").length <= 12, "a recipe is about ten lines");
    const dir = mkdtempSync(join(tmpdir(), "tributary-recipe-"));
    t.after(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, file), source(code));
    const env = { ...process.env, PROOF_SECRET: SECRET };
    const token = execFileSync(program, [join(dir, file), "a-1"], { env, encoding: "utf8" }).trim();

    const [head, body, signature] = token.split(".");
    assert.deepEqual(decode(head), { alg: "HS256", kid: "2026" });
    const { iat, exp, ...claims } = decode(body);
    assert.deepEqual(claims, { sub: USER.id, email: USER.email, aud: "shop", aid: "a-1" });
    assert.ok(Math.abs(iat - Date.now() / 1000) < 60 && exp - iat === 3600);
    assert.equal(signature, createHmac("sha256", SECRET).update(`${head}.${body}`).digest("base64url"));
  });
}

test("the manual says of every fault what to do", () => {
  const code = readFileSync(join(ROOT, "hub/trust/proof.c"), "utf8");
  const faults = [...code.matchAll(/\[PROOF_\w+\] = \{\s*"([a-z-]+)"/g)].map(([, name]) => name);
  assert.ok(faults.length > 10);
  for (const fault of faults.filter((name) => name !== "valid")) assert.ok(MANUAL.includes(`| \`${fault}\` |`), fault);
});
