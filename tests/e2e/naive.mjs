// What the platform must come to, computed the naive way: all events in memory, no order of arrival,
// no incremental state. It is written from the public contract alone and shares no code with the hub.
import { evaluate } from "./naive-segments.mjs";

/* The identity rules in force by default: which types there are, how a value is normalised. Any other
 * type named by an external id is kept as it comes, trimmed. */
const TRAIT_IDENTIFIERS = ["email", "phone", "loyalty_id"];

export function normalise(type, value) {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string") return "";
  const trimmed = text.trim();
  if (type === "email") return trimmed.toLowerCase();
  if (type !== "phone") return trimmed;
  const digits = trimmed.replace(/[^0-9]/g, "");
  return digits && trimmed.startsWith("+") ? `+${digits}` : digits;
}

/* The identifiers that one event names, as "type:value", without repeats. */
export function identifiersOf(event) {
  const traits = event.type === "identify" ? event.traits : undefined;
  const found = [
    ["user_id", event.userId],
    ["anonymous_id", event.anonymousId],
    // What an alias renames is a visitor not known so far; as a user_id it could never be linked.
    ["anonymous_id", event.type === "alias" ? event.previousId : undefined],
    ...(event.context?.externalIds ?? []).map(({ type, id }) => [type, id]),
    ...[traits, event.context?.traits].flatMap((from) =>
      TRAIT_IDENTIFIERS.map((type) => [type, from?.[type]]),
    ),
  ];
  const keys = found
    .map(([type, value]) => [type, normalise(type, value)])
    .filter(([, value]) => value !== "")
    .map(([type, value]) => `${type}:${value}`);
  return [...new Set(keys)];
}

// The value written last by event time; at the same instant the greater messageId wins.
class LastWrite {
  set(value, event) {
    if (this.event && !isLater(event, this.event)) return;
    this.value = value;
    this.event = event;
  }
}

function isLater(a, b) {
  if (a.time !== b.time) return a.time > b.time;
  return Buffer.compare(Buffer.from(a.messageId), Buffer.from(b.messageId)) > 0;
}

class Registers {
  constructor() {
    this.map = new Map();
  }

  set(name, value, event) {
    if (!this.map.has(name)) this.map.set(name, new LastWrite());
    this.map.get(name).set(value, event);
  }

  // The values in force; a null has deleted its name.
  values() {
    const set = [...this.map].filter(([, write]) => write.value !== null);
    return Object.fromEntries(set.map(([name, write]) => [name, write.value]));
  }
}

// Union-find over identifiers: what is linked by any event is one profile.
class Components {
  constructor() {
    this.parent = new Map();
  }

  find(key) {
    const parent = this.parent.get(key) ?? key;
    if (parent === key) return key;
    const root = this.find(parent);
    this.parent.set(key, root);
    return root;
  }

  join(a, b) {
    this.parent.set(this.find(a), this.find(b));
  }
}

// One component's events and identifiers turned into the profile that the API would show.
function buildProfile(identifiers, events) {
  const traits = new Registers();
  const consents = new Registers();
  for (const event of events) {
    const given = event.type === "identify" ? (event.traits ?? {}) : {};
    for (const [name, value] of Object.entries(given)) traits.set(name, value, event);
    const categories = event.context?.consent?.categoryPreferences ?? {};
    for (const [name, granted] of Object.entries(categories)) consents.set(name, granted, event);
  }
  const times = events.map((event) => event.time);
  return {
    identifiers,
    known: [...identifiers].some((key) => !key.startsWith("anonymous_id:")),
    traits: traits.values(),
    consents: consents.values(),
    eventCount: events.length,
    createdAt: new Date(times.reduce((a, b) => Math.min(a, b))).toISOString(),
    lastSeenAt: new Date(times.reduce((a, b) => Math.max(a, b))).toISOString(),
    segments: [],
    events,
  };
}

// Keep each messageId once, and only what names somebody.
function accept(events) {
  const byId = new Map();
  const counts = { events: 0, duplicates: 0, rejected: 0 };
  for (const event of events) {
    if (identifiersOf(event).length === 0) counts.rejected++;
    else if (byId.has(event.messageId)) counts.duplicates++;
    else byId.set(event.messageId, { ...event, time: Date.parse(event.timestamp) });
  }
  counts.events = byId.size;
  return { accepted: [...byId.values()], counts };
}

function group(accepted) {
  const components = new Components();
  for (const event of accepted) {
    const [first, ...others] = identifiersOf(event);
    for (const key of others) components.join(key, first);
  }
  const groups = new Map();
  for (const event of accepted) {
    const keys = identifiersOf(event);
    const root = components.find(keys[0]);
    if (!groups.has(root)) groups.set(root, { identifiers: new Set(), events: [] });
    const { identifiers, events } = groups.get(root);
    keys.forEach((key) => identifiers.add(key));
    events.push(event);
  }
  return [...groups.values()];
}

/* Compute all profiles from `events`, in whatever order they come. `segments` maps a key to
 * {where: CONDITION}; memberships are those of the moment `now` (milliseconds).
 *
 * Returns `profiles`; `members(where)`, the profiles for which a condition holds at `now`;
 * `profileOf("type:value")`; `counts` of distinct, repeated and refused events; and `conflicts`, the
 * profiles with more than one user_id. Where there is a conflict the platform refuses a merge, which
 * one depends on the order of arrival, and this computation does not apply. */
export function compute(events, { now = Date.now(), segments = {} } = {}) {
  const { accepted, counts } = accept(events);
  const profiles = group(accepted).map((found) => buildProfile(found.identifiers, found.events));
  const userIds = (profile) => [...profile.identifiers].filter((key) => key.startsWith("user_id:"));
  const members = (where) => profiles.filter((profile) => evaluate(where, profile, { now, segments }));
  for (const key of Object.keys(segments)) {
    for (const profile of members({ segment: key })) profile.segments.push(key);
  }
  profiles.forEach((profile) => profile.segments.sort());
  return {
    profiles,
    members,
    counts,
    conflicts: profiles.filter((profile) => userIds(profile).length > 1),
    profileOf: (key) => profiles.find((profile) => profile.identifiers.has(key)),
  };
}
