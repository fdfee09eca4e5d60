// A page moves from analytics.js to the tag: Segment's own snippet, as its package renders it, with the one
// line changed that the tag's README names.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import segment from "@segment/snippet";
import { ROOT } from "./support/cli.mjs";
import { startTagged, WRITE_KEY } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

const README = readFileSync(join(ROOT, "tag-js", "README.md"), "utf8");
const NEW_LINE = /^t\.src="https:\/\/data\.example\.com\/t\.js".*$/m.exec(README)[0];
const OLD_LINE = /t\.src ?= ?"https:\/\/cdn\.segment\.com[^;]*;/g;

// The snippet with its call of page(), before and after the change.
function moved(render, collector) {
  const before = render({ apiKey: WRITE_KEY });
  assert.equal(before.match(OLD_LINE).length, 1);
  return before.replace(OLD_LINE, () => NEW_LINE.replace("https://data.example.com", collector.url));
}

// What a shop does in the same script, before any other can have loaded.
const EARLY_CALLS = `
  window.heard = [];
  var track = analytics.track;
  analytics.ready(function () { heard.push(["ready"]); });
  analytics.on("track", function () { heard.push([].slice.call(arguments)); });
  analytics.track("Product Viewed", { sku: "k1", price: 12.5, tags: ["steel", "1 l"] });
  analytics.track("Cart Viewed");
  analytics.identify("u1", { email: "Jane@example.com", age: 41 });
  analytics.page("Shop", "Kettles", { colour: "red" });
  analytics.group("g1", { name: "Acme" });
  analytics.track("Order Completed", { total: 80.5 }, { context: { app: { name: "shop" } } });
  analytics.alias("u1", "old-device");
  analytics.setAnonymousId("x");
  window.wereEarly = !analytics.user;`;

const EARLY = [
  ["page", {}],
  ["track", { event: "Product Viewed", properties: { sku: "k1", price: 12.5, tags: ["steel", "1 l"] } }],
  ["track", { event: "Cart Viewed", properties: {} }],
  ["identify", { userId: "u1", traits: { email: "Jane@example.com", age: 41 } }],
  ["page", { userId: "u1", category: "Shop", name: "Kettles" }],
  ["group", { userId: "u1", groupId: "g1", traits: { name: "Acme" } }],
  ["track", { userId: "u1", event: "Order Completed", properties: { total: 80.5 } }],
  ["alias", { userId: "u1", previousId: "old-device" }],
];
const LATE = [
  ["track", { userId: "u1", event: "Late", properties: { n: 1 } }],
  ["track", { userId: "u1", event: "By the old name", properties: { n: 2 } }],
];
// Beside these an event has only what it was called with.
const OF_EACH = ["anonymousId", "context", "messageId", "timestamp", "type"];

const without = (object, names) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

function pushesOfDebug() {
  const { analytics } = window;
  const { push } = analytics;
  let pushes = 0;
  analytics.push = (...calls) => {
    pushes++;
    return push(...calls);
  };
  analytics.debug(true);
  return pushes;
}

for (const form of ["min", "max"]) {
  test(`with one line of Segment's snippet (${form}) changed, every call arrives whole, once and in order`, async (t) => {
    const shop = await startTagged(t);
    if (!shop) return;
    const { page } = shop;
    const sent = [];
    page.on("request", (request) => request.method() === "POST" && sent.push(...JSON.parse(request.postData()).batch));
    shop.put("/kettles", { head: `<script>${moved(segment[form], shop.collector)}${EARLY_CALLS}</script>` });
    await shop.open("/kettles?q=1");
    assert.equal(await page.evaluate(() => window.wereEarly), true);
    await page.evaluate(() => Promise.all([window.analytics.track("Late", { n: 1 }), window.track("By the old name", { n: 2 })]));

    assert.equal(await page.evaluate(pushesOfDebug), 1, "what the tag does not have does nothing");

    const expected = [...EARLY, ...LATE];
    const view = { url: `${shop.origin}/kettles?q=1`, path: "/kettles", search: "?q=1", title: "/kettles", referrer: "" };
    expected[0][1].properties = view;
    expected[4][1].properties = { ...view, category: "Shop", name: "Kettles", colour: "red" };
    const events = await shop.events(await shop.anonymousId(), expected.length);
    assert.equal((await shop.hub.overview()).events, expected.length);

    // On the wire: in the order of the calls, each once, and nothing that nobody said.
    assert.deepEqual(
      sent.map(({ type, ...event }) => [type, without(event, OF_EACH)]),
      expected,
    );
    assert.deepEqual(sent[6].context.app, { name: "shop" });
    for (const { context } of sent) {
      assert.deepEqual(context.page, view);
      assert.equal(context.library.name, "tributary.js");
    }
    // At the hub: the same. Its order is that of time, and calls of one millisecond have the same.
    const told = (all) => all.map(({ messageId, type, event, properties, traits }) => [messageId, type, event, properties, traits]).sort();
    assert.deepEqual(told(events), told(sent));
    const times = sent.map(({ timestamp }) => timestamp);
    assert.deepEqual(times, [...times].sort());
    const profile = await shop.hub.profile("user_id", "u1");
    assert.deepEqual([profile.traits.email, profile.traits.age], ["Jane@example.com", 41]);
    assert.equal((await shop.hub.profile("anonymous_id", await shop.anonymousId())).id, profile.id);

    assert.deepEqual(await page.evaluate(() => window.heard), [
      ["ready"],
      ["Product Viewed", { sku: "k1", price: 12.5, tags: ["steel", "1 l"] }],
      ["Cart Viewed"],
      ["Order Completed", { total: 80.5 }, { context: { app: { name: "shop" } } }],
      ["Late", { n: 1 }],
      ["By the old name", { n: 2 }],
    ]);
    assert.deepEqual(page.complaints, []);
  });
}
