// An OpenAPI document as a list of operations: requests are made from it, and answers are checked against it.
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { ROOT } from "./cli.mjs";

const METHODS = ["get", "put", "post", "delete", "options"];
const pick = (random, list) => list[Math.floor(random() * list.length)];

export class Document {
  constructor(name) {
    this.name = name;
    this.text = readFileSync(join(ROOT, name), "utf8");
    this.root = parse(this.text);
    this.ajv = addFormats(new Ajv2020({ strict: false, allErrors: true }));
    this.ajv.addSchema({ $id: "document", ...this.root });
  }

  /* What a $ref stands for; anything else is itself. */
  resolve(node) {
    while (node?.$ref) {
      node = node.$ref.slice(2).split("/").reduce((at, part) => at[part.replaceAll("~1", "/").replaceAll("~0", "~")], this.root);
    }
    return node;
  }

  operations() {
    return Object.entries(this.root.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]).map((method) => {
        const { parameters = [], requestBody, responses, security = this.root.security } = item[method];
        return {
          method: method.toUpperCase(),
          path,
          parameters: [...(item.parameters ?? []), ...parameters].map((one) => this.resolve(one)),
          body: requestBody?.content["application/json"].schema,
          responses: Object.fromEntries(Object.entries(responses).map(([status, response]) => [status, this.resolve(response)])),
          needsToken: (security ?? []).every((one) => Object.keys(one).some((name) => /token/i.test(name))) && (security ?? []).length > 0,
        };
      }),
    );
  }

  /* What is wrong with the answer to an operation; undefined: nothing. `general`: statuses that any path may give. */
  mistake({ responses }, { status, headers, text, body }, general) {
    const type = (headers["content-type"] ?? "").split(";")[0];
    if (!(status in responses)) {
      if (!general.includes(status)) return `status ${status} is not documented`;
      return this.#mismatch({ $ref: "#/components/schemas/Error" }, body);
    }
    const { content } = responses[status];
    if (!content) return text === "" ? undefined : "it has a body";
    if (!(type in content)) return `it is ${type || "without a type"}, not ${Object.keys(content)}`;
    return type === "application/json" ? this.#mismatch(content[type].schema, body) : undefined;
  }

  #mismatch(schema, value) {
    const validate = this.ajv.compile(this.#closed(schema));
    return validate(value) ? undefined : this.ajv.errorsText(validate.errors.slice(0, 3));
  }

  /* The schema, under which an object has no member that the document does not name. */
  #closed(schema) {
    const point = (node) => JSON.parse(JSON.stringify(node).replaceAll('"#/', '"document#/'));
    const resolved = this.resolve(schema);
    if (resolved.oneOf) return { oneOf: resolved.oneOf.map((one) => this.#closed(one)) };
    if (resolved.items) return { ...point(resolved), items: this.#closed(resolved.items) };
    const parts = resolved.allOf ?? [resolved];
    const members = Object.assign({}, ...parts.map((part) => this.resolve(part).properties));
    if (Object.keys(members).length === 0 || parts.some((part) => this.resolve(part).additionalProperties !== undefined)) return point(schema);
    const inner = Object.fromEntries(Object.entries(members).map(([name, member]) => [name, this.#closed(member)]));
    return { allOf: [point(schema), { type: ["object", "null"], properties: inner }], unevaluatedProperties: false };
  }

  /* A value that the schema allows; `random` gives numbers from 0 to 1. */
  sample(schema, random, depth = 0) {
    const s = this.resolve(schema);
    if (s.example !== undefined && random() < 0.5) return s.example;
    if (s.enum) return pick(random, s.enum);
    if (s.const !== undefined) return s.const;
    if (s.oneOf || s.anyOf) return this.#sampleOne(s.oneOf ?? s.anyOf, random, depth);
    if (s.allOf) return Object.assign({}, ...s.allOf.map((part) => this.sample(part, random, depth)));
    const type = [s.type].flat()[0] ?? (s.properties ? "object" : "string");
    return this.#sampleType(type, s, random, depth);
  }

  // Deep down what does not lead to itself ends the value.
  #sampleOne(choices, random, depth) {
    const ends = choices.filter((one) => !JSON.stringify(this.resolve(one)).includes("$ref"));
    return this.sample(pick(random, depth > 4 && ends.length > 0 ? ends : choices), random, depth + 1);
  }

  #sampleType(type, s, random, depth) {
    if (type === "object") return this.#sampleObject(s, random, depth);
    if (type === "array") {
      const length = Math.max(s.minItems ?? 0, depth > 4 ? 0 : Math.floor(random() * 3));
      return Array.from({ length }, () => this.sample(s.items ?? {}, random, depth + 1));
    }
    if (type === "boolean") return random() < 0.5;
    if (type === "integer" || type === "number") {
      const [least, most] = [s.minimum ?? 0, s.maximum ?? 1000];
      const value = least + random() * (most - least);
      return type === "integer" ? Math.floor(value) : value;
    }
    if (s.format === "date-time") return "2026-11-20T10:00:00Z";
    if (s.pattern?.includes("{64}")) return "ab".repeat(32);
    return pick(random, ["a", "email", "7d", "Sold", "é€", ""].filter((text) => text.length >= (s.minLength ?? 0)));
  }

  #sampleObject(s, random, depth) {
    const names = Object.keys(s.properties ?? {}).filter((name) => (s.required ?? []).includes(name) || (depth < 5 && random() < 0.4));
    const value = Object.fromEntries(names.map((name) => [name, this.sample(s.properties[name], random, depth + 1)]));
    if (typeof s.additionalProperties === "object" && depth < 5) {
      for (let n = Math.max(s.minProperties ?? 0, Math.floor(random() * 3)); n > 0; n--) {
        value[pick(random, ["Sold", "a/b~c", "x"])] = this.sample(s.additionalProperties, random, depth + 1);
      }
    }
    return value;
  }
}

/* The value with one thing wrong in it: another type, a member too many or too few, a number out of range, half a
 * character. */
export function spoil(value, random) {
  const wrong = [null, true, 0, -1, 1e300, 9007199254740993, "", "\u0000", "\ud800", "x".repeat(5000), [], {}, [[[]]], { a: { b: [null] } }];
  if (Array.isArray(value) && value.length > 0 && random() < 0.7) {
    const at = Math.floor(random() * value.length);
    return value.map((one, i) => (i === at ? spoil(one, random) : one));
  }
  const names = value && typeof value === "object" && !Array.isArray(value) ? Object.keys(value) : [];
  if (names.length > 0 && random() < 0.8) {
    const name = pick(random, names);
    if (random() < 0.15) return Object.fromEntries(Object.entries(value).filter(([other]) => other !== name));
    if (random() < 0.15) return { ...value, [`${name}x`]: value[name] };
    return { ...value, [name]: spoil(value[name], random) };
  }
  return pick(random, wrong);
}

/* Numbers from 0 to 1, the same for the same seed. */
export function numbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
