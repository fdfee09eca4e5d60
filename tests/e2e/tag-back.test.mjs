// The back button, with Chromium's back-forward cache: the page comes back as it was left, with all that its
// scripts had in memory, while the visitor and the tag on other pages have gone on.
import assert from "node:assert/strict";
import { SNIPPET, startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

// Playwright switches the cache off.
const launch = { ignoreDefaultArgs: ["--disable-back-forward-cache"] };
const segments = {
  vip: { name: "Bought", edge: ["page"], where: { event: "Order Completed" } },
  reader: { name: "Read", edge: ["page"], where: { event: "Article Read" } },
};

// What the page saw of its own comings, and which elements were to be seen in the first frame after each.
const RECORDER = `<script>
  window.shown = [];
  window.visible = () => [...document.querySelectorAll("[data-segment]")]
    .filter((part) => part.checkVisibility({ checkVisibilityCSS: true })).map((part) => part.id).join();
  addEventListener("pageshow", ({ persisted }) => requestAnimationFrame(() => shown.push([persisted, visible()])));
</script>`;
const BODY = `<p id="vip" data-segment="vip">vip</p><p id="others" data-segment="!vip">others</p>
  <p id="reader" data-segment="reader">reader</p>`;

// Wait for the page to be there, as it was or anew; was it in the cache? The navigation has no end that
// Playwright would see.
async function goBack(page, address) {
  await page.evaluate(() => history.back());
  await waitUntil(() => page.url() === address && page.evaluate(() => window.shown?.length > 0 && document.readyState === "complete"), {
    what: `to be back on ${address}`,
  });
  return page.evaluate(() => window.shown.at(-1)[0] || { refused: performance.getEntriesByType("navigation")[0].notRestoredReasons });
}

/* Whether this browser keeps any page at all. */
async function keepsPages(shop, t) {
  const { page, origin } = shop;
  shop.put("/plain", { head: RECORDER });
  shop.put("/plain-next", {});
  await page.goto(`${origin}/plain`);
  await page.goto(`${origin}/plain-next`);
  const back = await goBack(page, `${origin}/plain`);
  if (back !== true) t.skip(`Chromium keeps no page in its back-forward cache: ${JSON.stringify(back)}`);
  return back === true;
}

test("a page back from the browser's cache is viewed again, sends again, and knows the visitor's segments", async (t) => {
  const shop = await startTagged(t, { segments, launch });
  if (!shop || !(await keepsPages(shop, t))) return;
  const { page, origin } = shop;
  const head = `<script>${SNIPPET}</script>${RECORDER}${shop.script({ auto: "page spa" })}`;
  shop.put("/", { head, body: BODY });
  shop.put("/next", { head, body: BODY });

  // On the first page the visitor buys, and is told what follows from it.
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  const learn = async (event, segment) => {
    await page.evaluate((name) => window.tributary.track(name), event);
    await waitUntil(async () => (await shop.collector.me(anonymousId)).segments.includes(segment), { what: `${segment} at the edge` });
    await page.evaluate(() => window.tributary.track("Looked Around"));
  };
  await learn("Order Completed", "vip");
  await page.waitForFunction(() => window.visible() === "vip");
  // What is not taken from here goes with the next page; this page has still to hear of it.
  await page.evaluate(() => {
    window.heard = [];
    window.tributary.segments((keys) => window.heard.push([...keys].sort().join()));
    const real = window.fetch;
    window.fetch = async () => new Response("{}", { status: 503, headers: { "retry-after": "2" } });
    addEventListener("pageshow", () => (window.fetch = real));
    addEventListener("pagehide", () => window.tributary.track("Last Words").then(() => window.heard.push("sent: Last Words")));
    window.tributary.track("Left Behind").then(() => window.heard.push("sent: Left Behind"));
  });
  // Not in the middle of a delivery: Chromium does not keep a page that has, or is just given, a lock.
  const rests = () => page.evaluate(async () => {
    const { held, pending } = await navigator.locks.query();
    return localStorage.trb_wait > Date.now() && held.length + pending.length === 0;
  });
  await waitUntil(rests, { what: "the queue to wait" });

  // On the next one the visitor reads.
  await shop.open("/next");
  await shop.events(anonymousId, (all) => all.some(({ event }) => event === "Left Behind"));
  await learn("Article Read", "reader");
  await page.waitForFunction(() => window.visible() === "vip,reader");

  const back = await goBack(page, `${origin}/`);
  assert.equal(back, true, JSON.stringify(back));
  const shown = await page.evaluate(() => window.shown);
  assert.deepEqual(shown.map(([persisted]) => persisted), [false, true], "the same page as before");
  assert.equal(shown[1][1], "vip", "with its segments from the first frame on");
  // The answer to the view tells it what happened meanwhile.
  await page.waitForFunction(() => window.visible() === "vip,reader");
  await page.evaluate(() => window.tributary.track("Once More"));
  await waitUntil(async () => (await shop.stored()).every((key) => !key.startsWith("trb_q")), { what: "an empty queue" });
  await page.waitForFunction(() => window.heard.length >= 4);
  assert.deepEqual((await page.evaluate(() => window.heard)).sort(), ["reader,vip", "sent: Last Words", "sent: Left Behind", "vip"]);

  const events = await shop.events(anonymousId, 10);
  const names = events.map(({ type, event, properties }) => event ?? `${type} ${properties.url.slice(origin.length)}`);
  assert.deepEqual(names.sort(), [
    "Article Read",
    "Last Words",
    "Left Behind",
    "Looked Around",
    "Looked Around",
    "Once More",
    "Order Completed",
    "page /",
    "page /",
    "page /next",
  ]);
  assert.deepEqual(page.complaints, []);
});
