// Who may ask what: every route of the hub's API, with every method, is closed to whoever has not the token. The table is
// made from the routes in the code and from the document, so that none is forgotten; a wrong token changes nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./support/cli.mjs";
import { request } from "./support/http.mjs";
import { Document } from "./support/openapi.mjs";
import { startSite, test } from "./support/site.mjs";

const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];
const OPEN = ["/healthz", "/readyz", "/metrics"];

const code = readFileSync(join(ROOT, "hub/api/api.c"), "utf8");
const heads = [...new Set([...code.matchAll(/slice_is\(head, "([^"]+)"\)/g)].map(([, head]) => head))];
const documented = new Document("hub/openapi.yaml").operations().map(({ method, path }) => [method, path]);

/* Every path that the code or the document knows, and some that nobody knows. */
function paths() {
  const below = heads.flatMap((head) => [`/v1/${head}`, `/v1/${head}/x`, `/v1/${head}/x/members`, `/v1/${head}/`]);
  const named = documented.map(([, path]) => path.replace(/\{\w+\}/g, "x")).filter((path) => !OPEN.includes(path));
  return [...new Set([...below, ...named, "/v1/", "/v1/none", "/v1//segments", "/v1/segments/../profiles"])];
}

/* Tokens that are none, by what is wrong with them. */
const wrongTokens = (token) => ({
  none: undefined,
  empty: "",
  "the scheme alone": "Bearer ",
  "cut short": `Bearer ${token.slice(0, -1)}`,
  "too long": `Bearer ${token}x`,
  "another one": `Bearer ${"0".repeat(token.length)}`,
  "another scheme": `Basic ${token}`,
  "no scheme": token,
});

test("the code's routes and the document's paths are the same", () => {
  assert.ok(heads.length > 8, heads.join());
  const inDocument = new Set(documented.map(([, path]) => path.split("/")).filter(([, v1]) => v1 === "v1").map(([, , head]) => head));
  assert.deepEqual([...heads].sort(), [...inDocument].sort());
});

test("without the token every route is closed, by every method, and nothing changes", async (t) => {
  const { hub } = await startSite(t, { segments: { x: { where: { event: "Sold" } } } });
  await hub.put("/v1/traits/x", { edge: ["page"] });
  const state = async () => {
    const all = [];
    for (const path of ["/v1/segments", "/v1/traits", "/v1/sources", "/v1/tracking-plans", "/v1/purchases", "/v1/identity-rules", "/v1/suppressions"]) {
      all.push(await hub.get(path));
    }
    return JSON.stringify(all, (name, value) => (["status", "progress"].includes(name) ? undefined : value));
  };
  const before = await state();
  let asked = 0;
  const ask = async (method, path, what, authorization) => {
    const body = ["PUT", "POST", "PATCH"].includes(method) ? JSON.stringify({ where: { event: "Lost" }, all: true }) : undefined;
    const answer = await request(hub.url + path, { method, body, headers: authorization === undefined ? {} : { authorization } });
    // Behind ten wrong ones of a minute no other is looked at; the right one always is.
    const codes = { 401: "unauthorized", 429: "too-many-wrong-tokens" };
    assert.ok(answer.status in codes, `${method} ${path}, token: ${what}: ${answer.status}\n${answer.text}`);
    if (answer.status === 401) assert.equal(answer.headers["www-authenticate"], "Bearer");
    if (method !== "HEAD") assert.equal(answer.body.error.code, codes[answer.status]);
    asked++;
  };
  const tokens = Object.entries(wrongTokens(hub.token));
  for (const path of paths()) {
    await Promise.all(METHODS.flatMap((method) => tokens.map(([what, authorization]) => ask(method, path, what, authorization))));
  }
  assert.ok(asked > 1000, String(asked));
  assert.equal(await state(), before);
});

test("with the token no documented route is closed; what is open needs none", async (t) => {
  const { hub } = await startSite(t, { segments: {} });
  for (const [method, path] of documented) {
    const { status } = await hub.api(method, path.replace(/\{\w+\}/g, "x"), method === "PUT" || method === "POST" ? {} : undefined);
    assert.ok(status !== 401 && status < 500, `${method} ${path}: ${status}`);
  }
  for (const path of OPEN) assert.equal((await request(hub.url + path)).status, 200, path);
  const { text } = await request(`${hub.url}/metrics`);
  assert.ok(!text.includes(hub.token));
});
