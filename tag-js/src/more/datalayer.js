// E-commerce events that a site pushes to the dataLayer for Google Analytics 4, by
// dataLayer.push({event, ecommerce}) or gtag("event", …), as Segment's standard events.
import { attempt } from "../util.js";
import { readConsentMode } from "./cmp.js";
import { core } from "./core.js";

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

// What is counted with; shops write these as texts too.
const NUMBERS = /^(value|tax|shipping|price|quantity|discount|index)$/;
const number = (value) => (typeof value == "string" && /^-?\d+(\.\d+)?$/.test(value.trim()) ? +value : value);

const rename = (from) => {
  const to = {};
  Object.keys(from).forEach((name) => {
    to[NAMES[name] || name.replace("item_", "")] = NUMBERS.test(name) ? number(from[name]) : from[name];
  });
  return to;
};

// Some shops write JSON where an object is meant, and an object where a list is.
const parsed = (value) => (typeof value == "string" && attempt(() => JSON.parse(value))) || value;
const list = (items) => (Array.isArray(items) ? items : !items ? [] : items.item_id || items.item_name ? [items] : Object.values(items));

// What is about a product has that product's properties; where there are more of them, each is told.
const trackCommerce = (event, commerce) => {
  const { items, ...properties } = rename(commerce);
  const products = list(parsed(items)).map((item) => rename(parsed(item)));
  if (/^Product [^L]/.test(event)) products.forEach((product) => core.track("datalayer", event, { ...properties, ...product }));
  else core.track("datalayer", event, { ...properties, products, total: properties.value });
};

// What was pushed holds until another value, or null, takes its place: in "ecommerce", and where shops leave that
// out beside it.
let told = {};
let beside = {};
const BESIDE = /^(transaction_id|affiliation|value|tax|shipping|currency|coupon|items|search_term|payment_type|shipping_tier)$|^(item_list|promotion|creative)_/;

const read = (entry) => {
  if (entry[0]) return readCommand(entry);
  const commerce = parsed(entry.ecommerce);
  if (commerce === null) told = {};
  else if (commerce) told = { ...told, ...commerce };
  Object.keys(entry).forEach((name) => BESIDE.test(name) && (beside[name] = entry[name]));
  if (EVENTS[entry.event]) trackCommerce(EVENTS[entry.event], Object.keys(told)[0] ? told : { ...beside });
};

// gtag(command, name, values)
const readCommand = ([command, name, values = {}]) => {
  if (command == "consent" && core.auto("gcm")) readConsentMode(name, values);
  if (command == "event" && EVENTS[name]) trackCommerce(EVENTS[name], values);
};

// The entries that are there, and those that come.
export const watchDataLayer = () => {
  const layer = (window.dataLayer = window.dataLayer || []);
  const { push } = layer;
  const readAll = (entries) => entries.forEach((entry) => attempt(() => read(entry)));
  readAll([...layer]);
  layer.push = (...entries) => {
    readAll(entries);
    return push.apply(layer, entries);
  };
};
