// What the documents point at is there: files, tests, chapters.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { ROOT } from "./support/cli.mjs";

const documents = execFileSync("git", ["ls-files", "*.md"], { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
const read = (name) => readFileSync(join(ROOT, name), "utf8");
const anchor = (title) => title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");

test("every link within the project leads somewhere", () => {
  assert.ok(documents.length > 10);
  for (const name of documents) {
    const text = read(name).replace(/```.*?```/gs, "");
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, chapter] = target.split("#");
      const file = path === "" ? name : join(dirname(name), path);
      assert.ok(existsSync(join(ROOT, file)), `${name}: ${target}`);
      if (chapter) assert.ok([...read(file).matchAll(/^#+ (.+)$/gm)].some(([, title]) => anchor(title) === chapter), `${name}: ${target}`);
    }
  }
});

test("each attacker of the threat model has a line with a test, and each line that denies something names one", () => {
  const [, chapter] = read("ARCHITECTURE.md").split("\n## Threats\n");
  const rows = chapter.split("\n## ")[0].split("\n").filter((line) => line.startsWith("| ")).map((line) => line.split("|").map((cell) => cell.trim()));
  const attackers = rows.map(([, first]) => /\*\*(.+)\*\*/.exec(first)?.[1]).filter(Boolean);
  assert.deepEqual(attackers, ["Visitor", "Site of another", "Till's user", "Thief of a box", "Taken-over collector", "Network", "Curious operator"]);
  for (const [, , , , cannot, shown] of rows.filter(([, first]) => first !== "attacker")) {
    if (cannot) assert.match(shown, /\]\((tests|hub|collector|shared)\//, cannot);
  }
});
