// Runs the end-to-end scenarios, or those whose files are named, one after the other: what they measure
// must not depend on what runs beside them.
//
//   node tests/e2e/run.mjs [--option-of-node's-test-runner…] [tests/e2e/offline.test.mjs …]
//                                                              E2E_SEED=N BUILD_DIR=folder-of-the-programs
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const TESTS = fileURLToPath(new URL("../", import.meta.url));

const found = ["demo", "e2e"].flatMap((folder) =>
  readdirSync(join(TESTS, folder))
    .filter((name) => name.endsWith(".test.mjs"))
    .map((name) => join(TESTS, folder, name)),
);
const isOption = (argument) => argument.startsWith("--");
const named = process.argv.slice(2).filter((argument) => !isOption(argument));
const options = process.argv.slice(2).filter(isOption);

const child = spawn(
  process.execPath,
  ["--test", "--test-concurrency=1", ...options, ...(named.length > 0 ? named : found)],
  { stdio: "inherit" },
);
// Ctrl-C reaches the tests by themselves; a termination has to be passed on.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("exit", (code, signal) => process.exit(signal ? 1 : code));
