#include "hub/suppressions.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "shared/log.h"

/* Keys in the log's store (stored: never change):
 *   's' hash        [version, at, reason]: who is suppressed
 *   'S' version     the changes of that version
 */
enum { HASH_KEY_BYTES = 1 + SUPPRESSION_HASH_BYTES, CHUNK_BYTES = 256 * 1024 };

struct suppressions {
    struct eventlog *log;
    const struct clock *clock;
    void (*changed)(void *user);
    void *user;
    uint8_t key[SUPPRESSION_KEY_BYTES];
    pthread_mutex_t writing; /* one change at a time */
    pthread_rwlock_t lock;   /* of the two below */
    uint64_t version;
    struct suppression_set *set;
    _Atomic size_t count; /* of the set, to pass by without the lock */
};

static struct slice hash_key(struct suppression_hash hash, uint8_t ret[HASH_KEY_BYTES])
{
    ret[0] = 's';
    memcpy(ret + 1, hash.bytes, sizeof hash.bytes);
    return slice_make(ret, HASH_KEY_BYTES);
}

static struct slice version_key(uint64_t version, uint8_t ret[9])
{
    struct buf key = {.data = ret, .capacity = 9, .len_max = 9};
    buf_put_u8(&key, 'S');
    buf_put_u64(&key, version);
    return buf_slice(&key);
}

/* ---- On disk ---- */

static bool load(struct suppressions *s, struct error *err)
{
    uint8_t key[9];
    struct store_iterator *it = store_iterator_open(eventlog_store(s->log), NULL);
    bool fine = true;
    for (store_iterator_seek(it, version_key(0, key));
         fine && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'S';
         store_iterator_next(it)) {
        fine = store_iterator_key(it).len == sizeof key &&
               suppression_set_apply(s->set, store_iterator_value(it));
        if (!fine) {
            error_set(err, ERROR_CORRUPT, "a change of the suppression list is damaged");
            break;
        }
        s->version = read_u64(store_iterator_key(it).data + 1);
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool suppressions_open(struct eventlog *log, const uint8_t hub_secret[SEAL_KEY_BYTES],
                       const struct clock *clock, void (*changed)(void *user), void *user,
                       struct suppressions **ret, struct error *err)
{
    static const uint8_t purpose[] = "tributary-suppression-v1"; /* stored: never change */
    struct suppressions *s = memory_allocate_zeroed(sizeof *s);
    s->log = log;
    s->clock = clock;
    s->changed = changed;
    s->user = user;
    crypto_generichash(s->key, sizeof s->key, purpose, sizeof purpose, hub_secret, SEAL_KEY_BYTES);
    pthread_mutex_init(&s->writing, NULL);
    pthread_rwlock_init(&s->lock, NULL);
    s->set = suppression_set_new();
    suppression_set_key(s->set, s->key);
    if (!load(s, err)) {
        suppressions_close(&s);
        return error_add_context(err, "opening the suppression list");
    }
    s->count = suppression_set_count(s->set);
    *ret = s;
    return true;
}

void suppressions_close(struct suppressions **suppressions)
{
    struct suppressions *s = *suppressions;
    if (s != NULL) {
        suppression_set_free(&s->set);
        pthread_mutex_destroy(&s->writing);
        pthread_rwlock_destroy(&s->lock);
        sodium_memzero(s->key, sizeof s->key);
        free(s);
        *suppressions = NULL;
    }
}

struct suppression_hash suppressions_hash(struct suppressions *s, struct identifier identifier)
{
    return suppression_hash_of(s->set, identifier);
}

/* ---- Changes ---- */

struct change {
    struct store_batch batch;
    struct buf changes;
    struct buf record;
    size_t count;
};

static void change_init(struct change *c)
{
    store_batch_init(&c->batch);
    buf_init(&c->changes, SUPPRESSIONS_CHANGES_MAX * SUPPRESSION_CHANGE_BYTES);
    buf_init(&c->record, SUPPRESSIONS_CHANGES_MAX * SUPPRESSION_CHANGE_BYTES + 1024);
    c->count = 0;
}

static void change_done(struct change *c)
{
    store_batch_done(&c->batch);
    buf_done(&c->changes);
    buf_done(&c->record);
}

static bool is_in(struct slice changes, struct suppression_hash hash)
{
    for (size_t i = 0; i < changes.len; i += SUPPRESSION_CHANGE_BYTES) {
        if (memcmp(changes.data + i + 1, hash.bytes, sizeof hash.bytes) == 0) {
            return true;
        }
    }
    return false;
}

static void add_change(struct suppressions *s, struct change *c, struct suppression_hash hash,
                       bool is_suppressed, struct slice reason)
{
    uint8_t key[HASH_KEY_BYTES];
    uint8_t bytes[256 + SUPPRESSION_REASON_BYTES];
    struct buf value = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    msgpack_packer k;
    if (suppression_set_has(s->set, hash) == is_suppressed || is_in(buf_slice(&c->changes), hash)) {
        return;
    }
    buf_put_u8(&c->changes, is_suppressed);
    buf_put(&c->changes, hash.bytes, sizeof hash.bytes);
    c->count++;
    if (!is_suppressed) {
        store_batch_delete(&c->batch, hash_key(hash, key));
        return;
    }
    value_packer_init(&k, &value);
    msgpack_pack_array(&k, 3);
    msgpack_pack_uint64(&k, s->version + 1);
    msgpack_pack_int64(&k, clock_now_ms(s->clock));
    value_pack_text(&k, reason);
    store_batch_put(&c->batch, hash_key(hash, key), buf_slice(&value));
}

/* The command in the log: [version, reason, bin: changes]. */
static bool append(struct suppressions *s, struct change *c, struct slice reason, struct error *err)
{
    uint8_t key[9];
    msgpack_packer k;
    value_packer_init(&k, &c->record);
    msgpack_pack_array(&k, 3);
    msgpack_pack_uint64(&k, s->version + 1);
    value_pack_text(&k, reason);
    value_pack_bin(&k, buf_slice(&c->changes));
    struct eventlog_record record = {.kind = EVENTLOG_SUPPRESSION,
                                     .at_ms = clock_now_ms(s->clock),
                                     .bytes = buf_slice(&c->record)};
    store_batch_put(&c->batch, version_key(s->version + 1, key), buf_slice(&c->changes));
    return eventlog_append(s->log, &record, 1, &c->batch, err);
}

static void take_effect(struct suppressions *s, const struct change *c)
{
    pthread_rwlock_wrlock(&s->lock);
    bool taken = suppression_set_apply(s->set, buf_slice(&c->changes));
    ensure(taken);
    s->version++;
    s->count = suppression_set_count(s->set);
    pthread_rwlock_unlock(&s->lock);
}

bool suppressions_change(struct suppressions *s, const struct suppression_hash *hashes,
                         size_t count, bool is_suppressed, struct slice reason, size_t *ret_count,
                         struct error *err)
{
    struct change c;
    ensure(count <= SUPPRESSIONS_CHANGES_MAX && reason.len <= SUPPRESSION_REASON_BYTES);
    change_init(&c);
    pthread_mutex_lock(&s->writing);
    for (size_t i = 0; i < count; i++) {
        add_change(s, &c, hashes[i], is_suppressed, reason);
    }
    bool fine = c.count == 0 || append(s, &c, reason, err);
    if (fine && c.count > 0) {
        take_effect(s, &c);
    }
    pthread_mutex_unlock(&s->writing);
    *ret_count = fine ? c.count : 0;
    if (*ret_count > 0) {
        log_info("suppressions-changed", "The suppression list was changed. %s=%zu version=%llu",
                 is_suppressed ? "suppressed" : "unsuppressed", c.count,
                 (unsigned long long)suppressions_version(s));
        s->changed(s->user);
    }
    change_done(&c);
    return fine;
}

/* ---- Reading ---- */

uint64_t suppressions_version(struct suppressions *s)
{
    pthread_rwlock_rdlock(&s->lock);
    uint64_t version = s->version;
    pthread_rwlock_unlock(&s->lock);
    return version;
}

size_t suppressions_count(struct suppressions *s)
{
    return s->count;
}

static bool write_changes(struct suppressions *s, uint64_t version, struct buf *out,
                          uint64_t *ret_version, struct error *err)
{
    uint8_t key[9];
    size_t start = out->len;
    struct store_iterator *it = store_iterator_open(eventlog_store(s->log), NULL);
    *ret_version = version;
    buf_put(out, s->key, sizeof s->key);
    for (store_iterator_seek(it, version_key(version + 1, key));
         out->len - start < CHUNK_BYTES && store_iterator_valid(it) &&
         store_iterator_key(it).data[0] == 'S';
         store_iterator_next(it)) {
        buf_put_slice(out, store_iterator_value(it));
        *ret_version = read_u64(store_iterator_key(it).data + 1);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool suppressions_write_changes(struct suppressions *s, uint64_t version, struct buf *out,
                                uint64_t *ret_version, struct error *err)
{
    uint64_t newest = suppressions_version(s);
    *ret_version = version;
    if (newest == version || newest == 0) {
        return true;
    }
    /* A collector that is ahead: this hub is a restored copy, and tells all it has. */
    return write_changes(s, version > newest ? 0 : version, out, ret_version, err);
}

bool suppressions_write_anew(struct suppressions *s, struct buf *out, uint64_t *ret_version,
                             struct error *err)
{
    return write_changes(s, 0, out, ret_version, err);
}

static bool read_entry(struct slice value, msgpack_zone *zone, struct suppression_entry *ret,
                       struct error *err)
{
    msgpack_object root;
    int64_t version = 0;
    msgpack_zone_clear(zone);
    bool fine = value_unpack(value, zone, &root, err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size == 3 && value_int(&root.via.array.ptr[0], &version) &&
                value_int(&root.via.array.ptr[1], &ret->at_ms) &&
                value_text(&root.via.array.ptr[2], &ret->reason);
    ret->version = (uint64_t)version;
    return fine || error_set(err, ERROR_CORRUPT, "an entry of the suppression list is damaged");
}

bool suppressions_find(struct suppressions *s, struct suppression_hash hash, struct buf *bytes,
                       struct suppression_entry *ret, bool *ret_found, struct error *err)
{
    uint8_t key[HASH_KEY_BYTES];
    msgpack_zone zone;
    ret->hash = hash;
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = store_get(eventlog_store(s->log), NULL, hash_key(hash, key), bytes, ret_found, err);
    fine = fine && (!*ret_found || read_entry(buf_slice(bytes), &zone, ret, err));
    msgpack_zone_destroy(&zone);
    return fine;
}

bool suppressions_each(struct suppressions *s, struct suppression_hash after,
                       bool (*each)(void *user, const struct suppression_entry *entry), void *user,
                       struct error *err)
{
    uint8_t key[HASH_KEY_BYTES];
    msgpack_zone zone;
    struct store_iterator *it = store_iterator_open(eventlog_store(s->log), NULL);
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = true;
    bool goes_on = true;
    for (store_iterator_seek(it, hash_key(after, key));
         fine && goes_on && store_iterator_valid(it) && store_iterator_key(it).data[0] == 's';
         store_iterator_next(it)) {
        struct suppression_entry entry;
        struct slice found = store_iterator_key(it);
        if (found.len != HASH_KEY_BYTES || memcmp(found.data, key, sizeof key) == 0) {
            continue;
        }
        memcpy(entry.hash.bytes, found.data + 1, sizeof entry.hash.bytes);
        fine = read_entry(store_iterator_value(it), &zone, &entry, err);
        goes_on = fine && each(user, &entry);
    }
    fine = fine && store_iterator_check(it, err);
    msgpack_zone_destroy(&zone);
    store_iterator_close(&it);
    return fine;
}

void suppressions_types(const struct identity_rules *rules, struct suppression_types *ret)
{
    ret->phone = rules->phone;
    ret->count = rules->count;
    for (size_t i = 0; i < rules->count; i++) {
        ret->types[i].type = rules->rules[i].type;
        ret->types[i].normalizer = rules->rules[i].normalizer;
    }
}

bool suppressions_refuse(struct suppressions *s, const struct suppression_types *types,
                         const struct event *event, struct arena *arena)
{
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_rwlock_rdlock(&s->lock);
    bool refuses = suppression_set_matches(s->set, types, event, arena);
    pthread_rwlock_unlock(&s->lock);
    return refuses;
}

bool suppressions_cut(struct suppressions *s, const struct suppression_types *types,
                      struct event *event, struct arena *arena)
{
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_rwlock_rdlock(&s->lock);
    bool cut = suppression_set_cut(s->set, types, event, arena);
    pthread_rwlock_unlock(&s->lock);
    return cut;
}

bool suppressions_have(struct suppressions *s, const struct suppression_types *types,
                       struct slice source, struct identifier identifier, struct arena *arena)
{
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_rwlock_rdlock(&s->lock);
    bool have = suppression_set_has_identifier(s->set, types, source, identifier, arena);
    pthread_rwlock_unlock(&s->lock);
    return have;
}
