/* Proofs: a site's server signs a token for the visitor who is signed in, her browser sends it
 * along, and the hub believes that the visitor is who the token names.
 *
 *     {"sub": "u-17", "email": "jane@example.com", "aud": "shop", "aid": "5c6b…",
 *      "iat": 1790000000, "exp": 1790003600}
 *
 * A compact JWT with EdDSA, ES256, RS256 or HS256, of up to JWT_BYTES_MAX bytes.
 *
 * | claim | rule |
 * |---|---|
 * | `sub` | the user_id; other names come under the known identifier types: `email`, `phone`… Texts
 * or whole numbers; at least one | | `aud` | the source's id, or an array with it | | `exp`, `iat`,
 * `nbf` | in seconds; the first two must be there, at most a day apart. The event's time lies
 * between them, with PROOF_GRACE_MS on both sides, and it was received at most PROOF_LATE_MS after
 * `exp` | | `aid` | the event's anonymous id; may be missing where the source says "bind":
 * "optional" |
 *
 * Guarantee: the result depends on token, keys, types and check alone, whatever was verified
 * before. Tokens are remembered, by a keyed hash, so that one that comes again costs a hash; a
 * token that is not valid never takes the place of one that is.
 *
 * One thread for each verifier.
 */
#ifndef TRIBUTARY_HUB_TRUST_PROOF_H
#define TRIBUTARY_HUB_TRUST_PROOF_H

#include "hub/trust/proof_keys.h"
#include "shared/identifier.h"
#include "shared/rand.h"

enum {
    PROOF_NAMES_MAX = 16,
    PROOF_TYPES_MAX = 64,
    PROOF_GRACE_MS = 5 * 60 * 1000,
    PROOF_LIFETIME_MS = 24 * 3600 * 1000,
    PROOF_LATE_MS = 7 * 24 * 3600 * 1000,
    PROOF_TRIES_MAX = 4, /* keys that a token without a kid is tried with */
};

/* stored: never renumber */
enum proof_fault {
    PROOF_VALID = 0,
    PROOF_NO_KEYS = 1,
    PROOF_TOO_LONG = 2,
    PROOF_MALFORMED = 3,
    PROOF_WRONG_ALGORITHM = 4,
    PROOF_UNKNOWN_KEY = 5,
    PROOF_BAD_SIGNATURE = 6,
    PROOF_WRONG_AUDIENCE = 7,
    PROOF_NO_LIFETIME = 8,
    PROOF_TIMES_NOT_IN_SECONDS = 9,
    PROOF_LIVES_TOO_LONG = 10,
    PROOF_NAMES_NOBODY = 11,
    PROOF_BAD_NAME = 12,
    PROOF_NO_BROWSER = 13,
    PROOF_OTHER_BROWSER = 14,
    PROOF_NOT_YET_VALID = 15,
    PROOF_EXPIRED = 16,
    PROOF_RECEIVED_TOO_LATE = 17,
    PROOF_FAULTS
};

/* "bad-signature"…, for counters, logs and answers; never changes. */
const char *proof_fault_name(enum proof_fault fault);
/* What is wrong and what the site's developer can do about it, in a sentence or two. */
const char *proof_fault_advice(enum proof_fault fault);

struct proof_check {
    struct slice token;
    struct slice source_id;
    struct slice anonymous_id; /* of the event, as it was sent; empty: none */
    int64_t event_ms;
    int64_t received_ms;
};

/* What a valid token says. */
struct proof_claims {
    struct slice kid; /* of the key that signed it */
    int64_t issued_ms;
    int64_t expires_ms;
    size_t count;
    struct identifier named[PROOF_NAMES_MAX]; /* as signed, not normalised; user_id first */
};

struct proof_verifier;

/* Remembers up to `slots` tokens, at about 0.5 KiB each. */
struct proof_verifier *proof_verifier_new(struct rand *rand, size_t slots);
void proof_verifier_free(struct proof_verifier **verifier);

/* The identifier types under whose names claims are read, beside `sub`; copied. Before it is called
 * there are none. */
void proof_verifier_set_types(struct proof_verifier *verifier, const struct slice *types,
                              size_t count);

/* `keys` may be NULL: the source has none. *ret is filled where the result is PROOF_VALID, and is
 * the verifier's until its next call. */
enum proof_fault proof_verify(struct proof_verifier *verifier, const struct proof_keys *keys,
                              const struct proof_check *check, struct proof_claims *ret);

/* Tokens, since the start, that were found remembered, and those that had to be verified. */
uint64_t proof_verifier_remembered(const struct proof_verifier *verifier);
uint64_t proof_verifier_verified(const struct proof_verifier *verifier);

#endif
