// What the tag captures by itself, in a real browser.
import assert from "node:assert/strict";
import { startTagged } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

const named = (events, name) => events.filter(({ event }) => event === name).map(({ properties }) => properties);

test("views of a single-page application: history, hash and back", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const head = shop.script({ auto: "page spa" });
  shop.put("/", { head, body: '<a href="#part" id="part">part</a>' });
  await shop.open("/?utm_source=mail&gclid=x1");
  const { page } = shop;
  await page.evaluate(() => history.pushState({}, "", "/list"));
  await page.evaluate(() => history.replaceState({ scroll: 1 }, ""));
  await page.evaluate(() => void (location.hash = "part"));
  await page.goBack();
  const events = await shop.events(await shop.anonymousId(), 4);
  const views = events.filter(({ type }) => type === "page").map(({ properties }) => properties);
  assert.deepEqual(
    views.map(({ url, referrer }) => [url.slice(shop.origin.length), referrer.slice(shop.origin.length)]),
    [
      ["/?utm_source=mail&gclid=x1", ""],
      ["/list", "/?utm_source=mail&gclid=x1"],
      ["/list#part", "/list"],
      ["/list", "/list#part"],
    ],
  );
});

test("campaigns, outbound links, downloads, forms and marked elements", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const sent = [];
  shop.page.on("request", (request) => request.method() === "POST" && sent.push(...JSON.parse(request.postData()).batch));
  shop.put("/", {
    head: shop.script({ auto: "page links forms" }),
    body: `
      <a id="out" href="http://elsewhere.example/x?y=1">away</a> <a id="in" href="/other">here</a>
      <a id="file" href="/price-list.pdf">prices</a>
      <form id="newsletter" action="/subscribe"><input name="email" value="jane@example.com"><button id="send">send</button></form>
      <div data-track-event="Plan Chosen" data-track-plan="gold" data-track-seat_count="3"><b id="inner">gold</b></div>
      <script>for (const link of document.links) link.onclick = (event) => event.preventDefault();
      addEventListener("submit", (event) => event.preventDefault());</script>`,
  });
  await shop.open("/?utm_source=mail&utm_campaign=spring&fbclid=f1");
  for (const id of ["out", "in", "file", "send", "inner"]) await shop.page.click(`#${id}`);
  const events = await shop.events(await shop.anonymousId(), 5);
  assert.deepEqual(named(events, "Outbound Link Clicked"), [{ url: "http://elsewhere.example/x?y=1" }]);
  assert.deepEqual(named(events, "File Downloaded"), [{ url: `${shop.origin}/price-list.pdf` }]);
  assert.deepEqual(named(events, "Form Submitted"), [{ id: "newsletter", action: `${shop.origin}/subscribe` }]);
  assert.deepEqual(named(events, "Plan Chosen"), [{ event: "Plan Chosen", plan: "gold", seat_count: "3" }]);
  assert.equal(events.length, 5);
  assert.deepEqual(sent[0].context.campaign, { source: "mail", name: "spring", fbclid: "f1" });
});

test("a view's end tells scroll depth, engaged time, Web Vitals and errors", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  shop.put("/", {
    head: shop.script({ auto: "page engagement" }),
    body: `<h1>Hello</h1><button id="slow">slow</button><div style="height:4000px"></div>
      <script>slow.onclick = () => { const end = performance.now() + 120; while (performance.now() < end); };</script>`,
  });
  shop.put("/next", { head: shop.script({ auto: "page engagement" }) });
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  const { page } = shop;
  await page.click("#slow");
  await page.evaluate(() => {
    setTimeout(() => { throw new Error("the page's mistake"); });
    Promise.reject(new Error("another"));
    scrollTo(0, 2000);
    const late = document.createElement("p");
    late.textContent = "late";
    document.body.prepend(late); // a layout shift
  });
  await page.waitForFunction(() => scrollY > 1000);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100))));
  await page.goto(`${shop.origin}/next`);
  await page.waitForFunction(() => window.tributary?.user);
  const events = await shop.events(anonymousId, (all) => named(all, "Page Left").length > 0);
  const [left] = named(events, "Page Left");
  t.diagnostic(JSON.stringify(left));
  assert.ok(left.scrollDepth > 50 && left.scrollDepth < 100);
  assert.ok(left.seconds > 0.1 && left.seconds < 60);
  assert.equal(left.errors, 2);
  for (const vital of ["ttfb", "fcp", "lcp", "inp"]) assert.ok(left[vital] > 0 && left[vital] < 60_000, vital);
  assert.ok(left.inp >= 100);
  assert.equal(named(events, "Page Left").length, 1, "once");
});
