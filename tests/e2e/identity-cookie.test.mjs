// The first-party cookie: set by the server, following the browser's own id, never changing it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { program, ROOT } from "./support/cli.mjs";
import { addressOf, servePages } from "./support/pages.mjs";
import { freePorts } from "./support/ports.mjs";
import { arrived, KEY, openSource } from "./support/sdk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const ORIGIN = "https://shop.example";
const hello = { event: "Hello" };

const start = (t, settings = {}, sources = openSource([ORIGIN])) =>
  startSite(t, { sources, settings, writeKey: KEY });

// What a browser on the site's page sends, with its cookie if it has one.
const asBrowser = (cookie, headers = {}) => ({
  headers: { origin: ORIGIN, ...(cookie && { cookie: `trb_aid=${cookie}` }), ...headers },
});

const setCookie = (answer) => answer.headers["set-cookie"];

test("a browser gets its own id as a cookie, and a server gets none", async (t) => {
  const { collector } = await start(t);
  const first = await collector.post("/v1/track", { ...hello, anonymousId: "own" }, asBrowser());
  assert.equal(first.status, 200, first.text);
  assert.equal(setCookie(first), "trb_aid=own; Path=/; Max-Age=34128000; SameSite=Lax");
  const again = await collector.post("/v1/track", { ...hello, anonymousId: "own" }, asBrowser("own"));
  assert.equal(setCookie(again), undefined);
  // A page view renews the lifetime.
  const view = await collector.post("/v1/page", { anonymousId: "own" }, asBrowser("own"));
  assert.match(setCookie(view), /^trb_aid=own;/);
  const server = await collector.post("/v1/track", { ...hello, anonymousId: "own" });
  assert.equal(setCookie(server), undefined);
  const odd = await collector.post("/v1/track", { ...hello, anonymousId: "a; Domain=evil" }, asBrowser());
  assert.equal(odd.status, 200);
  assert.equal(setCookie(odd), undefined);
});

test("the cookie follows the event's own id, and gives its id only to events that have none", async (t) => {
  const { hub, collector } = await start(t);
  const other = await collector.post("/v1/track", { ...hello, anonymousId: "own" }, asBrowser("older"));
  assert.match(setCookie(other), /^trb_aid=own;/);
  for (const event of [hello, { ...hello, userId: "u1" }]) {
    const answer = await collector.post("/v1/track", event, asBrowser("own"));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(setCookie(answer), undefined);
  }
  const batch = [{ type: "page" }, { type: "track", event: "Mine", anonymousId: "own" }];
  assert.equal((await collector.post("/v1/batch", { batch }, asBrowser("own"))).status, 200);
  const { profile } = await arrived(hub, ["anonymous_id", "own"], 5);
  assert.ok(profile.identifiers.some(({ type, value }) => type === "user_id" && value === "u1"));
  assert.equal(await hub.profile("anonymous_id", "older"), undefined);
});

test("an event that names nobody is refused where there is no cookie or nothing usable in it", async (t) => {
  const { collector } = await start(t);
  for (const cookie of [undefined, "", "x".repeat(129), "a%20b"]) {
    const answer = await collector.post("/v1/track", hello, asBrowser(cookie));
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.body.error.code, "missing-identifier");
    assert.equal(setCookie(answer), undefined);
  }
});

test("an event that is refused for want of consent sets no cookie", async (t) => {
  const sources = { [KEY]: { name: "site", origins: [ORIGIN], consent: { required: ["analytics"] } } };
  const { collector } = await start(t, {}, sources);
  const event = (granted) => ({
    type: "page",
    anonymousId: granted === true ? "willing" : "unwilling",
    context: granted === undefined ? {} : { consent: { categoryPreferences: { analytics: granted } } },
  });
  for (const granted of [undefined, false]) {
    const answer = await collector.post("/v1/page", event(granted), asBrowser());
    assert.equal(answer.status, 400, answer.text);
    assert.equal(setCookie(answer), undefined);
  }
  const mixed = await collector.post("/v1/batch", { batch: [event(true), event(false)] }, asBrowser());
  assert.match(setCookie(mixed), /^trb_aid=willing;/);
});

test("whoever withdraws consent loses the cookie, also one that scripts cannot reach", async (t) => {
  const sources = { [KEY]: { name: "site", origins: [ORIGIN], consent: { required: ["analytics"] } } };
  const { collector } = await start(t, { cookie_http_only: "yes" }, sources);
  const event = (anonymousId, analytics) => ({
    ...hello,
    anonymousId,
    context: { consent: { categoryPreferences: { analytics } } },
  });
  const denied = await collector.post("/v1/track", event("own", false), asBrowser("own"));
  assert.equal(denied.body.error.code, "consent-denied");
  assert.equal(setCookie(denied), "trb_aid=; Path=/; Max-Age=0; SameSite=Lax; HttpOnly");
  for (const [body, cookie] of [
    [event("own", false), undefined],
    [event("own", false), "another"],
    [{ ...hello, anonymousId: "own" }, "own"],
    [event("own", true), "own"],
  ]) {
    assert.equal(setCookie(await collector.post("/v1/track", body, asBrowser(cookie))), undefined);
  }
});

test("name, domain, lifetime, HttpOnly and SameSite are settings; Secure comes with TLS", async (t) => {
  const { collector } = await start(t, {
    cookie_name: "visitor",
    cookie_domain: "shop.example",
    cookie_lifetime_ms: "30d",
    cookie_http_only: "yes",
    cookie_same_site: "strict",
  });
  const event = { ...hello, anonymousId: "own" };
  const behindProxy = await collector.post(
    "/v1/track",
    event,
    asBrowser(undefined, { "x-forwarded-proto": "https" }),
  );
  assert.equal(
    setCookie(behindProxy),
    "visitor=own; Path=/; Max-Age=2592000; SameSite=Strict; Domain=shop.example; Secure; HttpOnly",
  );
  const me = await collector.get("/v1/me", { headers: { cookie: "visitor=own" } });
  assert.equal(me.body.anonymousId, "own");
});

test("a cookie for other sites' pages is used only by those that a source names", async (t) => {
  const { collector } = await start(t, { cookie_same_site: "none" });
  const event = { ...hello, anonymousId: "own" };
  const named = await collector.post("/v1/track", event, asBrowser());
  assert.match(setCookie(named), /SameSite=None; Secure$/);
  const stranger = { headers: { origin: "https://evil.example", cookie: "trb_aid=victim" } };
  assert.equal(setCookie(await collector.post("/v1/track", event, stranger)), undefined);
  const answer = await collector.post("/v1/identify", { userId: "evil" }, stranger);
  assert.equal(answer.status, 200);
  const anonymous = await collector.post("/v1/track", hello, stranger);
  assert.equal(anonymous.body.error.code, "missing-identifier");
});

test("a link on another site ties no visitor to an account of its choice", async (t) => {
  const { hub, collector } = await start(t);
  const query = `/i?e=pv&aid=${KEY}&uid=evil`;
  const follow = (site) =>
    collector.get(query, {
      headers: { cookie: "sp=victim", "sec-fetch-site": site, "sec-fetch-mode": "navigate" },
    });
  const crossed = await follow("cross-site");
  assert.equal(crossed.status, 200);
  assert.equal(setCookie(crossed), undefined);
  await arrived(hub, ["user_id", "evil"], 1);
  assert.equal(await hub.profile("anonymous_id", "victim"), undefined);
  await follow("same-origin");
  await waitUntil(() => hub.profile("anonymous_id", "victim"));
});

test("id and time of sending are taken from RudderStack's headers where the body lacks them", async (t) => {
  const { hub, collector } = await start(t);
  const wrong = Date.now() - 10 * 3_600_000;
  const answer = await collector.post(
    "/v1/track",
    { ...hello, originalTimestamp: new Date(wrong - 60_000).toISOString() },
    {
      headers: {
        anonymousid: Buffer.from("rudder-1").toString("base64"),
        sentat: new Date(wrong).toISOString(),
      },
    },
  );
  assert.equal(answer.status, 200, answer.text);
  const { events } = await arrived(hub, ["anonymous_id", "rudder-1"], 1);
  const ago = Date.parse(events[0].receivedAt) - Date.parse(events[0].timestamp);
  assert.equal(ago, 60_000);
});

test("everything under /v1/ is also found under the prefix that the settings add", async (t) => {
  const { hub, collector } = await start(t, { events_path_prefix: "/x7/" });
  for (const path of ["/x7/track", "/v1/track", "/x7/t"]) {
    assert.equal((await collector.post(path, { ...hello, userId: "u1" })).status, 200, path);
  }
  const tp2 = await collector.post("/x7/tp2", { data: [{ e: "pv", uid: "u1" }] });
  assert.equal(tp2.text, "ok");
  await arrived(hub, ["user_id", "u1"], 4);
  const settings = await collector.get(`/x7/projects/${KEY}/settings`);
  const { host } = new URL(collector.url);
  assert.equal(settings.body.integrations["Segment.io"].apiHost, `${host}/x7`);
  assert.equal((await collector.get("/x7/me?anonymousId=a")).status, 200);
  assert.equal((await collector.get(`/x7/sourceConfig/?writeKey=${KEY}`)).body.source.enabled, true);
  assert.equal((await collector.post("/x8/track", { ...hello, userId: "u1" })).status, 404);
});

test("the script is found under the path that the settings name, and there alone", async (t) => {
  const { collector } = await start(t, { tag_path: "/assets/shop.js" });
  const script = await fetch(`${collector.url}/assets/shop.js`);
  assert.equal(script.status, 200);
  assert.match(script.headers.get("content-type"), /javascript/);
  assert.equal(await script.text(), readFileSync(join(ROOT, "tag-js/dist/t.js"), "utf8"));
  assert.equal((await fetch(`${collector.url}/t.js`)).status, 404);
});

test("settings that make no sense are named", () => {
  for (const [name, value] of [
    ["cookie_same_site", "sometimes"],
    ["events_path_prefix", "x7"],
    ["events_path_prefix", "/"],
    ["tag_path", "t.js"],
  ]) {
    const { status, stderr } = spawnSync(program("tributary-collector"), [`--${name}`, value], {
      encoding: "utf8",
    });
    assert.notEqual(status, 0);
    assert.match(stderr, new RegExp(name));
  }
});

test("in a browser the cookie is hidden from scripts, outlives their storage, and tells who asks", async (t) => {
  const page = await openBrowser(t);
  if (!page) return;
  const [port] = await freePorts(1);
  const { hub, collector } = await start(
    t,
    { cookie_http_only: "yes" },
    openSource([`http://127.0.0.1:${port}`]),
  );
  const address = addressOf(collector);
  await page.goto(
    await servePages(t, port, { "/": "<!doctype html><title>Shop</title>", "/favicon.ico": "" }),
  );
  const call = (path, body) =>
    page.evaluate(
      async ([url, text]) => {
        const method = text === undefined ? "GET" : "POST";
        const answer = await fetch(url, { method, body: text, credentials: "include" });
        return { status: answer.status, body: await answer.json() };
      },
      [`${address}${path}`, body && JSON.stringify({ writeKey: "web-1", ...body })],
    );
  assert.equal((await call("/v1/page", { anonymousId: "own" })).status, 200);
  const [cookie] = await page.context().cookies();
  assert.deepEqual(
    { name: cookie.name, value: cookie.value, httpOnly: cookie.httpOnly, sameSite: cookie.sameSite },
    { name: "trb_aid", value: "own", httpOnly: true, sameSite: "Lax" },
  );
  assert.ok(cookie.expires > Date.now() / 1000 + 390 * 86_400);
  assert.equal(await page.evaluate(() => document.cookie), "");
  const order = { event: "Order Completed", properties: { channel: "store" } };
  assert.equal((await call("/v1/track", order)).status, 200);
  await arrived(hub, ["anonymous_id", "own"], 2);
  const me = await waitUntil(
    async () => {
      const { body } = await call("/v1/me");
      return body.segments.length > 0 && body;
    },
    { what: "the visitor's segments" },
  );
  assert.deepEqual([me.anonymousId, me.segments], ["own", ["store-buyers"]]);
  assert.deepEqual(page.complaints, []);
});
