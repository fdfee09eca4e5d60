// The product's story in a real browser, on the demo shop, with the tag that the collector serves.
import assert from "node:assert/strict";
import { loadProducts } from "../demo/products.mjs";
import { SERVER_WRITE_KEY, sourcesFor, WRITE_KEY } from "../demo/segments.mjs";
import { serveShop } from "../demo/shop-server.mjs";
import { Signer } from "../demo/signer.mjs";
import { openBrowser } from "./support/browser.mjs";
import { freePorts } from "./support/ports.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const EMAIL = "wanda.quixote@example.com";

// A site with the demo shop in front of it, and a customer whom only the till knows.
async function openShop(t) {
  const [port] = await freePorts(1);
  const signer = new Signer(WRITE_KEY);
  const site = await startSite(t, { sources: sourcesFor([`http://127.0.0.1:${port}`], signer) });
  const shop = await serveShop(port, { collector: site.collector.url, writeKey: WRITE_KEY, signer });
  t.after(() => shop.close());
  const context = { externalIds: [{ type: "loyalty_id", id: "L-42" }] };
  await site.collector.send(
    [
      { type: "identify", context, traits: { email: EMAIL, loyalty_id: "L-42", firstName: "Wanda" } },
      { type: "track", context, event: "Order Completed", properties: { channel: "store", total: 80 } },
    ],
    { writeKey: SERVER_WRITE_KEY },
  );
  await waitUntil(async () => (await site.hub.profile("email", EMAIL))?.eventCount === 2, {
    what: "the till's events",
  });
  return { hub: site.hub, collector: site.collector, shop };
}

async function viewProducts(page, shop, count) {
  for (const { product_id: sku } of loadProducts().slice(0, count)) {
    await page.goto(`${shop.url}/product.html?sku=${sku}`);
    await page.waitForSelector("#add");
  }
}

const anonymousIdOf = (page) => page.evaluate(() => window.tributary.user().anonymousId);

test("a store customer who signs in sees the banner within a second, without a reload", async (t) => {
  const page = await openBrowser(t);
  if (!page) return;
  const { hub, shop } = await openShop(t);
  await page.goto(shop.url);
  await page.click("#consent-accept");
  await viewProducts(page, shop, 3);
  const anonymousId = await anonymousIdOf(page);
  const views = async () => {
    const profile = await hub.profile("anonymous_id", anonymousId);
    return profile
      ? (await hub.timeline(profile.id)).filter(({ event }) => event === "Product Viewed").length
      : 0;
  };
  await waitUntil(async () => (await views()) === 3, { what: "three views at the hub" });
  assert.equal(await page.isVisible("#banner"), false);

  await page.fill("#email", EMAIL);
  // A reload would lose this mark. The page's own clock measures from the click to the banner.
  const took = await page.evaluate(
    () =>
      new Promise((resolve) => {
        window.notReloaded = true;
        const banner = document.getElementById("banner");
        const start = performance.now();
        new MutationObserver(() => {
          if (banner.checkVisibility?.() ?? !banner.hidden) resolve(performance.now() - start);
        }).observe(banner, { attributes: true });
        document.getElementById("signin").click();
      }),
  );
  t.diagnostic(`click to banner: ${took.toFixed(0)} ms`);
  assert.equal(await page.isVisible("#banner"), true);
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  assert.ok(took < 1000, `took ${took} ms`);

  await waitUntil(
    async () => {
      const { identifiers } = await hub.profile("email", EMAIL);
      const keys = identifiers.map(({ type, value }) => `${type}:${value}`);
      return keys.includes(`anonymous_id:${anonymousId}`) && keys.includes("loyalty_id:L-42");
    },
    { what: "the visitor and the customer in one profile" },
  );
  assert.deepEqual(page.complaints, []);
});

test("without consent the browser sends nothing and keeps nothing", async (t) => {
  const page = await openBrowser(t);
  if (!page) return;
  const { hub, collector, shop } = await openShop(t);
  const before = await hub.overview();
  const sent = [];
  page.on("request", (request) => {
    if (request.url().startsWith(collector.url) && request.method() === "POST") sent.push(request.url());
  });
  await page.goto(shop.url);
  await page.click("#consent-reject");
  await viewProducts(page, shop, 3);
  await page.goto(shop.url, { waitUntil: "networkidle" });
  assert.deepEqual(sent, []);
  assert.deepEqual(await page.context().cookies(), []);
  // An event from elsewhere shows that the hub had time to take one.
  await collector.send([{ type: "track", event: "Hello", userId: "later" }]);
  await waitUntil(() => hub.profile("user_id", "later"));
  assert.equal((await hub.overview()).profiles, before.profiles + 1);
});

// What lies at the middle of an element, when it is scrolled to, must be the element or a part of it.
const covered = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("main a, main button, header a, header button, header input, footer button")]
      .filter((part) => part.checkVisibility())
      .filter((part) => {
        part.scrollIntoView({ block: "nearest" });
        const { left, top, width, height } = part.getBoundingClientRect();
        return !part.contains(document.elementFromPoint(left + width / 2, top + height / 2));
      })
      .map((part) => part.textContent || part.id),
  );

test("what the shop shows of Tributary covers none of its buttons, on a screen, a tablet or a telephone", async (t) => {
  const page = await openBrowser(t);
  if (!page) return;
  const { shop } = await openShop(t);
  await page.goto(shop.url);
  await page.click("#consent-accept");
  const [{ product_id: sku }] = loadProducts();
  for (const [width, height] of [[1366, 768], [1024, 768], [390, 740]]) {
    await page.setViewportSize({ width, height });
    for (const path of ["/", `/product.html?sku=${sku}`, "/cart.html"]) {
      await page.goto(shop.url + path);
      await page.waitForSelector("main > *");
      if (path.startsWith("/product")) await page.click("#add");
      for (const open of [true, false]) {
        await page.evaluate((is) => {
          document.getElementById("knows").open = is;
          document.getElementById("segments").innerHTML = "<li>hot-leads</li><li>window-shoppers</li><li>vip-customers</li>";
        }, open);
        assert.deepEqual(await covered(page), [], `${path} at ${width} px`);
      }
    }
  }
});
