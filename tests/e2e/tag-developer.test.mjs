// What the tag tells its developer in the console, when nothing arrives and when all is well.
import assert from "node:assert/strict";
import { freePorts } from "./support/ports.mjs";
import { startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

/* A page of its own on the shop, with what the tag says there; `errors` are the browser's red lines. */
async function openPage(shop, data, path = "/") {
  const page = await shop.page.context().browser().newPage();
  const [lines, errors, posts] = [[], [], []];
  page.on("console", (message) => {
    if (message.text().startsWith("tributary:")) lines.push(message.text());
    else if (message.type() === "error") errors.push(message.text());
  });
  page.on("request", (request) => request.method() === "POST" && posts.push(request.url()));
  shop.put("/", { head: shop.script(data) });
  await page.goto(shop.origin + path);
  await page.waitForFunction(() => window.tributary?.user);
  const told = async (pattern) => {
    await waitUntil(() => lines.some((line) => pattern.test(line)), { what: `a line like ${pattern}; there are ${lines.join("\n")}` });
  };
  return { page, lines, errors, posts, told };
}

test("one line for a wrong key, and nothing is sent after it", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const { page, lines, posts, told } = await openPage(shop, { "write-key": "mistyped" });
  await told(/No source has this write key\. This page has "mistyped"/);
  await page.evaluate(() => window.tributary.track("A").catch(() => {}));
  await page.evaluate(() => dispatchEvent(new Event("online")));
  assert.equal(posts.filter((url) => url.includes("/v1/b")).length, 1);
  assert.equal(lines.length, 1, lines.join("\n"));
});

test("one line for an origin that no source names; its events arrive all the same", async (t) => {
  const shop = await startTagged(t, { source: { consent: { exempt: true }, origins: ["https://www.shop.example"] } });
  if (!shop) return;
  const { page, lines, told } = await openPage(shop, { auto: "page" });
  await told(new RegExp(`No source names ${shop.origin} in its origins`));
  await page.evaluate(() => window.tributary.track("A"));
  await shop.events(await shop.anonymousId(page), 2);
  assert.equal(lines.length, 1, lines.join("\n"));
});

test("one line for a host where no collector answers, for one that is no collector, and for an unknown word", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const [nobody] = await freePorts(1);
  const down = await openPage(shop, { host: `http://127.0.0.1:${nobody}` });
  await down.told(/does not answer.*\(no-answer\)/);
  const hub = await openPage(shop, { host: shop.hub.url });
  await hub.told(/\((no-answer|404|405|401)\)/);
  const word = await openPage(shop, { auto: "page engagment" });
  await word.told(/nothing called engagment.*engagement/);
  for (const { lines } of [down, hub, word]) assert.equal(lines.length, 1, lines.join("\n"));
});

test("one line for a source that requires consent and a page that does not tell of it", async (t) => {
  const shop = await startTagged(t, { source: { consent: { required: ["analytics"] } } });
  if (!shop) return;
  const { page, lines, told } = await openPage(shop, { auto: "page" });
  await told(/Set data-require-consent.*\(consent-missing\)/);
  await page.evaluate(() => window.tributary.track("A").catch(() => {}));
  assert.equal(lines.length, 1, lines.join("\n"));
});

test("a decision, its withdrawal and a page of a refusal leave no line in the console", async (t) => {
  const shop = await startTagged(t, { source: { consent: { required: ["analytics"] } } });
  if (!shop) return;
  const { page, lines, errors, posts } = await openPage(shop, { auto: "page", "require-consent": "" });
  await page.evaluate(() => window.tributary.consent({ analytics: true }));
  await page.evaluate(() => window.tributary.track("A"));
  const answered = page.waitForResponse((answer) => answer.url().includes("/v1/b"));
  await page.evaluate(() => void window.tributary.consent({ analytics: false }));
  assert.equal((await answered).status(), 200);
  await page.reload({ waitUntil: "networkidle" });
  assert.equal(new Set(posts).size, 1);
  assert.deepEqual([lines, errors.filter((line) => !line.includes("favicon"))], [[], []]);
});

test("?tributary_debug shows the settings, each event and its answer", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const { page, lines, told } = await openPage(shop, { auto: "page" }, "/?tributary_debug");
  await page.evaluate(() => window.tributary.track("Order Completed", { total: 20 }));
  await told(/track Order Completed taken/);
  assert.match(lines[0], /settings .*writeKey: web/);
  assert.ok(lines.some((line) => /track Order Completed is on its way/.test(line)));
});

test("the second file is served beside the first, in its three forms, and only from there", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const ask = (headers) => fetch(`${shop.collector.url}/t.more.js`, { headers });
  const plain = await ask({ "accept-encoding": "identity" });
  assert.match(plain.headers.get("content-type"), /^text\/javascript/);
  assert.equal(plain.headers.get("access-control-allow-origin"), "*");
  const text = await plain.text();
  for (const form of ["gzip", "br"]) {
    const answer = await ask({ "accept-encoding": form });
    assert.equal(answer.headers.get("content-encoding"), form);
    assert.equal(await answer.text(), text);
  }
  assert.equal((await ask({ "if-none-match": plain.headers.get("etag") })).status, 304);

  const asked = [];
  shop.page.on("request", (request) => asked.push(request.url()));
  shop.put("/", { head: shop.script({ auto: "page links", host: "https://elsewhere.example" }) });
  await shop.page.goto(`${shop.origin}/`);
  await waitUntil(() => asked.some((url) => url.endsWith(".more.js")), { what: "the second file" });
  assert.deepEqual(asked.filter((url) => url.endsWith(".js")), [`${shop.collector.url}/t.js`, `${shop.collector.url}/t.more.js`]);
});
