// What the benchmark runs and reads on this machine: wrk, nginx, and what /proc says of a process.
import { execFile, execFileSync, spawn } from "node:child_process";
import {
  closeSync, existsSync, fdatasyncSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, writeSync,
} from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { waitUntil } from "../e2e/support/wait.mjs";
import { request } from "../e2e/support/http.mjs";

const LUA = fileURLToPath(new URL("./wrk.lua", import.meta.url));
const TICK_US = 10_000; // USER_HZ is 100 on every Linux that Debian knows

export const describe = () => ({
  cores: cpus().length,
  processor: cpus()[0]?.model ?? "unknown",
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  date: new Date().toISOString().slice(0, 10),
});

// Ticks of all cores: not idle, and all.
function ticks() {
  const fields = readFileSync("/proc/stat", "utf8").split("\n")[0].trim().split(/\s+/).slice(1).map(Number);
  const all = fields.slice(0, 8).reduce((sum, value) => sum + value, 0);
  return { busy: all - fields[3] - fields[4], all };
}

/* How much of the machine is used before anything was started: what is measured then is worth less. */
export async function usedByOthers() {
  const before = ticks();
  await pause(1000);
  const after = ticks();
  return (after.busy - before.busy) / (after.all - before.all);
}

/* The programs that are missing. */
export const missing = (programs) =>
  programs.filter((name) => !["/usr/bin", "/usr/sbin", "/usr/local/bin"].some((dir) => existsSync(join(dir, name))));

/* CPU time of a process so far, in µs, children not included. */
export function cpuTime(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/* Keep a process that runs, with all its threads, on one core. */
export const pinTo = (core, pid) => execFileSync("taskset", ["-a", "-p", "-c", String(core), String(pid)], { stdio: "ignore" });

/* Resident memory in MiB: now, and of it what is the process's own (not mapped files), and the peak. */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)[1]) / 1024;
  return { resident: field("VmRSS"), own: field("RssAnon"), peak: field("VmHWM") };
}

export function folderBytes(dir) {
  return readdirSync(dir, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(dir, entry.name);
    return sum + (entry.isDirectory() ? folderBytes(path) : (statSync(path, { throwIfNoEntry: false })?.size ?? 0));
  }, 0);
}

/* What was written to the disk below a folder so far, in bytes: by everybody, and with the file system's own
 * journal. NaN where the kernel does not count. */
export function diskWritten(dir) {
  const { dev } = statSync(dir, { bigint: true });
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
  const path = `/sys/dev/block/${major}:${minor}/stat`;
  return existsSync(path) ? Number(readFileSync(path, "utf8").trim().split(/\s+/)[6]) * 512 : NaN;
}

/* Wait until a process uses less than 3 % of a core. */
export async function idle(pid, timeout = 300_000) {
  const end = performance.now() + timeout;
  while (performance.now() < end) {
    const before = cpuTime(pid);
    await pause(1000);
    if (cpuTime(pid) - before < 30_000) return;
  }
}

/* Run wrk on the second core; what its script says at the end. */
export async function wrk(url, args, { connections = 64, seconds, isFirst = false }) {
  // Whoever measures latency beside others on its core goes before them, where that is allowed.
  const before = isFirst && process.getuid() === 0 ? ["chrt", "--rr", "1"] : [];
  const { stdout } = await promisify(execFile)("taskset", [
    "-c", "1", ...before, "wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", LUA, url, "--", ...args,
  ]);
  const line = /^BENCH (.*)$/m.exec(stdout);
  if (!line) throw new Error(`wrk said nothing:\n${stdout}`);
  return JSON.parse(line[1]);
}

function summary(runs) {
  const all = (name) => runs.map((run) => run[name]);
  const median = (name) => quantile(all(name), 0.5);
  const sum = (name) => all(name).reduce((total, value) => total + value, 0);
  return {
    rate: median("rate"),
    cpu: median("cpu"),
    p50: median("p50"),
    p99: median("p99"),
    errors: sum("errors"),
    refused: sum("refused"),
    memory: { resident: Math.max(...all("resident")), own: Math.max(...all("own")) },
    rates: all("rate"),
  };
}

/* wrk against each of some processes in turn, `rounds` times, so that all meet the same moods of the
 * machine. Of each the median of each figure, CPU time being that of a request, and the highest of memory.
 * `meanwhile` may measure something else in each round. */
export async function loaded(subjects, { rounds, meanwhile = () => {}, ...options }) {
  const runs = subjects.map(() => []);
  for (const { url, args, connections } of subjects) await wrk(url, args, { ...options, connections, seconds: 1 });
  for (let round = 0; round < rounds; round++) {
    for (const [i, { pid, url, args, connections }] of subjects.entries()) {
      const before = cpuTime(pid);
      const result = await wrk(url, args, { ...options, connections });
      const cpu = (cpuTime(pid) - before) / result.requests;
      runs[i].push({ ...result, rate: result.requests / result.seconds, cpu, ...memory(pid) });
    }
    await meanwhile();
  }
  return runs.map(summary);
}

/* How one does beside another in the same rounds. */
export const ratio = (one, other) => quantile(one.rates.map((rate, i) => rate / other.rates[i]), 0.5);

const DISK_FILE_BYTES = 2 ** 20;
const DISK_WRITE_BYTES = 1000;
const DISK_PAUSE_MS = 0.5;

/* The disk by itself, as far as a program can be fast on it: small writes into a file that has its size
 * already, each synced. How long the syncs took, in ms. */
export function syncDisk(dir, seconds) {
  const path = join(dir, "disk");
  const file = openSync(path, "w");
  const times = [];
  writeSync(file, Buffer.alloc(DISK_FILE_BYTES));
  fsyncSync(file);
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const end = performance.now() + seconds * 1000;
  for (let at = 0; performance.now() < end; at = (at + DISK_WRITE_BYTES) % (DISK_FILE_BYTES - DISK_WRITE_BYTES)) {
    const start = performance.now();
    writeSync(file, Buffer.alloc(DISK_WRITE_BYTES, 1), 0, DISK_WRITE_BYTES, at);
    fdatasyncSync(file);
    times.push(performance.now() - start);
    Atomics.wait(sleeper, 0, 0, DISK_PAUSE_MS);
  }
  closeSync(file);
  rmSync(path);
  return times;
}

/* The p99 of somebody who asks for a sync every `interval` ms, waiting or not: as wrk counts, who asks
 * again and again while nothing is answered. */
export function p99Asked(times, interval) {
  const asked = times.flatMap((time) => Array.from({ length: 1 + Math.floor(time / interval) }, (_, i) => time - i * interval));
  return quantile(asked, 0.99);
}

/* nginx reads each body whole and answers {"success":true}; under /log/ it also appends the body to a
 * file, unsynced. Reading is done by the echo module that Debian's nginx-light brings along: nginx itself
 * reads a body only in order to pass it on, and `return` throws it away unread. */
const NGINX = (dir, port) => `
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log;
events { worker_connections 2048; }
http {
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  client_body_buffer_size 512k;
  client_max_body_size 1m;
  client_body_in_single_buffer on;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  log_format body escape=none $request_body;
  default_type application/json;
  server {
    listen 127.0.0.1:${port} backlog=2048;
    access_log off;
    location / { echo_read_request_body; echo '{"success":true}'; }
    location /log/ { access_log ${dir}/bodies.log body buffer=256k; echo_read_request_body; echo '{"success":true}'; }
  }
}
`;

export async function startNginx(dir, port) {
  mkdirSync(dir, { recursive: true });
  const config = join(dir, "nginx.conf");
  writeFileSync(config, NGINX(dir, port));
  const child = spawn("taskset", ["-c", "0", "nginx", "-e", join(dir, "start.log"), "-p", dir, "-c", config], { stdio: "inherit" });
  const url = `http://127.0.0.1:${port}`;
  await waitUntil(async () => (await request(url, { method: "POST", body: "{}" })).status === 200, { what: "nginx" });
  const worker = Number(execFileSync("pgrep", ["-P", String(child.pid)]).toString().trim().split("\n")[0]);
  return { url, worker, stop: () => new Promise((done) => child.once("exit", done) && child.kill("SIGTERM")) };
}

/* The q-quantile of some numbers. */
export const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))];
