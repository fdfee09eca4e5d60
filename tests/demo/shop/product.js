// One product, and the button that puts it in the cart.
import { describeProduct, showCartCount, track, viewPage } from "./shop.js";
import { drawing, element, formatPrice, loadProducts, parameter, recall, remember } from "./page.js";

const products = await loadProducts();
const product = products.find(({ product_id }) => product_id === parameter("sku"));
const main = document.querySelector("main");

function show() {
  const view = element(`
    <article class="product">
      <div>
        <p class="category"></p><h1></h1><p class="description"></p><p class="price"></p>
        <button id="add">Add to cart</button> <span id="added" hidden>In your <a href="/cart.html">cart</a>.</span>
      </div>
    </article>`);
  view.querySelector("h1").textContent = product.name;
  view.querySelector(".category").textContent = product.category;
  view.querySelector(".description").textContent = product.description;
  view.querySelector(".price").textContent = formatPrice(product.price, product.currency);
  view.querySelector("#add").onclick = add;
  view.prepend(drawing(product));
  main.append(view);
}

function add() {
  const cart = recall("cart", []);
  const line = cart.find(({ product_id }) => product_id === product.product_id);
  if (line) line.quantity++;
  else cart.push({ product_id: product.product_id, quantity: 1 });
  remember("cart", cart);
  showCartCount();
  document.getElementById("added").hidden = false;
  track("Product Added", { ...describeProduct(product), quantity: 1 });
}

if (product) {
  document.title = product.name;
  show();
  viewPage("Product");
  track("Product Viewed", describeProduct(product));
} else {
  main.append(element(`<p>We do not have this product. <a href="/">See what we have.</a></p>`));
}
