// A visitor goes from one site to another of the same hub and stays the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { ROOT } from "./support/cli.mjs";
import { Machine } from "./support/machine.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const LOADER = readFileSync(join(ROOT, "tag-js", "handover.js"), "utf8");
const HOSTS = ["shop-a.localhost", "shop-b.localhost"];

/* Two sites with a collector each, and one page for all addresses; undefined without Chromium. `policy` gives
 * the page's Content-Security-Policy for the address of its collector; its scripts have the nonce n1. */
async function startShops(t, data = {}, policy) {
  const page = await openBrowser(t);
  if (!page) return undefined;
  const [port] = await freePorts(1);
  const [a, b] = HOSTS.map((host) => `http://${host}:${port}`);
  const sources = {
    web: { name: "web", origins: [a, b], consent: { exempt: true } },
    server: { name: "server", trust: "server", consent: { exempt: true } },
  };
  const site = await startSite(t, { collectors: HOSTS.map((host) => host.slice(0, 6)), sources, segments: {}, writeKey: "server" });
  const collectorOf = Object.fromEntries(HOSTS.map((host) => [host, site.collectors[host.slice(0, 6)]]));
  const server = createServer((request, response) => {
    const host = request.headers.host.split(":")[0];
    if (request.url === "/handover.js") return response.writeHead(200, { "content-type": "text/javascript" }).end(LOADER);
    const address = collectorOf[host].url.replace("127.0.0.1", host);
    const other = HOSTS.find((name) => name !== host);
    const attributes = Object.entries({ "write-key": "web", host: address, link: other, ...data })
      .map(([name, value]) => ` data-${name}="${value}"`)
      .join("");
    const headers = { "content-type": "text/html", ...(policy && { "content-security-policy": policy(address) }) };
    response.writeHead(200, headers).end(`<!doctype html><link rel="icon" href="data:,"><body>
      <script nonce="n1" src="/handover.js"${attributes}></script>
      <a id="other" href="http://${other}:${port}/landing?a=1#part">other shop</a>
      <a id="else" href="http://127.0.0.1:${port}/">elsewhere</a>`);
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { page, site, a, b, collectorOf };
}

const started = (page) => page.waitForFunction(() => window.tributary?.user);
const idOf = (page) => page.evaluate(() => window.tributary.user().anonymousId);

async function open(page, address) {
  await page.goto(address);
  await started(page);
  return idOf(page);
}

// Follow the link, with the token that came while the pointer was over it.
async function follow(page) {
  await page.hover("#other");
  await page.waitForFunction(() => document.querySelector("#other").search.includes("trb_link"));
  await Promise.all([page.waitForURL(/landing/), page.click("#other")]);
  await started(page);
}

/* Start all daemons of the site anew on one machine, whose clock the test moves. */
async function moveToMachine(site) {
  const machine = new Machine(join(site.dir, "machine"));
  for (const daemon of site.daemons) {
    await daemon.kill();
    machine.carry(daemon);
    await daemon.start();
  }
  return machine;
}

async function tokenFor(page) {
  await page.hover("#other");
  await page.waitForFunction(() => document.querySelector("#other").search.includes("trb_link"));
  return page.evaluate(() => new URLSearchParams(document.querySelector("#other").search).get("trb_link"));
}

test("a visitor who follows a link to another site of the hub is the same there, from the first event on", async (t) => {
  const shops = await startShops(t);
  if (!shops) return;
  const { page, site, a, b } = shops;
  const before = await open(page, b);
  const id = await open(page, a);
  assert.notEqual(id, before, "the sites share nothing by themselves");
  const sent = [];
  page.on("request", (request) => request.method() === "POST" && sent.push(JSON.parse(request.postData())));
  await follow(page);
  assert.equal(page.url(), `${b}/landing?a=1#part`, "the address is clean again");
  assert.equal(await idOf(page), id);
  const profile = await waitUntil(
    async () => {
      const found = await site.hub.profile("anonymous_id", id);
      return found?.eventCount >= 2 && found;
    },
    { what: "both views at the hub" },
  );
  const views = await site.hub.timeline(profile.id);
  assert.deepEqual(new Set(views.map(({ context }) => new URL(context.page.url).origin)), new Set([a, b]));
  const there = sent.flatMap(({ batch }) => batch).filter(({ context }) => context.page.url.startsWith(b));
  assert.deepEqual([...new Set(there.map(({ anonymousId }) => anonymousId))], [id], "nothing was sent with another id");
  assert.ok(there.every(({ context }) => !context.page.url.includes("trb_link")));
  const cookies = await page.context().cookies(b);
  assert.equal(cookies.find(({ name }) => name === "trb_aid").value, id);
  await page.hover("#else");
  assert.equal(await page.evaluate(() => document.querySelector("#else").search), "");
});

test("a token that was forged, or that a foreign page asks about, is refused, and the visitor stays who they were", async (t) => {
  const shops = await startShops(t);
  if (!shops) return;
  const { page, a, b, collectorOf } = shops;
  const before = await open(page, b);
  const id = await open(page, a);
  const token = await tokenFor(page);
  const collector = collectorOf[HOSTS[1]];
  const take = (given, headers = {}) => collector.get(`/v1/link?token=${given}`, { headers: { origin: b, "sec-fetch-site": "same-site", ...headers } });
  const good = await take(token);
  assert.deepEqual([good.status, good.body], [200, { anonymousId: id }]);
  assert.match(good.headers["set-cookie"] + "", new RegExp(`trb_aid=${id}`));

  const forged = (token[0] === "A" ? "B" : "A") + token.slice(1);
  assert.deepEqual([(await take(forged)).status, (await take(forged)).body.error.code], [400, "invalid-token"]);
  const elsewhere = await take(token, { origin: "https://evil.example", "sec-fetch-site": "cross-site" });
  assert.deepEqual([elsewhere.status, elsewhere.body.error.code], [403, "origin-not-allowed"]);
  assert.equal(elsewhere.headers["set-cookie"], undefined);

  assert.equal(await open(page, `${b}/landing?trb_link=${forged}`), before);
  assert.equal(page.url(), `${b}/landing`);
});

test("a token that has run out is refused, and the visitor keeps the id of the site and goes on", async (t) => {
  const shops = await startShops(t);
  if (!shops) return;
  const { page, site, a, b, collectorOf } = shops;
  const machine = await moveToMachine(site);
  const before = await open(page, b);
  const id = await open(page, a);
  const token = await tokenFor(page);
  const take = () => collectorOf[HOSTS[1]].get(`/v1/link?token=${token}`, { headers: { origin: b } });
  assert.deepEqual((await take()).body, { anonymousId: id });

  machine.pass(121_000);
  const late = await take();
  assert.deepEqual([late.status, late.body.error.code], [400, "expired-token"]);
  const answers = [];
  page.on("response", (response) => response.url().includes("token=") && answers.push(response.status()));
  page.complaints.length = 0;
  // The visitor follows the link that has stood in the page since.
  await Promise.all([page.waitForURL(/landing/), page.evaluate(() => document.querySelector("#other").click())]);
  await started(page);
  assert.deepEqual(answers, [400]);
  assert.equal(page.url(), `${b}/landing?a=1#part`, "the address is clean again");
  assert.equal(await idOf(page), before);
  const cookies = await page.context().cookies(b);
  assert.equal(cookies.find(({ name }) => name === "trb_aid").value, before);
  // What happens on the page is told, with that id.
  await page.evaluate(() => window.tributary.track("Arrived"));
  const profile = await waitUntil(() => site.hub.profile("anonymous_id", before), { what: "the visitor at the hub" });
  const events = await waitUntil(
    async () => {
      const found = await site.hub.timeline(profile.id);
      return found.length >= 3 && found;
    },
    { what: "both views and what followed" },
  );
  assert.deepEqual(events.map(({ event, type }) => event ?? type).sort(), ["Arrived", "page", "page"]);
  assert.ok(events.every(({ anonymousId, context }) => anonymousId === before && !context.page.url.includes("trb_link")));
  // The browser itself writes down the refusal; the page complains of nothing.
  assert.deepEqual(page.complaints.filter((text) => !text.includes("status of 400")), []);
  // The next link has a fresh token.
  await open(page, a);
  await follow(page);
  assert.equal(await idOf(page), id);
});

/* As strict as the tag and its loader allow: one nonce, and Trusted Types with the loader's policy only. */
const strict = (collector) =>
  `default-src 'none'; script-src 'nonce-n1'; connect-src ${collector}; img-src data:; base-uri 'none'; ` +
  "require-trusted-types-for 'script'; trusted-types tributary";

test("the visitor is handed over between pages with Trusted Types and a strict policy", async (t) => {
  const shops = await startShops(t, {}, strict);
  if (!shops) return;
  const { page, site, a, b } = shops;
  const before = await open(page, b);
  await assert.rejects(page.evaluate(() => (document.createElement("script").src = "/x.js")), /TrustedScriptURL/);
  page.complaints.length = 0; // of just that
  const id = await open(page, a);
  assert.notEqual(id, before);
  await follow(page);
  assert.equal(page.url(), `${b}/landing?a=1#part`, "the address is clean again");
  assert.equal(await idOf(page), id);
  await waitUntil(async () => (await site.hub.profile("anonymous_id", id))?.eventCount >= 2, { what: "both views at the hub" });
  assert.deepEqual(page.complaints, []);
});

test("without consent to storage no id is given away or taken", async (t) => {
  const shops = await startShops(t, { "require-consent": "" });
  if (!shops) return;
  const { page, a, b, collectorOf } = shops;
  const asked = [];
  page.on("request", (request) => request.url().includes("/v1/link") && asked.push(request.url()));
  await open(page, a);
  await page.hover("#other");
  await page.focus("#other");
  const { body } = await collectorOf[HOSTS[0]].get("/v1/link", { headers: { origin: a, cookie: "trb_aid=somebody" } });
  const id = await open(page, `${b}/landing?trb_link=${body.token}`);
  assert.notEqual(id, "somebody");
  assert.deepEqual(asked, []);
  assert.equal(page.url(), `${b}/landing`);
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), []);

  await page.evaluate(() => window.tributary.consent({ analytics: true }));
  await open(page, `${b}/landing?trb_link=${body.token}`);
  assert.equal(await idOf(page), "somebody", "after consent it is taken");
});
