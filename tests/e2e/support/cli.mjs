// The operator's command, and where the built programs are.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

// Another build (a sanitizer's, say) is tested by naming its folder.
const BUILD = resolve(ROOT, process.env.BUILD_DIR ?? "build");

export const program = (name) => join(BUILD, name);

const run = promisify(execFile);

/* Run `tributary` with the arguments; its standard output. A failure tells what it wrote to stderr.
 * `options` may give a `timeout` in milliseconds (0 for none) and a `signal` to end it early. */
export async function tributary(args, options = {}) {
  try {
    const { stdout } = await run(program("tributary"), args.map(String), { timeout: 60_000, ...options });
    return stdout;
  } catch (error) {
    throw new Error(`tributary ${args.join(" ")}: ${error.stderr || error.message}`, { cause: error });
  }
}
