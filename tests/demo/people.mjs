// The people of the generated week: who they are, which devices they use, and what the till knows.

const FIRST = [
  "Anaïs",
  "Bruno",
  "Chloé",
  "David",
  "Émile",
  "Fatou",
  "Gaëlle",
  "Hugo",
  "Inès",
  "Jean",
  "Karim",
  "Léa",
  "Marie",
  "Noé",
  "Océane",
  "Paul",
  "Rémi",
  "Sofia",
  "Théo",
  "Zoë",
];
const LAST = [
  "Bernard",
  "Chevalier",
  "Dubois",
  "Étienne",
  "Faure",
  "Garnier",
  "Haddad",
  "Lambert",
  "Lefèvre",
  "Martin",
  "Moreau",
  "Nguyen",
  "Petit",
  "Roux",
  "Simon",
  "Traoré",
];
export const CITIES = ["Lyon", "Lille", "Nantes", "Bordeaux", "Strasbourg", "Marseille"];

// Number ranges that the French regulator keeps for fiction: nobody can be called on them.
const PHONES = ["19900", "26191", "35301", "46571", "53649", "63998"];

// How the visitors divide: seen on the web only or at the till too, ever signing in or not.
const KINDS = [
  [0.45, { web: true, till: false, signsIn: false }],
  [0.2, { web: true, till: false, signsIn: true }],
  [0.2, { web: true, till: true, signsIn: true }],
  [0.05, { web: true, till: true, signsIn: false }],
  [0.1, { web: false, till: true, signsIn: false }],
];

const plain = (text) =>
  text
    .normalize("NFD")
    .replace(/[^a-zA-Z]/g, "")
    .toLowerCase();

function pickKind(random) {
  let left = random.float();
  for (const [share, kind] of KINDS) {
    if (left < share) return kind;
    left -= share;
  }
  return KINDS[0][1];
}

function phoneOf(index) {
  const range = PHONES[index % PHONES.length];
  const rest = String(Math.floor(index / PHONES.length) % 10_000).padStart(4, "0");
  const digits = range + rest;
  return `+33 ${digits[0]} ${digits.slice(1).match(/../g).join(" ")}`;
}

// Person number `index`. Every identifier carries the number, so no two people ever share one.
function makePerson(random, index) {
  const firstName = random.pick(FIRST);
  const lastName = random.pick(LAST);
  const kind = pickKind(random);
  const deviceCount = kind.web ? (random.chance(0.25) ? 2 : 1) : 0;
  return {
    ...kind,
    firstName,
    lastName,
    city: random.pick(CITIES),
    email: `${plain(firstName)}.${plain(lastName)}${index}@example.com`,
    phone: index < PHONES.length * 10_000 ? phoneOf(index) : undefined,
    loyaltyId: random.chance(0.7) ? `L-${String(100_000 + index)}` : undefined,
    userId: `u-${1000 + index}`,
    marketing: random.chance(0.6),
    devices: Array.from({ length: deviceCount }, () => ({
      anonymousId: random.uuid(),
      mobile: random.chance(0.6),
      userId: undefined,
    })),
  };
}

export function makePeople(random, count) {
  return Array.from({ length: count }, (_, index) => makePerson(random, index));
}
