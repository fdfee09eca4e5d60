// The shop's products: those of the demo shop where it is there, else a few of the same shape.
import { existsSync, readFileSync } from "node:fs";

const FILE = new URL("./shop/products.json", import.meta.url);

const EMBEDDED = [
  ["kettle-01", "Gooseneck kettle", "kitchen", 64.9],
  ["knife-02", "Chef's knife 20 cm", "kitchen", 89],
  ["board-03", "Oak cutting board", "kitchen", 39.5],
  ["lamp-04", "Desk lamp", "living", 119],
  ["throw-05", "Wool throw", "living", 79.9],
  ["vase-06", "Stoneware vase", "living", 34],
  ["tent-07", "Two-person tent", "outdoor", 249],
  ["stove-08", "Gas stove", "outdoor", 54.9],
  ["bottle-09", "Steel bottle 750 ml", "outdoor", 24.9],
  ["bag-10", "Cycling backpack", "outdoor", 99],
].map(([product_id, name, category, price]) => ({
  product_id,
  name,
  category,
  price,
  currency: "EUR",
}));

export function loadProducts() {
  const products = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : EMBEDDED;
  // What the shop's own events say of a product, without its description.
  return products.map(({ product_id, name, category, price, currency }) => ({
    product_id,
    sku: product_id,
    name,
    category,
    price,
    currency,
  }));
}
