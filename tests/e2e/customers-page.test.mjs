// The page at /customers as a seller uses it on a tablet, in a real browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openBrowser } from "./support/browser.mjs";
import { ROOT } from "./support/cli.mjs";
import { startSite, test, waitUntil } from "./support/site.mjs";

const EMAIL = "wanda.quixote@example.com";
const LOYALTY = "4711000815";
const PHONE = "+33639980077";

// A store whose customer Wanda has bought something, and the page open in front of the seller.
async function openTill(t, link = "", locale = "en-IE") {
  const page = await openBrowser(t, { locale });
  if (!page) return undefined;
  const { hub, collector } = await startSite(t, {
    segments: { vip: { name: "VIP customers", edge: ["staff"], where: { event: "Order Completed" } } },
  });
  await hub.put("/v1/traits/firstName", { edge: ["staff"] });
  const context = { consent: { categoryPreferences: { marketing: true, profiling: false } } };
  const traits = { email: EMAIL, phone: PHONE, loyalty_id: LOYALTY, firstName: "Wanda" };
  await collector.send([
    { type: "identify", userId: "u1", context, traits },
    {
      type: "track",
      userId: "u1",
      event: "Order Completed",
      properties: { total: 80.5, currency: "EUR", order_id: "O-77" },
    },
  ]);
  await waitUntil(async () => {
    const { body } = await collector.customer("email", EMAIL);
    return body.segments?.includes("vip") && body.traits.firstName;
  });
  page.policies = [];
  page.on("response", (answer) => {
    const policy = answer.headers()["content-security-policy"];
    if (policy) page.policies.push(policy);
  });
  await page.setViewportSize({ width: 768, height: 1024 });
  await page.goto(`${collector.url}/customers${link && `#token=${collector.customerToken}`}`);
  return { page, hub, collector };
}

async function search(page, text) {
  await page.fill("#search", text);
  await page.press("#search", "Enter");
}

const notice = async (page, pattern) =>
  waitUntil(async () => pattern.test(await page.textContent("#notice")), { what: `the page to say ${pattern}` });

const isFitting = (page) => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

test("a seller enters the token once, types who it is, and sees the customer", async (t) => {
  const till = await openTill(t);
  if (!till) return;
  const { page, collector } = till;
  assert.equal(await page.isVisible("#search"), false);
  await page.fill("#token", "not the token");
  await page.press("#token", "Enter");
  await notice(page, /not valid/); // at once, before anybody is looked for
  assert.deepEqual([await page.isVisible("#search"), await page.inputValue("#token")], [false, ""]);
  await page.fill("#token", collector.customerToken);
  await page.press("#token", "Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "search");

  await search(page, EMAIL.toUpperCase());
  await page.waitForSelector("#card:not([hidden])");
  assert.equal(await page.textContent("#who"), "Wanda");
  assert.equal(await page.evaluate(() => document.activeElement.id), "who");
  const card = await page.innerText("#card");
  for (const wanted of ["VIP customers", "Order Completed", "€80.50", "O-77", "marketing", "profiling", LOYALTY, "Up to date"]) {
    assert.ok(card.includes(wanted), `${wanted} in\n${card}`);
  }
  assert.match(card, /marketing\s+Yes/);
  assert.match(card, /profiling\s+No/);
  assert.ok(await isFitting(page), "fits a tablet");
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok(await isFitting(page), "fits a telephone");

  await page.reload();
  assert.equal(await page.isVisible("#search"), true, "the token is still there");
  await page.click("#forget");
  await page.reload();
  assert.equal(await page.isVisible("#token"), true);
  const unexpected = page.complaints.filter((complaint) => !complaint.includes("401"));
  assert.deepEqual(unexpected, []);
});

test("what was typed is recognised, and the seller chooses where it is ambiguous", async (t) => {
  const till = await openTill(t, "with a link");
  if (!till) return;
  const { page, collector } = till;
  assert.equal(page.url(), `${collector.url}/customers`, "the token does not stay in the address");
  for (const [text, type] of [
    [EMAIL, "email"],
    ["+33 6 39 98 00 77", "phone"],
    ["L-42", "loyalty_id"],
  ]) {
    const asked = page.waitForRequest(/\/v1\/customers\?/);
    await search(page, text);
    assert.equal(new URL((await asked).url()).searchParams.get(type), text);
  }
  await search(page, LOYALTY);
  assert.equal(await page.isVisible("#choice"), true);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Loyalty number");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#card:not([hidden])");
  assert.equal(await page.textContent("#who"), "Wanda");
  await search(page, LOYALTY);
  await page.click("#choices button:has-text('Phone')");
  await notice(page, /Nobody is known by Phone/);
  assert.equal(await page.isVisible("#card"), false);
});

test("a wrong token in a link or from before is said at once", async (t) => {
  const till = await openTill(t);
  if (!till) return;
  const { page, collector } = till;
  await page.goto(`${collector.url}/customers#token=wrong`);
  await notice(page, /not valid/);
  assert.equal(await page.isVisible("#token"), true);
  await page.evaluate(() => sessionStorage.setItem("tributary-customer-token", "of before"));
  await page.reload();
  await notice(page, /not valid/);
});

test("a French tablet reads French, with dates and amounts as they are written there", async (t) => {
  const till = await openTill(t, "with a link", "fr-FR");
  if (!till) return;
  const { page, hub, collector } = till;
  await search(page, EMAIL);
  await page.waitForSelector("#card:not([hidden])");
  assert.deepEqual(await page.evaluate(() => [document.documentElement.lang, document.title]), ["fr", "Clients"]);
  const card = await page.innerText("#card");
  const day = new Intl.DateTimeFormat("fr-FR", { dateStyle: "medium" }).format(new Date());
  for (const wanted of ["Derniers achats", "80,50\u00a0€", "commande O-77", `Oui, depuis le ${day}`, "À jour. Dernier changement\u202f:", "Numéro de fidélité"]) {
    assert.ok(card.includes(wanted), `${wanted} in\n${card}`);
  }
  assert.ok(await isFitting(page), "fits a tablet");
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok(await isFitting(page), "fits a telephone");
  await search(page, "personne@example.com");
  await notice(page, /Personne n’est connu par E-mail personne@example\.com/);
  await hub.kill();
  await waitUntil(async () => (await collector.customer("email", EMAIL)).headers["tributary-hub"] === "unreachable", {
    timeout: 60_000,
    what: "the collector to notice",
  });
  await search(page, EMAIL);
  await notice(page, /coupée.*dernière nouvelle de ce client\u202f: (il y a|maintenant|à l’instant)/);
});

test("every text is there in every language, and a language that has none reads English with its own first", async (t) => {
  const html = readFileSync(join(ROOT, "collector", "api", "customers.html"), "utf8");
  const source = /const TEXTS_BY_LANGUAGE = (\{.*?\n\});/s.exec(html)[1];
  const languages = new Function(`return ${source}`)();
  const shape = (texts) => Object.entries(texts).map(([name, text]) => [name, typeof text === "object" ? shape(text) : typeof text + (text.length > 0 ? "" : " empty")]).sort();
  for (const [language, texts] of Object.entries(languages)) assert.deepEqual(shape(texts), shape(languages.en), language);
  const used = [...html.matchAll(/TEXTS\.(\w+)|data-text="(\w+)"/g)].map(([, inScript, inPage]) => inScript ?? inPage);
  assert.deepEqual(used.filter((name) => !(name in languages.en)), [], "asked for, and not there");
  assert.deepEqual(Object.keys(languages.en).filter((name) => !used.includes(name)), [], "there, and never shown");
  assert.deepEqual(
    Object.values(languages.fr).filter((text) => /[^\u202f][;:!?»]|[«] /.test(String(text).replace(/=>|\$\{[^}]*\}|^\(\w+\) |[?:]\.|https?:/g, ""))),
    [],
    "a fine space before : ; ? !",
  );

  for (const [locale, language] of [["de-DE", "en"], ["fr-CA", "fr"], ["en-US", "en"]]) {
    const page = await openBrowser(t, { locale });
    if (!page) return;
    const { collector } = await startSite(t);
    await page.goto(`${collector.url}/customers`);
    assert.equal(await page.evaluate(() => document.documentElement.lang), language, locale);
  }
});

test("with the line down the page says so, and how old the information is", async (t) => {
  const till = await openTill(t, "with a link");
  if (!till) return;
  const { page, hub, collector } = till;
  await hub.kill();
  await waitUntil(
    async () => (await collector.customer("email", EMAIL)).headers["tributary-hub"] === "unreachable",
    { timeout: 60_000, what: "the collector to notice" },
  );
  await search(page, EMAIL);
  await page.waitForSelector("#card:not([hidden])");
  assert.equal(await page.textContent("#who"), "Wanda");
  await notice(page, /line to the centre is down.*ago|now/);
  assert.match(await page.textContent("#as-of"), /^As of /);
  await search(page, "nobody@example.com");
  await notice(page, /not known in this shop.*down/);
  await collector.kill();
  await search(page, EMAIL);
  await notice(page, /cannot reach/);
});

test("the page names every field, loads nothing, and allows nothing but itself", async (t) => {
  const till = await openTill(t);
  if (!till) return;
  const { page, collector } = till;
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.reload({ waitUntil: "networkidle" });
  assert.deepEqual(requests.filter((url) => !url.startsWith("data:")), [`${collector.url}/customers`]);
  assert.match(page.policies[0], /^default-src 'none'; style-src 'sha256-.*'; script-src 'sha256-/);
  assert.ok(!page.policies[0].includes("unsafe"));
  const unnamed = await page.$$eval("input, button", (nodes) =>
    nodes.filter((node) => !(node.labels?.length || node.textContent.trim())).map((node) => node.outerHTML),
  );
  assert.deepEqual(unnamed, []);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.ok((await contrastOf(page)) >= 4.5, `${colorScheme}: ${await contrastOf(page)}`);
  }
  assert.deepEqual(page.complaints, []);
});

// The least contrast of any pair of colours in which the page writes text (WCAG's formula).
const contrastOf = (page) =>
  page.evaluate(() => {
    const style = getComputedStyle(document.documentElement);
    const luminance = (name) => {
      const hex = style.getPropertyValue(name).trim().slice(1);
      const [r, g, b] = [0, 2, 4].map((at) => {
        const c = parseInt(hex.slice(at, at + 2), 16) / 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const pairs = [
      ["--ink", "--paper"],
      ["--ink", "--card"],
      ["--soft", "--paper"],
      ["--soft", "--card"],
      ["--accent", "--card"],
      ["--accent", "--paper"],
      ["--on-accent", "--accent"],
      ["--yes", "--card"],
      ["--no", "--card"],
      ["--warn", "--warn-paper"],
    ];
    return Math.min(
      ...pairs.map(([a, b]) => {
        const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
        return (light + 0.05) / (dark + 0.05);
      }),
    );
  });
