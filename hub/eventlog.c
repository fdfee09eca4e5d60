#include "hub/eventlog.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/daemon.h"

/* Keys (stored: never change):
 *   'r' number                    a record
 *   'h' id-length id epoch        header of an epoch
 *   'c' id-length id epoch        receipts: ranges of block numbers
 *   'D' …                         definitions (registry.c)
 *   's' 'S' 'u' 'U' …             suppressions.c, quarantine.c
 */
struct eventlog {
    struct store *store;
    pthread_mutex_t lock;
    pthread_cond_t grown;
    uint64_t next;
    struct store_batch batch;
    struct buf record;
};

static struct slice record_key(uint64_t number, uint8_t ret[9])
{
    struct buf key = {.data = ret, .capacity = 9, .len_max = 9};
    buf_put_u8(&key, 'r');
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

bool eventlog_open(struct store *store, struct eventlog **ret, struct error *err)
{
    struct eventlog *log = memory_allocate_zeroed(sizeof *log);
    uint8_t key[9];
    log->store = store;
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->grown, NULL);
    store_batch_init(&log->batch);
    buf_init(&log->record, SIZE_MAX / 2);
    struct store_iterator *it = store_iterator_open(store, NULL);
    store_iterator_seek_before(it, record_key(UINT64_MAX, key));
    bool found = store_iterator_valid(it) && store_iterator_key(it).data[0] == 'r';
    log->next = found ? read_u64(store_iterator_key(it).data + 1) + 1 : 1;
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    if (!fine) {
        eventlog_close(&log);
        return error_add_context(err, "opening the log");
    }
    *ret = log;
    return true;
}

void eventlog_close(struct eventlog **log)
{
    if (*log != NULL) {
        store_batch_done(&(*log)->batch);
        buf_done(&(*log)->record);
        pthread_mutex_destroy(&(*log)->lock);
        pthread_cond_destroy(&(*log)->grown);
        free(*log);
        *log = NULL;
    }
}

static void put_record(struct eventlog *log, uint64_t number, const struct eventlog_record *r)
{
    uint8_t key[9];
    msgpack_packer k;
    buf_clear(&log->record);
    value_packer_init(&k, &log->record);
    msgpack_pack_array(&k, 6);
    msgpack_pack_int(&k, (int)r->kind);
    msgpack_pack_int64(&k, r->at_ms);
    msgpack_pack_int64(&k, r->clock_offset_ms);
    msgpack_pack_uint32(&k, r->collector);
    value_pack_text(&k, r->collector_id);
    value_pack_bin(&k, r->bytes);
    store_batch_put(&log->batch, record_key(number, key), buf_slice(&log->record));
}

bool eventlog_append(struct eventlog *log, const struct eventlog_record *records, size_t count,
                     const struct store_batch *more, struct error *err)
{
    pthread_mutex_lock(&log->lock);
    store_batch_clear(&log->batch);
    for (size_t i = 0; i < count; i++) {
        put_record(log, log->next + i, &records[i]);
    }
    struct store_op op;
    size_t at = 0;
    while (more != NULL && store_batch_next(more, &at, &op)) {
        if (op.is_delete) {
            store_batch_delete(&log->batch, op.key);
        } else {
            store_batch_put(&log->batch, op.key, op.value);
        }
    }
    bool fine = store_write(log->store, &log->batch, true, err);
    log->next += fine ? count : 0;
    pthread_cond_broadcast(&log->grown);
    pthread_mutex_unlock(&log->lock);
    return fine || error_add_context(err, "appending to the log");
}

bool eventlog_note(struct eventlog *log, const struct store_batch *more, struct error *err)
{
    pthread_mutex_lock(&log->lock);
    bool fine = store_write(log->store, more, false, err);
    pthread_mutex_unlock(&log->lock);
    return fine;
}

uint64_t eventlog_next(struct eventlog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t next = log->next;
    pthread_mutex_unlock(&log->lock);
    return next;
}

bool eventlog_read(struct eventlog *log, uint64_t number, struct buf *bytes, msgpack_zone *zone,
                   struct eventlog_record *ret, bool *ret_found, struct error *err)
{
    uint8_t key[9];
    msgpack_object root;
    int64_t kind = 0;
    int64_t collector = 0;
    if (!store_get(log->store, NULL, record_key(number, key), bytes, ret_found, err)) {
        return error_add_context(err, "reading the log");
    }
    if (!*ret_found) {
        return true;
    }
    if (!value_unpack(buf_slice(bytes), zone, &root, err) || root.type != MSGPACK_OBJECT_ARRAY ||
        root.via.array.size != 6) {
        return error_set(err, ERROR_CORRUPT, "record %llu of the log is damaged",
                         (unsigned long long)number);
    }
    const msgpack_object *at = root.via.array.ptr;
    bool fine = value_int(&at[0], &kind) && value_int(&at[1], &ret->at_ms) &&
                value_int(&at[2], &ret->clock_offset_ms) && value_int(&at[3], &collector) &&
                value_text(&at[4], &ret->collector_id) && value_bin(&at[5], &ret->bytes);
    ret->kind = (enum eventlog_kind)kind;
    ret->collector = (uint32_t)collector;
    return fine || error_set(err, ERROR_CORRUPT, "record %llu of the log is damaged",
                             (unsigned long long)number);
}

void eventlog_wait(struct eventlog *log, uint64_t number, int timeout_ms)
{
    pthread_mutex_lock(&log->lock);
    if (log->next <= number) {
        daemon_wait(&log->grown, &log->lock, timeout_ms);
    }
    pthread_mutex_unlock(&log->lock);
}

void eventlog_wake(struct eventlog *log)
{
    pthread_mutex_lock(&log->lock);
    pthread_cond_broadcast(&log->grown);
    pthread_mutex_unlock(&log->lock);
}

static void epoch_key(char kind, struct slice id, uint64_t epoch, struct buf *ret)
{
    buf_clear(ret);
    buf_put_u8(ret, (uint8_t)kind);
    buf_put_u8(ret, (uint8_t)id.len);
    buf_put_slice(ret, id);
    buf_put_u64(ret, epoch);
}

void eventlog_header_key(struct slice collector_id, uint64_t epoch, struct buf *ret)
{
    epoch_key('h', collector_id, epoch, ret);
}

void eventlog_receipt_key(struct slice collector_id, uint64_t epoch, struct buf *ret)
{
    epoch_key('c', collector_id, epoch, ret);
}

struct store *eventlog_store(const struct eventlog *log)
{
    return log->store;
}
