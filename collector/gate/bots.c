#include "collector/gate/bots.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "collector/gate/crawlers.h"
#include "shared/buf.h"

/* Steps that an expression may take from one place of the text. Backtracking takes one for each
 * byte, and real user agents are shorter: only a text made to be expensive gets there. */
enum { CACHE_ENTRIES = 1024, STEPS_MAX = 300 };

struct bots {
    pcre2_code *expressions[64];
    pcre2_match_context *limits;
    uint8_t key[crypto_shorthash_KEYBYTES]; /* secret: nobody can make texts that collide */
    /* A keyed hash whose lowest bit is the answer: one word, so that no lock is needed. */
    _Atomic uint64_t cache[CACHE_ENTRIES];
};

struct bots *bots_new(void)
{
    struct bots *bots = memory_allocate_zeroed(sizeof *bots);
    bots->limits = pcre2_match_context_create(NULL);
    ensure(bots->limits != NULL);
    pcre2_set_match_limit(bots->limits, STEPS_MAX);
    for (size_t i = 0; i < crawlers.expression_count; i++) {
        int error;
        PCRE2_SIZE at;
        bots->expressions[i] =
            pcre2_compile((PCRE2_SPTR)crawlers.expressions[i], PCRE2_ZERO_TERMINATED,
                          PCRE2_DOLLAR_ENDONLY, &error, &at, NULL);
        ensure(bots->expressions[i] != NULL);
    }
    crypto_shorthash_keygen(bots->key);
    return bots;
}

void bots_free(struct bots **bots)
{
    if (*bots != NULL) {
        for (size_t i = 0; i < crawlers.expression_count; i++) {
            pcre2_code_free((*bots)->expressions[i]);
        }
        pcre2_match_context_free((*bots)->limits);
        free(*bots);
        *bots = NULL;
    }
}

/* The child of a state for this byte, or 0. */
static uint16_t child_of(uint16_t state, uint8_t byte)
{
    size_t from = crawlers.first[state];
    size_t count = crawlers.first[state + 1] - from;
    const uint8_t *labels = crawlers.labels + from;
    if (count == 1) {
        return *labels == byte ? (uint16_t)from : 0;
    }
    const uint8_t *found = count == 0 ? NULL : memchr(labels, byte, count);
    return found == NULL ? 0 : (uint16_t)(from + (size_t)(found - labels));
}

/* The longest beginning of a pattern that ends with this byte. */
static uint16_t step(uint16_t state, uint8_t byte)
{
    while (state != 0) {
        uint16_t child = child_of(state, byte);
        if (child != 0) {
            return child;
        }
        state = crawlers.fail[state];
    }
    return crawlers.root[byte];
}

static bool matches(const struct bots *bots, size_t expression, struct slice text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    ensure(data != NULL);
    int rv =
        pcre2_match(bots->expressions[expression], text.data, text.len, 0, 0, data, bots->limits);
    pcre2_match_data_free(data);
    return rv != PCRE2_ERROR_NOMATCH;
}

bool bots_match(const struct bots *bots, struct slice text)
{
    uint16_t state = 0;
    uint64_t candidates = 0;
    text.len = text.len > BOTS_BYTES_MAX ? BOTS_BYTES_MAX : text.len;
    for (size_t i = 0; i < text.len; i++) {
        state = step(state, text.data[i]);
        uint8_t output = crawlers.output[state];
        if (output == CRAWLERS_FOUND) {
            return true;
        }
        candidates |= output == CRAWLERS_NOTHING ? 0 : crawlers.masks[output - CRAWLERS_MASK];
    }
    for (size_t i = 0; candidates >> i != 0; i++) {
        if ((candidates >> i & 1) != 0 && matches(bots, i, text)) {
            return true;
        }
    }
    return false;
}

bool bots_is_bot(struct bots *bots, struct slice text)
{
    uint64_t hash;
    text.len = text.len > BOTS_BYTES_MAX ? BOTS_BYTES_MAX : text.len;
    if (text.len == 0) {
        return false;
    }
    crypto_shorthash((uint8_t *)&hash, text.data, text.len, bots->key);
    _Atomic uint64_t *entry = &bots->cache[hash / 2 % CACHE_ENTRIES];
    uint64_t known = atomic_load_explicit(entry, memory_order_relaxed);
    if ((known ^ hash) <= 1) {
        return (known & 1) != 0;
    }
    bool is_bot = bots_match(bots, text);
    atomic_store_explicit(entry, (hash & ~1ULL) | is_bot, memory_order_relaxed);
    return is_bot;
}
