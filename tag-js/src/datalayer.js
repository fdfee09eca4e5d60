// E-commerce events that a site pushes to the dataLayer for Google Analytics 4, by
// dataLayer.push({event, ecommerce}) or gtag("event", …), as Segment's standard events.
import { readConsentMode } from "./cmp.js";
import { auto } from "./settings.js";
import { track } from "./tag.js";
import { attempt } from "./util.js";

const EVENTS = {
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

const NAMES = {
  item_id: "product_id",
  transaction_id: "order_id",
  search_term: "query",
};

const rename = (from) => {
  const to = {};
  for (const name in from) to[NAMES[name] || name.replace("item_", "")] = from[name];
  return to;
};

// What is about a product has that product's properties; where there are more of them, each is told.
const trackCommerce = (event, commerce) => {
  const { items, ...properties } = rename(commerce);
  const products = (items || []).map(rename);
  if (/^Product [^L]/.test(event)) products.forEach((product) => track("datalayer", event, { ...properties, ...product }));
  else track("datalayer", event, { ...properties, products, total: properties.value });
};

// The entries that are there, and those that come.
export const watchDataLayer = () => {
  const layer = (window.dataLayer = window.dataLayer || []);
  const { push } = layer;
  const read = (entry) =>
    attempt(() => {
      const [command, name, values] = entry[0] ? entry : ["event", entry.event, entry.ecommerce || entry];
      if (command == "consent" && auto("gcm") && !values.region) readConsentMode(name, values);
      if (EVENTS[name]) trackCommerce(EVENTS[name], values);
    });
  layer.forEach(read);
  layer.push = (...entries) => {
    entries.forEach(read);
    return push.apply(layer, entries);
  };
};
