// Snowplow's tracker in Chromium, unmodified: across origins with credentials, by POST and by GET.
import assert from "node:assert/strict";
import { openBrowser } from "./support/browser.mjs";
import { addressOf, bundle, servePages, setBrowserClockWrong } from "./support/pages.mjs";
import { freePorts } from "./support/ports.mjs";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource } from "./support/sdk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const script = bundle(`
  import * as snowplow from "@snowplow/browser-tracker";
  window.snowplow = snowplow;
`);

const WEB_PAGE = "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0";
const ENTITY = { schema: "iglu:com.acme/shop/jsonschema/1-0-0", data: { city: "Zürich ✓" } };

const pageFor = (
  address,
  options,
) => `<!doctype html><title>Kettles</title><script src="/sdk.js"></script><script>
window.failures = [];
window.tracker = snowplow.newTracker("sp1", "${address}", {
  appId: "${KEY}",
  onRequestFailure: (failure) => failures.push(failure),
  ...${JSON.stringify(options)},
});
</script>`;

async function openSite(t, { clockWrong = 0, options = {} } = {}) {
  const page = await openBrowser(t);
  if (!page) return undefined;
  const [port] = await freePorts(1);
  const site = await startSite(t, { sources: openSource([`http://127.0.0.1:${port}`]) });
  const address = addressOf(site.collector);
  const files = { "/kettles": pageFor(address, options), "/sdk.js": await script, "/favicon.ico": "" };
  const url = await servePages(t, port, files);
  await setBrowserClockWrong(page, clockWrong);
  await page.goto(`${url}/kettles?q=1`);
  return { hub: site.hub, collector: site.collector, page, url, address };
}

// A page view, a structured and a self-describing event; gives the browser's own id.
const callAll = (page) =>
  page.evaluate((entity) => {
    const { snowplow, tracker } = window;
    snowplow.setUserId("u1");
    snowplow.trackPageView({ context: [entity] });
    snowplow.trackStructEvent({ category: "shop", action: "Added", label: "l", property: "p", value: 2.5 });
    snowplow.trackSelfDescribingEvent({
      event: {
        schema: "iglu:com.acme/add_to_wishlist/jsonschema/1-2-3",
        data: { sku: "s1", tags: ["ü", 1] },
      },
      context: [entity],
    });
    return tracker.getDomainUserId();
  }, ENTITY);

for (const eventMethod of ["post", "get"]) {
  test(`what the tracker tracks arrives whole and once by ${eventMethod}`, async (t) => {
    const start = Date.now();
    const site = await openSite(t, { options: { eventMethod } });
    if (!site) return;
    const anonymousId = await callAll(site.page);
    const { events, find } = await arrived(site.hub, ["user_id", "u1"], 3);
    const end = Date.now();
    const address = {
      url: `${site.url}/kettles?q=1`,
      title: "Kettles",
      path: "/kettles",
      search: "?q=1",
    };
    const view = find("page");
    assert.deepEqual(view.properties, address);
    assert.deepEqual(view.context.page, address);
    assert.ok(view.context.contexts.some(({ schema }) => schema === WEB_PAGE));
    assert.deepEqual(find("Added").properties, { category: "shop", label: "l", property: "p", value: 2.5 });
    assert.deepEqual(find("add_to_wishlist").properties, { sku: "s1", tags: ["ü", 1] });
    for (const event of events) {
      assert.equal(event.anonymousId, anonymousId);
      assert.equal(event.userId, "u1");
      assert.match(event.context.userAgent, /Chrome/);
      assert.equal(event.context.locale, await site.page.evaluate(() => navigator.language));
      assert.ok(event.context.screen.width > 0 && event.context.screen.innerHeight > 0);
      assert.equal(event.context.snowplow.aid, KEY);
      assertTimeBetween(event, start, end);
    }
    for (const name of ["page", "add_to_wishlist"]) {
      const { contexts } = find(name).context;
      assert.deepEqual(
        contexts.find(({ schema }) => schema === ENTITY.schema),
        ENTITY,
      );
    }
    assert.deepEqual(await site.page.evaluate(() => window.failures), []);
    assert.deepEqual(site.page.complaints, []);
  });
}

test("page pings tell how far an active visitor has scrolled", async (t) => {
  const site = await openSite(t);
  if (!site) return;
  await site.page.evaluate(() => {
    document.body.style.height = "3000px";
    window.snowplow.enableActivityTracking({ minimumVisitLength: 1, heartbeatDelay: 1 });
    window.snowplow.trackPageView();
  });
  const anonymousId = await site.page.evaluate(() => window.tracker.getDomainUserId());
  const ping = await waitUntil(
    async () => {
      // The visitor goes on scrolling: a ping is sent only while there is something to tell.
      await site.page.evaluate(() => window.scrollTo(0, window.scrollY === 700 ? 690 : 700));
      const profile = await site.hub.profile("anonymous_id", anonymousId);
      const events = profile ? await site.hub.timeline(profile.id) : [];
      return events.find(({ event }) => event === "Page Ping");
    },
    { what: "a page ping" },
  );
  assert.ok([690, 700].includes(ping.properties.max_y), JSON.stringify(ping));
  assert.equal(ping.context.page.path, "/kettles");
});

test("a wrong clock of the browser is put right", async (t) => {
  const start = Date.now();
  const site = await openSite(t, { clockWrong: -40 * HOUR_MS });
  if (!site) return;
  await callAll(site.page);
  const { events } = await arrived(site.hub, ["user_id", "u1"], 3);
  const end = Date.now();
  for (const event of events) assertTimeBetween(event, start, end);
});

test("the cookie sp follows the browser's own id, and anonymous tracking gets none", async (t) => {
  const site = await openSite(t);
  if (!site) return;
  const cookie = async () =>
    (await site.page.context().cookies(site.address)).find(({ name }) => name === "sp")?.value;
  await site.page.evaluate(() => {
    window.tracker.enableAnonymousTracking({ options: { withServerAnonymisation: true } });
    window.snowplow.trackPageView();
  });
  // It names nobody, so that it is refused; the tracker is told 200 and goes on.
  await waitUntil(async () =>
    /missing-identifier"\} 1\n/.test(await (await fetch(`${site.collector.url}/metrics`)).text()),
  );
  assert.equal(await cookie(), undefined);
  await site.page.evaluate(() => window.tracker.disableAnonymousTracking({ stateStorageStrategy: "cookie" }));
  const anonymousId = await callAll(site.page);
  await arrived(site.hub, ["user_id", "u1"], 3);
  assert.equal(await cookie(), anonymousId);
  const me = await site.page.evaluate(
    async (url) => (await fetch(url, { credentials: "include" })).json(),
    `${site.address}/v1/me`,
  );
  assert.equal(me.anonymousId, anonymousId);
  assert.deepEqual(await site.page.evaluate(() => window.failures), []);
  assert.deepEqual(site.page.complaints, []);
});
