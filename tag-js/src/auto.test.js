// What the tag captures by itself. The rest of it is tested in a real browser, in tests/e2e.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plain, startTag } from "./fake-window.js";

const product = { item_id: "P1", item_name: "Mug", item_category: "Kitchen", price: 12, quantity: 2 };
const asSegment = { product_id: "P1", name: "Mug", category: "Kitchen", price: 12, quantity: 2 };

function shop(dataLayer, data = {}) {
  return startTag({ data: { auto: "datalayer gcm", ...data }, change: (window) => (window.dataLayer = dataLayer) });
}

test("every e-commerce event of GA4 becomes Segment's", async () => {
  const names = {
    view_item: "Product Viewed",
    select_item: "Product Clicked",
    add_to_cart: "Product Added",
    remove_from_cart: "Product Removed",
    view_item_list: "Product List Viewed",
    view_search_results: "Products Searched",
    view_cart: "Cart Viewed",
    begin_checkout: "Checkout Started",
    add_payment_info: "Payment Info Entered",
    purchase: "Order Completed",
    refund: "Order Refunded",
    view_promotion: "Promotion Viewed",
    select_promotion: "Promotion Clicked",
  };
  const layer = Object.keys(names).map((event) => ({ event, ecommerce: { items: [product] } }));
  const { collector, advance } = shop(layer);
  await advance(10);
  assert.deepEqual(collector.events().map(({ event }) => event), Object.values(names));
});

test("entries before and after the tag count, as objects and as gtag's arguments", async () => {
  const { window, collector, advance } = shop([
    { event: "gtm.js", "gtm.start": 1 },
    { event: "view_item", ecommerce: { currency: "EUR", value: 12, items: [product] } },
  ]);
  (function gtag() {
    window.dataLayer.push(arguments);
  })("event", "purchase", { transaction_id: "T1", value: 24, tax: 4, currency: "EUR", items: [product, product] });
  window.dataLayer.push({ ecommerce: null }, undefined, "text", ["set", "x", 1]);
  await advance(10);
  const [viewed, ordered, ...others] = collector.events();
  assert.deepEqual(viewed.properties, { currency: "EUR", value: 12, ...asSegment });
  assert.deepEqual(ordered.properties, {
    order_id: "T1",
    value: 24,
    total: 24,
    tax: 4,
    currency: "EUR",
    products: [asSegment, asSegment],
  });
  assert.deepEqual(others, []);
  assert.equal(window.dataLayer.length, 7);
});

test("the page's own dataLayer.push keeps its result", () => {
  const { window } = shop([]);
  assert.equal(window.dataLayer.push({ event: "a" }, { event: "b" }), 2);
});

test("Google Consent Mode decides by its update, or by a default that grants", async () => {
  const denied = ["consent", "default", { analytics_storage: "denied", ad_storage: "denied" }];
  const { window, tag, collector, advance } = shop([denied], { requireConsent: "" });
  tag.track("A");
  await advance(1000);
  assert.deepEqual(collector.batches, []);
  window.dataLayer.push(["consent", "update", { analytics_storage: "granted" }]);
  await advance(10);
  assert.deepEqual(collector.events()[0].context.consent.categoryPreferences, { analytics: true, marketing: false });

  const granted = ["consent", "default", { analytics_storage: "granted", ad_storage: "granted" }];
  const open = shop([["consent", "default", { analytics_storage: "granted", region: ["US"] }], denied], { requireConsent: "" });
  open.tag.track("A");
  await open.advance(10);
  assert.deepEqual(open.collector.batches, []);
  open.window.dataLayer.push(granted);
  await open.advance(10);
  assert.equal(open.collector.events()[0].event, "A");
});

test("the consent framework decides, with its version as it says it", async () => {
  let listener;
  const change = (window) => (window.__tcfapi = (command, version, callback) => (listener = callback));
  const { tag, collector, advance } = startTag({ data: { auto: "tcf", requireConsent: "" }, change });
  const tell = (eventStatus, consents, more) =>
    listener({ eventStatus, gdprApplies: true, tcfPolicyVersion: 5, purpose: { consents }, ...more }, true);
  tag.track("A");
  tell("cmpuishown", {});
  listener({}, false);
  await advance(10);
  assert.deepEqual(collector.batches, []);
  tell("useractioncomplete", { 1: true, 3: false, 4: false, 8: true });
  await advance(10);
  const [event] = collector.events();
  assert.deepEqual(event.context.consent.categoryPreferences, { analytics: true, marketing: false });
  assert.equal(event.context.consent.version, 5);
  tell("useractioncomplete", { 1: false, 4: false, 8: false });
  await advance(10);
  assert.deepEqual(collector.events().pop().context.consent.categoryPreferences, { analytics: false, marketing: false });
});

test("a single-page application's views follow its address, with the one before as referrer", async () => {
  const { window, collector, advance, go, happen } = startTag({ data: { auto: "page spa" } });
  await advance(10);
  window.history.pushState({}, "", "/b");
  await advance(10);
  window.history.pushState({}, "", "/b");
  go("/b#part");
  happen("popstate");
  await advance(10);
  happen("pageshow", { persisted: false });
  happen("pageshow", { persisted: true });
  await advance(10);
  const seen = collector.events().map(({ properties: { url, referrer } }) => [url.slice(20), referrer.slice(20)]);
  assert.deepEqual(seen.slice(0, 3), [["/a?b=1", ""], ["/b", "/a?b=1"], ["/b#part", "/b"]].map((pair) => pair));
  assert.equal(seen.length, 4);
});

test("without a word in data-auto nothing is captured", async () => {
  const { collector, advance, happen } = startTag({ change: (window) => (window.dataLayer = [{ event: "view_item", ecommerce: { items: [product] } }]) });
  happen("click", { target: { closest: () => null } });
  happen("submit", { target: { id: "f" } });
  happen("pagehide");
  await advance(100);
  assert.deepEqual(collector.batches, []);
});
