// A shop with Google Tag Manager: what it pushes for Google Analytics 4 arrives as Segment's standard events.
import assert from "node:assert/strict";
import { startTagged } from "./support/tagged.mjs";
import { test } from "./support/site.mjs";

test("a purchase in the dataLayer becomes Product Viewed … Order Completed", async (t) => {
  const shop = await startTagged(t);
  if (!shop) return;
  const item = { item_id: "P1", item_name: "Mug", item_brand: "Terre", item_category: "Kitchen", price: 12, quantity: 2 };
  const push = (event, ecommerce) => `dataLayer.push({ ecommerce: null }); dataLayer.push(${JSON.stringify({ event, ecommerce })});`;
  shop.put("/", {
    head: `<script>
      window.dataLayer = window.dataLayer || [];
      function gtag() { dataLayer.push(arguments); }
      ${push("view_item_list", { item_list_name: "Kitchen", items: [item] })}
      ${push("view_item", { currency: "EUR", value: 12, items: [item] })}
    </script>${shop.script({ auto: "datalayer" })}`,
  });
  await shop.open("/");
  await shop.page.evaluate(
    (items) => {
      window.dataLayer.push({ event: "add_to_cart", ecommerce: { currency: "EUR", items } });
      window.dataLayer.push({ event: "remove_from_cart", ecommerce: { currency: "EUR", items } });
      window.gtag("event", "view_cart", { currency: "EUR", value: 24, items });
      window.gtag("event", "begin_checkout", { currency: "EUR", value: 24, items });
      window.gtag("event", "add_payment_info", { payment_type: "card", items });
      window.gtag("event", "purchase", { transaction_id: "T1", value: 24, tax: 4, shipping: 5, currency: "EUR", coupon: "SPRING", items });
      window.gtag("event", "refund", { transaction_id: "T1", value: 24, currency: "EUR" });
      window.dataLayer.push({ event: "view_promotion", ecommerce: { promotion_id: "S", items } });
      window.dataLayer.push({ event: "select_promotion", ecommerce: { promotion_id: "S", items } });
      window.dataLayer.push({ event: "gtm.dom" });
    },
    [item],
  );
  const events = await shop.events(await shop.anonymousId(), 11);
  const of = (name) => events.filter(({ event }) => event === name).map(({ properties }) => properties);
  assert.deepEqual(
    events.map(({ event }) => event).sort(),
    [
      "Product List Viewed", "Product Viewed", "Product Added", "Product Removed", "Cart Viewed", "Checkout Started",
      "Payment Info Entered", "Order Completed", "Order Refunded", "Promotion Viewed", "Promotion Clicked",
    ].sort(),
  );
  const product = { product_id: "P1", name: "Mug", brand: "Terre", category: "Kitchen", price: 12, quantity: 2 };
  assert.deepEqual(of("Product Viewed"), [{ currency: "EUR", value: 12, ...product }]);
  assert.deepEqual(of("Order Completed"), [
    { order_id: "T1", value: 24, total: 24, tax: 4, shipping: 5, currency: "EUR", coupon: "SPRING", products: [product] },
  ]);
});
