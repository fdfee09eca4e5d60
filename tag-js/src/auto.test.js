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

test("the page's own dataLayer.push keeps its result", async () => {
  const { window, advance } = shop([]);
  await advance(0);
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

const consentMode = async (options) => {
  const one = shop([], { requireConsent: "", ...options });
  const say = async (command, choice, ms = 10) => {
    one.window.dataLayer.push(["consent", command, choice]);
    await one.advance(ms);
  };
  await one.advance(0);
  const decisions = () => one.collector.events().map(({ event, context }) => [event, context.consent.categoryPreferences]);
  return { ...one, say, decisions };
};

test("an update of Google Consent Mode decides about what it names and nothing else, however often it is repeated", async () => {
  const { tag, disk, say, decisions } = await consentMode();
  tag.track("A");
  await say("default", { analytics_storage: "denied", ad_storage: "denied" });
  await say("update", { functionality_storage: "granted" });
  assert.deepEqual(Object.keys(disk), []);
  await say("update", { ad_storage: "granted" });
  assert.deepEqual(decisions(), []);
  await say("update", { analytics_storage: "granted" });
  const both = { analytics: true, marketing: true };
  assert.deepEqual(decisions(), [["A", both], ["Segment Consent Preference Updated", both]]);

  // As a consent tool says it again on the next page.
  const again = startTag({ disk, data: { auto: "gcm", requireConsent: "" }, change: (window) => (window.dataLayer = []) });
  await again.advance(10);
  for (const [command, choice] of [
    ["default", { analytics_storage: "denied", ad_storage: "denied" }],
    ["update", { functionality_storage: "granted" }],
    ["update", { analytics_storage: "granted" }],
    ["update", { ad_storage: "granted" }],
  ]) {
    again.window.dataLayer.push(["consent", command, choice]);
    await again.advance(10);
  }
  assert.deepEqual(again.collector.batches, []);

  await say("update", { analytics_storage: "denied" });
  assert.deepEqual(decisions().at(-1), ["Segment Consent Preference Updated", { analytics: false, marketing: true }]);
});

test("a default of Google Consent Mode that grants is a decision only if no region's denies", async () => {
  const granted = { analytics_storage: "granted", ad_storage: "granted" };
  const denied = { analytics_storage: "denied", ad_storage: "denied", region: ["FR", "DE"] };
  for (const order of [[granted, denied], [denied, granted]]) {
    const { tag, window, advance, collector, disk } = await consentMode();
    tag.track("A");
    order.forEach((choice) => window.dataLayer.push(["consent", "default", choice]));
    await advance(1000);
    assert.deepEqual([collector.batches, disk], [[], {}]);
  }
  const part = await consentMode();
  part.tag.track("A");
  await part.say("default", { ad_storage: "denied", region: ["FR"] });
  await part.say("default", { ...granted, wait_for_update: 500 }, 400);
  assert.deepEqual(part.decisions(), [], "it waits for an update");
  await part.advance(200);
  assert.deepEqual(part.decisions()[0], ["A", { analytics: true, marketing: false }]);
});

test("the consent framework decides, with its version as it says it", async () => {
  let listener;
  const change = (window) => (window.__tcfapi = (command, version, callback) => (listener = callback));
  const { tag, collector, advance } = startTag({ data: { auto: "tcf", requireConsent: "" }, change });
  await advance(0);
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

// A page at /a?b=1; `step(action)` lets the application do something and waits for what comes of it.
async function application(options) {
  const app = startTag({ data: { auto: "page spa" }, ...options });
  await app.advance(10);
  const views = () =>
    app.collector.events().filter(({ type }) => type === "page").map(({ properties: { url, referrer, title } }) => [url.slice(20), referrer.slice(20), title]);
  const step = async (action, ms = 1500) => {
    action(app.window);
    await app.advance(ms);
  };
  return { ...app, views, step };
}

test("a single-page application's views follow its address, with the one before as referrer", async () => {
  const { window, step, views, go, happen } = await application();
  await step(({ history }) => history.pushState({}, "", "/b"));
  await step(({ history }) => history.pushState({}, "", "/b"));
  await step(() => happen("popstate", go("/b#part")));
  happen("pageshow", { persisted: false });
  await step(() => happen("pageshow", { persisted: true }));
  assert.deepEqual(views(), [
    ["/a?b=1", "", "A page"],
    ["/b", "/a?b=1", "A page"],
    ["/b#part", "/b", "A page"],
    ["/b#part", "", "A page"],
  ]);
  assert.equal(window.history.pushState.length, 0);
});

test("a view has the title that its page gets, however late, and its own time", async () => {
  const { window, collector, step, views, happen } = await application();
  const title = (text) => () => (window.document.title = text);
  await step(({ history }) => history.pushState({}, "", "/quick"), 60);
  await step(title("Loading…"), 90);
  await step(title("Quick"), 1000);
  await step(({ history }) => history.pushState({}, "", "/left"), 150);
  await step(title("Left"), 110);
  await step(({ history }) => history.pushState({}, "", "/same"), 1500);
  await step(({ history }) => history.pushState({}, "", "/last"), 40);
  title("Last")();
  await step(() => happen("pagehide"), 0);
  const beacons = collector.beacons.flatMap(({ batch }) => batch).map(({ properties }) => [properties.url.slice(20), properties.title]);
  assert.deepEqual(views().map(([url, , text]) => [url, text]).concat(beacons), [
    ["/a?b=1", "A page"],
    ["/quick", "Quick"],
    ["/left", "Left"],
    ["/same", "Left"],
    ["/last", "Last"],
  ]);
  const quick = collector.events().find(({ properties }) => properties.url.endsWith("/quick"));
  assert.deepEqual([quick.timestamp, quick.context.page.title], ["2026-01-01T00:00:00.010Z", "Quick"]);
});

test("a replaced address is a view where its path is another, and else the same view", async () => {
  const { step, views, collector } = await application();
  const replace = (to) => step(({ history }) => history.replaceState({}, "", to));
  for (const to of ["/a", "/a?q=1", "/b?q=1", "/b", "/b#/one", "/b#/two", "/b#part"]) await replace(to);
  await step(({ history }) => history.pushState({}, "", "/old"), 20);
  await replace("/old?clean");
  assert.deepEqual(views().map(([url]) => url), ["/a?b=1", "/b?q=1", "/b#/one", "/b#/two", "/b#part", "/old?clean"]);
  assert.equal(collector.events().pop().properties.search, "?clean");
});

test("the browser's Navigation API tells of every change", async () => {
  let listener;
  const change = (window) => (window.navigation = { addEventListener: (name, run) => name === "currententrychange" && (listener = run) });
  const { step, views, go } = await application({ change });
  await step(() => listener({ navigationType: "push" }, go("/navigated")));
  await step(() => listener({ navigationType: "replace" }, go("/replaced")));
  await step(() => listener({ navigationType: "replace" }, go("/replaced?q")));
  await step(() => listener({ navigationType: null }));
  assert.deepEqual(views().map(([url]) => url), ["/a?b=1", "/navigated", "/replaced"]);
});

test("where the application went while the second file was loaded is told too", async () => {
  const app = startTag({ data: { auto: "page spa" } });
  app.window.setTimeout(() => app.window.history.pushState({}, "", "/b"));
  const { load } = app.window;
  await app.advance(2000);
  assert.deepEqual(app.collector.events().map(({ properties }) => properties.path), ["/a", "/b"]);
  assert.ok(load);
});

test("without a word in data-auto nothing is captured", async () => {
  const { collector, advance, happen } = startTag({ change: (window) => (window.dataLayer = [{ event: "view_item", ecommerce: { items: [product] } }]) });
  happen("click", { target: { closest: () => null } });
  happen("submit", { target: { id: "f" } });
  happen("pagehide");
  await advance(100);
  assert.deepEqual(collector.batches, []);
});

test("in the dataLayer what was pushed before still holds, until null takes it away", async () => {
  const { window, collector, advance } = shop([{ ecommerce: { currency: "EUR" } }]);
  await advance(0);
  const { dataLayer } = window;
  dataLayer.push({ ecommerce: { transaction_id: "T2", value: 20, items: [{ item_id: "B" }] } });
  dataLayer.push({ event: "purchase" });
  dataLayer.push({ ecommerce: null });
  dataLayer.push({ event: "refund", ecommerce: { transaction_id: "T1" } });
  await advance(10);
  assert.deepEqual(collector.events().map(({ event, properties }) => [event, properties]), [
    ["Order Completed", { currency: "EUR", order_id: "T2", value: 20, total: 20, products: [{ product_id: "B" }] }],
    ["Order Refunded", { order_id: "T1", products: [] }],
  ]);
});

test("what was pushed beside ecommerce holds too, and nothing else of an entry is taken", async () => {
  const { window, collector, advance } = shop([{ currency: "EUR", user: "u1" }]);
  await advance(0);
  window.dataLayer.push({ transaction_id: "T2", value: 20, items: [{ item_id: "B" }], "gtm.uniqueEventId": 3 });
  window.dataLayer.push({ event: "purchase", "gtm.uniqueEventId": 4 });
  await advance(10);
  assert.deepEqual(collector.events().map(({ properties }) => properties), [
    { currency: "EUR", order_id: "T2", value: 20, total: 20, products: [{ product_id: "B" }] },
  ]);
});

test("what shops write as text in the dataLayer is what it stands for", async () => {
  const { window, collector, advance } = shop([]);
  await advance(0);
  const items = [{ item_id: "0042", price: "12.50", quantity: "2" }];
  const whole = { transaction_id: "0815", value: "25.00", tax: "4", coupon: "10", items };
  for (const ecommerce of [whole, JSON.stringify(whole), { ...whole, items: JSON.stringify(items) }, { ...whole, items: { 0: items[0] } }, { ...whole, items: items[0] }]) {
    window.dataLayer.push({ ecommerce: null }, { event: "purchase", ecommerce });
  }
  window.dataLayer.push({ ecommerce: null }, { event: "purchase", transaction_id: "T3", value: "1.234,50", items });
  window.dataLayer.push({ event: "purchase", ecommerce: "no JSON" }, null, 7, "purchase");
  await advance(10);
  const products = [{ product_id: "0042", price: 12.5, quantity: 2 }];
  const orders = collector.events().map(({ properties }) => properties);
  for (const order of orders.slice(0, 5)) {
    assert.deepEqual(order, { order_id: "0815", value: 25, total: 25, tax: 4, coupon: "10", products });
  }
  assert.deepEqual([orders[5].order_id, orders[5].value], ["T3", "1.234,50"]);
});

// An element as far as clicks need it, under parents; `own` is what the page's names have put over its own.
function element(tag, attributes = {}, parent, own = {}) {
  const dataset = Object.fromEntries(
    Object.entries(attributes)
      .filter(([name]) => name.startsWith("data-"))
      .map(([name, value]) => [name.slice(5).replace(/-./g, (part) => part[1].toUpperCase()), value]),
  );
  return { nodeType: 1, tag, attributes, dataset, parent, ...own };
}

function clicks(auto) {
  const page = startTag({
    data: { auto },
    change: (window) => {
      window.Element = function () {};
      window.Element.prototype = {
        getAttribute(name) { return this.attributes[name] ?? null; },
        getAttributeNS(namespace, name) { return this.attributes[`xlink:${name}`] ?? null; },
        matches() { return /^(a|area)$/.test(this.tag) && ("href" in this.attributes || "xlink:href" in this.attributes); },
      };
    },
  });
  const pathOf = (node) => (node ? [node, ...pathOf(node.parent)] : [{ nodeType: 9 }, page.window]);
  const happen = (type, target, more) => page.happen(type, { target, composedPath: () => pathOf(target), ...more });
  const told = () => page.collector.events().map(({ event, properties }) => [event, properties]);
  return { ...page, happen, told };
}

test("clicks and forms in pages that hide what elements are", async () => {
  const { happen, told, advance } = clicks("links forms");
  const hostile = { id: {}, action: {}, getAttribute: {}, matches: {}, closest: {}, href: { baseVal: "x" }, dataset: {} };
  const drawing = element("a", { "xlink:href": "http://away.example/drawing" }, undefined, hostile);
  happen("click", element("circle", {}, drawing), { button: 0 }); // before the second file is there
  await advance(0);
  happen("click", element("a", { href: "http://away.example/x" }, undefined, hostile), { button: 0 });
  happen("auxclick", element("area", { href: "//away.example/map" }), { button: 1 });
  happen("click", element("a", { href: "/FILE.PDF" }), { button: 0 });
  happen("submit", element("form", { id: "cart", action: "/cart/add" }, undefined, hostile));
  happen("submit", element("form", { action: "/a" }), { submitter: element("button", { formaction: "/b" }) });
  happen("submit", element("form"));
  const long = "http://away.example/" + "x".repeat(5000);
  happen("click", element("a", { href: long }), { button: 0 });
  await advance(10);
  assert.deepEqual(told(), [
    ["Outbound Link Clicked", { url: "http://away.example/drawing" }],
    ["Outbound Link Clicked", { url: "http://away.example/x" }],
    ["Outbound Link Clicked", { url: "https://away.example/map" }],
    ["File Downloaded", { url: "https://shop.example/FILE.PDF" }],
    ["Form Submitted", { id: "cart", action: "https://shop.example/cart/add" }],
    ["Form Submitted", { id: "", action: "https://shop.example/b" }],
    ["Form Submitted", { id: "", action: "https://shop.example/a?b=1" }],
    ["Outbound Link Clicked", { url: long.slice(0, 2000) }],
  ]);
});

test("what is no click on a link, and buttons that only open a menu or go back, tell nothing", async () => {
  const { happen, told, advance } = clicks("links forms");
  await advance(0);
  const marked = element("button", { "data-track-event": "Plan Chosen" });
  const away = element("a", { href: "http://away.example/x" });
  for (const button of [2, 3, 4]) for (const one of [marked, away]) happen("auxclick", one, { button });
  happen("auxclick", marked, { button: 1 });
  for (const href of ["/here", "#part", "mailto:a@b.example", "javascript:void 0", "http://[", ""]) happen("click", element("a", { href }), { button: 0 });
  happen("click", undefined, { button: 0 });
  await advance(10);
  assert.deepEqual(told(), []);
});

test("a click on a marked element is told without a word in data-auto", async () => {
  const { happen, told, advance, collector } = clicks("");
  const marked = element("div", { "data-track-event": "Plan Chosen", "data-track-plan": "gold", "data-track-seat_count": "3", "data-other": "x" });
  happen("click", element("b", {}, marked), { button: 0 });
  happen("click", element("b", {}, element("p", {}, undefined, { dataset: undefined })), { button: 0 });
  await advance(10);
  assert.deepEqual(told(), [["Plan Chosen", { event: "Plan Chosen", plan: "gold", seat_count: "3" }]]);
  assert.deepEqual(collector.loaded, []);
});

test("a form that is sent inside a shadow root is told once somebody has been in it", async () => {
  const { happen, told, advance } = clicks("forms");
  await advance(0);
  const heard = [];
  const root = { nodeType: 11, host: {}, addEventListener: (name, run) => heard.push([name, run]) };
  const form = element("form", { id: "inside" });
  happen("focusin", form, { composedPath: () => [form, root] });
  happen("click", form, { button: 0, composedPath: () => [form, root] });
  assert.deepEqual(heard.map(([name]) => name), ["submit"]);
  heard[0][1]({ target: form });
  await advance(10);
  assert.deepEqual(told(), [["Form Submitted", { id: "inside", action: "https://shop.example/a?b=1" }]]);
});

test("the live channel asks only while the page is seen, one page of a browser, and hears what others were told", async () => {
  const taken = [];
  const change = ({ navigator }) => {
    navigator.locks = {
      request: (name, { signal }, run) =>
        name !== "trb_live" ? run() : taken.length ? new Promise((done, failed) => signal.addEventListener("abort", failed)) : (taken.push(name), run()),
    };
  };
  const disk = {};
  const first = startTag({ disk, data: { auto: "live" }, change });
  const second = startTag({ disk, data: { auto: "live" }, change });
  const seen = [];
  second.tag.segments((keys) => seen.push(plain(keys)));
  await first.advance(10);
  await second.advance(10);
  assert.deepEqual([first.collector.asked.length, second.collector.asked.length], [1, 0]);

  const me = { anonymousId: second.tag.user().anonymousId, segments: ["vip"], version: 2 };
  second.happen("storage", { key: "trb_segments", newValue: JSON.stringify(me) });
  second.happen("storage", { key: "trb_segments", newValue: JSON.stringify({ ...me, anonymousId: "else", segments: [] }) });
  second.happen("storage", { key: "trb_segments", newValue: null });
  await second.advance(10);
  assert.deepEqual([seen, disk.trb_segments], [[["vip"]], undefined]);

  first.window.document.hidden = true;
  first.happen("visibilitychange");
  await first.advance(60_000);
  assert.equal(first.collector.asked.length, 1, "hidden, it does not ask");
  first.window.document.hidden = false;
  taken.length = 0;
  first.happen("visibilitychange");
  await first.advance(10);
  assert.equal(first.collector.asked.length, 2);
});
