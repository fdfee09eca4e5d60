// The machine under a collector: its boots and its wall clock, which may be wrong, as on a box without a
// real-time clock. machine.c, preloaded, lets the daemon see them.
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./machine.c", import.meta.url));
const SINCE_BOOT_MS = 30_000; // when a daemon starts

const sinceBoot = () => Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;

export class Machine {
  constructor(dir) {
    mkdirSync(dir, { recursive: true });
    this.clockFile = join(dir, "clock");
    this.bootIdFile = join(dir, "boot_id");
    this.library = join(dir, "machine.so");
    execFileSync("cc", ["-std=gnu17", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", this.library, SOURCE, "-ldl"]);
    writeFileSync(this.clockFile, Buffer.alloc(16));
    this.boot();
  }

  /* Switched on, with the wall clock at that time (milliseconds since 1970). */
  boot(wall = Date.now()) {
    writeFileSync(this.bootIdFile, `${randomUUID()}\n`);
    this.boots = SINCE_BOOT_MS - sinceBoot();
    this.setWallClock(wall);
  }

  setWallClock(wall) {
    this.wall = wall - Date.now();
    this.write();
  }

  /* So much time goes by, in no time. */
  pass(ms) {
    this.wall += ms;
    this.boots += ms;
    this.write();
  }

  // In place, where the daemon looks.
  write() {
    const bytes = Buffer.alloc(16);
    bytes.writeBigInt64LE(BigInt(Math.round(this.wall)), 0);
    bytes.writeBigInt64LE(BigInt(Math.round(this.boots)), 8);
    const file = openSync(this.clockFile, "r+");
    writeSync(file, bytes, 0, 16, 0);
    closeSync(file);
  }

  /* Have a daemon run on this machine from its next start on. */
  carry(daemon) {
    daemon.args = [
      `LD_PRELOAD=${this.library}`,
      `MACHINE_CLOCK=${this.clockFile}`,
      `MACHINE_BOOT_ID=${this.bootIdFile}`,
      "ASAN_OPTIONS=verify_asan_link_order=0",
      daemon.command,
      ...daemon.args,
    ];
    daemon.command = "env";
  }
}
