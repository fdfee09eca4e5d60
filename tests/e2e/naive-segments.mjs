// The segment language, evaluated the naive way: from all events of one profile, at one moment.

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const OPERATORS = ["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "contains", "starts_with", "exists"];
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

export function duration(text) {
  const match = /^(\d+)([smhd])$/.exec(text);
  if (!match) throw new Error(`not a duration: ${text}`);
  return Number(match[1]) * UNITS[match[2]];
}

// The one operator of a comparison, and its value.
function operatorOf(comparison) {
  const found = OPERATORS.filter((name) => name in comparison);
  if (found.length !== 1) throw new Error(`exactly one operator expected: ${JSON.stringify(comparison)}`);
  return [found[0], comparison[found[0]]];
}

function isInstant(value) {
  return typeof value === "string" && RFC3339.test(value) && !Number.isNaN(Date.parse(value));
}

/* -1, 0 or 1; undefined where the two do not compare. Nothing is coerced: number with number, text
 * with text, and text that is a date on both sides as instants. */
function order(a, b) {
  if (typeof a !== typeof b) return undefined;
  if (typeof a === "boolean") return a === b ? 0 : undefined;
  if (typeof a === "number") return Math.sign(a - b);
  if (typeof a !== "string") return undefined;
  if (isInstant(a) && isInstant(b)) return Math.sign(Date.parse(a) - Date.parse(b));
  return Buffer.compare(Buffer.from(a.normalize("NFC")), Buffer.from(b.normalize("NFC")));
}

function differs(a, b) {
  if (typeof a === "boolean" && typeof b === "boolean") return a !== b;
  const result = order(a, b);
  return result !== undefined && result !== 0;
}

function texts(a, b, test) {
  return typeof a === "string" && typeof b === "string" && test(a.normalize("NFC"), b.normalize("NFC"));
}

const COMPARE = {
  eq: (a, b) => order(a, b) === 0,
  ne: differs,
  gt: (a, b) => order(a, b) > 0,
  gte: (a, b) => order(a, b) >= 0,
  lt: (a, b) => order(a, b) < 0,
  lte: (a, b) => order(a, b) <= 0,
  in: (a, list) => list.some((b) => order(a, b) === 0),
  not_in: (a, list) => list.some((b) => differs(a, b)) && !list.some((b) => order(a, b) === 0),
  contains: (a, b) => texts(a, b, (x, y) => x.includes(y)),
  starts_with: (a, b) => texts(a, b, (x, y) => x.startsWith(y)),
};

export function compares(value, comparison) {
  const [operator, expected] = operatorOf(comparison);
  const present = value !== undefined && value !== null;
  if (operator === "exists") return present === expected;
  return present && COMPARE[operator](value, expected);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/* All values that a name leads to, or undefined where it leads nowhere: a member whose own name has
 * dots or brackets, else the way into objects (`a.b`) and through all elements of arrays (`a[]`). */
function lead(object, name) {
  if (!isObject(object)) return undefined;
  if (Object.hasOwn(object, name)) return [object[name]];
  for (const { index } of name.matchAll(/\.|\[\]/g)) {
    const key = name.slice(0, index);
    const found = Object.hasOwn(object, key) ? leadBehind(object[key], name.slice(index)) : undefined;
    if (found) return found;
  }
  return undefined;
}

function leadBehind(value, rest) {
  if (rest === "") return [value];
  if (rest.startsWith(".")) return lead(value, rest.slice(1));
  const behind = rest.slice(2);
  if (!Array.isArray(value) || !/^($|\.|\[\])/.test(behind)) return undefined;
  return value.flatMap((element) => leadBehind(element, behind) ?? []);
}

const valuesOf = (object, name) => (lead(object, name) ?? []).filter((value) => value !== null);

// Do the values that a name leads to satisfy a comparison?
function comparesAny(values, comparison) {
  const [operator, expected] = operatorOf(comparison);
  if (operator === "exists") return values.length > 0 === expected;
  if (operator === "ne" && values.some((value) => order(value, expected) === 0)) return false;
  if (operator === "not_in" && values.some((value) => COMPARE.in(value, expected))) return false;
  return values.some((value) => compares(value, comparison));
}

// A comparison of `where`: of a property, or of one element of an array that is all it must be.
function holds(object, comparison) {
  const values = valuesOf(object, comparison.property);
  if (!comparison.where) return comparesAny(values, comparison);
  return values.some((element) => comparison.where.every((part) => holds(element, part)));
}

// What `where` sees of an event: its properties; of a page or screen also its name; of identify its traits.
function propertiesOf(event) {
  if (event.type === "identify" || event.type === "group") return event.traits ?? {};
  return event.name === undefined ? (event.properties ?? {}) : { name: event.name, ...event.properties };
}

// Does the event match {"event":NAME} or {"type":TYPE}, and all of its `where`?
function matches(event, pattern) {
  const named =
    pattern.event !== undefined
      ? event.type === "track" && event.event === pattern.event
      : event.type === pattern.type;
  return (
    named &&
    (pattern.where ?? []).every((comparison) => holds(propertiesOf(event), comparison))
  );
}

// Event time in (now − within, now]; without `within`, ever.
function isInWindow(time, within, now) {
  return within === undefined || (time > now - duration(within) && time <= now);
}

const AGGREGATES = {
  sum: (numbers) => numbers.reduce((a, b) => a + b, 0),
  average: (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length,
  min: (numbers) => Math.min(...numbers),
  max: (numbers) => Math.max(...numbers),
};

function eventCondition(condition, profile, now) {
  const found = profile.events.filter(
    (event) => isInWindow(event.time, condition.within, now) && matches(event, condition),
  );
  const aggregate = Object.keys(AGGREGATES).find((name) => name in condition);
  if (!aggregate) return compares(found.length, condition.count ?? { gte: 1 });
  const numbers = found
    .flatMap((event) => valuesOf(propertiesOf(event), condition[aggregate]))
    .filter((value) => typeof value === "number");
  if (numbers.length === 0 && aggregate !== "sum") return false;
  // An aggregate may itself be called min or max, so the operator is looked for beside it.
  return compares(AGGREGATES[aggregate](numbers), condition);
}

/* A sequence: from each possible first event, the set of times at which the steps so far can end;
 * the next step may take any event strictly later than the earliest of those. */
function sequenceCondition({ sequence, within, span }, profile, now) {
  const last = sequence.at(-1);
  const steps = last.not ? sequence.slice(0, -1) : sequence;
  const candidates = profile.events.filter(
    (event) => event.time <= now && isInWindow(event.time, within, now),
  );
  const timesOf = (step) => candidates.filter((event) => matches(event, step)).map((event) => event.time);
  return timesOf(steps[0]).some((first) => {
    let ends = [first];
    for (const step of steps.slice(1)) {
      const earliest = ends.reduce((a, b) => Math.min(a, b), Infinity);
      ends = timesOf(step).filter(
        (time) => time > earliest && (span === undefined || time - first <= duration(span)),
      );
    }
    return last.not ? ends.some((end) => isQuietAfter(end, last, profile, now)) : ends.length > 0;
  });
}

// None of the event in (end, end + for], and that time has passed.
function isQuietAfter(end, { not: pattern, for: length }, profile, now) {
  const until = end + duration(length);
  return (
    until <= now &&
    !profile.events.some((event) => event.time > end && event.time <= until && matches(event, pattern))
  );
}

function segmentCondition(key, profile, context) {
  const path = context.path ?? [];
  if (path.includes(key)) throw new Error(`segments form a cycle: ${[...path, key].join(" → ")}`);
  const segment = context.segments[key];
  if (!segment) throw new Error(`no such segment: ${key}`);
  return evaluate(segment.where, profile, { ...context, path: [...path, key] });
}

/* Does the condition hold for the profile? `context` is {now, segments}. */
export function evaluate(condition, profile, context) {
  const inner = (part) => evaluate(part, profile, context);
  if (condition.all) return condition.all.every(inner);
  if (condition.any) return condition.any.some(inner);
  if (condition.not) return !inner(condition.not);
  if (condition.sequence) return sequenceCondition(condition, profile, context.now);
  if (condition.event !== undefined || condition.type !== undefined) {
    return eventCondition(condition, profile, context.now);
  }
  if (condition.trait !== undefined) return comparesAny(valuesOf(profile.traits, condition.trait), condition);
  if (condition.segment !== undefined) return segmentCondition(condition.segment, profile, context);
  if (condition.consent !== undefined) return profile.consents[condition.consent] === true;
  if (condition.known !== undefined) return profile.known === condition.known;
  if (condition.identifier !== undefined) {
    const has = [...profile.identifiers].some((key) => key.startsWith(`${condition.identifier}:`));
    return has === condition.exists;
  }
  throw new Error(`no such condition: ${JSON.stringify(condition)}`);
}
