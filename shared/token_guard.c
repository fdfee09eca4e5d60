#include "shared/token_guard.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <strings.h>
#include "shared/buf.h"

enum { SLOTS = 1024, NETWORK_BYTES = 8 };

struct slot {
    int64_t since_ms; /* of the first wrong token that counts */
    unsigned wrong;
};

struct token_guard {
    pthread_mutex_t lock;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct slot slots[SLOTS];
};

struct token_guard *token_guard_new(void)
{
    struct token_guard *g = memory_allocate_zeroed(sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    crypto_shorthash_keygen(g->hash_key);
    return g;
}

void token_guard_free(struct token_guard **guard)
{
    if (*guard != NULL) {
        pthread_mutex_destroy(&(*guard)->lock);
        free(*guard);
        *guard = NULL;
    }
}

static struct slot *slot_of(struct token_guard *g, struct slice address)
{
    uint8_t hash[crypto_shorthash_BYTES];
    size_t len = address.len < NETWORK_BYTES ? address.len : NETWORK_BYTES;
    crypto_shorthash(hash, address.data, len, g->hash_key);
    return &g->slots[read_u64(hash) % SLOTS];
}

static bool is_right(struct slice authorization, struct slice wanted)
{
    static const char bearer[] = "Bearer "; /* in any case, as all schemes */
    size_t len = sizeof bearer - 1;
    if (authorization.len < len || wanted.len == 0 ||
        strncasecmp((const char *)authorization.data, bearer, len) != 0) {
        return false;
    }
    struct slice given = slice_skip(authorization, len);
    return given.len == wanted.len && sodium_memcmp(given.data, wanted.data, wanted.len) == 0;
}

/* How long the address has to wait; 0: this one was within what it has. */
static int64_t count_wrong(struct token_guard *g, struct slice address, int64_t now_ms)
{
    pthread_mutex_lock(&g->lock);
    struct slot *slot = slot_of(g, address);
    int64_t passed_ms = now_ms - slot->since_ms;
    if (slot->wrong == 0 || passed_ms < 0 || passed_ms >= TOKEN_GUARD_MS) {
        *slot = (struct slot){.since_ms = now_ms}; /* also where the clock was set back */
        passed_ms = 0;
    }
    bool is_too_many = slot->wrong >= TOKEN_GUARD_WRONG_MAX;
    slot->wrong += !is_too_many;
    pthread_mutex_unlock(&g->lock);
    return is_too_many ? TOKEN_GUARD_MS - passed_ms : 0;
}

enum token_verdict token_guard_judge(struct token_guard *g, struct slice authorization,
                                     struct slice wanted, struct slice address, int64_t now_ms,
                                     int64_t *ret_wait_ms)
{
    *ret_wait_ms = 0;
    if (is_right(authorization, wanted)) {
        return TOKEN_RIGHT;
    }
    if (authorization.len == 0) {
        return TOKEN_MISSING;
    }
    *ret_wait_ms = count_wrong(g, address, now_ms);
    return *ret_wait_ms > 0 ? TOKEN_TOO_MANY : TOKEN_WRONG;
}
