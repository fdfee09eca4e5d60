// The whole of Tributary on one machine, with a shop and a week of its traffic: `make demo`.
//
// TRAFFIC=0 leaves the week out; SECONDS_TO_RUN=N ends by itself; RATE=N replays N events a second.
// Everything is kept in run/, made fresh. Once all is ready, run/demo.env tells the addresses and keys.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../e2e/support/cli.mjs";
import { createHub, define, enrol, operate } from "../e2e/support/deployment.mjs";
import { usualPort } from "../e2e/support/ports.mjs";
import { SEGMENTS, SERVER_WRITE_KEY, sourcesFor, WRITE_KEY } from "./segments.mjs";
import { serveShop } from "./shop-server.mjs";
import { Signer } from "./signer.mjs";
import { generateTraffic, writeTraffic } from "./traffic.mjs";

const RUN = join(ROOT, "run");
const ENV_FILE = join(RUN, "demo.env");
const SEED = 1;

// What runs, in the order of its start; it is ended in the opposite order.
const running = [];
let ending = false;

async function stopAll() {
  rmSync(ENV_FILE, { force: true });
  let clean = true;
  for (const part of running.reverse()) {
    await part.stop().catch((error) => {
      clean = false;
      console.error(error.message);
    });
  }
  return clean;
}

async function end(code, message) {
  if (ending) return;
  ending = true;
  if (message) console.error(message);
  const clean = await stopAll();
  process.exit(clean ? code : 1);
}

async function run(daemon, title) {
  daemon.onExit = () => end(1, `\nThe ${title} died, so the demo ends.\n${daemon.tail()}`);
  running.push({ stop: () => daemon.kill() });
  await daemon.start();
  return daemon;
}

// Keys, hub, shop, and two collectors: one behind the web site, one in the store.
async function build() {
  rmSync(RUN, { recursive: true, force: true });
  mkdirSync(RUN, { recursive: true });
  const shopPort = await usualPort(8000);
  const hub = await run(
    await createHub(RUN, { httpPort: await usualPort(8090), linkPort: await usualPort(8091) }),
    "hub",
  );
  const signer = new Signer(WRITE_KEY);
  const origins = [`http://127.0.0.1:${shopPort}`, `http://localhost:${shopPort}`];
  await define(hub, { sources: sourcesFor(origins, signer), segments: SEGMENTS });
  const web = await run(
    await enrol(hub, "web", { port: await usualPort(8080), writeKey: WRITE_KEY }),
    "web collector",
  );
  const store = await run(
    await enrol(hub, "store", { port: await usualPort(8081), writeKey: SERVER_WRITE_KEY }),
    "store collector",
  );
  const shop = await serveShop(shopPort, { collector: web.url, writeKey: WRITE_KEY, signer });
  running.push({ stop: () => shop.close() });
  return { hub, web, store, shop, signer };
}

// Replay the generated week through the operator's command; answers a customer only the till knows.
async function replayWeek({ hub, web, store, shop, signer }) {
  const prove = (...visitor) => signer.prove(...visitor);
  const traffic = generateTraffic({ seed: SEED, origin: shop.url, prove });
  writeTraffic(RUN, traffic);
  console.log(
    `Replaying a week: ${traffic.web.length} events of the shop, ${traffic.store.length} of the tills …`,
  );
  const replaying = new AbortController();
  running.push({ stop: async () => replaying.abort() });
  const rate = process.env.RATE ? ["--rate", process.env.RATE] : [];
  const replay = (file, collector, key) =>
    operate(hub, ["replay", join(RUN, file), "--collector", collector.url, "--write_key", key, ...rate], {
      timeout: 0,
      signal: replaying.signal,
    });
  await replay("store.ndjson", store, SERVER_WRITE_KEY);
  await replay("web.ndjson", web, WRITE_KEY);
  return traffic.people.find((person) => person.till && !person.web);
}

function writeEnvironment({ hub, web, store, shop }) {
  const lines = {
    COLLECTOR: web.url,
    STORE: store.url,
    HUB: hub.url,
    SHOP: shop.url,
    WRITE_KEY,
    SERVER_WRITE_KEY,
    CUSTOMER_TOKEN: store.customerToken,
    TOKEN: hub.token,
  };
  const text = Object.entries(lines)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
  // Whoever waits for the file must never see half of it; and it holds tokens.
  writeFileSync(`${ENV_FILE}.new`, text, { mode: 0o600 });
  renameSync(`${ENV_FILE}.new`, ENV_FILE);
}

function welcome({ hub, web, store, shop }, customer) {
  const email = customer?.email ?? "jane@example.com";
  const buy = `curl -s -u ${SERVER_WRITE_KEY}: ${store.url}/v1/track -d '${JSON.stringify({
    event: "Order Completed",
    properties: { channel: "store", total: 120, currency: "EUR" },
    context: { externalIds: [{ type: "email", id: email }] },
  })}'`;
  console.log(`
Tributary is running.

  Shop             ${shop.url}
  Hub              ${hub.url}      token: ${hub.token}
  Web collector    ${web.url}
  Store collector  ${store.url}

Try this:
  1. Open the shop and accept that it measures.
  2. Look at three products.
  3. Sign in as ${email}, ${
    customer
      ? `whom so far only the till knows\n     (${customer.firstName} ${customer.lastName}, ${customer.city}).`
      : `after giving her an order at the till:\n     ${buy}`
  }
  The page greets a hot lead at once, without being loaded again: the hub has joined the visitor with
  the customer, and the segment has come back to the web collector.
${customer ? `\nAnother order at the till:\n  ${buy}\n` : ""}
What the till would be told:
  curl -s -H 'Authorization: Bearer ${store.customerToken}' '${store.url}/v1/customers?email=${email}'
What the hub knows:
  curl -s -H 'Authorization: Bearer ${hub.token}' '${hub.url}/v1/profiles?email=${email}'

Addresses and keys are in run/demo.env. Ctrl-C ends everything.`);
}

process.on("SIGINT", () => end(0, "\nStopping …"));
process.on("SIGTERM", () => end(0, "\nStopping …"));

try {
  const parts = await build();
  const customer = process.env.TRAFFIC === "0" ? undefined : await replayWeek(parts);
  if (!ending) {
    writeEnvironment(parts);
    welcome(parts, customer);
    const seconds = Number(process.env.SECONDS_TO_RUN);
    if (seconds > 0) setTimeout(() => end(0, "Time is up; stopping …"), seconds * 1000);
  }
} catch (error) {
  await end(1, error.message);
}
