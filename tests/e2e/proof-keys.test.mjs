// The keys of a site's proofs in the definition of its source: what may stand there, and that secrets stay at the hub.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { startSite, test } from "./support/site.mjs";

const SECRET = "a secret of the shop's server, long enough";
const pair = generateKeyPairSync("ed25519");
const PUBLIC = pair.publicKey.export({ format: "pem", type: "spki" });
const PRIVATE = pair.privateKey.export({ format: "pem", type: "pkcs8" });
const hs = (kid, key = SECRET) => ({ kid, alg: "HS256", key });
const ed = (kid, key = PUBLIC) => ({ kid, alg: "EdDSA", key });

test("a source has keys; public ones are shown, secrets are not, and putting back what was read keeps them", async (t) => {
  const { hub } = await startSite(t, { sources: {}, segments: {}, collectors: [] });
  const put = async (proof) => {
    const answer = await hub.api("PUT", "/v1/sources/web", { name: "Shop", proof });
    assert.equal(answer.status, 200, answer.text);
    assert.ok(!answer.text.includes(SECRET), answer.text);
    return answer.body;
  };
  const shown = await put({ keys: [ed("a"), hs("b")], bind: "optional" });
  assert.deepEqual(shown.proof, { keys: [ed("a"), hs("b", "(secret)")], bind: "optional" });
  for (const path of ["/v1/sources", "/v1/sources/web"]) {
    const { text } = await hub.api("GET", path);
    assert.ok(text.includes("(secret)") && !text.includes(SECRET), text);
  }
  // As an operator does it: read, change, put.
  await put({ keys: [hs("b", "(secret)"), hs("c", SECRET + "!")] });
  await put({ keys: [hs("c", "(secret)")] });
  const lost = await hub.api("PUT", "/v1/sources/web", { proof: { keys: [hs("b", "(secret)")] } });
  assert.deepEqual([lost.status, lost.body.error.code, lost.body.error.field], [400, "invalid-source", "/proof/keys/0/key"]);
  assert.match(lost.body.error.message, /keeps the secret that was there/);
});

test("what is wrong with a key is said with its place, and quotes nothing of it", async (t) => {
  const { hub } = await startSite(t, { sources: {}, segments: {}, collectors: [] });
  const refused = async (proof, field, message, code = "invalid-source") => {
    const answer = await hub.api("PUT", "/v1/sources/web", { proof });
    assert.deepEqual([answer.status, answer.body.error.code, answer.body.error.field], [400, code, field], answer.text);
    assert.match(answer.body.error.message, message);
    assert.ok(!answer.text.includes("BEGIN PRIVATE"), answer.text);
  };
  await refused({ keys: [ed("a"), ed("b", PRIVATE)] }, "/proof/keys/1/key", /private key, which must not leave the site's server/);
  await refused({ keys: [hs("a", "short")] }, "/proof/keys/0/key", /32 to 512 bytes/);
  await refused({ keys: [ed("a"), ed("a")] }, "/proof/keys/1/kid", /already/);
  await refused({ keys: [{ kid: "a", alg: "none", key: "" }] }, "/proof/keys/0/alg", /"EdDSA", "ES256", "RS256" or "HS256"/);
  await refused({ keys: [] }, "/proof/keys", /1 to 8/);
  await refused({ keys: [hs("a")], bind: "no" }, "/proof/bind", /"optional"/);
  await refused({ keys: [{ ...hs("a"), algo: 1 }] }, "/proof/keys/0/algo", /did you mean "alg"/, "unknown-member");
  assert.equal((await hub.api("GET", "/v1/sources/web")).status, 404);
});
