// The cart, and an order without payment.
import { describeProduct, showCartCount, track, viewPage } from "./shop.js";
import { element, formatPrice, loadProducts, recall, remember } from "./page.js";

const products = await loadProducts();
const main = document.querySelector("main");

function lines() {
  return recall("cart", []).map(({ product_id, quantity }) => ({
    ...describeProduct(products.find((product) => product.product_id === product_id)),
    quantity,
  }));
}

// In whole cents, so that sums stay exact.
function total() {
  return lines().reduce((cents, { price, quantity }) => cents + Math.round(price * 100) * quantity, 0) / 100;
}

function show() {
  const view = element(`
    <section class="cart">
      <h1>Your cart</h1>
      <table><tbody></tbody><tfoot><tr><td colspan="2">Total</td><td id="total"></td><td></td></tr></tfoot></table>
      <button id="checkout">Order now</button>
    </section>`);
  for (const line of lines()) {
    const row = element(`<table><tr><td></td><td></td><td></td><td><button class="plain">Remove</button></td></tr></table>`);
    const [name, quantity, price] = row.querySelectorAll("td");
    name.textContent = line.name;
    quantity.textContent = "× " + line.quantity;
    price.textContent = formatPrice(line.price * line.quantity, line.currency);
    row.querySelector("button").onclick = () => drop(line);
    view.querySelector("tbody").append(row.querySelector("tr"));
  }
  view.querySelector("#total").textContent = formatPrice(total());
  view.querySelector("#checkout").onclick = order;
  main.replaceChildren(lines().length ? view : element(`<p>Your cart is empty. <a href="/">See what we have.</a></p>`));
  showCartCount();
}

function drop(line) {
  remember("cart", recall("cart", []).filter(({ product_id }) => product_id !== line.product_id));
  track("Product Removed", line);
  show();
}

function order() {
  const order_id = "W-" + Date.now().toString(36).toUpperCase();
  track("Order Completed", { order_id, total: total(), currency: "EUR", products: lines() });
  remember("cart", []);
  const thanks = element(`<section><h1>Thank you</h1><p>Your order <b id="order"></b> is on its way.</p></section>`);
  thanks.querySelector("#order").textContent = order_id;
  main.replaceChildren(thanks);
  showCartCount();
}

show();
viewPage("Cart");
