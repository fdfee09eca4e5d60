// What the hub holds and what the naive computation says, brought to one form that can be compared.
import assert from "node:assert/strict";

/* A profile's name in comparisons: its identifiers, since ids differ from run to run. */
const nameOf = (identifiers) => [...identifiers].sort().join(" ");

function granted(consents) {
  return Object.fromEntries(Object.entries(consents ?? {}).map(([name, { granted: yes }]) => [name, yes]));
}

function sorted(entries) {
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/* All profiles of the hub, by name, with the segments' members as the segments' own listings give them. */
export async function readHub(hub, segmentKeys) {
  const profiles = await hub.profiles();
  const memberships = new Map(profiles.map(({ id }) => [id, []]));
  for (const key of segmentKeys) {
    for (const id of await hub.members(key)) memberships.get(id)?.push(key);
  }
  return sorted(
    profiles.map((profile) => [
      nameOf(profile.identifiers.map(({ type, value }) => `${type}:${value}`)),
      {
        known: profile.known,
        traits: profile.traits,
        consents: granted(profile.consents),
        eventCount: profile.eventCount,
        createdAt: profile.createdAt,
        lastSeenAt: profile.lastSeenAt,
        segments: profile.segments.map(({ key }) => key).sort(),
        listedIn: memberships.get(profile.id).sort(),
      },
    ]),
  );
}

/* The same form of what naive.mjs computed. */
export function readNaive({ profiles }) {
  return sorted(
    profiles.map(({ identifiers, known, traits, consents, eventCount, createdAt, lastSeenAt, segments }) => [
      nameOf(identifiers),
      { known, traits, consents, eventCount, createdAt, lastSeenAt, segments, listedIn: segments },
    ]),
  );
}

const DIFFERENCES_MAX = 5;

// JSON with the keys of all objects in order, so that equal values give equal text.
function json(value) {
  const inOrder = (_, inner) =>
    inner && typeof inner === "object" && !Array.isArray(inner) ? sorted(Object.entries(inner)) : inner;
  return JSON.stringify(value, inOrder);
}

// One profile's difference: that it is missing on a side, or the fields that are not the same.
function describe(name, actual, expected) {
  if (!actual) return `${name}\n  is not at the hub`;
  if (!expected) return `${name}\n  should not be`;
  const fields = Object.keys(expected).filter((field) => json(actual[field]) !== json(expected[field]));
  const lines = fields.map(
    (field) => `  ${field}\n    expected ${json(expected[field])}\n    actual   ${json(actual[field])}`,
  );
  return [name, ...lines].join("\n");
}

/* Fail with the first few profiles that differ, rather than with a page of hundreds that do not. */
export function assertSame(actual, expected, message) {
  const names = [...new Set([...Object.keys(expected), ...Object.keys(actual)])];
  const different = names.filter((name) => json(actual[name]) !== json(expected[name]));
  if (different.length === 0) return;
  const shown = different
    .slice(0, DIFFERENCES_MAX)
    .map((name) => describe(name, actual[name], expected[name]));
  assert.fail(`${message}: ${different.length} of ${names.length} profiles differ\n${shown.join("\n")}`);
}
