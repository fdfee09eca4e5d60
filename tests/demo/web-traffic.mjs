// Browser sessions of the generated week: pages, products, orders, sign-ins, consent.
import { CITIES } from "./people.mjs";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

const AGENTS = {
  mobile: "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
  desktop: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
};
const CAMPAIGNS = [
  undefined,
  undefined,
  undefined,
  { source: "newsletter", medium: "email", name: "november" },
  { source: "search", medium: "cpc", name: "brand" },
];

// One visit: it keeps its clock and hands every event to the week.
class Session {
  constructor(week, person, device, at) {
    Object.assign(this, { week, person, device, at });
    this.random = week.random;
    this.campaign = this.random.pick(CAMPAIGNS);
    // A phone without network keeps a whole session back and delivers it hours later.
    this.heldBack = this.random.chance(0.04) ? this.random.int(2 * HOUR, 70 * HOUR) : 0;
    this.location = this.locate("/", "", "Rivière, things that last");
    this.cart = [];
  }

  locate(path, search, title) {
    return { path, url: this.week.origin + path + search, title, referrer: this.location?.url ?? "", search };
  }

  context() {
    return {
      library: { name: "tributary.js", version: "1.0.0" },
      userAgent: this.device.mobile ? AGENTS.mobile : AGENTS.desktop,
      locale: "fr-FR",
      timezone: "Europe/Paris",
      page: this.location,
      ...(this.campaign && { campaign: this.campaign }),
      consent: { categoryPreferences: { analytics: true, marketing: this.person.marketing } },
    };
  }

  emit(type, fields, context) {
    const timestamp = new Date(this.at).toISOString();
    const event = {
      type,
      messageId: `ajs-next-${this.at}-${this.random.uuid()}`,
      timestamp,
      anonymousId: this.device.anonymousId,
      ...(this.device.userId && { userId: this.device.userId }),
      ...fields,
      context: { ...this.context(), ...context },
    };
    this.week.deliver("web", event, this.at + this.heldBack);
    this.at += this.random.int(4 * SECOND, 90 * SECOND);
    return event;
  }

  page(name, path, search, title) {
    this.location = this.locate(path, search, title);
    this.emit("page", { name, properties: { name, ...this.location } });
  }

  viewProduct(product) {
    this.page("Product", "/product.html", `?sku=${product.product_id}`, product.name);
    this.emit("track", { event: "Product Viewed", properties: { ...product } });
    if (!this.random.chance(0.3)) return;
    this.emit("track", { event: "Product Added", properties: { ...product, quantity: 1 } });
    this.cart.push(product);
  }

  order() {
    const { properties } = this.week.order(this.cart, "web");
    this.page("Cart", "/cart.html", "", "Your cart");
    this.emit("track", { event: "Order Completed", properties });
    this.cart = [];
  }

  // What the shop's server signs for its page is known from the sign-in on.
  identify(traits) {
    const { userId, email } = this.person;
    const proof = this.week.prove?.({ sub: userId, email }, this.device.anonymousId, this.at);
    return this.emit("identify", { traits }, proof && { proof });
  }

  signIn() {
    this.device.userId = this.person.userId;
    const { email, firstName, lastName } = this.person;
    this.identify({ email, firstName, lastName, newsletter: this.person.marketing });
  }

  // People move, unsubscribe and take back what they gave: a null deletes the trait.
  changeTraits() {
    const { random } = this;
    const change = random.pick([
      () => ({ city: (this.person.city = random.pick(CITIES)) }),
      () => ({ newsletter: null }),
      () => ({ newsletter: random.chance(0.5) }),
      () => ({ nickname: random.chance(0.5) ? this.person.firstName.slice(0, 3) : null }),
      () => ({ preferences: { size: random.pick(["S", "M", "L"]), colour: random.pick(["red", "blue"]) } }),
    ]);
    const event = this.identify(change());
    if (random.chance(0.15)) this.contradict(event);
  }

  // A second device says something else at the very same instant; the greater messageId must win.
  contradict(event) {
    const traits = Object.fromEntries(
      Object.keys(event.traits).map((key) => [key, this.random.pick(["Lyon", "Lille", "", null, true])]),
    );
    const twin = { ...event, messageId: this.random.uuid(), traits };
    this.week.deliver("web", twin, Date.parse(event.timestamp) + this.heldBack);
  }

  changeConsent() {
    this.person.marketing = !this.person.marketing;
    this.emit("track", { event: "Consent Changed", properties: {} });
  }

  run() {
    const { random, person, week } = this;
    this.page("Home", "/", "", "Rivière, things that last");
    if (person.signsIn && !this.device.userId && this.at >= person.signsInAt) this.signIn();
    for (let left = random.int(0, 5); left > 0; left--) this.viewProduct(random.pick(week.products));
    if (this.device.userId && random.chance(0.25)) this.changeTraits();
    if (random.chance(0.05)) this.changeConsent();
    if (this.cart.length > 0 && random.chance(0.4)) this.order();
  }
}

// Let one person visit the shop a few times, on each device they own.
export function browse(week, person) {
  const { random } = week;
  person.signsInAt = random.int(week.start, week.end);
  const visits = Array.from({ length: random.int(1, 5) }, () => week.moment());
  // A few are on the site right now, so that what looks back one hour finds someone.
  if (random.chance(0.05)) visits.push(week.end - random.int(35 * MINUTE, 55 * MINUTE));
  for (const at of visits.sort((a, b) => a - b)) {
    new Session(week, person, random.pick(person.devices), at).run();
  }
}
