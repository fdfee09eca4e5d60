// Writes proof_vectors.h: keys and tokens made by OpenSSL, through node, which proof_test.c verifies.
// Keys are new with each run, so everything in the file changes:
//     node hub/trust/proof_vectors.mjs > hub/trust/proof_vectors.h && make format
import { createHmac, generateKeyPairSync, sign } from "node:crypto";

const IAT = 1790000000;
const DAY = 24 * 3600;
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");
const encode = (part) => base64url(typeof part === "string" ? part : JSON.stringify(part));

const ed = generateKeyPairSync("ed25519");
const edOther = generateKeyPairSync("ed25519");
const es = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rs = generateKeyPairSync("rsa", { modulusLength: 2048 });
const hsText = "0123456789abcdef0123456789abcdef-site";
const hsBytes = Buffer.from("00ff10ef20df30cf40bf50af609f708f818283848586878889", "hex");
const hsLong = Buffer.concat([hsBytes, hsBytes]);

const pem = (pair) => pair.publicKey.export({ type: "spki", format: "pem" });
const jwk = (pair) => pair.publicKey.export({ format: "jwk" });

const keysOf = (...keys) => ({ keys: keys.map(([kid, alg, key]) => ({ kid, alg, key })) });
const KEYS = {
  ED_PEM: keysOf(["k", "EdDSA", pem(ed)]),
  ED_JWK: keysOf(["k", "EdDSA", jwk(ed)]),
  ED_RAW: keysOf(["k", "EdDSA", jwk(ed).x]),
  ED_PADDED: keysOf(["k", "EdDSA", Buffer.from(jwk(ed).x, "base64url").toString("base64")]),
  ES_PEM: keysOf(["k", "ES256", pem(es)]),
  ES_JWK: keysOf(["k", "ES256", jwk(es)]),
  ES384_PEM: keysOf(["k", "ES256", pem(generateKeyPairSync("ec", { namedCurve: "P-384" }))]),
  RS_PEM: keysOf(["k", "RS256", pem(rs)]),
  RS_JWK: keysOf(["k", "RS256", jwk(rs)]),
  HS_TEXT: keysOf(["k", "HS256", hsText]),
  HS_BASE64: keysOf(["k", "HS256", "base64:" + hsLong.toString("base64")]),
  HS_JWK: keysOf(["k", "HS256", { kty: "oct", k: base64url(hsLong) }]),
  ALL: keysOf(
    ["ed-old", "EdDSA", pem(edOther)],
    ["ed", "EdDSA", pem(ed)],
    ["es", "ES256", pem(es)],
    ["rs", "RS256", pem(rs)],
    ["hs", "HS256", hsText],
  ),
  UNBOUND: { ...keysOf(["k", "HS256", hsText]), bind: "optional" },
};

const signers = {
  EdDSA: (text) => sign(null, text, ed.privateKey),
  ES256: (text) => sign("sha256", text, { key: es.privateKey, dsaEncoding: "ieee-p1363" }),
  RS256: (text) => sign("sha256", text, rs.privateKey),
  HS256: (text) => createHmac("sha256", hsText).update(text).digest(),
};

function token(header, claims, signer = signers[header.alg]) {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${base64url(signer(Buffer.from(signed)))}`;
}

const claims = (changes = {}) => {
  const all = { sub: "u-17", aud: "shop", aid: "a-1", iat: IAT, exp: IAT + 3600, ...changes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
};
const hs = (changes, header = {}) => token({ alg: "HS256", kid: "k", ...header }, claims(changes));
const flip = (text, at) => text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);

const cases = [];
// What is not given is as it should be: the visitor's event one minute after the token was made.
function add(name, keys, text, fault, more = {}) {
  const { aid = "a-1", at = IAT + 60, received = at + 1, named = fault === "valid" ? "user_id=u-17" : "" } = more;
  cases.push([name, keys, text, aid, at, received, fault, named]);
}

for (const keys of ["ED_PEM", "ED_JWK", "ED_RAW", "ED_PADDED"]) add("EdDSA", keys, token({ alg: "EdDSA", kid: "k" }, claims()), "valid");
for (const keys of ["ES_PEM", "ES_JWK"]) add("ES256", keys, token({ alg: "ES256", kid: "k" }, claims()), "valid");
for (const keys of ["RS_PEM", "RS_JWK"]) add("RS256", keys, token({ alg: "RS256", kid: "k" }, claims()), "valid");
add("HS256, the text", "HS_TEXT", hs(), "valid");
const hsBinary = token({ alg: "HS256" }, claims(), (text) => createHmac("sha256", hsLong).update(text).digest());
for (const keys of ["HS_BASE64", "HS_JWK"]) add("HS256, bytes", keys, hsBinary, "valid");

// Which key
add("the second of two keys, by kid", "ALL", token({ alg: "EdDSA", kid: "ed" }, claims()), "valid");
add("the second of two keys, without kid", "ALL", token({ alg: "EdDSA" }, claims()), "valid");
add("the other of two keys, by kid", "ALL", token({ alg: "EdDSA", kid: "ed-old" }, claims()), "bad-signature");
add("a kid that is not there", "ALL", token({ alg: "EdDSA", kid: "new" }, claims()), "unknown-key");
add("the kid of another algorithm", "ALL", token({ alg: "EdDSA", kid: "rs" }, claims()), "wrong-algorithm");
add("none", "ALL", `${encode({ alg: "none" })}.${encode(claims())}.AA`, "wrong-algorithm");
add("none, in other letters, with a kid", "ALL", `${encode({ alg: "nOnE", kid: "hs" })}.${encode(claims())}.AA`, "wrong-algorithm");
add("an algorithm in small letters", "HS_TEXT", token({ alg: "hs256" }, claims(), signers.HS256), "wrong-algorithm");
add("HS384", "HS_TEXT", token({ alg: "HS384" }, claims(), (text) => createHmac("sha384", hsText).update(text).digest()), "wrong-algorithm");
const confused = (pair, kid) => token({ alg: "HS256", kid }, claims(), (text) => createHmac("sha256", pem(pair)).update(text).digest());
add("HS256 with a public key as secret", "RS_PEM", confused(rs, "k"), "wrong-algorithm");
add("HS256 with a public key as secret, and a secret is there", "ALL", confused(rs, undefined), "bad-signature");

// The signature
add("a signature with another bit", "HS_TEXT", flip(hs(), hs().length - 5), "bad-signature");
add("the claims of another token", "HS_TEXT", hs({ sub: "u-18" }).replace(/\.[^.]*\./, `.${encode(claims())}.`), "bad-signature");
add("ES256 in DER", "ES_PEM", token({ alg: "ES256" }, claims(), (text) => sign("sha256", text, es.privateKey)), "bad-signature");
add("ES256 of zeros", "ES_PEM", token({ alg: "ES256" }, claims(), () => Buffer.alloc(64)), "bad-signature");
add("ES256 cut off", "ES_PEM", token({ alg: "ES256" }, claims(), (text) => signers.ES256(text).subarray(0, 63)), "bad-signature");
add("EdDSA of zeros", "ED_PEM", token({ alg: "EdDSA" }, claims(), () => Buffer.alloc(64)), "bad-signature");
add("EdDSA of another", "ED_PEM", token({ alg: "EdDSA" }, claims(), (text) => sign(null, text, edOther.privateKey)), "bad-signature");
add("RS256 of another's claims", "RS_PEM", token({ alg: "RS256" }, claims({ sub: "u-18" })).replace(/\.[^.]*\./, `.${encode(claims())}.`), "bad-signature");
add("RS256 with PSS", "RS_PEM", token({ alg: "RS256" }, claims(), (text) => sign("sha256", text, { key: rs.privateKey, padding: 6, saltLength: 32 })), "bad-signature");
const longer = (alg) => token({ alg }, claims(), (text) => Buffer.concat([signers[alg](text), Buffer.alloc(1)]));
add("HS256 with more behind", "HS_TEXT", longer("HS256"), "bad-signature");
add("ES256 with more behind", "ES_PEM", longer("ES256"), "bad-signature");
add("EdDSA with more behind", "ED_PEM", longer("EdDSA"), "bad-signature");
add("HS256 cut off", "HS_TEXT", token({ alg: "HS256" }, claims(), (text) => signers.HS256(text).subarray(0, 16)), "bad-signature");

// The form
const raw = (header, body) => token(header, body, signers.HS256);
add("nothing", "HS_TEXT", "", "malformed");
add("a word", "HS_TEXT", "undefined", "malformed");
add("two parts", "HS_TEXT", hs().split(".").slice(0, 2).join("."), "malformed");
add("four parts", "HS_TEXT", hs() + ".AA", "malformed");
add("no signature", "HS_TEXT", hs().replace(/[^.]*$/, ""), "malformed");
add("padding", "HS_TEXT", hs() + "=", "malformed");
add("the other alphabet", "HS_TEXT", raw({ alg: "HS256" }, '{"sub":"???>>>"}').replace("_", "/"), "malformed");
add("a space before", "HS_TEXT", " " + hs(), "malformed");
add("last bits that are not zero", "HS_TEXT", hs().replace(/.$/, (last) => String.fromCharCode(last.charCodeAt(0) + 1)), "malformed");
add("a header that is no JSON", "HS_TEXT", raw("alg", claims()), "malformed");
add("a header that is an array", "HS_TEXT", raw("[]", claims()), "malformed");
add("no alg", "HS_TEXT", raw({ kid: "k" }, claims()), "malformed");
add("an alg that is a number", "HS_TEXT", raw({ alg: 256 }, claims()), "malformed");
add("an alg twice", "HS_TEXT", raw('{"alg":"HS256","alg":"HS256"}', claims()), "malformed");
add("an alg twice, once escaped", "HS_TEXT", raw('{"alg":"HS256","\\u0061lg":"none"}', claims()), "malformed");
add("a kid that is a number", "HS_TEXT", raw({ alg: "HS256", kid: 1 }, claims()), "malformed");
add("an empty kid", "HS_TEXT", raw({ alg: "HS256", kid: "" }, claims()), "malformed");
add("crit", "HS_TEXT", raw({ alg: "HS256", crit: ["exp"] }, claims()), "malformed");
const flat = (object) => JSON.stringify(Object.entries(object).flat());
add("a header that is an array of names and values", "HS_TEXT", raw(flat({ alg: "HS256" }), claims()), "malformed");
add("claims that are an array of names and values", "HS_TEXT", raw({ alg: "HS256" }, flat(claims())), "malformed");
add("claims that are a text", "HS_TEXT", raw({ alg: "HS256" }, '"u-17"'), "malformed");
add("claims that are no UTF-8", "HS_TEXT", raw({ alg: "HS256" }, "").replace("..", `.${base64url(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))}.`), "malformed");
add("claims with a sub twice", "HS_TEXT", raw({ alg: "HS256" }, JSON.stringify(claims()).replace("{", '{"sub":"u-18",')), "malformed");
add("claims with more behind", "HS_TEXT", raw({ alg: "HS256" }, JSON.stringify(claims()) + "{}"), "malformed");
add("too many claims", "HS_TEXT", hs(Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`x${i}`, i]))), "malformed");
add("other claims and members, which do not matter", "HS_TEXT", hs({ iss: "https://shop.example", scope: ["a"], name: { sub: "x" } }, { typ: "JWT", jku: "https://evil.example", jwk: {} }), "valid");
add("too long", "HS_TEXT", hs({ text: "x".repeat(4096) }), "too-long");
add("as long as may be", "HS_TEXT", hs({ text: "x".repeat(2800) }), "valid");

// The audience
add("another source", "HS_TEXT", hs({ aud: "blog" }), "wrong-audience");
add("no audience", "HS_TEXT", hs({ aud: undefined }), "wrong-audience");
add("an audience that begins the same", "HS_TEXT", hs({ aud: "shop-2" }), "wrong-audience");
add("an array with it", "HS_TEXT", hs({ aud: ["blog", "shop"] }), "valid");
add("an array without it", "HS_TEXT", hs({ aud: ["blog", 1, ["shop"]] }), "wrong-audience");
add("an object with it", "HS_TEXT", hs({ aud: { shop: "shop" } }), "wrong-audience");

// The lifetime
add("no exp", "HS_TEXT", hs({ exp: undefined }), "no-lifetime");
add("no iat", "HS_TEXT", hs({ iat: undefined }), "no-lifetime");
add("an exp that is a text", "HS_TEXT", hs({ exp: String(IAT + 3600) }), "no-lifetime");
add("an exp before iat", "HS_TEXT", hs({ exp: IAT - 1 }), "no-lifetime");
add("an exp below zero", "HS_TEXT", hs({ exp: -1 }), "no-lifetime");
add("times in milliseconds", "HS_TEXT", hs({ iat: IAT * 1000, exp: (IAT + 3600) * 1000 }), "times-not-in-seconds");
add("a time beyond all numbers", "HS_TEXT", raw({ alg: "HS256" }, JSON.stringify(claims()).replace(String(IAT + 3600), "1e999")), "no-lifetime");
add("a day", "HS_TEXT", hs({ exp: IAT + DAY }), "valid");
add("a day and a second", "HS_TEXT", hs({ exp: IAT + DAY + 1 }), "lives-too-long");
add("times with parts of a second", "HS_TEXT", hs({ iat: IAT + 0.25, exp: IAT + 3600.5 }), "valid");
add("5 minutes before it was made", "HS_TEXT", hs(), "valid", { at: IAT - 300 });
add("more than 5 minutes before it was made", "HS_TEXT", hs(), "not-yet-valid", { at: IAT - 301 });
add("before nbf", "HS_TEXT", hs({ nbf: IAT + 1000 }), "not-yet-valid", { at: IAT + 699 });
add("at nbf", "HS_TEXT", hs({ nbf: IAT + 1000 }), "valid", { at: IAT + 700 });
add("an nbf before iat", "HS_TEXT", hs({ nbf: IAT - 9999 }), "not-yet-valid", { at: IAT - 301 });
add("an nbf in milliseconds", "HS_TEXT", hs({ nbf: IAT * 1000 }), "times-not-in-seconds");
add("5 minutes after its end", "HS_TEXT", hs(), "valid", { at: IAT + 3900 });
add("more than 5 minutes after its end", "HS_TEXT", hs(), "expired", { at: IAT + 3901 });
add("received 7 days after its end", "HS_TEXT", hs(), "valid", { received: IAT + 3600 + 7 * DAY });
add("received later", "HS_TEXT", hs(), "received-too-late", { received: IAT + 3601 + 7 * DAY });

// The browser
add("another browser", "HS_TEXT", hs({ aid: "a-2" }), "other-browser");
add("an event without a browser", "HS_TEXT", hs(), "other-browser", { aid: "" });
add("no browser named", "HS_TEXT", hs({ aid: undefined }), "no-browser");
add("null for a browser", "HS_TEXT", hs({ aid: null }), "no-browser");
add("an empty browser, and none", "HS_TEXT", hs({ aid: "" }), "other-browser", { aid: "" });
add("a browser that is a number", "HS_TEXT", hs({ aid: 1 }), "other-browser", { aid: "1" });
add("no browser named where it may be so", "UNBOUND", hs({ aid: undefined }), "valid");
add("no browser at all where it may be so", "UNBOUND", hs({ aid: undefined }), "valid", { aid: "" });
add("another browser where none need be named", "UNBOUND", hs({ aid: "a-2" }), "other-browser");

// The names
const everything = { sub: "u-17", email: "Jane@Example.com", phone: "+33 6 12 34 56 78", loyalty_id: 4711 };
add("all names", "HS_TEXT", hs(everything), "valid", { named: "user_id=u-17,email=Jane@Example.com,phone=+33 6 12 34 56 78,loyalty_id=4711" });
add("an e-mail alone", "HS_TEXT", hs({ sub: undefined, email: "jane@example.com" }), "valid", { named: "email=jane@example.com" });
add("null names nothing", "HS_TEXT", hs({ email: null, phone: null }), "valid");
add("nobody", "HS_TEXT", hs({ sub: undefined, nickname: "jane" }), "names-nobody");
add("nobody but null", "HS_TEXT", hs({ sub: null }), "names-nobody");
add("a number", "HS_TEXT", hs({ sub: 12345678901 }), "valid", { named: "user_id=12345678901" });
add("a large number", "HS_TEXT", raw({ alg: "HS256" }, JSON.stringify(claims()).replace('"u-17"', "18446744073709551615")), "valid", { named: "user_id=18446744073709551615" });
add("a number with a fraction", "HS_TEXT", hs({ sub: 1.5 }), "bad-name");
add("a name that is true", "HS_TEXT", hs({ sub: true }), "bad-name");
add("a name that is an array", "HS_TEXT", hs({ email: ["jane@example.com"] }), "bad-name");
add("an empty name", "HS_TEXT", hs({ sub: "" }), "bad-name");
add("a long name", "HS_TEXT", hs({ sub: "x".repeat(256) }), "valid", { named: "user_id=" + "x".repeat(256) });
add("a name that is too long", "HS_TEXT", hs({ sub: "x".repeat(257) }), "bad-name");
add("sub and user_id that are the same", "HS_TEXT", hs({ user_id: "u-17" }), "valid");
add("sub and user_id that are not", "HS_TEXT", hs({ user_id: "u-18" }), "bad-name");
add("user_id alone", "HS_TEXT", hs({ sub: undefined, user_id: "u-17" }), "valid");

const text = (value) => JSON.stringify(value);
const json = (value) => text(JSON.stringify(value));
const lines = [
  "/* Keys and tokens, made by proof_vectors.mjs; do not edit. */",
  "#ifndef TRIBUTARY_HUB_TRUST_PROOF_VECTORS_H",
  "#define TRIBUTARY_HUB_TRUST_PROOF_VECTORS_H",
  "#include <stdint.h>",
  "",
  "/* clang-format off */",
  ...Object.entries(KEYS).map(([name, proof]) => `#define ${name} ${json(proof)}`),
  "",
  "static const struct {",
  "    const char *name;",
  "    const char *keys;",
  "    const char *token;",
  "    const char *anonymous_id;",
  "    int64_t event_s;",
  "    int64_t received_s;",
  "    const char *fault;",
  "    const char *named;",
  "} proof_vectors[] = {",
  ...cases.map(([name, keys, jwt, aid, at, received, fault, named]) =>
    `    {${text(name)}, ${keys}, ${text(jwt)}, ${text(aid)}, ${at}, ${received}, ${text(fault)}, ${text(named)}},`),
  "};",
  "/* clang-format on */",
  "#endif",
];
console.log(lines.join("\n"));
