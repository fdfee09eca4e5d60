// A hub and its collectors in one folder, as an operator would set them up. The scenarios and the demo
// both stand on this.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { program, ROOT, tributary } from "./cli.mjs";
import { Collector } from "./collector.mjs";
import { Hub } from "./hub.mjs";

const TAG = join(ROOT, "tag-js", "dist", "t.js");

const address = (port) => `127.0.0.1:${port}`;

/* Make the keys and describe the hub; nothing runs yet. */
export async function createHub(dir, { httpPort, linkPort, partitions = 16 }) {
  const keys = join(dir, "keys");
  mkdirSync(keys, { recursive: true });
  await tributary(["keygen", keys]);
  const dataDir = join(dir, "hub");
  mkdirSync(dataDir, { recursive: true });
  const tokenFile = join(keys, "admin.token");
  const hub = new Hub({
    name: "hub",
    command: program("tributary-hub"),
    args: [
      "--data_dir",
      dataDir,
      "--key_file",
      join(keys, "hub.key"),
      "--admin_token_file",
      tokenFile,
      "--http_listen",
      address(httpPort),
      "--link_listen",
      `tcp://${address(linkPort)}`,
      "--partitions",
      String(partitions),
    ],
    url: `http://${address(httpPort)}`,
    token: readFileSync(tokenFile, "utf8").trim(),
  });
  return Object.assign(hub, { dir, dataDir, tokenFile, link: `tcp://${address(linkPort)}` });
}

/* Define sources and segments, so that collectors enrolled afterwards know them from the start. */
export async function define(hub, { sources = {}, segments = {} }) {
  for (const [key, source] of Object.entries(sources)) {
    await hub.put(`/v1/sources/${encodeURIComponent(key)}`, source);
  }
  for (const [key, segment] of Object.entries(segments)) {
    await hub.put(`/v1/segments/${encodeURIComponent(key)}`, segment);
  }
}

/* The operator's command, spoken to this hub. */
export function operate(hub, args, options) {
  return tributary(["--hub", hub.url, "--token_file", hub.tokenFile, ...args], options);
}

/* Enrol a collector at the running hub and describe it; it does not run yet. `settings`: its settings by
 * name, beside those that are given here; `args`: further arguments. */
export async function enrol(hub, name, { port, writeKey, settings = {}, args = [] }) {
  const dataDir = join(hub.dir, name);
  const enrolment = join(hub.dir, `${name}.enrolment`);
  mkdirSync(dataDir, { recursive: true });
  await operate(hub, ["enroll", name, "--link", hub.link, "--out", enrolment]);
  return new Collector({
    name,
    command: program("tributary-collector"),
    args: [
      "--enrolment",
      enrolment,
      "--data_dir",
      dataDir,
      "--http_listen",
      address(port),
      ...(existsSync(TAG) ? ["--tag_file", TAG] : []),
      ...Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]),
      ...args,
    ],
    url: `http://${address(port)}`,
    enrolment,
    dataDir,
    writeKey,
  });
}
