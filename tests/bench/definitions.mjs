// What the hub under measurement knows: one source, and 20 segments of the kinds that shops use.

export const WRITE_KEY = "bench";
export const SOURCES = { [WRITE_KEY]: { name: "bench", trust: "server", consent: { exempt: true } } };

const bought = { event: "Order Completed" };
const viewed = { event: "Product Viewed" };
const added = { event: "Product Added" };
const none = { count: { eq: 0 } };
const big = { ...bought, where: [{ property: "total", gte: 100 }] };

const WHERE = {
  "on-site-now": { type: "page", within: "30m" },
  "viewed-3-in-1h": { ...viewed, within: "1h", count: { gte: 3 } },
  "viewed-10-in-7d": { ...viewed, within: "7d", count: { gte: 10 } },
  "hot-leads": { all: [{ ...viewed, within: "1h", count: { gte: 3 } }, bought] },
  "cart-not-bought-1h": { all: [{ ...added, within: "1h" }, { ...bought, within: "1h", ...none }] },
  "cart-not-bought-1d": { all: [{ ...added, within: "1d" }, { ...bought, within: "1d", ...none }] },
  buyers: bought,
  "buyers-30d": { ...bought, within: "30d" },
  "repeat-buyers": { ...bought, count: { gte: 2 } },
  "big-order": big,
  "two-big-7d": { ...big, within: "7d", count: { gte: 2 } },
  "lapsed-30d": { all: [bought, { ...bought, within: "30d", ...none }] },
  "quiet-3d": { all: [bought, { ...bought, within: "3d", ...none }] },
  "window-shoppers": { all: [{ ...viewed, within: "7d", count: { gte: 5 } }, { not: bought }] },
  "garden-fans": { ...viewed, where: [{ property: "category", eq: "Garden" }], within: "30d", count: { gte: 2 } },
  "garden-or-travel": { ...viewed, where: [{ property: "category", in: ["Garden", "Travel"] }] },
  searchers: { event: "Products Searched", within: "7d" },
  "newsletter-lyon": { all: [{ trait: "newsletter", eq: true }, { trait: "city", eq: "Lyon" }] },
  "points-over-500": { trait: "points", gt: 500 },
  "known-with-consent": { all: [{ known: true }, { consent: "marketing" }] },
};

export const SEGMENTS = Object.fromEntries(Object.entries(WHERE).map(([key, where]) => [key, { name: key, where, edge: ["page", "staff"] }]));

/* Decided by one event: the way from the page to the segment is measured with it. */
export const MARKED = "big-order";
export const MARKING = { event: "Order Completed", properties: { total: 120, currency: "EUR", channel: "web" } };

/* A segment that is new, for the backfill. */
export const LATE = { name: "late", where: { type: "page", within: "14d", count: { gte: 2 } } };
