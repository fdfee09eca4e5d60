// The shop's server as a signer: it says who its visitor is, and the hub has the public half of its key.
import { generateKeyPairSync, sign } from "node:crypto";

const HOUR = 3600;
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/* Signs proofs for the source of this id. `definition` is what the source says about them. */
export class Signer {
  #privateKey;

  constructor(source) {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.#privateKey = privateKey;
    this.source = source;
    this.definition = {
      keys: [{ kid: "shop", alg: "EdDSA", key: publicKey.export({ type: "spki", format: "pem" }) }],
    };
  }

  /* A token that this browser's visitor is whom `names` tells (`sub`, `email`…), from `at` (in milliseconds) on. */
  prove(names, anonymousId, at = Date.now()) {
    const iat = Math.floor(at / 1000);
    const claims = { ...names, aud: this.source, aid: anonymousId, iat, exp: iat + HOUR };
    const text = `${part({ alg: "EdDSA", kid: "shop" })}.${part(claims)}`;
    return `${text}.${sign(null, Buffer.from(text), this.#privateKey).toString("base64url")}`;
  }
}
