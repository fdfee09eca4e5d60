// Disks that give trouble: one that is small, and one that stalls.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./cli.mjs";

/* A file system of its own of so many MiB, until the end of the test; undefined where this user may not
 * mount one. */
export function mountSmallDisk(t, mebibytes) {
  const dir = mkdtempSync(join(tmpdir(), "tributary-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", dir], { stdio: "ignore" });
  } catch {
    rmdirSync(dir);
    return undefined;
  }
  t.after(() => {
    execFileSync("umount", ["--lazy", dir]);
    rmdirSync(dir);
  });
  return dir;
}

/* A disk whose syncs wait while it is stalled: what to put into a daemon's environment, and the switch. */
export function makeStallingDisk(t) {
  const dir = mkdtempSync(join(tmpdir(), "tributary-stall-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [library, flag] = [join(dir, "stall.so"), join(dir, "stalled")];
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, join(ROOT, "tests/e2e/support/stall.c"), "-ldl"]);
  return {
    env: { LD_PRELOAD: library, STALL_WHILE: flag, ASAN_OPTIONS: "verify_asan_link_order=0" },
    stall: () => writeFileSync(flag, ""),
    goOn: () => rmSync(flag, { force: true }),
  };
}
