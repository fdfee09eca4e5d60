#include "shared/rand.h"

#include <sodium.h>
#include <string.h>

static void secure_fill(struct rand *rand, void *out, size_t len)
{
    (void)rand;
    randombytes_buf(out, len);
}

struct rand rand_secure = {.fill = secure_fill};

static void seeded_fill(struct rand *rand, void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
        rand->state ^= rand->state >> 12;
        rand->state ^= rand->state << 25;
        rand->state ^= rand->state >> 27;
        uint64_t value = rand->state * 0x2545F4914F6CDD1DULL;
        size_t n = len - i < sizeof value ? len - i : sizeof value;
        memcpy(bytes + i, &value, n);
    }
}

void rand_seeded_init(struct rand *rand, uint64_t seed)
{
    *rand = (struct rand){.fill = seeded_fill, .state = seed == 0 ? 1 : seed};
}

uint64_t rand_u64(struct rand *rand)
{
    uint64_t value;
    rand_fill(rand, &value, sizeof value);
    return value;
}

uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    return rand_u64(rand) % bound;
}
