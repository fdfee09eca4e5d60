// Pages as the field has them: old libraries, names that hide the browser's own, drawings and shadow roots, tag
// managers, tracing, long addresses. Each stands for a kind.
import assert from "node:assert/strict";
import { startTagged, WRITE_KEY } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

const names = (events) => events.map(({ event, type }) => event ?? type).sort();

// What is in the page before the tag, the tag's data-auto, what the page does, and what of it must arrive.
const PAGES = {
  "an old library's toJSON and methods of all objects": {
    head: `<script>Array.prototype.toJSON = function () { return "[" + this.join(", ") + "]"; };
      Object.prototype.each = function (run) { for (var key in this) run(this[key]); };</script>`,
    auto: "page spa links forms engagement datalayer gcm",
    act: () => window.tributary.track("Order Completed", { products: [{ product_id: "A" }] }),
    arrives: { "Order Completed": { products: [{ product_id: "A" }] } },
  },
  "circles, nodes and large numbers": {
    act: () => {
      const given = { node: document.body, big: 12n };
      given.self = given;
      return window.tributary.track("A", given);
    },
    arrives: { A: { big: 12 } },
  },
  "a form whose inputs are called as what a form has": {
    auto: "page forms",
    body: `<form id="cart" action="/cart/add" onsubmit="event.preventDefault()"><input name="id" value="1"><input name="action">
      <input name="getAttribute"><input name="matches"><input name="dataset"><button id="go">add</button></form>`,
    act: () => document.getElementById("go").click(),
    arrives: { "Form Submitted": { id: "cart", action: "{{ORIGIN}}/cart/add" } },
  },
  "a link in a drawing": {
    auto: "page links",
    body: `<svg width="20" height="20"><a xlink:href="http://away.example/drawing"><circle id="go" r="20"/></a></svg>`,
    act: () => {
      addEventListener("click", (event) => event.preventDefault());
      document.getElementById("go").dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, composed: true }));
    },
    arrives: { "Outbound Link Clicked": { url: "http://away.example/drawing" } },
  },
  "a link, a marked element and a form in a shadow root": {
    auto: "page links forms",
    body: `<div id="host"></div><script>
      const root = document.getElementById("host").attachShadow({ mode: "open" });
      root.innerHTML = '<a href="http://away.example/shadow">x</a><b data-track-event="Plan Chosen">y</b><form id="inside" action="/in"><button>z</button></form>';
      root.addEventListener("submit", (event) => event.preventDefault());
      root.querySelector("a").onclick = (event) => event.preventDefault();</script>`,
    act: () => {
      for (const part of ["a", "b", "button"]) document.getElementById("host").shadowRoot.querySelector(part).click();
    },
    arrives: {
      "Form Submitted": { id: "inside", action: "{{ORIGIN}}/in" },
      "Outbound Link Clicked": { url: "http://away.example/shadow" },
      "Plan Chosen": { event: "Plan Chosen" },
    },
  },
  "other buttons than the first": {
    auto: "page links",
    body: '<button data-track-event="Plan Chosen">b</button><a href="http://away.example/x">x</a>',
    act: () => {
      for (const button of [2, 3]) {
        for (const part of ["button", "a"]) {
          document.querySelector(part).dispatchEvent(new MouseEvent("auxclick", { bubbles: true, composed: true, button }));
        }
      }
      return window.tributary.track("End");
    },
    arrives: { End: {} },
  },
  "a tracing library that adds headers to every fetch": {
    head: `<script>const fetch_ = fetch; window.fetch = (to, options) => fetch_(to, { ...options,
      headers: { ...options?.headers, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", baggage: "a=b", "x-any-trace": "1" } });</script>`,
    act: () => window.tributary.track("A"),
    arrives: { A: {} },
  },
  "a long address and title": {
    search: `?utm_source=${"x".repeat(7000)}`,
    act: () => {
      document.title = "x".repeat(100_000);
      history.replaceState({}, "", location.href + "#" + "x".repeat(100_000));
      return window.tributary.track("A");
    },
    arrives: { A: {} },
  },
  "an element that is called as the tag is": {
    body: '<div id="tributary">of the page</div>',
    late: true,
    act: () => window.tributary.track("A"),
    arrives: { A: {} },
  },
};

test("hostile and old pages lose nothing and throw nothing", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  for (const [what, { head = "", body = "", auto = "page", search = "", late, act, arrives }] of Object.entries(PAGES)) {
    await t.test(what, async () => {
      const script = shop.script({ auto });
      shop.put("/", { head: late ? head : head + script, body: late ? body + script : body });
      const page = await shop.page.context().browser().newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      await shop.open(`/${search}`, page);
      await page.evaluate(act);
      const events = await shop.events(await shop.anonymousId(page), Object.keys(arrives).length + 1);
      assert.deepEqual(names(events), [...Object.keys(arrives), "page"].sort());
      for (const { event, properties } of events.filter((one) => one.event)) {
        assert.deepEqual(properties, JSON.parse(JSON.stringify(arrives[event]).replaceAll("{{ORIGIN}}", shop.origin)));
      }
      await page.waitForFunction(() => !Object.keys(localStorage).some((key) => key.startsWith("trb_q")));
      assert.deepEqual(errors, []);
      await page.close();
    });
  }
});

test("the key and the options in the script's address serve where a tag manager takes attributes away, and modules too", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const address = `${shop.collector.url}/t.js?writeKey=${WRITE_KEY}&auto=page+forms`;
  for (const element of [`<script async src="${address}"></script>`, `<script type="module" src="${shop.collector.url}/t.js" data-write-key="${WRITE_KEY}"></script>`]) {
    shop.put("/", { head: element });
    await shop.page.goto(`${shop.origin}/`);
    await shop.page.waitForFunction(() => window.tributary?.user);
    await shop.page.evaluate(() => window.tributary.reset());
    await shop.page.evaluate(() => window.tributary.track("A"));
    await shop.events(await shop.anonymousId(), 1);
    assert.deepEqual(shop.page.complaints, []);
  }
});

test("a page that the browser loads ahead is not viewed before the visitor sees it", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const fake = `<script>let ahead = true; Object.defineProperty(document, "prerendering", { get: () => ahead });
    window.show = () => { ahead = false; document.dispatchEvent(new Event("prerenderingchange")); };</script>`;
  const sent = [];
  shop.page.on("request", (request) => request.method() === "POST" && sent.push(request));
  shop.put("/", { head: fake + shop.script() });
  await shop.page.goto(`${shop.origin}/`, { waitUntil: "networkidle" });
  assert.deepEqual([sent, await shop.stored()], [[], []]);
  await shop.page.evaluate(() => window.show());
  await shop.page.waitForFunction(() => window.tributary.user().anonymousId);
  assert.deepEqual(names(await shop.events(await shop.anonymousId(), 1)), ["page"]);
});
