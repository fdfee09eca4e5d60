// What newer browsers have is taken away, one thing at a time: the tag still works.
import assert from "node:assert/strict";
import { SNIPPET, startTagged } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

const MISSING = {
  "sendBeacon": () => delete Navigator.prototype.sendBeacon,
  "localStorage, which throws": () =>
    Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } }),
  "room in localStorage": () =>
    Object.defineProperty(window, "localStorage", { value: new Proxy({}, { set() { throw new DOMException("no", "QuotaExceededError"); } }) }),
  "crypto.randomUUID": () => delete Crypto.prototype.randomUUID,
  "fetch's keepalive": () => delete Request.prototype.keepalive,
  "Web Locks": () => delete Navigator.prototype.locks,
  "PerformanceObserver": () => delete window.PerformanceObserver,
  "constructed style sheets": () => (window.CSSStyleSheet = function () { throw new TypeError("Illegal constructor"); }),
  "AbortSignal.timeout": () => delete AbortSignal.timeout,
  "the Navigation and Performance timing": () => delete window.PerformanceNavigationTiming,
};

test("features absent one by one", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const head = `<script>${SNIPPET}</script>${shop.script({ auto: "page spa links forms engagement datalayer gcm" })}`;
  shop.put("/", { head, body: '<p id="vip" data-segment="vip">vip</p><p id="others" data-segment="!vip">others</p>' });
  shop.put("/next", { head });
  for (const [name, remove] of Object.entries(MISSING)) {
    const page = await shop.page.context().browser().newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.addInitScript(remove);
    await shop.open("/", page);
    await page.evaluate(() => void window.tributary.identify("u1", { plan: "gold" }));
    const anonymousId = await shop.anonymousId(page);
    await page.evaluate(() => window.tributary.track("A"));
    await page.waitForFunction(() => !document.getElementById("vip").checkVisibility());
    await shop.open("/next", page);
    const events = await shop.events(anonymousId, 3);
    // They may be of the same millisecond, in which no order is promised.
    const first = events.slice(0, 3).map(({ event, type }) => event ?? type).sort();
    assert.deepEqual(first, ["A", "identify", "page"], `without ${name}`);
    assert.deepEqual(errors, [], `without ${name}`);
    await page.close();
  }
});
