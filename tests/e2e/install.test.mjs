// What deploy/README.md says is done here line by line: install, keys, hub, source, enrolment, collector, first event,
// seen. The daemons are started as their units say. And ports and folders are the same wherever they are named.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { program, ROOT } from "./support/cli.mjs";
import { Daemon } from "./support/daemon.mjs";
import { freePorts } from "./support/ports.mjs";
import { test, waitUntil } from "./support/site.mjs";
import { holdSocket } from "./support/sockets.mjs";

const run = promisify(execFile);
const read = (path) => readFileSync(join(ROOT, path), "utf8");
const MANUAL = read("deploy/README.md");

/* A unit's lines as [name, value]; what follows a backslash belongs to the line. */
const unit = (text) =>
  text
    .replace(/^[#;].*\n/gm, "")
    .replace(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => /^([A-Za-z]+)=(.*)$/.exec(line)?.slice(1))
    .filter(Boolean);
const values = (lines, name) => lines.filter(([one]) => one === name).map(([, value]) => value);

/* The shell commands of a chapter, in their order; a line that ends with a bar goes on. */
function commands(chapter) {
  const [, text] = MANUAL.split(`\n## ${chapter}\n`);
  const blocks = [...text.split("\n## ")[0].matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block);
  return blocks.join("").replace(/\|\n\s*/g, "| ").split("\n").filter(Boolean);
}

const defaults = (name) =>
  Object.fromEntries([...execFileSync(program(name), ["--print-config"], { encoding: "utf8" }).matchAll(/^([a-z_]+) = ?(.*)$/gm)].map(([, key, value]) => [key, value]));

test("ports and folders are the same in settings, units, documents and the manual", () => {
  const hub = defaults("tributary-hub");
  const collector = defaults("tributary-collector");
  const hubUnit = unit(read("deploy/systemd/tributary-hub.service"));
  const collectorUnit = unit(read("deploy/systemd/tributary-collector.service"));
  const [hubStart] = values(hubUnit, "ExecStart");
  const [collectorStart] = values(collectorUnit, "ExecStart");
  const port = (text) => /:(\d+)$/.exec(text)[1];

  assert.match(hubStart, new RegExp(`--data_dir ${hub.data_dir} `));
  assert.equal(hub.data_dir, `/var/lib/${values(hubUnit, "StateDirectory")[0]}`);
  assert.match(hubStart, new RegExp(`--http_listen ${hub.http_listen} `));
  assert.equal(port(/--link_listen (\S+)/.exec(hubStart)[1]), port(hub.link_listen));
  assert.deepEqual(values(hubUnit, "LoadCredential"), [`hub.key:${hub.key_file}`, `admin.token:${hub.admin_token_file}`]);
  assert.match(read("hub/openapi.yaml"), new RegExp(`- \\{url: "http://${hub.http_listen}"`));

  assert.match(collectorStart, new RegExp(`--data_dir ${collector.data_dir} `));
  assert.match(collectorStart, new RegExp(`--tag_file ${collector.tag_file} `));
  assert.equal(collector.data_dir, `/var/lib/${values(collectorUnit, "StateDirectory")[0].split(" ")[0]}`);
  assert.equal(values(collectorUnit, "LoadCredential")[0], `collector.enrolment:${collector.enrolment}`);
  assert.deepEqual(values(unit(read("deploy/systemd/tributary-collector.socket")), "ListenStream"), [collector.http_listen]);
  assert.equal(port(values(unit(read("deploy/systemd/box-socket.conf")), "ListenStream").at(-1)), port(collector.http_listen));
  assert.match(read("collector/openapi.yaml"), new RegExp(`- \\{url: "http://${collector.http_listen}"`));

  const help = execFileSync(program("tributary"), ["--help"], { encoding: "utf8" });
  assert.ok(help.includes(`else http://${hub.http_listen}]`));
  for (const text of [help, MANUAL]) assert.match(text, new RegExp(`tributary enroll shop --link tcp://hub\\.example:${port(hub.link_listen)}\\s+--out collector\\.enrolment`));
  for (const where of [hub.http_listen, port(hub.link_listen), collector.http_listen, hub.data_dir, collector.data_dir, collector.tag_file]) {
    assert.ok(MANUAL.includes(`${where}`), where);
  }
});

const INSTALLED = process.env.BUILD_DIR === undefined || process.env.BUILD_DIR === "build";

test("the manual leads from nothing to the first event", { skip: !INSTALLED && "make install takes the ordinary build" }, async (t) => {
  const root = mkdtempSync(join(tmpdir(), "tributary-install-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const folder of ["etc", "var/lib/tributary-collector-key"]) mkdirSync(join(root, folder), { recursive: true }); // as on every machine, and as systemd does
  const [http, link] = await freePorts(2);
  const socket = holdSocket(t, "http", 0);
  const daemons = {};
  t.after(() => Promise.all(Object.values(daemons).map((daemon) => daemon.kill())));

  const here = (text) =>
    text
      .replaceAll(/(?<![\w/])\/(etc|var|usr)\//g, `${root}/$1/`)
      .replaceAll("tcp://hub.example:8091", `tcp://127.0.0.1:${link}`)
      .replaceAll("127.0.0.1:8080", `127.0.0.1:${socket.port}`);

  // As systemd would: credentials in one folder, variables put in, no shell.
  const start = (name) => {
    const lines = unit(read(`deploy/systemd/${name}.service`));
    const variables = Object.fromEntries(values(lines, "Environment").map((value) => value.split(/=(.*)/s)));
    const [command, ...args] = values(lines, "ExecStart")[0]
      .replace(/\$\{?(\w+)\}?/g, (_, variable) => variables[variable] ?? "")
      .replaceAll("%d", "/etc/tributary")
      .replace("127.0.0.1:8090", `127.0.0.1:${http}`)
      .replace("tcp://0.0.0.0:8091", `tcp://127.0.0.1:${link}`)
      .split(/\s+/)
      .filter(Boolean)
      .map(here);
    const url = `http://127.0.0.1:${name === "tributary-hub" ? http : socket.port}`;
    daemons[name] = new Daemon({ name, command, args, url });
    if (name === "tributary-collector") daemons[name].sockets = [socket];
    return daemons[name].start();
  };

  const env = { ...process.env, PATH: `${root}/usr/bin:${process.env.PATH}`, TRIBUTARY_HUB: `http://127.0.0.1:${http}`, TRIBUTARY_TOKEN_FILE: `${root}/etc/tributary/admin.token` };
  const shell = async (line) => (await run("/bin/sh", ["-euc", here(line)], { env, cwd: root })).stdout;
  let seen = "";
  for (const line of commands("From nothing to the first event")) {
    const [, service] = /^systemctl enable --now (\S+)/.exec(line) ?? [];
    if (service) {
      await start(service);
    } else if (/^sudo make install/.test(line)) {
      await run("make", ["--no-print-directory", "install", `DESTDIR=${root}`], { cwd: ROOT });
    } else if (/^tributary profile/.test(line)) {
      seen = await waitUntil(() => shell(line).catch(() => undefined), { what: "the first event to be seen" });
    } else if (!/^(make|sudo|export|systemctl)\b/.test(line)) {
      await shell(line);
    }
  }
  assert.match(seen, /u1/);
  assert.match(seen, /Hello/);
  assert.match(await shell("tributary collectors"), /^shop +live/m);
  const page = await fetch(`http://127.0.0.1:${socket.port}/t.js`);
  assert.equal(page.status, 200);
});
