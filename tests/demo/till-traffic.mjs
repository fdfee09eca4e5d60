// The tills of the generated week: orders in the stores, loyalty cards, e-mails taken at the counter.
import { CITIES } from "./people.mjs";

const SECOND = 1000;

// The cashier's spelling of an e-mail varies; all spellings are the same identifier.
function spelled(random, email) {
  return random.chance(0.15) ? ` ${email[0].toUpperCase()}${email.slice(1)}` : email;
}

function identifiersOf(person) {
  return person.loyaltyId
    ? [{ id: person.loyaltyId, type: "loyalty_id" }]
    : [{ id: person.email, type: "email" }];
}

// What the customer tells at the counter.
function cardTraits(week, person) {
  const { random } = week;
  const { firstName, lastName, city } = person;
  return {
    email: spelled(random, person.email),
    ...(person.phone && { phone: random.chance(0.5) ? person.phone : person.phone.replaceAll(" ", "") }),
    ...(person.loyaltyId && { loyalty_id: person.loyaltyId, points: random.int(0, 500) }),
    firstName,
    lastName,
    city,
    address: { city, country: "FR" },
  };
}

function emit(week, store, person, at, type, fields) {
  const event = {
    type,
    messageId: week.random.uuid(),
    timestamp: new Date(at).toISOString(),
    ...fields,
    context: {
      library: { name: "till", version: "4.2" },
      externalIds: identifiersOf(person),
      ...(type === "identify" && {
        consent: { categoryPreferences: { analytics: true, marketing: person.marketing } },
      }),
    },
  };
  // A store that was cut off delivers everything when the line is back.
  const cutOff = store.outage && at >= store.outage.from && at < store.outage.to;
  week.deliver("store", event, cutOff ? store.outage.to + (at - store.outage.from) / 1000 : at);
}

function buy(week, store, person, at) {
  const { random } = week;
  const items = Array.from({ length: random.int(1, 4) }, () => random.pick(week.products));
  const { properties } = week.order(items, "store");
  properties.store = store.name;
  emit(week, store, person, at, "track", { event: "Order Completed", properties });
}

function identify(week, store, person, at, traits) {
  emit(week, store, person, at, "identify", { traits });
}

// Let one customer come to a store a few times.
export function visitStore(week, person) {
  const { random } = week;
  const store = random.pick(week.stores);
  const visits = Array.from({ length: random.int(1, 3) }, () => week.moment()).sort((a, b) => a - b);
  visits.forEach((at, i) => {
    if (i === 0) identify(week, store, person, at, cardTraits(week, person));
    buy(week, store, person, at + random.int(20, 200) * SECOND);
    if (i === 0 || !random.chance(0.4)) return;
    const change = random.pick([
      { points: random.int(0, 900) },
      { points: null },
      { city: random.pick(CITIES) },
      { nickname: null },
    ]);
    identify(week, store, person, at + random.int(201, 300) * SECOND, change);
  });
}
