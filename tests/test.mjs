// Runs all tests, or the stages that are named, and ends with a summary: what ran, how many, what was skipped and why.
// A stage that fails ends the run; the summary says which. It is also appended to build/test-summary.txt.
//
//   node tests/test.mjs [unit] [fuzz] [tag] [e2e]      `make test` does that, `make test STAGES="unit fuzz"` too
import { spawn } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const BUILD = process.env.BUILD_DIR ?? "build";
const SUMMARY = join(ROOT, "build/test-summary.txt");

const make = (target) => ["make", "--no-print-directory", target];
// node writes what a person reads on standard output, and what is counted into a file.
const reported = (name) => {
  const file = join(ROOT, BUILD, `${name}.tap`);
  const reporter = process.stdout.isTTY ? "spec" : "tap";
  return { file, options: [`--test-reporter=${reporter}`, "--test-reporter-destination=stdout", "--test-reporter=tap", `--test-reporter-destination=${file}`] };
};

const STAGES = {
  unit: { title: "unit, property, simulation", command: make("unit"), count: countC },
  fuzz: { title: "corpus of the fuzzers", command: make("fuzz-replay"), count: countInputs },
  tag: node("tag", "the tag's own", (options) => ["npm", "test", "--silent", "--workspace", "tag-js", "--", ...options]),
  e2e: node("e2e", "end to end", (options) => [process.execPath, "tests/e2e/run.mjs", ...options]),
};

function node(name, title, command) {
  const { file, options } = reported(name);
  return { title, file, command: command(options), count: () => countTap(file) };
}

/* cmocka's programs: how many, their tests, and those that were left out. */
function countC(output) {
  const sum = (pattern) => [...output.matchAll(pattern)].reduce((total, [, n]) => total + Number(n), 0);
  const programs = [...output.matchAll(/^ {2}TEST {2}/gm)].length;
  // Each name comes twice: where it ran, and in the list at the end of its program.
  const named = (word) => [...new Set([...output.matchAll(new RegExp(`^\\[ {2}${word} {1,2}\\] ([a-z]\\w*)$`, "gm"))].map(([, name]) => name))];
  const skipped = named("SKIPPED");
  const reasons = [...output.matchAll(/^skipped: (.+)$/gm)].map(([, reason]) => reason);
  return {
    groups: `${programs} program${programs === 1 ? "" : "s"}`,
    passed: sum(/^\[ {2}PASSED {2}\] (\d+) test/gm),
    skipped: skipped.map((name, i) => `${name}: ${reasons[i] ?? "it does not say why"}`),
    failed: named("FAILED"),
  };
}

function countInputs(output) {
  const corpora = [...output.matchAll(/^ {2}FUZZ {2}\S+: (\d+) inputs$/gm)];
  return { groups: `${corpora.length} fuzzers`, passed: corpora.reduce((total, [, n]) => total + Number(n), 0), unit: "inputs", skipped: [], failed: [] };
}

/* node's report; what is inside a file or a test counts, not the file itself. */
function countTap(file) {
  const output = readFileSync(file, "utf8");
  const total = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
  const named = (pattern) => [...output.matchAll(pattern)].map(([, name, reason]) => [name.replace(/\\(.)/g, "$1"), reason]);
  return {
    passed: total("pass"),
    skipped: named(/^ *ok \d+ - (.+?) # SKIP ?(.*)$/gm).map(([name, reason]) => `${name}: ${reason || "it does not say why"}`),
    failed: named(/^ *not ok \d+ - (.+)$/gm).map(([name]) => name),
  };
}

/* Everything that the command writes is shown as it comes, and kept. */
function run([command, ...args]) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ["inherit", "pipe", "pipe"] });
    let output = "";
    for (const [from, to] of [[child.stdout, process.stdout], [child.stderr, process.stderr]]) {
      from.setEncoding("utf8").on("data", (text) => {
        output += text;
        to.write(text);
      });
    }
    process.once("SIGTERM", () => child.kill("SIGTERM"));
    child.on("error", (error) => resolve({ output: `${output}${error.message}\n`, fine: false }));
    child.on("close", (code) => resolve({ output, fine: code === 0 }));
  });
}

const lasted = (seconds) => `${Math.floor(seconds / 60)}m${String(Math.round(seconds % 60)).padStart(2, "0")}s`;
const number = (n) => n.toLocaleString("en");

async function runStage(name) {
  const { title, command, count, file } = STAGES[name];
  const begun = Date.now();
  if (file) rmSync(file, { force: true });
  const { output, fine } = await run(command);
  let counts = { passed: 0, skipped: [], failed: [] };
  try {
    counts = count(output);
  } catch {
    // it ended before it reported anything
  }
  // A stage that ran nothing has not shown that anything works.
  return { title, ...counts, fine: fine && counts.passed > 0, seconds: (Date.now() - begun) / 1000 };
}

function line({ title, groups, unit = "tests", passed, skipped, failed, fine, seconds }) {
  const parts = [groups, `${number(passed)} ${unit} passed`, skipped.length > 0 && `${skipped.length} skipped`, failed.length > 0 && `${failed.length} failed`];
  return `  ${fine ? "ok    " : "FAILED"} ${title.padEnd(28)} ${lasted(seconds).padStart(7)}  ${parts.filter(Boolean).join(", ")}`;
}

const list = (head, names) => (names.length > 0 ? [head, ...names.map((name) => `  ${name}`)] : []);

const wanted = process.argv.slice(2);
const names = wanted.length > 0 ? wanted : Object.keys(STAGES);
const unknown = names.filter((name) => !(name in STAGES));
if (unknown.length > 0) {
  console.error(`there is no stage ${unknown.join(", ")}; there are ${Object.keys(STAGES).join(", ")}`);
  process.exit(2);
}
// Ctrl-C reaches the tests by themselves, and they end in their own time.
process.on("SIGINT", () => {});
mkdirSync(join(ROOT, BUILD), { recursive: true });
const done = [];
for (const name of names) {
  done.push(await runStage(name));
  if (!done.at(-1).fine) break;
}
const fine = done.length === names.length && done.every((stage) => stage.fine);
const summary = [
  `Tests of ${BUILD}`,
  ...done.map(line),
  ...names.slice(done.length).map((name) => `  not run ${STAGES[name].title}`),
  ...list("Skipped", done.flatMap(({ skipped }) => skipped)),
  ...list("Failed", done.flatMap(({ failed }) => failed)),
  fine ? "All passed." : "NOT all passed.",
].join("\n");
console.log(`\n${summary}`);
appendFileSync(SUMMARY, `${summary}\n\n`);
process.exit(fine ? 0 : 1);
