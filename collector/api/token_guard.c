#include "collector/api/token_guard.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
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

int64_t token_guard_wait_ms(struct token_guard *g, struct slice address, int64_t now_ms)
{
    pthread_mutex_lock(&g->lock);
    struct slot *slot = slot_of(g, address);
    int64_t passed = now_ms - slot->since_ms;
    if (passed < 0 || passed >= TOKEN_GUARD_MS) {
        *slot = (struct slot){0}; /* also where the clock was set back */
    }
    int64_t wait = slot->wrong >= TOKEN_GUARD_WRONG_MAX ? TOKEN_GUARD_MS - passed : 0;
    pthread_mutex_unlock(&g->lock);
    return wait;
}

void token_guard_note_wrong(struct token_guard *g, struct slice address, int64_t now_ms)
{
    pthread_mutex_lock(&g->lock);
    struct slot *slot = slot_of(g, address);
    if (slot->wrong++ == 0) {
        slot->since_ms = now_ms;
    }
    pthread_mutex_unlock(&g->lock);
}
