#include "collector/edge.h"

#include <pthread.h>
#include <stdlib.h>

/* Keys (stored: never change):
 *   'p' profile id        its card              'i' type 0 value   profile id
 *   'c'                   cursors, 8 bytes each 'g'                the gate's definitions
 */
struct edge {
    struct store *store;
    pthread_mutex_t lock;       /* of the batches below: polls and look-ups apply */
    struct store_batch dropped; /* identifiers that cards gave up, written before the rest */
    struct store_batch batch;
    void (*changed)(void *user, struct slice anonymous_id);
    void *user;
    uint32_t cursor_count;
    uint64_t cursors[LIMIT_PARTITIONS];
};

enum { KEY_BYTES_MAX = 2 + LIMIT_NAME_BYTES + LIMIT_IDENTIFIER_BYTES };

struct key {
    uint8_t bytes[KEY_BYTES_MAX];
    struct buf buf;
};

static void key_start(struct key *key, char kind)
{
    key->buf =
        (struct buf){.data = key->bytes, .capacity = KEY_BYTES_MAX, .len_max = KEY_BYTES_MAX};
    buf_put_u8(&key->buf, (uint8_t)kind);
}

/* False: too long to have been stored. */
static bool key_of_identifier(struct key *key, struct identifier id)
{
    key_start(key, 'i');
    return id.type.len <= LIMIT_NAME_BYTES && id.value.len <= LIMIT_IDENTIFIER_BYTES &&
           buf_append(&key->buf, id.type.data, id.type.len) && buf_append(&key->buf, "", 1) &&
           buf_append(&key->buf, id.value.data, id.value.len);
}

bool edge_open(struct store *store, struct edge **ret, struct error *err)
{
    struct edge *edge = memory_allocate_zeroed(sizeof *edge);
    struct buf value;
    bool found = false;
    edge->store = store;
    pthread_mutex_init(&edge->lock, NULL);
    store_batch_init(&edge->dropped);
    store_batch_init(&edge->batch);
    buf_init(&value, sizeof edge->cursors);
    if (!store_get(store, NULL, slice_text("c"), &value, &found, err)) {
        buf_done(&value);
        edge_close(&edge);
        return error_add_context(err, "opening the edge cache");
    }
    edge->cursor_count = (uint32_t)(value.len / 8);
    for (uint32_t i = 0; i < edge->cursor_count; i++) {
        edge->cursors[i] = read_u64(value.data + i * 8);
    }
    buf_done(&value);
    *ret = edge;
    return true;
}

void edge_close(struct edge **edge)
{
    if (*edge != NULL) {
        store_batch_done(&(*edge)->dropped);
        store_batch_done(&(*edge)->batch);
        pthread_mutex_destroy(&(*edge)->lock);
        free(*edge);
        *edge = NULL;
    }
}

const uint64_t *edge_cursors(const struct edge *edge, uint32_t *ret_count)
{
    *ret_count = edge->cursor_count;
    return edge->cursors;
}

bool edge_gate_state(struct edge *edge, struct buf *ret, struct error *err)
{
    bool found;
    return store_get(edge->store, NULL, slice_text("g"), ret, &found, err);
}

static bool pair_of(const struct wire_card *card, uint32_t at, struct identifier *ret)
{
    const msgpack_object *pair = &card->identifiers->via.array.ptr[at];
    return pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size == 2 &&
           value_text(&pair->via.array.ptr[0], &ret->type) &&
           value_text(&pair->via.array.ptr[1], &ret->value);
}

static bool names(const struct wire_card *card, struct identifier wanted)
{
    for (uint32_t i = 0; i < card->identifiers->via.array.size; i++) {
        struct identifier id;
        if (pair_of(card, i, &id) && slice_equal(id.value, wanted.value) &&
            slice_equal(id.type, wanted.type)) {
            return true;
        }
    }
    return false;
}

/* What the profile gave up must no longer find it, unless it found somebody else already. */
static bool drop_identifiers(struct edge *edge, const struct wire_card *old,
                             const struct wire_card *card, struct error *err)
{
    struct buf owner;
    bool fine = true;
    buf_init(&owner, 64);
    for (uint32_t i = 0; fine && i < old->identifiers->via.array.size; i++) {
        struct identifier id;
        struct key key;
        bool found = false;
        if (!pair_of(old, i, &id) || names(card, id) || !key_of_identifier(&key, id)) {
            continue;
        }
        fine = store_get(edge->store, NULL, buf_slice(&key.buf), &owner, &found, err);
        if (fine && found && slice_equal(buf_slice(&owner), card->profile_id)) {
            store_batch_delete(&edge->dropped, buf_slice(&key.buf));
        }
    }
    buf_done(&owner);
    return fine;
}

/* Is the card at least as new as the stored one of its profile? What only that one names is
 * dropped then. */
static bool supersede(struct edge *edge, struct slice profile_key, const struct wire_card *card,
                      bool *ret_is_newer, struct error *err)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card old;
    bool found = false;
    *ret_is_newer = true;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = store_get(edge->store, NULL, profile_key, &bytes, &found, err);
    if (fine && found && value_unpack(buf_slice(&bytes), &zone, &object, err) &&
        wire_read_card(&object, &old)) {
        *ret_is_newer = card->version >= old.version;
        fine = !*ret_is_newer || drop_identifiers(edge, &old, card, err);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

static void put_identifiers(struct edge *edge, const struct wire_card *card)
{
    for (uint32_t i = 0; i < card->identifiers->via.array.size; i++) {
        struct identifier id;
        struct key key;
        if (pair_of(card, i, &id) && key_of_identifier(&key, id)) {
            store_batch_put(&edge->batch, buf_slice(&key.buf), card->profile_id);
        }
    }
}

static bool put_card(struct edge *edge, const msgpack_object *object, struct error *err)
{
    struct wire_card card;
    struct key key;
    struct buf bytes;
    bool is_newer;
    msgpack_packer p;
    if (!wire_read_card(object, &card)) {
        return error_set(err, ERROR_CORRUPT, "a card from the hub is damaged");
    }
    key_start(&key, 'p');
    buf_put_slice(&key.buf, card.profile_id);
    if (!supersede(edge, buf_slice(&key.buf), &card, &is_newer, err)) {
        return false;
    }
    if (!is_newer) {
        return true;
    }
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    value_packer_init(&p, &bytes);
    msgpack_pack_object(&p, *object);
    store_batch_put(&edge->batch, buf_slice(&key.buf), buf_slice(&bytes));
    buf_done(&bytes);
    put_identifiers(edge, &card);
    for (uint32_t i = 0; i < card.merged_ids->via.array.size; i++) {
        struct slice merged;
        if (value_bin(&card.merged_ids->via.array.ptr[i], &merged) &&
            merged.len == PROFILE_ID_BYTES) {
            key_start(&key, 'p');
            buf_put_slice(&key.buf, merged);
            store_batch_delete(&edge->batch, buf_slice(&key.buf));
        }
    }
    return true;
}

static void put_cursors(struct edge *edge, const struct wire_poll_reply *reply)
{
    struct buf value;
    buf_init(&value, sizeof reply->cursors);
    for (uint32_t i = 0; i < reply->cursor_count; i++) {
        buf_put_u64(&value, reply->cursors[i]);
    }
    store_batch_put(&edge->batch, slice_text("c"), buf_slice(&value));
    buf_done(&value);
}

static void begin(struct edge *edge)
{
    store_batch_clear(&edge->dropped);
    store_batch_clear(&edge->batch);
}

/* What one card gave up another of the same reply may have got: first the one, then the other. */
static bool write_changes(struct edge *edge, bool sync, struct error *err)
{
    struct store_op op;
    size_t at = 0;
    while (store_batch_next(&edge->batch, &at, &op)) {
        if (op.is_delete) {
            store_batch_delete(&edge->dropped, op.key);
        } else {
            store_batch_put(&edge->dropped, op.key, op.value);
        }
    }
    return store_write(edge->store, &edge->dropped, sync, err);
}

void edge_on_change(struct edge *edge, void (*changed)(void *user, struct slice anonymous_id),
                    void *user)
{
    pthread_mutex_lock(&edge->lock);
    edge->changed = changed;
    edge->user = user;
    pthread_mutex_unlock(&edge->lock);
}

/* Under the lock, after the card is stored. */
static void tell(struct edge *edge, const msgpack_object *object)
{
    struct wire_card card;
    struct identifier id;
    if (edge->changed == NULL || !wire_read_card(object, &card)) {
        return;
    }
    for (uint32_t i = 0; i < card.identifiers->via.array.size; i++) {
        if (pair_of(&card, i, &id) && slice_is(id.type, "anonymous_id")) {
            edge->changed(edge->user, id.value);
        }
    }
}

bool edge_apply(struct edge *edge, const struct wire_poll_reply *reply, struct error *err)
{
    pthread_mutex_lock(&edge->lock);
    begin(edge);
    bool fine = true;
    for (uint32_t i = 0; fine && i < reply->cards->via.array.size; i++) {
        fine = put_card(edge, &reply->cards->via.array.ptr[i], err);
    }
    if (reply->gate.len > 0) {
        store_batch_put(&edge->batch, slice_text("g"), reply->gate);
    }
    put_cursors(edge, reply);
    fine = fine && write_changes(edge, true, err);
    if (fine) {
        edge->cursor_count = reply->cursor_count;
        memcpy(edge->cursors, reply->cursors, reply->cursor_count * sizeof *edge->cursors);
    }
    for (uint32_t i = 0; fine && i < reply->cards->via.array.size; i++) {
        tell(edge, &reply->cards->via.array.ptr[i]);
    }
    pthread_mutex_unlock(&edge->lock);
    return fine;
}

bool edge_apply_card(struct edge *edge, const msgpack_object *card, struct error *err)
{
    pthread_mutex_lock(&edge->lock);
    begin(edge);
    bool fine = put_card(edge, card, err) && write_changes(edge, false, err);
    if (fine) {
        tell(edge, card);
    }
    pthread_mutex_unlock(&edge->lock);
    return fine;
}

bool edge_find(struct edge *edge, struct identifier identifier, struct buf *ret, bool *ret_found,
               struct error *err)
{
    struct key key;
    *ret_found = false;
    if (!key_of_identifier(&key, identifier)) {
        return true;
    }
    if (!store_get(edge->store, NULL, buf_slice(&key.buf), ret, ret_found, err)) {
        return false;
    }
    if (!*ret_found) {
        return true;
    }
    struct slice id = buf_slice(ret);
    key_start(&key, 'p');
    buf_put(&key.buf, id.data, id.len < PROFILE_ID_BYTES ? id.len : PROFILE_ID_BYTES);
    return store_get(edge->store, NULL, buf_slice(&key.buf), ret, ret_found, err);
}
