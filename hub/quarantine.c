#include "hub/quarantine.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/arena.h"

/* Keys in the log's store (stored: never change):
 *   'u' record place     [collector, collector id, bin: event]
 *   'U'                  the first record whose events may not be kept yet
 */
enum { ENTRY_KEY_BYTES = 1 + 8 + 2, ENTRY_BYTES_MAX = 4 * LIMIT_EVENT_BYTES };

struct quarantine {
    struct eventlog *log;
    const struct clock *clock;
    uint64_t position;        /* of the router, like the next two */
    struct store_batch batch; /* kept, and not committed */
    struct buf value;
    pthread_mutex_t taking; /* one release or discard at a time */
};

static struct slice entry_key(struct quarantine_id id, uint8_t ret[ENTRY_KEY_BYTES])
{
    struct buf key = {.data = ret, .capacity = ENTRY_KEY_BYTES, .len_max = ENTRY_KEY_BYTES};
    buf_put_u8(&key, 'u');
    buf_put_u64(&key, id.record);
    buf_put_u16(&key, id.place);
    return buf_slice(&key);
}

bool quarantine_open(struct eventlog *log, const struct clock *clock, struct quarantine **ret,
                     struct error *err)
{
    struct quarantine *q = memory_allocate_zeroed(sizeof *q);
    struct buf value;
    bool found = false;
    q->log = log;
    q->clock = clock;
    pthread_mutex_init(&q->taking, NULL);
    store_batch_init(&q->batch);
    buf_init(&q->value, ENTRY_BYTES_MAX);
    buf_init(&value, 64);
    bool fine = store_get(eventlog_store(log), NULL, slice_text("U"), &value, &found, err);
    if (fine && found && value.len == 8) {
        q->position = read_u64(value.data);
    }
    buf_done(&value);
    if (!fine) {
        quarantine_close(&q);
        return error_add_context(err, "opening the quarantine");
    }
    *ret = q;
    return true;
}

void quarantine_close(struct quarantine **quarantine)
{
    if (*quarantine != NULL) {
        store_batch_done(&(*quarantine)->batch);
        buf_done(&(*quarantine)->value);
        pthread_mutex_destroy(&(*quarantine)->taking);
        free(*quarantine);
        *quarantine = NULL;
    }
}

/* ---- The router's part ---- */

uint64_t quarantine_position(const struct quarantine *q)
{
    return q->position;
}

static void put_position(struct quarantine *q, uint64_t next)
{
    uint8_t bytes[8];
    struct buf value = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    buf_put_u64(&value, next);
    store_batch_put(&q->batch, slice_text("U"), buf_slice(&value));
}

bool quarantine_begin(struct quarantine *q, uint64_t record, struct error *err)
{
    put_position(q, record);
    bool fine = eventlog_append(q->log, NULL, 0, &q->batch, err);
    q->position = fine ? record : q->position;
    store_batch_clear(&q->batch);
    return fine;
}

void quarantine_keep(struct quarantine *q, const struct quarantine_entry *entry)
{
    uint8_t key[ENTRY_KEY_BYTES];
    msgpack_packer k;
    if (entry->id.record < q->position) {
        return;
    }
    buf_clear(&q->value);
    value_packer_init(&k, &q->value);
    msgpack_pack_array(&k, 3);
    msgpack_pack_uint32(&k, entry->collector);
    value_pack_text(&k, entry->collector_id);
    value_pack_bin(&k, entry->bytes);
    store_batch_put(&q->batch, entry_key(entry->id, key), buf_slice(&q->value));
}

bool quarantine_commit(struct quarantine *q, uint64_t next, struct error *err)
{
    if (next <= q->position) {
        return true;
    }
    put_position(q, next);
    bool fine = eventlog_note(q->log, &q->batch, err);
    q->position = fine ? next : q->position;
    store_batch_clear(&q->batch);
    return fine || error_add_context(err, "keeping quarantined events");
}

/* ---- The operator's part ---- */

static bool read_entry(struct slice key, struct slice value, msgpack_zone *zone,
                       struct quarantine_entry *ret, struct error *err)
{
    msgpack_object root;
    int64_t collector = 0;
    msgpack_zone_clear(zone);
    bool fine = key.len == ENTRY_KEY_BYTES && value_unpack(value, zone, &root, err) &&
                root.type == MSGPACK_OBJECT_ARRAY && root.via.array.size == 3 &&
                value_int(&root.via.array.ptr[0], &collector) &&
                value_text(&root.via.array.ptr[1], &ret->collector_id) &&
                value_bin(&root.via.array.ptr[2], &ret->bytes);
    if (fine) {
        ret->id = (struct quarantine_id){read_u64(key.data + 1), read_u16(key.data + 9)};
        ret->collector = (uint32_t)collector;
    }
    return fine || error_set(err, ERROR_CORRUPT, "an entry of the quarantine is damaged");
}

bool quarantine_each(struct quarantine *q, struct quarantine_id after,
                     bool (*each)(void *user, const struct quarantine_entry *entry), void *user,
                     struct error *err)
{
    uint8_t key[ENTRY_KEY_BYTES];
    msgpack_zone zone;
    struct store_iterator *it = store_iterator_open(eventlog_store(q->log), NULL);
    bool made = msgpack_zone_init(&zone, 512);
    ensure(made);
    bool fine = true;
    bool goes_on = true;
    for (store_iterator_seek(it, entry_key(after, key));
         fine && goes_on && store_iterator_valid(it) && store_iterator_key(it).data[0] == 'u';
         store_iterator_next(it)) {
        struct quarantine_entry entry;
        if (slice_equal(store_iterator_key(it), slice_make(key, sizeof key))) {
            continue;
        }
        fine = read_entry(store_iterator_key(it), store_iterator_value(it), &zone, &entry, err);
        goes_on = fine && each(user, &entry);
    }
    fine = fine && store_iterator_check(it, err);
    msgpack_zone_destroy(&zone);
    store_iterator_close(&it);
    return fine;
}

/* What one release or discard is made of. */
struct taking {
    struct quarantine *q;
    struct store_batch batch; /* what goes out of the quarantine */
    struct eventlog_record *records;
    size_t count;
    struct buf value;
    struct arena arena;
    msgpack_zone zone;
};

static void taking_init(struct taking *t, struct quarantine *q, size_t count)
{
    *t = (struct taking){.q = q};
    store_batch_init(&t->batch);
    t->records = memory_allocate_zeroed((count + 1) * sizeof *t->records);
    buf_init(&t->value, ENTRY_BYTES_MAX);
    arena_init(&t->arena, 4096);
    bool made = msgpack_zone_init(&t->zone, 512);
    ensure(made);
}

static void taking_done(struct taking *t)
{
    store_batch_done(&t->batch);
    free(t->records);
    buf_done(&t->value);
    arena_done(&t->arena);
    msgpack_zone_destroy(&t->zone);
}

static bool take_one(struct taking *t, struct quarantine_id id, struct error *err)
{
    uint8_t key_bytes[ENTRY_KEY_BYTES];
    struct slice key = entry_key(id, key_bytes);
    struct quarantine_entry entry;
    bool found = false;
    if (!store_get(eventlog_store(t->q->log), NULL, key, &t->value, &found, err)) {
        return false;
    }
    if (!found) {
        return true;
    }
    if (!read_entry(key, buf_slice(&t->value), &t->zone, &entry, err)) {
        return false;
    }
    store_batch_delete(&t->batch, key);
    t->records[t->count++] =
        (struct eventlog_record){.kind = EVENTLOG_RELEASE,
                                 .at_ms = clock_now_ms(t->q->clock),
                                 .collector = entry.collector,
                                 .collector_id = arena_copy(&t->arena, entry.collector_id),
                                 .bytes = arena_copy(&t->arena, entry.bytes)};
    return true;
}

static bool is_repeated(const struct quarantine_id *ids, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (ids[i].record == ids[at].record && ids[i].place == ids[at].place) {
            return true;
        }
    }
    return false;
}

bool quarantine_take(struct quarantine *q, const struct quarantine_id *ids, size_t count,
                     bool release, size_t *ret_count, struct error *err)
{
    struct taking t;
    bool fine = true;
    ensure(count <= QUARANTINE_BATCH_MAX);
    taking_init(&t, q, count);
    pthread_mutex_lock(&q->taking);
    for (size_t i = 0; fine && i < count; i++) {
        fine = is_repeated(ids, i) || take_one(&t, ids[i], err);
    }
    if (fine && t.count > 0) {
        fine = eventlog_append(q->log, t.records, release ? t.count : 0, &t.batch, err);
    }
    pthread_mutex_unlock(&q->taking);
    *ret_count = fine ? t.count : 0;
    taking_done(&t);
    return fine;
}

struct quarantine_id_text quarantine_id_format(struct quarantine_id id)
{
    struct quarantine_id_text text;
    snprintf(text.text, sizeof text.text, "%016llx%04x", (unsigned long long)id.record, id.place);
    return text;
}

bool quarantine_id_parse(struct slice text, struct quarantine_id *ret)
{
    uint8_t bytes[10];
    size_t len = 0;
    if (text.len != 2 * sizeof bytes ||
        sodium_hex2bin(bytes, sizeof bytes, (const char *)text.data, text.len, NULL, &len, NULL) !=
            0 ||
        len != sizeof bytes) {
        return false;
    }
    *ret = (struct quarantine_id){read_u64(bytes), read_u16(bytes + 8)};
    return true;
}
