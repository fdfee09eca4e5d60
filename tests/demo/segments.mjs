// The demo's segments and sources, used by the demo and by the end-to-end scenarios. "edge" says to whom a segment
// is shown at the edge: to the visitor's own pages, to staff; without it to nobody.

const bought = { event: "Order Completed" };
const inStore = { ...bought, where: [{ property: "channel", eq: "store" }] };

export const SEGMENTS = {
  "hot-leads": {
    name: "Hot leads: store customers who look at products right now",
    edge: ["page", "staff"],
    where: { all: [{ event: "Product Viewed", within: "1h", count: { gte: 3 } }, inStore] },
  },
  "store-buyers": { name: "Bought in a store", edge: ["page", "staff"], where: inStore },
  "big-spenders-7d": {
    name: "Two orders of 100 or more within 7 days",
    edge: ["staff"],
    where: { ...bought, where: [{ property: "total", gte: 100 }], within: "7d", count: { gte: 2 } },
  },
  "cart-not-bought-1d": {
    name: "Put something into the cart today, and ordered nothing",
    edge: ["page"],
    where: {
      all: [
        { event: "Product Added", within: "1d" },
        { ...bought, within: "1d", count: { eq: 0 } },
      ],
    },
  },
  "quiet-3d": {
    name: "Customers without an order for 3 days",
    edge: ["staff"],
    where: { all: [bought, { ...bought, within: "3d", count: { eq: 0 } }] },
  },
  "lapsed-30d": {
    name: "Customers without an order for 30 days",
    edge: ["staff"],
    where: { all: [bought, { ...bought, within: "30d", count: { eq: 0 } }] },
  },
  "newsletter-lyon": {
    name: "Newsletter readers in Lyon",
    where: {
      all: [
        { trait: "newsletter", eq: true },
        { trait: "city", eq: "Lyon" },
      ],
    },
  },
};

/* The browser's source takes events only from the shop's pages and only with consent, and believes who the visitor
 * is where the shop's server (`signer`) proves it; the servers' and the tills' source is exempt because consent is
 * asked for at the counter. */
export function sourcesFor(origins, signer) {
  return {
    "shop-web": {
      name: "shop",
      origins,
      consent: { required: ["analytics"] },
      ...(signer && { proof: signer.definition }),
    },
    "shop-server": { name: "server", trust: "server", consent: { exempt: true } },
  };
}

export const WRITE_KEY = "shop-web";
export const SERVER_WRITE_KEY = "shop-server";
