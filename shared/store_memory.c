#include "shared/store.h"

#include <pthread.h>
#include <stdlib.h>

/* Entries in key order. Every write makes changes in place under the lock; iterators and
 * snapshots work on copies. Slow and simple: this store is for tests. */
struct entry {
    struct buf key;
    struct buf value;
};

struct table {
    struct entry *entries;
    size_t count;
    size_t capacity;
};

struct store_memory {
    struct store store;
    pthread_mutex_t lock;
    struct table now;
    struct store_batch unsynced; /* what a crash has to lose, replayed over `synced` */
    struct table synced;
    unsigned fail_in;
    bool fails_late; /* then it is applied all the same */
};

struct store_snapshot {
    struct table table;
};

struct iterator_memory {
    struct store_iterator iterator;
    struct table table;
    size_t at; /* >= table.count: not valid */
};

static size_t lower_bound(const struct table *table, struct slice key)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(buf_slice(&table->entries[middle].key), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool has_key(const struct table *table, size_t at, struct slice key)
{
    return at < table->count && slice_equal(buf_slice(&table->entries[at].key), key);
}

static void entry_init(struct entry *entry, struct slice key, struct slice value)
{
    buf_init(&entry->key, SIZE_MAX / 2);
    buf_init(&entry->value, SIZE_MAX / 2);
    buf_put_slice(&entry->key, key);
    buf_put_slice(&entry->value, value);
}

static void entry_done(struct entry *entry)
{
    buf_done(&entry->key);
    buf_done(&entry->value);
}

static void table_put(struct table *table, struct slice key, struct slice value)
{
    size_t at = lower_bound(table, key);
    if (has_key(table, at, key)) {
        buf_clear(&table->entries[at].value);
        buf_put_slice(&table->entries[at].value, value);
        return;
    }
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        table->entries = memory_resize(table->entries, table->capacity * sizeof *table->entries);
    }
    memmove(&table->entries[at + 1], &table->entries[at],
            (table->count - at) * sizeof *table->entries);
    entry_init(&table->entries[at], key, value);
    table->count++;
}

static void table_delete(struct table *table, struct slice key)
{
    size_t at = lower_bound(table, key);
    if (has_key(table, at, key)) {
        entry_done(&table->entries[at]);
        table->count--;
        memmove(&table->entries[at], &table->entries[at + 1],
                (table->count - at) * sizeof *table->entries);
    }
}

static void table_apply(struct table *table, const struct store_batch *batch)
{
    struct store_op op;
    size_t at = 0;
    while (store_batch_next(batch, &at, &op)) {
        if (op.is_delete) {
            table_delete(table, op.key);
        } else {
            table_put(table, op.key, op.value);
        }
    }
}

static struct table table_copy(const struct table *from)
{
    struct table copy = {.count = from->count, .capacity = from->count};
    copy.entries = memory_allocate(from->count * sizeof *copy.entries);
    for (size_t i = 0; i < from->count; i++) {
        entry_init(&copy.entries[i], buf_slice(&from->entries[i].key),
                   buf_slice(&from->entries[i].value));
    }
    return copy;
}

static void table_done(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        entry_done(&table->entries[i]);
    }
    free(table->entries);
    *table = (struct table){0};
}

static struct store_memory *self(struct store *store)
{
    return (struct store_memory *)store;
}

static bool memory_write(struct store *store, const struct store_batch *batch, bool sync,
                         struct error *err)
{
    struct store_memory *s = self(store);
    pthread_mutex_lock(&s->lock);
    bool fails = s->fail_in > 0 && --s->fail_in == 0;
    if (!fails || s->fails_late) {
        table_apply(&s->now, batch);
        buf_put_slice(&s->unsynced.ops, buf_slice(&batch->ops));
        if (sync) {
            table_apply(&s->synced, &s->unsynced);
            store_batch_clear(&s->unsynced);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return !fails || error_set(err, ERROR_UNAVAILABLE, "the store was told to fail this write");
}

static bool memory_get(struct store *store, const struct store_snapshot *snapshot, struct slice key,
                       struct buf *ret, bool *ret_found, struct error *err)
{
    struct store_memory *s = self(store);
    bool fits = true;
    pthread_mutex_lock(&s->lock);
    const struct table *table = snapshot == NULL ? &s->now : &snapshot->table;
    size_t at = lower_bound(table, key);
    *ret_found = has_key(table, at, key);
    if (*ret_found) {
        struct slice value = buf_slice(&table->entries[at].value);
        fits = buf_append(ret, value.data, value.len);
    }
    pthread_mutex_unlock(&s->lock);
    return fits || error_set(err, ERROR_CORRUPT, "a stored value is too long");
}

static struct store_snapshot *memory_snapshot_open(struct store *store)
{
    struct store_snapshot *snapshot = memory_allocate(sizeof *snapshot);
    pthread_mutex_lock(&self(store)->lock);
    snapshot->table = table_copy(&self(store)->now);
    pthread_mutex_unlock(&self(store)->lock);
    return snapshot;
}

static void memory_snapshot_close(struct store *store, struct store_snapshot *snapshot)
{
    (void)store;
    table_done(&snapshot->table);
    free(snapshot);
}

static struct iterator_memory *it(const struct store_iterator *iterator)
{
    union {
        const struct store_iterator *from;
        struct iterator_memory *to;
    } cast = {.from = iterator};
    return cast.to;
}

static void it_close(struct store_iterator *iterator)
{
    table_done(&it(iterator)->table);
    free(iterator);
}

static void it_seek(struct store_iterator *iterator, struct slice key)
{
    it(iterator)->at = lower_bound(&it(iterator)->table, key);
}

static void it_seek_before(struct store_iterator *iterator, struct slice key)
{
    /* Position 0 has nothing before it: the subtraction wraps to "not valid". */
    it(iterator)->at = lower_bound(&it(iterator)->table, key) - 1;
}

static void it_next(struct store_iterator *iterator)
{
    it(iterator)->at++;
}

static void it_prev(struct store_iterator *iterator)
{
    it(iterator)->at--;
}

static bool it_valid(const struct store_iterator *iterator)
{
    return it(iterator)->at < it(iterator)->table.count;
}

static struct slice it_key(const struct store_iterator *iterator)
{
    return buf_slice(&it(iterator)->table.entries[it(iterator)->at].key);
}

static struct slice it_value(const struct store_iterator *iterator)
{
    return buf_slice(&it(iterator)->table.entries[it(iterator)->at].value);
}

static bool it_check(const struct store_iterator *iterator, struct error *err)
{
    (void)iterator;
    (void)err;
    return true;
}

static const struct store_iterator_methods iterator_methods = {
    .close = it_close,
    .seek = it_seek,
    .seek_before = it_seek_before,
    .next = it_next,
    .prev = it_prev,
    .valid = it_valid,
    .key = it_key,
    .value = it_value,
    .check = it_check,
};

static struct store_iterator *memory_iterator_open(struct store *store,
                                                   const struct store_snapshot *snapshot)
{
    struct store_memory *s = self(store);
    struct iterator_memory *i = memory_allocate_zeroed(sizeof *i);
    i->iterator.methods = &iterator_methods;
    pthread_mutex_lock(&s->lock);
    i->table = table_copy(snapshot == NULL ? &s->now : &snapshot->table);
    pthread_mutex_unlock(&s->lock);
    i->at = SIZE_MAX;
    return &i->iterator;
}

static uint64_t memory_size(struct store *store, struct slice from, struct slice to)
{
    struct store_memory *s = self(store);
    uint64_t size = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = lower_bound(&s->now, from); i < lower_bound(&s->now, to); i++) {
        size += s->now.entries[i].key.len + s->now.entries[i].value.len;
    }
    pthread_mutex_unlock(&s->lock);
    return size;
}

static void memory_close(struct store *store)
{
    struct store_memory *s = self(store);
    table_done(&s->now);
    table_done(&s->synced);
    store_batch_done(&s->unsynced);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct store_methods methods = {
    .write = memory_write,
    .get = memory_get,
    .snapshot_open = memory_snapshot_open,
    .snapshot_close = memory_snapshot_close,
    .iterator_open = memory_iterator_open,
    .size = memory_size,
    .close = memory_close,
};

struct store *store_memory_open(void)
{
    struct store_memory *s = memory_allocate_zeroed(sizeof *s);
    s->store.methods = &methods;
    pthread_mutex_init(&s->lock, NULL);
    store_batch_init(&s->unsynced);
    return &s->store;
}

void store_memory_crash(struct store *store)
{
    struct store_memory *s = self(store);
    pthread_mutex_lock(&s->lock);
    table_done(&s->now);
    s->now = table_copy(&s->synced);
    store_batch_clear(&s->unsynced);
    pthread_mutex_unlock(&s->lock);
}

void store_memory_fail_write(struct store *store, unsigned nth)
{
    self(store)->fail_in = nth;
    self(store)->fails_late = false;
}

void store_memory_fail_late(struct store *store, unsigned nth)
{
    self(store)->fail_in = nth;
    self(store)->fails_late = true;
}
