// A realistic week of shop and till traffic as Segment events, the same for the same seed.
//
//   node tests/demo/traffic.mjs --seed 1 --days 7 --visitors 300 --end 2026-11-21T12:00:00Z --out DIR
//
// It writes DIR/web.ndjson (browsers) and DIR/store.ndjson (tills). A line's place in its file is the
// order of arrival; `timestamp` is when it happened, which may be days earlier. Some lines come twice.
// No two user_ids are ever connected, so the order of arrival cannot change the result, unless
// --shared-devices asks for people who sign in on the same browser.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { makePeople } from "./people.mjs";
import { loadProducts } from "./products.mjs";
import { Random } from "./random.mjs";
import { visitStore } from "./till-traffic.mjs";
import { browse } from "./web-traffic.mjs";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Few people shop at night: relative traffic for each hour of the day.
const HOURS = [1, 1, 0, 0, 0, 1, 2, 4, 6, 7, 8, 8, 10, 9, 7, 7, 8, 9, 10, 11, 11, 9, 5, 2];
const BUSIEST = Math.max(...HOURS);

const cents = (amount) => Math.round(amount * 100) / 100;

class Week {
  constructor({ seed, days, end, products, origin, prove }) {
    this.prove = prove;
    this.random = new Random(seed);
    this.end = end;
    this.start = end - days * DAY;
    this.products = products;
    this.origin = origin;
    this.lines = { web: [], store: [] };
    this.stores = ["Lyon", "Lille", "Nantes"].map((name) => ({ name }));
    this.stores[0].outage = this.outage();
  }

  // The span in which one store has no line to anywhere, up to three days.
  outage() {
    const length = Math.min(3 * DAY, (this.end - this.start) / 2);
    const from = this.random.int(this.start, this.end - length);
    return { from, to: from + length };
  }

  // A moment of the week at which somebody shops; sessions that start then end before the week does.
  moment() {
    for (;;) {
      const at = this.random.int(this.start, this.end - HOUR);
      if (this.random.int(1, BUSIEST) <= HOURS[new Date(at).getUTCHours()]) return at;
    }
  }

  order(items, channel) {
    const products = items.map((product) => ({ ...product, quantity: this.random.int(1, 2) }));
    const total = cents(products.reduce((sum, item) => sum + item.price * item.quantity, 0));
    const order_id = `${channel[0].toUpperCase()}-${this.random.int(100_000, 999_999)}`;
    return { properties: { order_id, channel, total, revenue: total, currency: "EUR", products } };
  }

  // Put the event where it arrives: a little out of order, and now and then a second time.
  deliver(stream, event, at) {
    const arrival = at + this.random.int(0, 2 * MINUTE);
    this.lines[stream].push({ arrival, event });
    if (this.random.chance(0.03)) {
      this.lines[stream].push({ arrival: arrival + this.random.int(0, 6 * HOUR), event });
    }
  }

  // The events of one stream in their order of arrival.
  arrived(stream) {
    return this.lines[stream].sort((a, b) => a.arrival - b.arrival).map((line) => line.event);
  }
}

// On a shared device the second person's user_id must not be joined to the first one's.
function shareDevices(people) {
  const signedIn = people.filter((person) => person.web && person.signsIn);
  for (let i = 0; i + 1 < signedIn.length; i += 10) {
    signedIn[i + 1].devices = [{ ...signedIn[i].devices[0] }];
  }
}

/* Generate the week. `end` is a time in milliseconds. `prove`, that of a Signer, makes the proofs that go with who
 * signs in; without it there are none. Returns the two streams in order of arrival, and the people behind them. */
export function generateTraffic({
  seed = 1,
  days = 7,
  visitors = 300,
  end = Date.now(),
  products = loadProducts(),
  origin = "https://shop.example",
  sharedDevices = false,
  prove,
} = {}) {
  const week = new Week({ seed, days, end, products, origin, prove });
  const people = makePeople(week.random, visitors);
  if (sharedDevices) shareDevices(people);
  for (const person of people) {
    if (person.web) browse(week, person);
    if (person.till) visitStore(week, person);
  }
  return { web: week.arrived("web"), store: week.arrived("store"), people };
}

export function writeTraffic(dir, { web, store }) {
  mkdirSync(dir, { recursive: true });
  const text = (events) => events.map((event) => `${JSON.stringify(event)}\n`).join("");
  writeFileSync(join(dir, "web.ndjson"), text(web));
  writeFileSync(join(dir, "store.ndjson"), text(store));
}

function wholeNumber(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} must be a whole number, not ${text}`);
  return value;
}

function main() {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      days: { type: "string", default: "7" },
      visitors: { type: "string", default: "300" },
      end: { type: "string", default: new Date().toISOString() },
      out: { type: "string", default: "." },
      "shared-devices": { type: "boolean", default: false },
    },
  });
  const end = Date.parse(values.end);
  if (Number.isNaN(end)) throw new Error(`--end must be an ISO time, not ${values.end}`);
  const traffic = generateTraffic({
    seed: wholeNumber("seed", values.seed),
    days: Math.max(1, wholeNumber("days", values.days)),
    visitors: wholeNumber("visitors", values.visitors),
    end,
    sharedDevices: values["shared-devices"],
  });
  writeTraffic(values.out, traffic);
  console.log(`${traffic.web.length} web and ${traffic.store.length} store lines in ${values.out}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
