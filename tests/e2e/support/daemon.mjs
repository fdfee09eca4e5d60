// One process of the product: started, waited for, ended by its own id, its log kept.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "./http.mjs";
import { waitUntil } from "./wait.mjs";

const LOG_LINES_MAX = 2000;
const READY_MS = 15_000;
const STOP_MS = 15_000;

export class Daemon {
  /* `url` is where /readyz answers 200 once the daemon works. */
  constructor({ name, command, args, url }) {
    Object.assign(this, { name, command, args, url, log: [], child: undefined });
    this.onExit = () => {};
  }

  get running() {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /* Start it and wait until it is ready. */
  async start() {
    if (this.running) throw new Error(`${this.name} runs already`);
    // A process group of its own keeps the terminal's Ctrl-C from reaching it: it is ended from here.
    const child = this.spawn();
    this.child = child;
    this.stopping = false;
    let failure;
    child.once("error", (error) => {
      failure = error;
    });
    child.stdout.on("data", (data) => this.keep(data));
    child.stderr.on("data", (data) => this.keep(data));
    child.once("exit", (code, signal) => {
      this.keep(`— ${this.name} ended: ${signal ?? `exit ${code}`}\n`);
      if (!this.stopping) this.onExit(code, signal);
    });
    await waitUntil(() => failure || !this.running || this.isReady(), {
      timeout: READY_MS,
      what: `${this.name} to be ready`,
    });
    if (failure) throw failure;
    if (!this.running) throw new Error(`${this.name} ended instead of starting\n${this.tail()}`);
  }

  /* With `sockets` ({name, fd} each) they are handed over as systemd does it. The process that they are
   * meant for is named by its id, so a shell that becomes the daemon sets that. */
  spawn() {
    const sockets = this.sockets ?? [];
    const options = { stdio: ["ignore", "pipe", "pipe", ...sockets.map(({ fd }) => fd)], detached: true };
    if (sockets.length === 0) return spawn(this.command, this.args, { ...options, env: this.env });
    const env = {
      ...(this.env ?? process.env),
      LISTEN_FDS: String(sockets.length),
      LISTEN_FDNAMES: sockets.map(({ name }) => name).join(":"),
    };
    const become = ["-c", 'LISTEN_PID=$$ exec "$0" "$@"', this.command, ...this.args];
    return spawn("/bin/sh", become, { ...options, env });
  }

  async isReady() {
    return (await request(`${this.url}/readyz`, { timeout: 1000 })).status === 200;
  }

  /* The values of /metrics by name and labels, as they stand there. */
  async metrics() {
    const { text } = await request(`${this.url}/metrics`);
    const samples = text.split("\n").filter((line) => line && !line.startsWith("#"));
    return Object.fromEntries(samples.map((line) => /^(.*) (\S+)$/.exec(line).slice(1)).map(([name, value]) => [name, Number(value)]));
  }

  /* One of them; undefined where it is not there. */
  async metric(name) {
    return (await this.metrics())[name];
  }

  /* The log's first match of a pattern, waited for: a line is written after what it tells of. */
  logged(pattern, options) {
    return waitUntil(() => pattern.exec(this.log.join("")), { what: `${this.name} to log ${pattern}`, ...options });
  }

  /* Send the signal and wait for the end. SIGTERM must end a daemon cleanly. */
  async kill(signal = "SIGTERM") {
    if (!this.running) return;
    const { child } = this;
    this.stopping = true;
    const ended = once(child, "exit");
    child.kill(signal);
    const tooLong = setTimeout(() => {
      this.keep(`— ${this.name} did not end ${STOP_MS} ms after ${signal}\n`);
      child.kill("SIGKILL");
    }, STOP_MS);
    const [code, endedBy] = await ended;
    clearTimeout(tooLong);
    if (signal !== "SIGKILL" && code !== 0) {
      throw new Error(`${this.name} ended with ${endedBy ?? `exit ${code}`} at ${signal}\n${this.tail()}`);
    }
  }

  keep(data) {
    this.log.push(...String(data).split(/(?<=\n)/));
    this.log.splice(0, this.log.length - LOG_LINES_MAX);
  }

  tail(lines = 40) {
    return `--- last of ${this.name}'s log\n${this.log.slice(-lines).join("")}`;
  }
}
