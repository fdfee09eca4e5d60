// A member that nobody knows is refused by name, with its place and the one that was meant, at every door through
// which a definition comes in; and what was read can be put again as it is.
import assert from "node:assert/strict";
import { startSite, test } from "./support/site.mjs";

const key = "ab".repeat(32);
const event = (more) => ({ where: { event: "Sold", ...more } });

// Method, path, body; where the wrong member stands and what was meant (undefined: nothing looks like it).
const DOORS = [
  ["PUT", "/v1/sources/web", { orgins: ["https://shop.example"] }, "/orgins", "origins"],
  ["PUT", "/v1/sources/web", { consent: { require: ["analytics"] } }, "/consent/require", "required"],
  ["PUT", "/v1/sources/web", { rate: { events_per_second: 5, brust: 10 } }, "/rate/brust", "burst"],
  ["PUT", "/v1/segments/s", { nmae: "S", ...event() }, "/nmae", "name"],
  ["PUT", "/v1/segments/s", event({ whithin: "7d" }), "/where/whithin", "within"],
  ["PUT", "/v1/segments/s", event({ count: { gtee: 2 } }), "/where/count/gtee", "gte"],
  ["PUT", "/v1/segments/s", event({ where: [{ proprety: "a", eq: 1 }] }), "/where/where/0/proprety", "property"],
  ["PUT", "/v1/segments/s", { where: { any: [{ evnt: "Sold" }] } }, "/where/any/0/evnt", "event"],
  ["PUT", "/v1/segments/s", { where: { trait: "city", equals: "Lyon" } }, "/where/equals", undefined],
  ["POST", "/v1/segments/preview", { ...event(), limt: 5 }, "/limt", undefined],
  ["POST", "/v1/segments/preview", event({ whithin: "7d" }), "/where/whithin", "within"],
  ["PUT", "/v1/traits/city", { egde: true }, "/egde", "edge"],
  ["PUT", "/v1/identity-rules", { identifiers: [{ type: "email", priorty: 1 }] }, "/identifiers/0/priorty", "priority"],
  ["PUT", "/v1/identity-rules", { identifers: [] }, "/identifers", "identifiers"],
  ["PUT", "/v1/purchases", { event: ["Sold"] }, "/event", "events"],
  ["PUT", "/v1/tracking-plans/p", { events: {}, violation: "flag" }, "/violation", "violations"],
  ["PUT", "/v1/tracking-plans/p", { events: { Sold: { propertys: {} } } }, "/events/Sold/propertys", "properties"],
  ["PUT", "/v1/tracking-plans/p", { events: { Sold: { properties: { typ: "object" } } } }, "/events/Sold/properties/typ", "type"],
  ["PUT", "/v1/collectors/edge", { scope: { kind: "segments", segment: ["s"] } }, "/scope/segment", "segments"],
  ["PUT", "/v1/collectors/new", { publicKey: key, scop: {} }, "/scop", "scope"],
  ["PUT", "/v1/suppressions", { identifiers: [{ type: "email", vaule: "a@b.c" }] }, "/identifiers/0/vaule", "value"],
  ["PUT", "/v1/suppressions", { identifiers: [{ type: "email", value: "a@b.c" }], raeson: "x" }, "/raeson", "reason"],
  ["DELETE", "/v1/suppressions", { identifers: [] }, "/identifers", "identifiers"],
  ["POST", "/v1/quarantine/release", { soruce: "web", all: true }, "/soruce", "source"],
  ["POST", "/v1/quarantine/discard", { evnt: "Sold", all: true }, "/evnt", "event"],
];

test("every door names the member that it does not know, its place and the nearest one", async (t) => {
  const site = await startSite(t, { segments: {} });
  for (const [method, path, body, field, meant] of DOORS) {
    const answer = await site.hub.api(method, path, body);
    const about = `${method} ${path} ${JSON.stringify(body)}: ${answer.status} ${answer.text}`;
    assert.equal(answer.status, 400, about);
    const { error } = answer.body;
    assert.equal(error.code, "unknown-member", about);
    assert.equal(error.field, field, about);
    const name = field.split("/").pop();
    const says = meant ? `"${name}" is not known here; did you mean "${meant}"?` : `"${name}" is not known here; known are `;
    assert.ok(error.message.includes(says), about);
  }
  assert.deepEqual((await site.hub.get("/v1/segments")).segments, []);
  assert.equal((await site.hub.api("GET", "/v1/collectors/new")).status, 404);
});

test("a link's parameter that is misspelt is not taken for one that is absent", async (t) => {
  const { collector } = await startSite(t, { segments: {} });
  const { status, body } = await collector.get("/v1/link?tokne=x");
  assert.equal(status, 400);
  assert.deepEqual([body.error.code, body.error.message], ["unknown-member", '"tokne" is not known here; did you mean "token"?']);
});

test("a member of another type is refused instead of passed over", async (t) => {
  const { hub } = await startSite(t, { segments: {}, collectors: [] });
  for (const [method, path, body, field] of [
    ["PUT", "/v1/segments/s", { name: 7, ...event() }, "/name"],
    ["PUT", "/v1/sources/web", { description: [] }, "/description"],
    ["PUT", "/v1/identity-rules", { identifiers: [{ type: "email", known: "yes" }] }, "/identifiers/0/known"],
    ["PUT", "/v1/identity-rules", { identifiers: [{ type: "email", limit: "1" }] }, "/identifiers/0/limit"],
    // Everything would be released, not what is of one source.
    ["POST", "/v1/quarantine/release", { all: true, source: 7 }, "/source"],
  ]) {
    const { status, body: answer } = await hub.api(method, path, body);
    assert.equal(status, 400, path);
    assert.equal(answer.error.code, "invalid-member", path);
    assert.equal(answer.error.field, field);
  }
});

test("a definition that was read can be put again as it is", async (t) => {
  const site = await startSite(t, { segments: { s: { name: "S", description: "Who bought", ...event() } } });
  await site.hub.put("/v1/tracking-plans/p", { name: "P", events: { Sold: {} } });
  await site.hub.put("/v1/traits/city", { name: "City", edge: ["staff"] });
  const paths = ["/v1/sources/shop-web", "/v1/segments/s", "/v1/tracking-plans/p", "/v1/traits/city", "/v1/identity-rules", "/v1/purchases"];
  for (const path of paths) {
    const read = await site.hub.get(path);
    await site.hub.put(path, read);
    const again = await site.hub.get(path);
    for (const changing of ["updatedAt", "status", "progress"]) [read, again].forEach((one) => delete one[changing]);
    assert.deepEqual(again, read, path);
  }
});
