// Two tabs, 1,000 events, the line cut and one tab killed: each event once at the hub.
import assert from "node:assert/strict";
import { startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

const EACH = 500;

/* End the tab's renderer as a fault in it would: no code of the page runs any more. */
async function crash(page) {
  const cdp = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  cdp.send("Page.crash").catch(() => {}); // there is nobody to answer
  await crashed;
  await page.close(); // the frame that is left of it
}

const eventsTaken = async (collector) =>
  Number(/^tributary_events_total (\S+)/m.exec(await (await fetch(`${collector.url}/metrics`)).text())[1]);

test("1,000 events of two tabs arrive once each, though the line is cut and one tab is killed", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  shop.put("/", { head: shop.script({ auto: "" }) });
  const context = await shop.page.context().browser().newContext();
  const first = await context.newPage();
  const second = await context.newPage();
  let isSecondDead = false;
  second.on("crash", () => (isSecondDead = true));
  await shop.open("/", first);
  await shop.open("/", second);
  await first.evaluate(() => window.tributary.track("Hello"));
  const anonymousId = await shop.anonymousId(first);
  assert.equal(await shop.anonymousId(second), anonymousId, "one visitor in both tabs");

  await context.setOffline(true);
  for (const [page, name] of [[first, "a"], [second, "b"]]) {
    await page.evaluate(
      ([count, tab]) => {
        for (let n = 0; n < count; n++) window.tributary.track("Counted", { id: tab + n });
      },
      [EACH, name],
    );
  }
  // The line comes and goes while both deliver.
  await context.setOffline(false);
  await waitUntil(async () => (await eventsTaken(shop.collector)) > 200, { what: "a part of the events" });
  await context.setOffline(true);
  await first.evaluate(() => {
    for (const name of ["pagehide", "visibilitychange", "unload"]) addEventListener(name, () => (localStorage.end = name), true);
  });
  await crash(first);
  const queued = (await shop.stored(second)).filter((key) => key.startsWith("trb_q"));
  assert.ok(queued.length > 0, "something is left for the other tab");
  assert.equal(await second.evaluate(() => localStorage.end), undefined, "the tab said no farewell");
  await context.setOffline(false);

  const events = await shop.events(anonymousId, 2 * EACH + 1, { timeout: 60_000 });
  const ids = events.filter(({ event }) => event === "Counted").map(({ properties }) => properties.id);
  assert.equal(ids.length, 2 * EACH);
  assert.equal(new Set(ids).size, 2 * EACH);
  await waitUntil(async () => (await shop.stored(second)).every((key) => !key.startsWith("trb_q")), { what: "an empty queue" });
  assert.equal(isSecondDead, false, "each tab had a process of its own");
  t.diagnostic(`${await eventsTaken(shop.collector)} events on the wire for ${2 * EACH + 1}`);
});

test("a tab that is killed while it delivers leaves the lock and its events to the other", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  shop.put("/", { head: shop.script({ auto: "" }) });
  const context = await shop.page.context().browser().newContext();
  const [first, second] = [await context.newPage(), await context.newPage()];
  await shop.open("/", first);
  await shop.open("/", second);
  const anonymousId = await shop.anonymousId(first);
  // What the first tab sends never gets an answer.
  const sent = [];
  await first.route("**/v1/b*", (route) => void sent.push(route.request()));
  await first.evaluate(() => void window.tributary.track("First"));
  await waitUntil(() => sent.length === 1, { what: "the first tab to send" });
  await second.evaluate(() => void window.tributary.track("Second"));
  const locks = () => second.evaluate(async () => {
    const { held, pending } = await navigator.locks.query();
    return `${held.length} held, ${pending.length} wanted`;
  });
  await waitUntil(async () => (await locks()) === "1 held, 1 wanted", { what: "the second tab to wait for the first" });
  assert.equal((await shop.collector.metrics()).tributary_events_total, 0);

  await crash(first);
  const events = await shop.events(anonymousId, 2);
  // In any order: how long a request was under way counts as a difference of the clocks.
  assert.deepEqual(events.map(({ event }) => event).sort(), ["First", "Second"]);
  await waitUntil(async () => (await shop.stored(second)).every((key) => !key.startsWith("trb_q")), { what: "an empty queue" });
  assert.equal((await shop.hub.overview()).events, 2);
});

test("what a page could not send goes with the visitor's next page, with the same messageId", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  shop.put("/", { head: shop.script({ auto: "" }) });
  shop.put("/next", { head: shop.script({ auto: "" }) });
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  // At the very moment of leaving.
  const link = shop.page.waitForURL("**/next");
  await shop.page.evaluate(() => {
    addEventListener("pagehide", () => window.tributary.track("Last words"), true);
    window.tributary.track("Before");
    location.href = "/next";
  });
  await link;
  await shop.page.waitForFunction(() => window.tributary?.user);
  const events = await shop.events(anonymousId, 2);
  assert.deepEqual(events.map(({ event }) => event).sort(), ["Before", "Last words"]);
});
