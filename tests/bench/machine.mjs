// What the benchmark runs and reads on this machine: wrk, nginx, and what /proc says of a process.
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
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

/* wrk against a process, `rounds` times; the run with the median rate, with its CPU time a request and
 * the process's memory at its end. */
export async function loaded(pid, url, args, { rounds = 3, ...options }) {
  await wrk(url, args, { ...options, seconds: 1 });
  const runs = [];
  for (let i = 0; i < rounds; i++) {
    const before = cpuTime(pid);
    const result = await wrk(url, args, options);
    runs.push({
      ...result,
      rate: result.requests / result.seconds,
      cpu: (cpuTime(pid) - before) / result.requests,
      memory: memory(pid),
    });
  }
  return runs.sort((a, b) => a.rate - b.rate)[Math.floor(rounds / 2)];
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
