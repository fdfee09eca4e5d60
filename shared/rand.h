/* The randomness seam. rand_secure is libsodium's generator, for any thread; a seeded rand is
 * xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016),
 * for simulations only, and belongs to one thread.
 */
#ifndef TRIBUTARY_SHARED_RAND_H
#define TRIBUTARY_SHARED_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    void (*fill)(struct rand *rand, void *out, size_t len);
    uint64_t state;
};

extern struct rand rand_secure;

/* Seed 0 is replaced by 1: the generator has no zero state. */
void rand_seeded_init(struct rand *rand, uint64_t seed);

static inline void rand_fill(struct rand *rand, void *out, size_t len)
{
    rand->fill(rand, out, len);
}

uint64_t rand_u64(struct rand *rand);

/* Uniform enough for tests: a value in [0, bound), bound > 0. */
uint64_t rand_below(struct rand *rand, uint64_t bound);

#endif
