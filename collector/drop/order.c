#include "collector/drop/order.h"

#include <sodium.h>
#include <stdlib.h>

void order_init(struct order *order)
{
    memset(order, 0, sizeof *order);
    for (size_t i = 0; i < ORDER_LINES_MAX; i++) {
        csv_record_init(&order->lines[i]);
    }
}

void order_done(struct order *order)
{
    for (size_t i = 0; i < ORDER_LINES_MAX; i++) {
        csv_record_done(&order->lines[i]);
    }
}

void order_clear(struct order *order)
{
    order->count = 0;
    order->bytes = 0;
    order->hash = 0;
}

bool order_has_room(const struct order *order, size_t bytes)
{
    return order->count < ORDER_LINES_MAX && order->bytes + bytes <= ORDER_BYTES_MAX;
}

/* Of the bytes behind what the hash says already. */
static uint64_t hash_on(uint64_t hash, struct slice bytes)
{
    crypto_generichash_state state;
    uint8_t out[crypto_generichash_BYTES_MIN];
    uint64_t ret;
    crypto_generichash_init(&state, (const uint8_t *)&hash, sizeof hash, sizeof out);
    crypto_generichash_update(&state, bytes.data, bytes.len);
    crypto_generichash_final(&state, out, sizeof out);
    memcpy(&ret, out, sizeof ret);
    return ret;
}

void order_add(struct order *order, struct csv_record *record, struct slice bytes)
{
    struct csv_record *to = &order->lines[order->count];
    struct csv_record spare = *to;
    ensure(order_has_room(order, bytes.len) || order->count == 0);
    spare.delimiter = record->delimiter;
    spare.quote = record->quote;
    *to = *record;
    *record = spare;
    order->count++;
    order->bytes += bytes.len;
    order->hash = hash_on(order->hash, bytes);
}

/* ---- Ids ---- */

enum { UUID_KEY_BYTES = 16, SLOTS_FIRST = 1024 };

struct slot {
    uint8_t id[UUID_KEY_BYTES];
    uint64_t hash;
    uint64_t line; /* 0: free */
};

/* Open addressing; never more than half full. */
struct order_ids {
    size_t count;
    size_t capacity; /* a power of two */
    struct slot *slots;
};

struct order_ids *order_ids_new(void)
{
    struct order_ids *ids = memory_allocate_zeroed(sizeof *ids);
    ids->capacity = SLOTS_FIRST;
    ids->slots = memory_allocate_zeroed(ids->capacity * sizeof *ids->slots);
    return ids;
}

void order_ids_free(struct order_ids **ids)
{
    if (*ids != NULL) {
        free((*ids)->slots);
        free(*ids);
        *ids = NULL;
    }
}

/* The id's slot, or the free one where it belongs. The id is a hash itself. */
static struct slot *find(const struct order_ids *ids, const uint8_t id[UUID_KEY_BYTES])
{
    uint64_t at;
    memcpy(&at, id, sizeof at);
    for (;; at++) {
        struct slot *slot = &ids->slots[at & (ids->capacity - 1)];
        if (slot->line == 0 || memcmp(slot->id, id, UUID_KEY_BYTES) == 0) {
            return slot;
        }
    }
}

static void make_room(struct order_ids *ids)
{
    if (ids->count < ids->capacity / 2) {
        return;
    }
    if (ids->count >= ORDER_IDS_MAX) { /* begin anew: a number that comes again is near */
        memset(ids->slots, 0, ids->capacity * sizeof *ids->slots);
        ids->count = 0;
        return;
    }
    struct order_ids old = *ids;
    ids->capacity *= 2;
    ids->slots = memory_allocate_zeroed(ids->capacity * sizeof *ids->slots);
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].line != 0) {
            *find(ids, old.slots[i].id) = old.slots[i];
        }
    }
    free(old.slots);
}

uint64_t order_ids_note(struct order_ids *ids, struct slice uuid, uint64_t hash, uint64_t line)
{
    uint8_t id[UUID_KEY_BYTES];
    uint8_t long_id[crypto_generichash_BYTES_MIN];
    crypto_generichash(long_id, sizeof long_id, uuid.data, uuid.len, NULL, 0);
    memcpy(id, long_id, sizeof id);
    make_room(ids);
    struct slot *slot = find(ids, id);
    if (slot->line != 0) {
        return slot->hash == hash ? 0 : slot->line;
    }
    memcpy(slot->id, id, sizeof id);
    slot->hash = hash;
    slot->line = line;
    ids->count++;
    return 0;
}
