// Tracking plans against another implementation of JSON Schema: ajv, on random schemas and values.
import assert from "node:assert/strict";
import ajv2020 from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { Random } from "../demo/random.mjs";
import { startPlanned, violationsOf } from "./support/plans.mjs";
import { SEED, test, waitUntil } from "./support/site.mjs";

const NAMES = ["a", "b", "c", "d/e", "é"];
const TEXTS = ["", "x", "é", "abc", "🙂🙂", "EUR", "2026-11-20T10:00:00Z", "2026-02-30T10:00:00Z", "1999-12-31T23:59:59.5+02:00"];
const NUMBERS = [0, 1, -1, 2.5, 3, 100, 1e20, -0.5];

class Generator extends Random {
  below(n) {
    return this.int(0, n - 1);
  }

  maybe(part = 0.5) {
    return this.chance(part);
  }

  scalar() {
    return this.pick([null, true, false, this.pick(NUMBERS), this.pick(TEXTS)]);
  }

  value(depth = 0) {
    const kind = depth > 2 ? 0 : this.below(4);
    if (kind < 2) return this.scalar();
    const size = this.below(4);
    if (kind === 2) return Array.from({ length: size }, () => this.value(depth + 1));
    return Object.fromEntries(Array.from({ length: size }, () => [this.pick(NAMES), this.value(depth + 1)]));
  }

  schema(depth = 0) {
    const types = ["null", "boolean", "number", "integer", "string", "array", "object"];
    const schema = {};
    if (this.maybe(0.4)) schema.type = this.maybe() ? this.pick(types) : [...new Set([this.pick(types), this.pick(types)])];
    if (this.maybe(0.15)) schema.enum = [...new Set(Array.from({ length: 4 }, () => this.scalar()))];
    else if (this.maybe(0.1)) schema.const = this.scalar();
    if (this.maybe(0.2)) schema.minimum = this.pick(NUMBERS);
    if (this.maybe(0.2)) schema.maximum = this.pick(NUMBERS);
    if (this.maybe(0.2)) schema.minLength = this.below(4);
    if (this.maybe(0.2)) schema.maxLength = this.below(4);
    if (this.maybe(0.15)) schema.format = "date-time";
    if (depth > 2) return schema;
    if (this.maybe(0.4)) schema.items = this.schema(depth + 1);
    if (this.maybe(0.5)) {
      schema.properties = Object.fromEntries(NAMES.filter(() => this.maybe()).map((name) => [name, this.schema(depth + 1)]));
    }
    if (this.maybe(0.3)) schema.required = NAMES.filter(() => this.maybe(0.3));
    if (this.maybe(0.3)) schema.additionalProperties = this.maybe() ? this.maybe() : this.schema(depth + 1);
    return schema;
  }

  properties() {
    return Object.fromEntries(NAMES.filter(() => this.maybe()).map((name) => [name, this.value()]));
  }
}

const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

/* ajv's errors as pointers and rules, the missing and the unwanted member named by its own pointer. */
function expected(validate, properties) {
  if (validate(properties)) return [];
  return validate.errors
    .map(({ instancePath, keyword, params }) => {
      const member = params.missingProperty ?? params.additionalProperty;
      return `/properties${instancePath}${member === undefined ? "" : `/${escaped(member)}`} ${keyword}`;
    })
    .sort();
}

test("random schemas and values: the same violations as ajv finds", async (t) => {
  const SCHEMAS = 80;
  const VALUES = 25;
  const g = new Generator(SEED);
  const schemas = Array.from({ length: SCHEMAS }, () => g.schema());
  const events = Object.fromEntries(schemas.map((properties, n) => [`Event ${n}`, { properties }]));
  const site = await startPlanned(t, { random: { events, violations: "quarantine" } });
  const ajv = formats.default(new ajv2020.default({ allErrors: true, strict: false }));
  const wanted = new Map();
  let held = 0;
  for (const [n, schema] of schemas.entries()) {
    const validate = ajv.compile(schema);
    const batch = Array.from({ length: VALUES }, (_, v) => {
      const properties = g.properties();
      const messageId = `e${n}-${v}`;
      wanted.set(messageId, { schema, properties, violations: expected(validate, properties) });
      return { type: "track", event: `Event ${n}`, messageId, userId: "u1", properties };
    });
    held += batch.filter(({ messageId }) => wanted.get(messageId).violations.length > 0).length;
    await site.collector.send(batch);
  }
  assert.ok(held > SCHEMAS && held < SCHEMAS * VALUES - SCHEMAS, `${held} of ${SCHEMAS * VALUES} are wrong`);
  await waitUntil(async () => {
    const { events, quarantinedEvents } = await site.hub.overview();
    return events + quarantinedEvents === SCHEMAS * VALUES;
  });
  const found = await site.hub.all("/v1/quarantine", "events");
  for (const event of found) {
    const { schema, properties, violations } = wanted.get(event.messageId);
    const message = JSON.stringify({ schema, properties });
    if (violations.length <= 8) assert.deepEqual(violationsOf(event), violations, message);
    else assert.equal(event.context.violations.length, 8, message);
  }
  const ids = new Set(found.map(({ messageId }) => messageId));
  for (const [messageId, { schema, properties, violations }] of wanted) {
    assert.equal(ids.has(messageId), violations.length > 0, JSON.stringify({ schema, properties }));
  }
});
