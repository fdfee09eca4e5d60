// Small helpers for building pages and keeping things between them.
import { DRAWINGS } from "./drawings.js";

// The element that this markup describes. Values from outside go in by textContent, never here.
export function element(markup) {
  const template = document.createElement("template");
  template.innerHTML = markup.trim();
  return template.content.firstElementChild;
}

export function recall(key, otherwise) {
  return JSON.parse(localStorage.getItem("shop-" + key)) ?? otherwise;
}

export function remember(key, value) {
  localStorage.setItem("shop-" + key, JSON.stringify(value));
}

export async function loadProducts() {
  return (await fetch("/products.json")).json();
}

export const parameter = (name) => new URLSearchParams(location.search).get(name);

export const formatPrice = (price, currency = "EUR") =>
  new Intl.NumberFormat("en-IE", { style: "currency", currency }).format(price);

export function drawing({ product_id, category }) {
  const picture = element(`<svg class="drawing" viewBox="0 0 100 100" aria-hidden="true"><path></path></svg>`);
  picture.dataset.category = category;
  picture.firstElementChild.setAttribute("d", DRAWINGS[product_id]);
  return picture;
}
