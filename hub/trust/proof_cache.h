/* What was found out about tokens, so that one that comes again need not be verified again.
 *
 * A fixed number of slots, in sets of PROOF_CACHE_WAYS; in a set the entry that was used longest
 * ago gives way. Entries with a fault give way first and never push out one without: who sends bad
 * tokens cannot make the hub forget the good ones. What does not fit into a slot is not remembered.
 *
 * Keys are hashes that nobody outside can compute, so that equal keys mean equal tokens. One
 * thread.
 */
#ifndef TRIBUTARY_HUB_TRUST_PROOF_CACHE_H
#define TRIBUTARY_HUB_TRUST_PROOF_CACHE_H

#include "hub/trust/proof.h"

enum { PROOF_CACHE_KEY_BYTES = 16, PROOF_CACHE_WAYS = 8 };

/* What holds of a token whatever event brought it. */
struct proof_facts {
    enum proof_fault fault; /* PROOF_VALID: an event may still not suit it */
    bool has_browser;
    struct slice browser; /* its `aid` */
    int64_t not_before_ms;
    struct proof_claims claims;
};

struct proof_cache;

/* `slots` is rounded up to full sets, a power of two of them. */
struct proof_cache *proof_cache_new(size_t slots);
void proof_cache_free(struct proof_cache **cache);
void proof_cache_clear(struct proof_cache *cache);

/* *ret refers into the slot, until the next call of proof_cache_put() or _clear(). */
bool proof_cache_find(struct proof_cache *cache, const uint8_t key[PROOF_CACHE_KEY_BYTES],
                      struct proof_facts *ret);
/* The facts are copied. The key must not be there. */
void proof_cache_put(struct proof_cache *cache, const uint8_t key[PROOF_CACHE_KEY_BYTES],
                     const struct proof_facts *facts);

#endif
