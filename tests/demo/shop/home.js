// The product grid, all of it or one category.
import { track, viewPage } from "./shop.js";
import { drawing, element, formatPrice, loadProducts, parameter } from "./page.js";

const products = await loadProducts();
const category = parameter("category");
const shown = products.filter((product) => !category || product.category === category);

const filters = element(`<nav class="filters"></nav>`);
for (const name of ["All", ...new Set(products.map((product) => product.category))]) {
  const link = document.createElement("a");
  link.textContent = name;
  link.href = name === "All" ? "/" : "/?category=" + encodeURIComponent(name);
  if (name === (category || "All")) link.setAttribute("aria-current", "page");
  filters.append(link);
}

const grid = element(`<section class="grid"></section>`);
for (const product of shown) {
  const card = element(`<a class="card"><h2></h2><span class="price"></span></a>`);
  card.href = "/product.html?sku=" + product.product_id;
  card.dataset.sku = product.product_id;
  card.querySelector("h2").textContent = product.name;
  card.querySelector(".price").textContent = formatPrice(product.price, product.currency);
  card.prepend(drawing(product));
  grid.append(card);
}

document.querySelector("main").append(element(`<h1>Things that last</h1>`), filters, grid);
viewPage("Home");
if (category) track("Product List Viewed", { category });
