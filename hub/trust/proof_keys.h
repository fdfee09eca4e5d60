/* The keys with which a site signs proofs, as its source's definition names them:
 *
 *     "proof": {"keys": [{"kid": "2026", "alg": "EdDSA", "key": KEY}], "bind": "optional"}
 *
 * `kid` is a text of up to PROOF_KID_BYTES_MAX bytes, and each is there once; proof_key.h has the
 * algorithms and what KEY may be. Other members are not looked at: the API refuses them. The key
 * says which algorithm it is for: a token that says another is not tried with it. Immutable once
 * read; any thread may use it.
 */
#ifndef TRIBUTARY_HUB_TRUST_PROOF_KEYS_H
#define TRIBUTARY_HUB_TRUST_PROOF_KEYS_H

#include "hub/trust/proof_key.h"

enum {
    PROOF_KEYS_MAX = 8,
    PROOF_KID_BYTES_MAX = 64,
    PROOF_POINTER_BYTES = 48,
};

struct proof_keys;

/* Read the "proof" of a source. Where it is wrong, ERROR_INVALID, and `ret_pointer` says where in
 * the source. The object is not needed afterwards. */
MUST_CHECK bool proof_keys_read(const msgpack_object *proof, struct proof_keys **ret,
                                char ret_pointer[PROOF_POINTER_BYTES], struct error *err);
void proof_keys_free(struct proof_keys **keys);

/* Must a proof name the browser that it is for? */
bool proof_keys_bind(const struct proof_keys *keys);
/* PROOF_DIGEST_BYTES that are others where the keys are others. */
const uint8_t *proof_keys_digest(const struct proof_keys *keys);

size_t proof_keys_count(const struct proof_keys *keys);
struct slice proof_keys_kid(const struct proof_keys *keys, size_t index);
const struct proof_key *proof_keys_at(const struct proof_keys *keys, size_t index);

#endif
