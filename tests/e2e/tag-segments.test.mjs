// Personalisation: known before the first paint, fresh with the event's own answer, no flicker.
import assert from "node:assert/strict";
import { SNIPPET, startTagged } from "./support/tagged.mjs";
import { test, waitUntil } from "./support/site.mjs";

const segments = {
  vip: { name: "Bought", edge: ["page"], where: { event: "Order Completed" } },
};

// Notes for each frame which of the elements can be seen.
const RECORDER = `
  window.frames_ = [];
  (function note() {
    const seen = [...document.querySelectorAll("[data-segment]")]
      .filter((part) => part.checkVisibility({ checkVisibilityCSS: true })).map((part) => part.id).join();
    if (document.querySelector("#end")) frames_.push(seen);
    requestAnimationFrame(note);
  })();`;
const BODY = '<p id="vip" data-segment="vip">vip</p><p id="others" data-segment="!vip">others</p><p id="end">end</p>';

function putPages(shop, data) {
  const head = `<script>${SNIPPET}</script><script>${RECORDER}
    window.heard = []; tributary.segments((keys, age) => heard.push([keys, age]));
    tributary.onSegment("vip", () => heard.push("enter"), () => heard.push("leave"));</script>${shop.script(data)}`;
  shop.put("/", { head, body: BODY });
}

test("a returning visitor sees the right elements from the first frame on, without an extra request", async (t) => {
  const shop = await startTagged(t, { segments });
  if (!shop) return;
  const asked = [];
  shop.page.on("request", (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  putPages(shop, { auto: "page" });
  await shop.open("/");
  const first = await shop.page.evaluate(() => new Promise((done) => setTimeout(() => done([...new Set(window.frames_)]), 600)));
  assert.ok(!first.includes("vip") && !first.includes("vip,others"), `a stranger never sees it: ${first}`);
  assert.equal(first.pop(), "others");

  await shop.page.evaluate(() => void window.tributary.track("Order Completed", { total: 20 }));
  const anonymousId = await shop.anonymousId();
  await waitUntil(async () => (await shop.collector.me(anonymousId)).segments.includes("vip"), { what: "the segment at the edge" });
  await shop.page.evaluate(() => void window.tributary.track("Looked Around"));
  await shop.page.waitForFunction(() => document.getElementById("vip").checkVisibility());

  asked.length = 0;
  await shop.open("/");
  await shop.page.waitForFunction(() => window.heard.length > 2 || window.heard.some(([, age]) => age > 0));
  const seen = await shop.page.evaluate(() => new Promise((done) => setTimeout(() => done([...new Set(window.frames_)]), 500)));
  assert.deepEqual(seen, ["vip"], "in every frame");
  const heard = await shop.page.evaluate(() => window.heard);
  assert.deepEqual(heard[0][0], ["vip"]);
  assert.ok(heard[0][1] > 0, "with its age");
  assert.ok(heard.includes("enter"));
  assert.deepEqual([...new Set(asked)].filter((line) => line.includes("/v1/")), ["POST /v1/b"]);
});

test("the live channel changes the page without an event of its own", async (t) => {
  const shop = await startTagged(t, { segments });
  if (!shop) return;
  putPages(shop, { auto: "page live" });
  await shop.open("/");
  const anonymousId = await shop.anonymousId();
  await shop.events(anonymousId, 1);
  const waits = async () => Number(/^tributary_me_waiting (\d+)/m.exec(await (await fetch(`${shop.collector.url}/metrics`)).text())[1]);
  await waitUntil(async () => (await waits()) === 1, { what: "the page to wait" });
  // The till knows the same visitor.
  await shop.collector.send([{ type: "track", event: "Order Completed", anonymousId }]);
  const start = performance.now();
  await shop.page.waitForFunction(() => document.getElementById("vip").checkVisibility());
  t.diagnostic(`from the till's 200 to the page: ${(performance.now() - start).toFixed(0)} ms`);
  await waitUntil(async () => (await waits()) === 1, { what: "the page to wait again" });
});
