#include "shared/store.h"

#include <leveldb/c.h>
#include <stdlib.h>

struct store_leveldb {
    struct store store;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *write;
    leveldb_writeoptions_t *write_sync;
};

struct iterator_leveldb {
    struct store_iterator iterator;
    leveldb_iterator_t *it;
    leveldb_readoptions_t *read; /* owned when a snapshot is read, else NULL */
};

static struct store_leveldb *self(struct store *store)
{
    return (struct store_leveldb *)store;
}

/* LevelDB reports failures as text; damage is told apart by the text it begins with. */
static bool fail(struct error *err, char *text, const char *what)
{
    bool corrupt = strncmp(text, "Corruption", strlen("Corruption")) == 0;
    error_set(err, corrupt ? ERROR_CORRUPT : ERROR_UNAVAILABLE, "%s: %s", what, text);
    leveldb_free(text);
    return false;
}

static bool leveldb_write_batch(struct store *store, const struct store_batch *batch, bool sync,
                                struct error *err)
{
    struct store_leveldb *s = self(store);
    leveldb_writebatch_t *wb = leveldb_writebatch_create();
    struct store_op op;
    size_t at = 0;
    char *text = NULL;
    while (store_batch_next(batch, &at, &op)) {
        if (op.is_delete) {
            leveldb_writebatch_delete(wb, (const char *)op.key.data, op.key.len);
        } else {
            leveldb_writebatch_put(wb, (const char *)op.key.data, op.key.len,
                                   (const char *)op.value.data, op.value.len);
        }
    }
    leveldb_write(s->db, sync ? s->write_sync : s->write, wb, &text);
    leveldb_writebatch_destroy(wb);
    return text == NULL || fail(err, text, "writing the store");
}

static leveldb_readoptions_t *read_options(const struct store_snapshot *snapshot)
{
    leveldb_readoptions_t *read = leveldb_readoptions_create();
    leveldb_readoptions_set_snapshot(read, (const leveldb_snapshot_t *)(const void *)snapshot);
    return read;
}

static bool leveldb_get_value(struct store *store, const struct store_snapshot *snapshot,
                              struct slice key, struct buf *ret, bool *ret_found, struct error *err)
{
    struct store_leveldb *s = self(store);
    leveldb_readoptions_t *read = snapshot == NULL ? s->read : read_options(snapshot);
    size_t len = 0;
    char *text = NULL;
    char *value = leveldb_get(s->db, read, (const char *)key.data, key.len, &len, &text);
    if (snapshot != NULL) {
        leveldb_readoptions_destroy(read);
    }
    if (text != NULL) {
        return fail(err, text, "reading the store");
    }
    *ret_found = value != NULL;
    bool fits = value == NULL || buf_append(ret, value, len);
    leveldb_free(value);
    return fits || error_set(err, ERROR_CORRUPT, "a stored value of %zu bytes is too long", len);
}

static struct store_snapshot *leveldb_open_snapshot(struct store *store)
{
    const leveldb_snapshot_t *snapshot = leveldb_create_snapshot(self(store)->db);
    union {
        const leveldb_snapshot_t *from;
        struct store_snapshot *to;
    } cast = {.from = snapshot};
    return cast.to;
}

static void leveldb_close_snapshot(struct store *store, struct store_snapshot *snapshot)
{
    leveldb_release_snapshot(self(store)->db, (const leveldb_snapshot_t *)(const void *)snapshot);
}

static void it_close(struct store_iterator *iterator)
{
    struct iterator_leveldb *i = (struct iterator_leveldb *)iterator;
    leveldb_iter_destroy(i->it);
    if (i->read != NULL) {
        leveldb_readoptions_destroy(i->read);
    }
    free(i);
}

static leveldb_iterator_t *raw(const struct store_iterator *iterator)
{
    return ((const struct iterator_leveldb *)(const void *)iterator)->it;
}

static void it_seek(struct store_iterator *iterator, struct slice key)
{
    leveldb_iter_seek(raw(iterator), (const char *)key.data, key.len);
}

static void it_seek_before(struct store_iterator *iterator, struct slice key)
{
    it_seek(iterator, key);
    if (leveldb_iter_valid(raw(iterator))) {
        leveldb_iter_prev(raw(iterator));
    } else {
        leveldb_iter_seek_to_last(raw(iterator));
    }
}

static void it_next(struct store_iterator *iterator)
{
    leveldb_iter_next(raw(iterator));
}

static void it_prev(struct store_iterator *iterator)
{
    leveldb_iter_prev(raw(iterator));
}

static bool it_valid(const struct store_iterator *iterator)
{
    return leveldb_iter_valid(raw(iterator)) != 0;
}

static struct slice it_key(const struct store_iterator *iterator)
{
    size_t len;
    const char *key = leveldb_iter_key(raw(iterator), &len);
    return slice_make(key, len);
}

static struct slice it_value(const struct store_iterator *iterator)
{
    size_t len;
    const char *value = leveldb_iter_value(raw(iterator), &len);
    return slice_make(value, len);
}

static bool it_check(const struct store_iterator *iterator, struct error *err)
{
    char *text = NULL;
    leveldb_iter_get_error(raw(iterator), &text);
    return text == NULL || fail(err, text, "reading the store");
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

static struct store_iterator *leveldb_open_iterator(struct store *store,
                                                    const struct store_snapshot *snapshot)
{
    struct store_leveldb *s = self(store);
    struct iterator_leveldb *i = memory_allocate_zeroed(sizeof *i);
    i->iterator.methods = &iterator_methods;
    i->read = snapshot == NULL ? NULL : read_options(snapshot);
    i->it = leveldb_create_iterator(s->db, i->read == NULL ? s->read : i->read);
    return &i->iterator;
}

static uint64_t leveldb_size(struct store *store, struct slice from, struct slice to)
{
    const char *start = (const char *)from.data;
    const char *limit = (const char *)to.data;
    uint64_t size = 0;
    leveldb_approximate_sizes(self(store)->db, 1, &start, &from.len, &limit, &to.len, &size);
    return size;
}

static void leveldb_close_store(struct store *store)
{
    struct store_leveldb *s = self(store);
    if (s->db != NULL) {
        leveldb_close(s->db);
    }
    leveldb_readoptions_destroy(s->read);
    leveldb_writeoptions_destroy(s->write);
    leveldb_writeoptions_destroy(s->write_sync);
    leveldb_options_destroy(s->options);
    if (s->cache != NULL) {
        leveldb_cache_destroy(s->cache);
    }
    leveldb_filterpolicy_destroy(s->filter);
    free(s);
}

static const struct store_methods methods = {
    .write = leveldb_write_batch,
    .get = leveldb_get_value,
    .snapshot_open = leveldb_open_snapshot,
    .snapshot_close = leveldb_close_snapshot,
    .iterator_open = leveldb_open_iterator,
    .size = leveldb_size,
    .close = leveldb_close_store,
};

static void set_options(struct store_leveldb *s, const struct store_options *o)
{
    s->options = leveldb_options_create();
    s->filter = leveldb_filterpolicy_create_bloom(10);
    s->cache = leveldb_cache_create_lru(o->cache_bytes);
    leveldb_options_set_create_if_missing(s->options, 1);
    leveldb_options_set_filter_policy(s->options, s->filter);
    leveldb_options_set_cache(s->options, s->cache);
    leveldb_options_set_write_buffer_size(s->options, o->write_buffer_bytes);
    leveldb_options_set_max_file_size(s->options, o->table_bytes);
    leveldb_options_set_max_open_files(s->options, o->open_files_max);
    leveldb_options_set_compression(s->options, o->compress ? leveldb_snappy_compression
                                                            : leveldb_no_compression);
    s->read = leveldb_readoptions_create();
    s->write = leveldb_writeoptions_create();
    s->write_sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(s->write_sync, 1);
}

bool store_leveldb_open(const char *path, const struct store_options *options,
                        struct store **ret_store, struct error *err)
{
    struct store_leveldb *s = memory_allocate_zeroed(sizeof *s);
    char *text = NULL;
    s->store.methods = &methods;
    set_options(s, options);
    s->db = leveldb_open(s->options, path, &text);
    if (text != NULL) {
        leveldb_close_store(&s->store);
        return fail(err, text, path);
    }
    *ret_store = &s->store;
    return true;
}

bool store_leveldb_destroy(const char *path, struct error *err)
{
    leveldb_options_t *options = leveldb_options_create();
    char *text = NULL;
    leveldb_destroy_db(options, path, &text);
    leveldb_options_destroy(options);
    return text == NULL || fail(err, text, path);
}
