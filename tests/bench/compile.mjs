// Compiles a C program of this folder against the library of the build.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../e2e/support/cli.mjs";

const HERE = fileURLToPath(new URL("./", import.meta.url));
const LIBRARY = "build/libtributary.a";

/* Build `name`.c; answers the program's path. */
export function compile(name) {
  const out = join(ROOT, "build", "bench", name);
  mkdirSync(join(ROOT, "build", "bench"), { recursive: true });
  const make = (target, options) => execFileSync("make", ["--no-print-directory", "--silent", target], { cwd: ROOT, encoding: "utf8", ...options });
  make(LIBRARY, { stdio: "inherit" });
  execFileSync(
    process.env.CC ?? "cc",
    ["-std=c17", "-O2", "-g", "-Wall", "-Wextra", "-I.", "-D_GNU_SOURCE", "-o", out, join(HERE, `${name}.c`), LIBRARY]
      .concat(make("libraries").trim().split(" ")),
    { cwd: ROOT, stdio: "inherit" },
  );
  return out;
}
