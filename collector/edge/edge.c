#include "collector/edge/edge.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "collector/edge/edge_state.h"
#include "collector/gate/suppression.h"

/* Kinds of records (stored: never change). Each stands under the hash of what it is about:
 *   'p' profile id    what is known of it, see struct entry
 *   'i' type 0 value  the key of the 'p' record
 *   's' nothing       struct edge_state
 *   'g' nothing       the gate's definitions
 * The suppression list stands beside them, see suppression.c.
 */
enum { SWEEP_RECORDS = 500, ENTRY_HEAD_BYTES = 17 };

struct edge {
    struct store *store;
    struct vault *vault;
    pthread_mutex_t lock;       /* of everything below: polls and look-ups apply */
    struct store_batch dropped; /* identifiers that cards gave up, written before the rest */
    struct store_batch batch;
    struct edge_state state;
    _Atomic uint64_t generation; /* its generation on disk, for who must not wait for the lock */
    struct vault_key sweep_at;
    void (*changed)(void *user, struct slice anonymous_id);
    void *user;
};

enum { IDENTIFIER_BYTES_MAX = 1 + LIMIT_NAME_BYTES + LIMIT_IDENTIFIER_BYTES };

/* False: there is no such identifier, or it is too long to have been stored. */
static bool key_of_identifier(const struct edge *edge, struct identifier id, struct vault_key *ret)
{
    uint8_t bytes[IDENTIFIER_BYTES_MAX];
    struct buf about = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    if (id.type.len == 0 || id.type.len > LIMIT_NAME_BYTES ||
        id.value.len > LIMIT_IDENTIFIER_BYTES) {
        return false;
    }
    buf_put_slice(&about, id.type);
    buf_put_u8(&about, 0);
    buf_put_slice(&about, id.value);
    *ret = vault_key_of(edge->vault, 'i', buf_slice(&about));
    return true;
}

static struct vault_key key_of_profile(const struct edge *edge, struct slice profile_id)
{
    return vault_key_of(edge->vault, 'p', profile_id);
}

/* ---- State ---- */

static void put_state(struct edge *edge)
{
    struct vault_key key = vault_key_of(edge->vault, 's', slice_make(NULL, 0));
    struct buf bytes;
    buf_init(&bytes, EDGE_STATE_BYTES_MAX);
    edge_state_pack(&edge->state, &bytes);
    vault_put(edge->vault, &edge->batch, &key, buf_slice(&bytes));
    buf_done(&bytes);
}

static bool is_empty(struct store *store)
{
    struct store_iterator *it = store_iterator_open(store, NULL);
    store_iterator_seek(it, slice_make(NULL, 0));
    bool empty = !store_iterator_valid(it);
    store_iterator_close(&it);
    return empty;
}

static bool load_state(struct edge *edge, struct error *err)
{
    struct vault_key key = vault_key_of(edge->vault, 's', slice_make(NULL, 0));
    struct buf bytes;
    struct slice value;
    bool found = false;
    buf_init(&bytes, EDGE_STATE_BYTES_MAX + 1024);
    bool fine = vault_get(edge->vault, &key, &bytes, &value, &found, err);
    if (fine && found) {
        fine = edge_state_unpack(value, &edge->state) ||
               error_set(err, ERROR_CORRUPT, "its state cannot be read");
    } else if (fine && !is_empty(edge->store)) {
        fine = error_set(err, ERROR_CORRUPT, "it was written without this key");
    } else if (fine) {
        edge_state_init(&edge->state, &rand_secure);
        put_state(edge);
        fine = store_write(edge->store, &edge->batch, true, err);
    }
    buf_done(&bytes);
    return fine;
}

bool edge_open(struct store *store, const uint8_t key[VAULT_SECRET_BYTES], struct edge **ret,
               struct error *err)
{
    struct edge *edge = memory_allocate_zeroed(sizeof *edge);
    edge->store = store;
    edge->vault = vault_open(store, key);
    pthread_mutex_init(&edge->lock, NULL);
    store_batch_init(&edge->dropped);
    store_batch_init(&edge->batch);
    if (!load_state(edge, err)) {
        edge_close(&edge);
        return error_add_context(err, "opening the edge cache");
    }
    atomic_store(&edge->generation, edge->state.generation);
    *ret = edge;
    return true;
}

void edge_close(struct edge **edge)
{
    if (*edge != NULL) {
        store_batch_done(&(*edge)->dropped);
        store_batch_done(&(*edge)->batch);
        vault_close(&(*edge)->vault);
        pthread_mutex_destroy(&(*edge)->lock);
        free(*edge);
        *edge = NULL;
    }
}

const struct vault *edge_vault(const struct edge *edge)
{
    return edge->vault;
}

void edge_describe(struct edge *edge, struct wire_poll *poll)
{
    pthread_mutex_lock(&edge->lock);
    edge_state_describe(&edge->state, poll);
    pthread_mutex_unlock(&edge->lock);
}

bool edge_gate_state(struct edge *edge, struct buf *ret, struct error *err)
{
    struct vault_key key = vault_key_of(edge->vault, 'g', slice_make(NULL, 0));
    struct buf bytes;
    struct slice value;
    bool found;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    bool fine = vault_get(edge->vault, &key, &bytes, &value, &found, err);
    buf_clear(ret);
    if (fine) {
        buf_put_slice(ret, value);
    }
    buf_done(&bytes);
    return fine;
}

/* ---- Entries ---- */

/* What is known of a profile: its card, or that it has none here (it was merged away, or left the
 * scope), as of a version of the profile. Stored: generation, version, whether there is a card, the
 * card. */
struct entry {
    uint64_t generation;
    uint64_t version;
    bool has_card;
    struct slice card;
};

static bool read_entry(struct slice value, struct entry *ret)
{
    if (value.len < ENTRY_HEAD_BYTES) {
        return false;
    }
    ret->generation = read_u64(value.data);
    ret->version = read_u64(value.data + 8);
    ret->has_card = value.data[16] != 0;
    ret->card = slice_skip(value, ENTRY_HEAD_BYTES);
    return true;
}

/* *ret_found is false also for an entry that cannot be opened, which is then written anew. */
static bool find_entry(const struct edge *edge, const struct vault_key *key, struct buf *bytes,
                       struct entry *ret, bool *ret_found, struct error *err)
{
    struct slice value;
    if (!vault_get(edge->vault, key, bytes, &value, ret_found, err)) {
        *ret_found = false;
        return err->kind == ERROR_CORRUPT;
    }
    *ret_found = *ret_found && read_entry(value, ret);
    return true;
}

static void put_entry(struct edge *edge, const struct vault_key *key, const struct entry *entry)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    buf_put_u64(&bytes, entry->generation);
    buf_put_u64(&bytes, entry->version);
    buf_put_u8(&bytes, entry->has_card);
    buf_put_slice(&bytes, entry->card);
    vault_put(edge->vault, &edge->batch, key, buf_slice(&bytes));
    buf_done(&bytes);
}

static bool names(const struct wire_card *card, struct identifier wanted)
{
    struct identifier id;
    for (size_t i = 0; card != NULL && wire_card_identifier(card, i, &id); i++) {
        if (slice_equal(id.value, wanted.value) && slice_equal(id.type, wanted.type)) {
            return true;
        }
    }
    return false;
}

/* What the profile gave up must no longer find it, unless it found somebody else already. `kept`
 * (NULL: nothing) names what it does not give up. */
static bool drop_identifiers(struct edge *edge, const struct vault_key *profile, struct slice old,
                             const struct wire_card *kept, struct error *err)
{
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    struct wire_card card;
    struct identifier id;
    bool fine = true;
    buf_init(&bytes, 1024);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool is_card = value_unpack(old, &zone, &object, err) && wire_read_card(&object, &card);
    for (size_t i = 0; is_card && fine && wire_card_identifier(&card, i, &id); i++) {
        struct vault_key key;
        struct slice owner;
        bool found = false;
        if (names(kept, id) || !key_of_identifier(edge, id, &key)) {
            continue;
        }
        fine =
            vault_get(edge->vault, &key, &bytes, &owner, &found, err) || err->kind == ERROR_CORRUPT;
        if (fine && found && slice_equal(owner, vault_key_slice(profile))) {
            store_batch_delete(&edge->dropped, vault_key_slice(&key));
        }
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

/* Take what is new to the cache about a profile: a card, or (NULL) that it has none here, with the
 * card of whoever has its identifiers now, if that is known. *ret_is_newer: it was taken. */
static bool supersede(struct edge *edge, const struct vault_key *key, uint64_t version,
                      const struct wire_card *kept, bool *ret_is_newer, struct error *err)
{
    struct buf bytes;
    struct entry old;
    bool found = false;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    bool fine = find_entry(edge, key, &bytes, &old, &found, err);
    *ret_is_newer = !found || old.generation < edge->state.generation || version >= old.version;
    if (fine && found && *ret_is_newer && old.has_card) {
        fine = drop_identifiers(edge, key, old.card, kept, err);
    }
    buf_done(&bytes);
    return fine;
}

static bool put_gone(struct edge *edge, struct slice profile_id, uint64_t version,
                     const struct wire_card *survivor, struct error *err)
{
    struct vault_key key = key_of_profile(edge, profile_id);
    struct entry entry = {.generation = edge->state.generation, .version = version};
    bool is_newer;
    if (!supersede(edge, &key, version, survivor, &is_newer, err)) {
        return false;
    }
    if (is_newer) {
        put_entry(edge, &key, &entry);
    }
    return true;
}

static void put_identifiers(struct edge *edge, const struct vault_key *profile,
                            const struct wire_card *card)
{
    struct identifier id;
    for (size_t i = 0; wire_card_identifier(card, i, &id); i++) {
        struct vault_key key;
        if (key_of_identifier(edge, id, &key)) {
            vault_put(edge->vault, &edge->batch, &key, vault_key_slice(profile));
        }
    }
}

static bool put_card(struct edge *edge, const msgpack_object *object, struct error *err)
{
    struct wire_card card;
    struct buf bytes;
    bool is_newer;
    msgpack_packer p;
    if (!wire_read_card(object, &card)) {
        return error_set(err, ERROR_CORRUPT, "a card from the hub is damaged");
    }
    struct vault_key key = key_of_profile(edge, card.profile_id);
    if (!supersede(edge, &key, card.version, &card, &is_newer, err) || !is_newer) {
        return !is_newer;
    }
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    value_packer_init(&p, &bytes);
    msgpack_pack_object(&p, *object);
    put_entry(edge, &key,
              &(struct entry){edge->state.generation, card.version, true, buf_slice(&bytes)});
    buf_done(&bytes);
    put_identifiers(edge, &key, &card);
    for (uint32_t i = 0; i < card.merged_ids->via.array.size; i++) {
        struct slice merged;
        if (value_bin(&card.merged_ids->via.array.ptr[i], &merged) &&
            merged.len == PROFILE_ID_BYTES && !put_gone(edge, merged, card.version, &card, err)) {
            return false;
        }
    }
    return true;
}

/* ---- Applying ---- */

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

void edge_tell_all(struct edge *edge)
{
    pthread_mutex_lock(&edge->lock);
    if (edge->changed != NULL) {
        edge->changed(edge->user, slice_make(NULL, 0));
    }
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
    for (size_t i = 0; wire_card_identifier(&card, i, &id); i++) {
        if (slice_is(id.type, "anonymous_id")) {
            edge->changed(edge->user, id.value);
        }
    }
}

static bool put_removals(struct edge *edge, const msgpack_object *removals, struct error *err)
{
    for (uint32_t i = 0; removals != NULL && i < removals->via.array.size; i++) {
        struct slice id;
        uint64_t version;
        if (!wire_read_removal(&removals->via.array.ptr[i], &id, &version)) {
            return error_set(err, ERROR_CORRUPT, "a removal from the hub is damaged");
        }
        if (!put_gone(edge, id, version, NULL, err)) {
            return false;
        }
    }
    return true;
}

static bool apply(struct edge *edge, const struct wire_poll_reply *reply, struct error *err)
{
    struct vault_key gate = vault_key_of(edge->vault, 'g', slice_make(NULL, 0));
    begin(edge);
    edge_state_take(&edge->state, reply);
    bool fine = put_removals(edge, reply->removals, err);
    for (uint32_t i = 0; fine && i < reply->cards->via.array.size; i++) {
        fine = put_card(edge, &reply->cards->via.array.ptr[i], err);
    }
    if (reply->gate.len > 0) {
        vault_put(edge->vault, &edge->batch, &gate, reply->gate);
    }
    fine = fine && suppression_put(edge->store, edge->vault, reply, &edge->batch, err);
    put_state(edge);
    return fine && write_changes(edge, true, err);
}

bool edge_apply(struct edge *edge, const struct wire_poll_reply *reply, struct error *err)
{
    pthread_mutex_lock(&edge->lock);
    struct edge_state *before = memory_allocate(sizeof *before);
    *before = edge->state;
    bool fine = apply(edge, reply, err);
    if (!fine) {
        edge->state = *before;
    }
    for (uint32_t i = 0; fine && i < reply->cards->via.array.size; i++) {
        tell(edge, &reply->cards->via.array.ptr[i]);
    }
    atomic_store(&edge->generation, edge->state.generation);
    edge->sweep_at = reply->refill.begins ? (struct vault_key){0} : edge->sweep_at;
    free(before);
    pthread_mutex_unlock(&edge->lock);
    return fine;
}

uint64_t edge_generation(struct edge *edge)
{
    return atomic_load(&edge->generation);
}

/* Is it said by the same incarnation of the hub that answered the last poll? An older hub tells of
 * none; one that does not has just begun, and has not been asked by a poll yet. */
static bool is_of_last_poll(const struct edge *edge, const struct wire_moment *moment)
{
    const struct wire_moment *last = &edge->state.moment;
    return memcmp(moment->incarnation, last->incarnation, sizeof last->incarnation) == 0;
}

bool edge_apply_card(struct edge *edge, uint64_t generation, const struct wire_moment *moment,
                     const msgpack_object *card, struct error *err)
{
    bool fine = true;
    pthread_mutex_lock(&edge->lock);
    uint64_t number = edge->state.moment.number;
    if (generation == edge->state.generation && is_of_last_poll(edge, moment)) {
        begin(edge);
        edge->state.moment.number = moment->number > number ? moment->number : number;
        fine = put_card(edge, card, err);
        put_state(edge);
        fine = fine && write_changes(edge, false, err);
        edge->state.moment.number = fine ? edge->state.moment.number : number;
    }
    if (fine) {
        tell(edge, card);
    }
    pthread_mutex_unlock(&edge->lock);
    return fine;
}

/* ---- Sweeping ---- */

/* Remove the entry that the iterator stands at if it is out of date. */
static bool sweep_one(struct edge *edge, const struct store_iterator *it, struct buf *bytes,
                      struct error *err)
{
    struct slice value;
    struct entry entry;
    struct slice found = store_iterator_key(it);
    if (found.len != sizeof edge->sweep_at.bytes) {
        store_batch_delete(&edge->batch, found);
        return true;
    }
    memcpy(edge->sweep_at.bytes, found.data, found.len);
    bool is_readable =
        vault_open_record(edge->vault, found, store_iterator_value(it), bytes, &value, err) &&
        read_entry(value, &entry);
    if (is_readable && entry.generation >= edge->state.generation) {
        return true;
    }
    store_batch_delete(&edge->batch, found);
    return !is_readable || !entry.has_card ||
           drop_identifiers(edge, &edge->sweep_at, entry.card, NULL, err);
}

static bool sweep(struct edge *edge, bool *ret_more, struct error *err)
{
    struct buf bytes;
    size_t count = 0;
    bool fine = true;
    struct slice from =
        edge->sweep_at.bytes[0] == 0 ? slice_text("p") : vault_key_slice(&edge->sweep_at);
    struct store_iterator *it = store_iterator_open(edge->store, NULL);
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    begin(edge);
    for (store_iterator_seek(it, from); fine && count < SWEEP_RECORDS && store_iterator_valid(it) &&
                                        store_iterator_key(it).data[0] == 'p';
         store_iterator_next(it)) {
        fine = sweep_one(edge, it, &bytes, err);
        count++;
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    *ret_more = count == SWEEP_RECORDS;
    if (fine && !*ret_more) {
        edge->state.is_sweeping = false;
        edge->sweep_at = (struct vault_key){0};
        put_state(edge);
    }
    buf_done(&bytes);
    return fine && write_changes(edge, !*ret_more, err);
}

bool edge_sweep(struct edge *edge, bool *ret_more, struct error *err)
{
    bool fine = true;
    *ret_more = false;
    pthread_mutex_lock(&edge->lock);
    if (edge->state.is_sweeping) {
        fine = sweep(edge, ret_more, err);
        edge->state.is_sweeping = edge->state.is_sweeping || !fine;
    }
    pthread_mutex_unlock(&edge->lock);
    return fine;
}

/* ---- Reading ---- */

bool edge_find(struct edge *edge, struct identifier identifier, struct buf *bytes,
               struct slice *ret_card, struct error *err)
{
    struct vault_key key;
    struct vault_key profile;
    struct slice value;
    struct entry entry;
    bool found = false;
    *ret_card = slice_make(NULL, 0);
    if (!key_of_identifier(edge, identifier, &key)) {
        return true;
    }
    if (!vault_get(edge->vault, &key, bytes, &value, &found, err)) {
        return false;
    }
    if (!found || value.len != sizeof profile.bytes) {
        return true;
    }
    memcpy(profile.bytes, value.data, sizeof profile.bytes);
    if (!vault_get(edge->vault, &profile, bytes, &value, &found, err)) {
        return false;
    }
    if (found && read_entry(value, &entry) && entry.has_card) {
        *ret_card = entry.card;
    }
    return true;
}
