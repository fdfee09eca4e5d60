// What every page of the shop shares: the tag, the frame around the page, sign-in, consent, and what
// changes with the visitor's segments.
import { element, remember, recall } from "./page.js";

// The tag. Calls wait in this array until the script is there.
const tributary = (window.tributary = window.tributary || []);

export function track(event, properties) {
  tributary.push(["track", event, properties]);
}

export function viewPage(name) {
  tributary.push(["page", name]);
}

// As Segment's e-commerce events name a product.
export function describeProduct({ product_id, name, category, price, currency }) {
  return { product_id, sku: product_id, name, category, price, currency };
}

function loadTag() {
  const { collector, writeKey } = window.SHOP;
  const script = document.createElement("script");
  script.async = true;
  script.src = collector + "/t.js";
  script.dataset.writeKey = writeKey;
  script.dataset.requireConsent = "";
  script.dataset.auto = "live"; // each page tells its own name; the banner must come at once
  script.onload = showVisitor;
  document.head.append(script);
}

function buildFrame() {
  document.body.prepend(
    element(`
      <header class="top">
        <a class="brand" href="/">Rivière</a>
        <nav><a href="/">Products</a><a href="/cart.html">Cart <b id="cart-count"></b></a></nav>
        <div class="account">
          <form id="signin-form">
            <input id="email" type="email" required placeholder="E-mail" aria-label="E-mail" autocomplete="email">
            <button id="signin">Sign in</button>
          </form>
          <span id="whoami" hidden></span>
          <button id="signout" class="plain" hidden>Sign out</button>
        </div>
      </header>`),
    element(`
      <div id="banner" data-segment="hot-leads" hidden>
        <strong>Welcome back.</strong> As a customer of our stores you have free delivery today.
      </div>`),
  );
  document.body.append(
    element(`
      <footer>
        <span>Rivière is a demonstration: nothing here is for sale.</span>
        <button id="consent-open" class="plain">Privacy choices</button>
      </footer>`),
    element(`
      <details id="knows">
        <summary>What Tributary knows</summary>
        <dl>
          <dt>Visitor</dt><dd id="visitor"></dd>
          <dt>Segments</dt><dd><ul id="segments"></ul></dd>
        </dl>
      </details>`),
    element(`
      <form id="consent" hidden>
        <p>
          <strong>Your choice.</strong> May this shop remember what you look at? Until you decide, nothing is
          stored and nothing is sent.
        </p>
        <label><input type="checkbox" id="consent-analytics"> Analytics</label>
        <label><input type="checkbox" id="consent-marketing"> Marketing</label>
        <button type="submit" id="consent-save" class="plain">Save my choice</button>
        <button type="button" id="consent-reject">Reject all</button>
        <button type="button" id="consent-accept">Accept all</button>
      </form>`),
  );
}

const find = (id) => document.getElementById(id);

export function showCartCount() {
  const count = recall("cart", []).reduce((sum, { quantity }) => sum + quantity, 0);
  find("cart-count").textContent = count || "";
}

function showVisitor() {
  const email = recall("email", null);
  find("signin-form").hidden = Boolean(email);
  find("whoami").hidden = find("signout").hidden = !email;
  find("whoami").textContent = email || "";

  const { analytics, marketing } = recall("consent", {});
  const visible = (analytics || marketing) && tributary.user;
  find("visitor").textContent = visible ? tributary.user().anonymousId : "unknown, for want of consent";
}

function showSegments(keys) {
  find("segments").replaceChildren(
    ...keys.map((key) => {
      const item = document.createElement("li");
      item.dataset.key = item.textContent = key;
      return item;
    }),
  );
  for (const part of document.querySelectorAll("[data-segment]")) {
    part.hidden = !keys.includes(part.dataset.segment);
  }
}

// The shop's server signs that this browser's visitor has this address; otherwise it would be a claim only.
async function fetchProof(email) {
  const { anonymousId } = tributary.user();
  const headers = { "content-type": "application/json" };
  const answer = await fetch("/sign-in", { method: "POST", headers, body: JSON.stringify({ email, anonymousId }) });
  return answer.ok ? (await answer.json()).proof : undefined;
}

// Signing in tells the e-mail address only: who that is, the hub finds out.
function startAccount() {
  find("signin-form").onsubmit = (event) => {
    event.preventDefault();
    const email = find("email").value.trim();
    remember("email", email);
    const identify = async () => tributary.push(["identify", { email }, { proof: await fetchProof(email) }]);
    tributary.push(["ready", identify]);
    showVisitor();
  };
  find("signout").onclick = () => {
    remember("email", null);
    tributary.push(["reset"]);
    showVisitor();
  };
}

// The shop keeps the decision itself, as a consent manager would, and repeats it on each page.
function startConsent() {
  const decide = (analytics, marketing) => {
    remember("consent", { analytics, marketing });
    tributary.push(["consent", { analytics, marketing }]);
    find("consent").hidden = true;
    showVisitor();
  };
  find("consent-accept").onclick = () => decide(true, true);
  find("consent-reject").onclick = () => decide(false, false);
  find("consent").onsubmit = (event) => {
    event.preventDefault();
    decide(find("consent-analytics").checked, find("consent-marketing").checked);
  };
  find("consent-open").onclick = () => (find("consent").hidden = false);

  const decision = recall("consent", null);
  if (decision) tributary.push(["consent", decision]);
  find("consent").hidden = Boolean(decision);
  find("consent-analytics").checked = Boolean(decision && decision.analytics);
  find("consent-marketing").checked = Boolean(decision && decision.marketing);
}

buildFrame();
startAccount();
startConsent();
showCartCount();
showVisitor();
find("knows").open = window.innerWidth > 600; // on a telephone it would hide the shop
tributary.push(["segments", showSegments]);
loadTag();
