#include "hub/trust/proof_cache.h"

#include <stdlib.h>
#include "shared/buf.h"

enum { SLOT_BYTES = 512 };

/* Of a slot's texts first the kid, then the browser, then type and value of each name. */
enum { TEXTS_MAX = 2 + 2 * PROOF_NAMES_MAX };

struct slot {
    uint8_t key[PROOF_CACHE_KEY_BYTES];
    uint64_t used; /* when, counted in calls; 0: the slot is empty */
    int64_t issued_ms;
    int64_t expires_ms;
    int64_t not_before_ms;
    uint8_t fault;
    uint8_t has_browser;
    uint8_t count; /* of names */
    uint16_t lengths[TEXTS_MAX];
    uint8_t texts[SLOT_BYTES - PROOF_CACHE_KEY_BYTES - 4 * sizeof(uint64_t) - 4 -
                  TEXTS_MAX * sizeof(uint16_t)];
};

struct proof_cache {
    size_t sets; /* a power of two */
    uint64_t calls;
    struct slot *slots;
};

_Static_assert(sizeof(struct slot) == SLOT_BYTES, "a slot is eight cache lines");

struct proof_cache *proof_cache_new(size_t slots)
{
    struct proof_cache *c = memory_allocate_zeroed(sizeof *c);
    c->sets = 1;
    while (c->sets * PROOF_CACHE_WAYS < slots) {
        c->sets *= 2;
    }
    c->slots = memory_allocate_zeroed(c->sets * PROOF_CACHE_WAYS * sizeof *c->slots);
    return c;
}

void proof_cache_free(struct proof_cache **cache)
{
    if (*cache != NULL) {
        free((*cache)->slots);
        free(*cache);
        *cache = NULL;
    }
}

void proof_cache_clear(struct proof_cache *c)
{
    memset(c->slots, 0, c->sets * PROOF_CACHE_WAYS * sizeof *c->slots);
}

static struct slot *set_of(const struct proof_cache *c, const uint8_t *key)
{
    return c->slots + (read_u64(key) & (c->sets - 1)) * PROOF_CACHE_WAYS;
}

static struct slice take_text(const struct slot *slot, size_t index, size_t *at)
{
    struct slice text = slice_make(slot->texts + *at, slot->lengths[index]);
    *at += text.len;
    return text;
}

static void read_slot(const struct slot *slot, struct proof_facts *ret)
{
    size_t at = 0;
    ret->fault = (enum proof_fault)slot->fault;
    ret->has_browser = slot->has_browser != 0;
    ret->not_before_ms = slot->not_before_ms;
    ret->claims.issued_ms = slot->issued_ms;
    ret->claims.expires_ms = slot->expires_ms;
    ret->claims.count = slot->count;
    ret->claims.kid = take_text(slot, 0, &at);
    ret->browser = take_text(slot, 1, &at);
    for (size_t i = 0; i < slot->count; i++) {
        ret->claims.named[i].type = take_text(slot, 2 + 2 * i, &at);
        ret->claims.named[i].value = take_text(slot, 3 + 2 * i, &at);
    }
}

bool proof_cache_find(struct proof_cache *c, const uint8_t key[PROOF_CACHE_KEY_BYTES],
                      struct proof_facts *ret)
{
    struct slot *set = set_of(c, key);
    c->calls++;
    for (size_t i = 0; i < PROOF_CACHE_WAYS; i++) {
        if (set[i].used > 0 && memcmp(set[i].key, key, PROOF_CACHE_KEY_BYTES) == 0) {
            set[i].used = c->calls;
            read_slot(&set[i], ret);
            return true;
        }
    }
    return false;
}

/* Lower gives way first: the empty, then those with a fault, then those without. */
static unsigned worth(const struct slot *slot)
{
    return slot->used == 0 ? 0 : slot->fault != PROOF_VALID ? 1 : 2;
}

static struct slot *choose_slot(struct slot *set)
{
    struct slot *chosen = set;
    for (size_t i = 1; i < PROOF_CACHE_WAYS; i++) {
        unsigned mine = worth(&set[i]);
        unsigned best = worth(chosen);
        if (mine < best || (mine == best && set[i].used < chosen->used)) {
            chosen = &set[i];
        }
    }
    return chosen;
}

/* False: there is no room for it. */
static bool put_text(struct slot *slot, size_t index, size_t *at, struct slice text)
{
    if (text.len > sizeof slot->texts - *at) {
        return false;
    }
    if (text.len > 0) {
        memcpy(slot->texts + *at, text.data, text.len);
    }
    slot->lengths[index] = (uint16_t)text.len;
    *at += text.len;
    return true;
}

static bool write_slot(struct slot *slot, const struct proof_facts *facts)
{
    size_t at = 0;
    bool fits = put_text(slot, 0, &at, facts->claims.kid) && put_text(slot, 1, &at, facts->browser);
    for (size_t i = 0; fits && i < facts->claims.count; i++) {
        fits = put_text(slot, 2 + 2 * i, &at, facts->claims.named[i].type) &&
               put_text(slot, 3 + 2 * i, &at, facts->claims.named[i].value);
    }
    slot->fault = (uint8_t)facts->fault;
    slot->has_browser = facts->has_browser;
    slot->count = (uint8_t)facts->claims.count;
    slot->not_before_ms = facts->not_before_ms;
    slot->issued_ms = facts->claims.issued_ms;
    slot->expires_ms = facts->claims.expires_ms;
    return fits;
}

void proof_cache_put(struct proof_cache *c, const uint8_t key[PROOF_CACHE_KEY_BYTES],
                     const struct proof_facts *facts)
{
    struct slot *slot = choose_slot(set_of(c, key));
    c->calls++;
    if (facts->fault != PROOF_VALID && worth(slot) == 2) {
        return;
    }
    bool fits = write_slot(slot, facts);
    memcpy(slot->key, key, PROOF_CACHE_KEY_BYTES);
    slot->used = fits ? c->calls : 0;
}
