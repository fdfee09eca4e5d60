// Snowplow's tracker for Node, unmodified, by POST and by GET: what it tracks arrives as page and track
// events, whole, once and at the right time.
import assert from "node:assert/strict";
import {
  buildConsentGranted,
  buildEcommerceTransaction,
  buildEcommerceTransactionItem,
  buildPagePing,
  buildPageView,
  buildScreenView,
  buildSelfDescribingEvent,
  buildStructEvent,
  newTracker,
} from "@snowplow/node-tracker";
import { arrived, assertTimeBetween, HOUR_MS, KEY, openSource, setClockWrong } from "./support/sdk.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const entity = { schema: "iglu:com.acme/shop/jsonschema/1-0-0", data: { city: "Zürich ✓", floor: 2 } };
const order = { orderId: "o1", affiliation: "web", total: 80.5, tax: 8, shipping: 0 };
const place = { city: "Lyon", state: "ARA", country: "FR", currency: "EUR" };
const item = { orderId: "o1", sku: "s1", name: "Kettle", category: "home", price: 40.25, quantity: 2 };

// What is tracked, under the name it is known by at the hub, and the properties it has there.
const calls = [
  [
    "page",
    () =>
      buildPageView({
        pageUrl: "https://shop.example/kettles?q=1#top",
        pageTitle: "Kettles",
        referrer: "https://a.example/",
      }),
    {
      url: "https://shop.example/kettles?q=1#top",
      title: "Kettles",
      referrer: "https://a.example/",
      path: "/kettles",
      search: "?q=1",
    },
  ],
  [
    "Added",
    () => buildStructEvent({ category: "shop", action: "Added", label: "l", property: "p", value: 2.5 }),
    { category: "shop", label: "l", property: "p", value: 2.5 },
  ],
  [
    "add_to_wishlist",
    () =>
      buildSelfDescribingEvent({
        event: {
          schema: "iglu:com.acme/add_to_wishlist/jsonschema/1-2-3",
          data: { sku: "s1", tags: ["ü", 1, null] },
        },
      }),
    { sku: "s1", tags: ["ü", 1, null] },
  ],
  [
    "Page Ping",
    () =>
      buildPagePing({
        pageUrl: "https://shop.example/",
        minXOffset: 5,
        maxXOffset: 6,
        minYOffset: 2,
        maxYOffset: 300,
      }),
    { min_x: 5, max_x: 6, min_y: 2, max_y: 300 },
  ],
  [
    "Order Completed",
    () => buildEcommerceTransaction({ ...order, ...place }),
    { order_id: "o1", affiliation: "web", total: 80.5, tax: 8, shipping: 0, ...place },
  ],
  [
    "Product Purchased",
    () => buildEcommerceTransactionItem({ ...item, currency: "EUR" }),
    {
      order_id: "o1",
      sku: "s1",
      name: "Kettle",
      category: "home",
      price: 40.25,
      quantity: 2,
      currency: "EUR",
    },
  ],
  ["screen_view", () => buildScreenView({ name: "Cart", id: "7" }), { name: "Cart", id: "7" }],
];

// A tracker whose failed requests fail the test.
function startTracker(t, url, { encodeBase64 = true, ...options } = {}) {
  const failures = [];
  const tracker = newTracker(
    { namespace: "ns", appId: KEY, encodeBase64 },
    {
      endpoint: url,
      retryFailedRequests: false,
      onRequestFailure: (failure) => failures.push(failure),
      ...options,
    },
  );
  tracker.setDomainUserId("a1");
  tracker.setUserId("u1");
  tracker.setSessionId("s1");
  tracker.setSessionIndex(3);
  tracker.setLang("fr-FR");
  tracker.setTimezone("Europe/Paris");
  tracker.setScreenResolution(1920, 1080);
  tracker.setUseragent("Kiosk/1.0");
  tracker.setIpAddress("192.0.2.7");
  t.after(() => assert.deepEqual(failures, []));
  return tracker;
}

for (const [method, encodeBase64] of [
  ["post", true],
  ["post", false],
  ["get", true],
]) {
  test(`every kind of event arrives whole and once by ${method}, base64 ${encodeBase64}`, async (t) => {
    const { hub, collector } = await startSite(t, { sources: openSource() });
    const tracker = startTracker(t, collector.url, { eventMethod: method, encodeBase64, bufferSize: 100 });
    const start = Date.now();
    const ids = Object.fromEntries(calls.map(([name, call]) => [name, tracker.track(call(), [entity]).eid]));
    await tracker.flush();
    const end = Date.now();
    const { events, find } = await arrived(hub, ["user_id", "u1"], calls.length);
    for (const [name, , properties] of calls) {
      const event = find(name);
      assert.equal(event.messageId, ids[name], name);
      assert.equal(event.userId, "u1");
      assert.equal(event.anonymousId, "a1");
      assert.deepEqual(event.properties, properties, name);
      assert.deepEqual(event.context.contexts, [entity], name);
      const { locale, timezone, screen, userAgent, ip, snowplow } = event.context;
      assert.deepEqual(
        { locale, timezone, screen, userAgent, ip },
        {
          locale: "fr-FR",
          timezone: "Europe/Paris",
          screen: { width: 1920, height: 1080 },
          userAgent: "Kiosk/1.0",
          ip: "192.0.2.7",
        },
      );
      assert.equal(snowplow.sid, "s1");
      assert.equal(snowplow.vid, 3);
      assert.equal(snowplow.tna, "ns");
      assert.equal(snowplow.p, "srv");
    }
    assert.equal(
      find("add_to_wishlist").context.snowplow.schema,
      "iglu:com.acme/add_to_wishlist/jsonschema/1-2-3",
    );
    assert.deepEqual(find("page").context.page, calls[0][2]);
    for (const event of events) assertTimeBetween(event, start, end);
  });
}

test("a wrong clock of the client is put right, and a true timestamp is taken as it is", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const now = setClockWrong(t, -9 * HOUR_MS);
  const tracker = startTracker(t, collector.url, { bufferSize: 100 });
  const start = now();
  const struct = (action) => buildStructEvent({ category: "c", action });
  tracker.track(struct("Now"));
  tracker.track(struct("Earlier"), [], Date.now() - HOUR_MS);
  tracker.track(struct("True"), [], { type: "ttm", value: start - 2 * HOUR_MS });
  await tracker.flush();
  const end = now();
  const { find } = await arrived(hub, ["user_id", "u1"], 3);
  assertTimeBetween(find("Now"), start, end);
  assertTimeBetween(find("Earlier"), start - HOUR_MS, end - HOUR_MS);
  assert.equal(Date.parse(find("True").timestamp), start - 2 * HOUR_MS);
});

test("consent comes from Snowplow's own entities, and a refused event is answered with 200", async (t) => {
  const sources = { [KEY]: { name: "site", trust: "server", consent: { required: ["analytics"] } } };
  const { hub, collector } = await startSite(t, { sources });
  const tracker = startTracker(t, collector.url, { bufferSize: 1 });
  const preferences = (eventType) => ({
    schema: "iglu:com.snowplowanalytics.snowplow/consent_preferences/jsonschema/1-0-0",
    data: { eventType, consentScopes: ["analytics"] },
  });
  const struct = (action) => buildStructEvent({ category: "c", action });
  tracker.track(struct("Silent"));
  tracker.track(struct("Denied"), [preferences("deny_all")]);
  tracker.track(struct("Allowed"), [preferences("allow_selected")]);
  const granted = buildConsentGranted({ id: "1", version: "1", name: "analytics" });
  tracker.track(granted.event, granted.context);
  await tracker.flush();
  const { profile, find } = await arrived(hub, ["user_id", "u1"], 2);
  assert.ok(find("Allowed") && find("consent_granted"));
  assert.equal(profile.consents.analytics.granted, true);
  const metrics = await waitUntil(() => fetch(`${collector.url}/metrics`).then((answer) => answer.text()));
  assert.match(metrics, /reason="consent-missing"\} 1\n/);
  assert.match(metrics, /reason="consent-denied"\} 1\n/);
});

test("one bad event of a request is left out, and the others are taken", async (t) => {
  const { hub, collector } = await startSite(t, { sources: openSource() });
  const good = (n) => ({ e: "pv", aid: KEY, uid: "u1", eid: `good-${n}` });
  const data = [
    good(1),
    { e: "dance", uid: "u1" },
    "no object",
    { e: "pv" },
    { ...good(2), cx: "!" },
    good(3),
  ];
  const answer = await collector.post("/com.snowplowanalytics.snowplow/tp2", { data }, { writeKey: null });
  assert.equal(answer.status, 200, answer.text);
  const { events } = await arrived(hub, ["user_id", "u1"], 2);
  assert.deepEqual(events.map(({ messageId }) => messageId).sort(), ["good-1", "good-3"]);
  const nobody = await collector.post(
    "/com.snowplowanalytics.snowplow/tp2",
    { data: [{ e: "pv" }] },
    { writeKey: KEY },
  );
  assert.equal(nobody.status, 200);
  const stranger = await fetch(`${collector.url}/i?e=pv&uid=u1&aid=nobodys`);
  assert.equal(stranger.status, 401);
  const picture = await fetch(`${collector.url}/i?e=pv&aid=${KEY}`);
  assert.equal(picture.status, 200);
  assert.equal(picture.headers.get("content-type"), "image/gif");
  assert.equal((await picture.arrayBuffer()).byteLength, 43);
});
