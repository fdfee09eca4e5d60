/* One key with which a site signs proofs, in whichever form its source's definition has it:
 *
 * | alg   | key |
 * |---|---|
 * | EdDSA | an Ed25519 public key: PEM, a JWK object, or its 32 bytes in base64url or base64 |
 * | ES256 | a P-256 public key: PEM or a JWK object |
 * | RS256 | an RSA public key of 2,048 to 4,096 bits: PEM or a JWK object |
 * | HS256 | a secret of 32 to 512 bytes: the text itself, its bytes in base64 behind "base64:", or
 *           a JWK object |
 *
 * Private keys are refused: the hub has no use for them. Secrets lie in memory that is locked and
 * not dumped. Immutable once read; any thread may use it.
 */
#ifndef TRIBUTARY_HUB_TRUST_PROOF_KEY_H
#define TRIBUTARY_HUB_TRUST_PROOF_KEY_H

#include "shared/value.h"

enum proof_algorithm { PROOF_EDDSA, PROOF_ES256, PROOF_RS256, PROOF_HS256, PROOF_ALGORITHMS };
enum { PROOF_DIGEST_BYTES = 16 };

/* "EdDSA"…; PROOF_ALGORITHMS where the text names none of them. */
const char *proof_algorithm_name(enum proof_algorithm algorithm);
enum proof_algorithm proof_algorithm_from(struct slice name);

struct proof_key;

/* ERROR_INVALID says what is wrong with `material`, and quotes nothing of it. */
MUST_CHECK bool proof_key_read(enum proof_algorithm algorithm, const msgpack_object *material,
                               struct proof_key **ret, struct error *err);
void proof_key_free(struct proof_key **key);

enum proof_algorithm proof_key_algorithm(const struct proof_key *key);

/* Did the holder of this key sign these bytes? */
bool proof_key_verify(const struct proof_key *key, struct slice bytes, struct slice signature);

/* A hash of algorithm and key, for telling keys apart. */
void proof_key_digest(const struct proof_key *key, uint8_t ret[PROOF_DIGEST_BYTES]);

#endif
