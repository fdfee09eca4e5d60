// Varied events for measuring and for training the dictionary: the demo's traffic on many sites, with
// many browsers, shops and products, and some events of Segment's specification that the demo lacks.
//
// Two worlds share nothing but the language of the web: what is trained in one is measured in the other.
import { Random } from "../demo/random.mjs";
import { generateTraffic } from "../demo/traffic.mjs";

const NOUNS = [
  ["kettle", "lamp", "jacket", "boots", "tent", "keyboard", "sofa", "mug", "rug", "bicycle", "camera", "scarf"],
  ["teapot", "mirror", "coat", "sandals", "hammock", "monitor", "armchair", "plate", "curtain", "scooter", "tripod", "belt"],
];
const ADJECTIVES = [
  ["oak", "steel", "wool", "compact", "classic", "waterproof", "Nordic", "organic", "folding", "large"],
  ["walnut", "copper", "linen", "slim", "vintage", "windproof", "Alpine", "recycled", "stackable", "small"],
];
const CATEGORIES = [
  ["Kitchen", "Living", "Outdoor", "Women/Shoes", "Electronics"],
  ["Garden", "Bedroom", "Travel", "Men/Coats", "Audio"],
];
const SITES = [
  ["www.meridian-home.example", "shop.north-and-co.example", "alder-books.example", "www.velotown.example"],
  ["store.bluefinch.example", "www.casaverde.example", "lumen-audio.example", "de.petitpas.example"],
];
const LOCALES = ["en-US", "en-GB", "fr-FR", "de-DE", "es-ES", "it-IT", "nl-NL", "pt-BR", "pl-PL", "fr", "en"];
const ZONES = [
  "Europe/Paris", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles",
  "America/Sao_Paulo", "Europe/Madrid", "Asia/Tokyo",
];
const CURRENCIES = ["EUR", "USD", "GBP", "CHF"];
const MEDIA = [["google", "cpc"], ["newsletter", "email"], ["facebook", "paid_social"], ["bing", "cpc"], ["instagram", "social"]];

const AGENTS = [
  (v) => `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${v}.0.0.0 Safari/537.36`,
  (v) => `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${v}.0.0.0 Safari/537.36`,
  (v) => `Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${v}.0.0.0 Mobile Safari/537.36`,
  (v) => `Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${v}.0.0.0 Safari/537.36 Edg/${v}.0.0.0`,
  (v) => `Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:${v}.0) Gecko/20100101 Firefox/${v}.0`,
  (v) => `Mozilla/5.0 (X11; Linux x86_64; rv:${v}.0) Gecko/20100101 Firefox/${v}.0`,
  (v, minor) => `Mozilla/5.0 (iPhone; CPU iPhone OS ${v - 104}_${minor} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${v - 104}.${minor} Mobile/15E148 Safari/604.1`,
  (v, minor) => `Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/${v - 104}.${minor} Safari/605.1.15`,
  (v) => `Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/${v}.0.0.0 Mobile Safari/537.36`,
];

function makeProducts(random, world) {
  const currency = random.pick(CURRENCIES);
  return Array.from({ length: 40 }, (_, i) => ({
    product_id: String(random.int(1000, 9_999_999)),
    sku: `${random.pick("ABCDEFGHKLMNPRST".split(""))}${random.int(10, 99)}-${random.int(100, 9999)}`,
    name: `${random.pick(ADJECTIVES[world])} ${random.pick(NOUNS[world])} ${i}`,
    category: random.pick(CATEGORIES[world]),
    ...(random.chance(0.5) && { brand: random.pick(["Rill", "Hawthorn", "Kuma", "Ostra"]), variant: random.pick(["black", "blue", "42", "M"]) }),
    price: random.int(500, 30_000) / 100,
    currency,
  }));
}

const words = (random, world) => `${random.pick(ADJECTIVES[world])} ${random.pick(NOUNS[world])}`;

// Events of Segment's specification that the demo's shop does not send.
const SPECIFIED = [
  (r, w, p) => ["Products Searched", { query: words(r, w) }],
  (r, w, p) => ["Product List Viewed", { list_id: r.pick(["search_results", "home", "sale"]), category: p[0].category, products: p.slice(0, r.int(2, 5)).map((item, i) => ({ ...item, position: i + 1 })) }],
  (r, w, p) => ["Product Clicked", { ...p[0], position: r.int(1, 40), url: `https://${r.pick(SITES[w])}/p/${p[0].product_id}` }],
  (r, w, p) => ["Cart Viewed", { cart_id: r.uuid(), products: p.slice(0, 2).map((item) => ({ ...item, quantity: 1 })) }],
  (r, w, p) => ["Checkout Started", { order_id: `${r.int(1e6, 1e7)}`, value: p[0].price, revenue: p[0].price, shipping: 4.9, tax: 1.2, discount: 0, currency: p[0].currency, products: [{ ...p[0], quantity: 1 }] }],
  (r) => ["Checkout Step Completed", { checkout_id: r.uuid(), step: r.int(1, 4), shipping_method: "standard", payment_method: r.pick(["card", "paypal", "invoice"]) }],
  (r) => ["Coupon Applied", { coupon_id: r.pick(["WELCOME10", "SUMMER", "FREESHIP"]), discount: r.int(1, 30) }],
  (r) => ["Signed Up", { method: r.pick(["email", "google", "apple"]), plan: r.pick(["free", "basic", "pro"]) }],
  (r) => ["Signed In", { username: `user${r.int(1, 99_999)}` }],
  (r, w) => ["Article Completed", { title: `How to choose a ${words(r, w)}`, author: "editorial", section: "guides", length: r.int(300, 3000) }],
  (r, w) => ["Promotion Clicked", { promotion_id: `promo_${r.int(1, 99)}`, creative: "top_banner", name: words(r, w), position: "home_banner_top" }],
  (r) => ["Video Playback Started", { session_id: r.uuid(), content_asset_id: `${r.int(1e5, 1e6)}`, position: 0, total_length: r.int(10, 400), sound: r.int(0, 100), full_screen: r.chance(0.2) }],
];

// A visitor's browser stays the same; it is chosen by the anonymous id.
function browserOf(anonymousId, world) {
  const random = new Random(parseInt(anonymousId.slice(0, 8), 16) ^ world);
  const version = world === 0 ? random.int(118, 128) : random.int(126, 138);
  return {
    userAgent: random.pick(AGENTS)(version, random.int(0, 6)),
    locale: random.pick(LOCALES),
    timezone: random.pick(ZONES),
    screen: { width: random.pick([390, 412, 1440, 1920, 2560]), height: random.pick([844, 915, 900, 1080, 1440]), density: random.pick([1, 2, 3]) },
    library: random.pick([
      { name: "tributary.js", version: "0.1.0" },
      { name: "tributary.js", version: "0.1.0" },
      { name: "analytics.js", version: "npm:next-1.81.0" },
    ]),
    detailed: random.chance(0.3),
  };
}

function vary(random, world, event, products, site) {
  if (!event.anonymousId) return event;
  const browser = browserOf(event.anonymousId, world);
  const { library, page, campaign, consent } = event.context;
  const [source, medium] = random.pick(MEDIA);
  const varied = {
    ...event,
    // The tag's own ids are plain UUIDs; those of analytics.js carry the time.
    messageId: browser.library.name === "tributary.js" ? event.messageId.slice(-36) : event.messageId,
    context: {
      page: { ...page, title: `${page.title.slice(0, 40)} | ${site.split(".").at(-2)}` },
      userAgent: browser.userAgent,
      locale: browser.locale,
      library: library.name === "till" ? library : browser.library,
      ...(browser.detailed && { timezone: browser.timezone, screen: browser.screen }),
      ...(campaign && { campaign: { source, medium, name: `${random.pick(["autumn", "brand", "sale"])}-${random.int(2024, 2026)}` } }),
      consent,
    },
  };
  if (event.type === "track" && random.chance(0.25)) {
    const items = random.shuffle(products).slice(0, 5);
    const [name, properties] = random.pick(SPECIFIED)(random, world, items);
    Object.assign(varied, { event: name, properties });
  }
  return varied;
}

// One site's traffic, browsers and tills, as it arrives.
function siteEvents(seed, world, visitors, end) {
  const random = new Random(seed * 2 + world);
  const products = makeProducts(random, world);
  const site = random.pick(SITES[world]);
  const week = generateTraffic({ seed, visitors, products, origin: `https://${site}`, end });
  const web = week.web.map((event) => vary(random, world, event, products, site));
  const step = Math.ceil(web.length / Math.max(1, week.store.length));
  const mixed = web.flatMap((event, i) => (i % step === 0 && week.store[i / step] ? [event, week.store[i / step]] : [event]));
  return mixed;
}

/* The same event as a sparing client sends it, about 500 bytes of JSON instead of 900: the page named
 * once, no screen, no title. */
export function lean(event) {
  const { page, userAgent, library, consent, externalIds } = event.context;
  const properties = event.type === "page" ? { path: page?.path } : event.properties;
  return {
    ...event,
    ...(properties && { properties }),
    context: {
      ...(event.type === "track" && page && { page: { path: page.path, url: page.url } }),
      ...(event.type === "page" && { page: { url: page.url, referrer: page.referrer } }),
      ...(userAgent && { userAgent: userAgent.replace(/ \(KHTML, like Gecko\)/, "") }),
      library,
      ...(event.type !== "page" && consent && { consent }),
      ...(externalIds && { externalIds }),
    },
  };
}

/* At least `count` different events; `world` is 0 (for training) or 1 (for measuring). Each message id
 * comes once. `interleave` mixes the sites as one collector for several would see them. */
export function variedEvents({ seed = 1, count, world = 1, sites = 4, end = Date.parse("2026-11-21T12:00:00Z") }) {
  const seen = new Set();
  const all = [];
  for (let round = 0; all.length < count; round++) {
    const perSite = Array.from({ length: sites }, (_, i) =>
      siteEvents(seed * 1000 + round * sites + i, world, Math.ceil(Math.min(count, 20_000) / sites / 15) + 10, end),
    );
    const longest = Math.max(...perSite.map((events) => events.length));
    for (let i = 0; i < longest; i++) {
      for (const events of perSite) {
        const event = events[i];
        if (event && !seen.has(event.messageId)) {
          seen.add(event.messageId);
          all.push(event);
        }
      }
    }
  }
  return all.slice(0, count);
}
