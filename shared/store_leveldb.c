#include "shared/store.h"

#include <leveldb/c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "shared/clock.h"
#include "shared/damage/store_check.h"
#include "shared/damage/store_salvage.h"
#include "shared/store_files.h"

enum { REOPEN_MS = 1000 };

struct store_leveldb {
    struct store store;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *write;
    leveldb_writeoptions_t *write_sync;
    char *path;
    _Atomic bool is_suspect;    /* damage was met, and marked for the next start */
    bool reopens;               /* what follows is for that alone */
    uint64_t reopen_bytes_free; /* what opening may write */
    pthread_rwlock_t lock;      /* read while `db` is used, written while it is replaced */
    _Atomic bool has_failed;
    int64_t tried_ns;
    _Atomic int views; /* iterators and snapshots */
};

struct iterator_leveldb {
    struct store_iterator iterator;
    struct store_leveldb *store;
    leveldb_iterator_t *it;
    leveldb_readoptions_t *read; /* owned when a snapshot is read, else NULL */
    bool has_failed;
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

/* The same of an open store: after damage its next start reads it whole, and says where. */
static bool fail_open(struct store_leveldb *s, struct error *err, char *text, const char *what)
{
    (void)fail(err, text, what);
    if (err->kind == ERROR_CORRUPT && !s->is_suspect) {
        s->is_suspect = true;
        store_check_suspect(s->path);
    }
    return error_add_context(err, "%s", s->path);
}

/* ---- Opening anew after a failed write ---- */

/* Begin to use the database. False: there is none at the moment. */
static bool enter(struct store_leveldb *s, struct error *err)
{
    if (!s->reopens) {
        return true;
    }
    pthread_rwlock_rdlock(&s->lock);
    if (s->db != NULL) {
        return true;
    }
    pthread_rwlock_unlock(&s->lock);
    return error_set(err, ERROR_UNAVAILABLE, "%s: closed after a failed write", s->path);
}

static void leave(struct store_leveldb *s)
{
    if (s->reopens) {
        pthread_rwlock_unlock(&s->lock);
    }
}

static bool has_room(const struct store_leveldb *s)
{
    struct statvfs disk;
    return statvfs(s->path, &disk) == 0 &&
           (uint64_t)disk.f_bavail * disk.f_frsize >= s->reopen_bytes_free;
}

/* With the lock for writing. Without room the database stays as it is, for reading. */
static bool reopen(struct store_leveldb *s, struct error *err)
{
    char *text = NULL;
    int64_t now = clock_monotonic_ns(&clock_real);
    if (!s->has_failed) {
        return true; /* by another thread, meanwhile */
    }
    if (s->views > 0 || now - s->tried_ns < REOPEN_MS * 1000000LL || !has_room(s)) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "%s: takes no writes after one has failed, until the disk has room",
                         s->path);
    }
    s->tried_ns = now;
    if (s->db != NULL) {
        leveldb_close(s->db);
        s->db = NULL;
    }
    /* What was written of a record that failed is torn, and LevelDB would take it for damage. */
    if (!store_check(s->path, 0, err)) {
        return false;
    }
    s->db = leveldb_open(s->options, s->path, &text);
    s->has_failed = text != NULL;
    return text == NULL || fail(err, text, s->path);
}

static bool recover(struct store_leveldb *s, struct error *err)
{
    pthread_rwlock_wrlock(&s->lock);
    bool fine = reopen(s, err);
    pthread_rwlock_unlock(&s->lock);
    return fine;
}

static bool leveldb_write_batch(struct store *store, const struct store_batch *batch, bool sync,
                                struct error *err)
{
    struct store_leveldb *s = self(store);
    struct store_op op;
    size_t at = 0;
    char *text = NULL;
    if ((s->reopens && s->has_failed && !recover(s, err)) || !enter(s, err)) {
        return error_add_context(err, "writing the store");
    }
    leveldb_writebatch_t *wb = leveldb_writebatch_create();
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
    if (text != NULL) {
        s->has_failed = true;
    }
    leave(s);
    return text == NULL || fail_open(s, err, text, "writing");
}

static leveldb_readoptions_t *read_options(const struct store_snapshot *snapshot)
{
    leveldb_readoptions_t *read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(read, 1);
    leveldb_readoptions_set_snapshot(read, (const leveldb_snapshot_t *)(const void *)snapshot);
    return read;
}

static bool leveldb_get_value(struct store *store, const struct store_snapshot *snapshot,
                              struct slice key, struct buf *ret, bool *ret_found, struct error *err)
{
    struct store_leveldb *s = self(store);
    size_t len = 0;
    char *text = NULL;
    if (!enter(s, err)) {
        return error_add_context(err, "reading the store");
    }
    leveldb_readoptions_t *read = snapshot == NULL ? s->read : read_options(snapshot);
    char *value = leveldb_get(s->db, read, (const char *)key.data, key.len, &len, &text);
    if (snapshot != NULL) {
        leveldb_readoptions_destroy(read);
    }
    leave(s);
    if (text != NULL) {
        return fail_open(s, err, text, "reading");
    }
    *ret_found = value != NULL;
    bool fits = value == NULL || buf_append(ret, value, len);
    leveldb_free(value);
    return fits || error_set(err, ERROR_CORRUPT, "a stored value of %zu bytes is too long", len);
}

static struct store_snapshot *leveldb_open_snapshot(struct store *store)
{
    struct store_leveldb *s = self(store);
    struct error err;
    union {
        const leveldb_snapshot_t *from;
        struct store_snapshot *to;
    } cast = {.to = NULL}; /* "now", which cannot be read either */
    if (enter(s, &err)) {
        cast.from = leveldb_create_snapshot(s->db);
        s->views++;
        leave(s);
    }
    return cast.to;
}

static void leveldb_close_snapshot(struct store *store, struct store_snapshot *snapshot)
{
    if (snapshot != NULL) {
        leveldb_release_snapshot(self(store)->db,
                                 (const leveldb_snapshot_t *)(const void *)snapshot);
        self(store)->views--;
    }
}

static void it_close(struct store_iterator *iterator)
{
    struct iterator_leveldb *i = (struct iterator_leveldb *)iterator;
    if (i->it != NULL) {
        leveldb_iter_destroy(i->it);
        i->store->views--;
    }
    if (i->read != NULL) {
        leveldb_readoptions_destroy(i->read);
    }
    free(i);
}

static leveldb_iterator_t *raw(const struct store_iterator *iterator)
{
    return ((const struct iterator_leveldb *)(const void *)iterator)->it;
}

/* Behind a block that cannot be read LevelDB goes on with the next one. */
static void note_failure(struct store_iterator *iterator)
{
    char *text = NULL;
    leveldb_iter_get_error(raw(iterator), &text);
    if (text != NULL) {
        ((struct iterator_leveldb *)iterator)->has_failed = true;
        leveldb_free(text);
    }
}

/* An iterator over a database that is closed at the moment has nothing below it: it is never valid,
 * and says why when it is checked. */
static void it_seek(struct store_iterator *iterator, struct slice key)
{
    if (raw(iterator) == NULL) {
        return;
    }
    leveldb_iter_seek(raw(iterator), (const char *)key.data, key.len);
    note_failure(iterator);
}

static void it_seek_before(struct store_iterator *iterator, struct slice key)
{
    if (raw(iterator) == NULL) {
        return;
    }
    it_seek(iterator, key);
    if (leveldb_iter_valid(raw(iterator))) {
        leveldb_iter_prev(raw(iterator));
    } else {
        leveldb_iter_seek_to_last(raw(iterator));
    }
    note_failure(iterator);
}

static void it_next(struct store_iterator *iterator)
{
    leveldb_iter_next(raw(iterator));
    note_failure(iterator);
}

static void it_prev(struct store_iterator *iterator)
{
    leveldb_iter_prev(raw(iterator));
    note_failure(iterator);
}

static bool it_valid(const struct store_iterator *iterator)
{
    const struct iterator_leveldb *i = (const struct iterator_leveldb *)(const void *)iterator;
    return i->it != NULL && !i->has_failed && leveldb_iter_valid(i->it) != 0;
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
    if (raw(iterator) == NULL) {
        return error_set(err, ERROR_UNAVAILABLE, "reading the store: closed after a failed write");
    }
    leveldb_iter_get_error(raw(iterator), &text);
    return text == NULL ||
           fail_open(((const struct iterator_leveldb *)(const void *)iterator)->store, err, text,
                     "reading");
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
    struct error err;
    i->iterator.methods = &iterator_methods;
    i->store = s;
    if (enter(s, &err)) {
        i->read = snapshot == NULL ? NULL : read_options(snapshot);
        i->it = leveldb_create_iterator(s->db, i->read == NULL ? s->read : i->read);
        s->views++;
        leave(s);
    }
    return &i->iterator;
}

static uint64_t leveldb_size(struct store *store, struct slice from, struct slice to)
{
    const char *start = (const char *)from.data;
    const char *limit = (const char *)to.data;
    uint64_t size = 0;
    struct error err;
    if (enter(self(store), &err)) {
        leveldb_approximate_sizes(self(store)->db, 1, &start, &from.len, &limit, &to.len, &size);
        leave(self(store));
    }
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
    pthread_rwlock_destroy(&s->lock);
    free(s->path);
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
    leveldb_options_set_env(s->options, store_files_env(o->maps_tables));
    leveldb_options_set_create_if_missing(s->options, 1);
    /* Checksums count for compactions, and for the index and the filter of a table, too. */
    leveldb_options_set_paranoid_checks(s->options, 1);
    leveldb_options_set_filter_policy(s->options, s->filter);
    leveldb_options_set_cache(s->options, s->cache);
    leveldb_options_set_write_buffer_size(s->options, o->write_buffer_bytes);
    leveldb_options_set_max_file_size(s->options, o->table_bytes);
    leveldb_options_set_max_open_files(s->options, o->open_files_max);
    leveldb_options_set_compression(s->options, o->compress ? leveldb_snappy_compression
                                                            : leveldb_no_compression);
    s->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(s->read, 1);
    s->write = leveldb_writeoptions_create();
    s->write_sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(s->write_sync, 1);
}

static struct store_leveldb *store_leveldb_new(const char *path,
                                               const struct store_options *options)
{
    struct store_leveldb *s = memory_allocate_zeroed(sizeof *s);
    s->store.methods = &methods;
    s->reopens = options->reopens;
    s->path = strdup(path);
    ensure(s->path != NULL);
    /* The log that is read again becomes a table, beside a new log and a new manifest. */
    s->reopen_bytes_free = 2 * options->write_buffer_bytes + options->table_bytes / 4;
    pthread_rwlock_init(&s->lock, NULL);
    set_options(s, options);
    return s;
}

bool store_leveldb_open(const char *path, const struct store_options *options,
                        struct store **ret_store, struct error *err)
{
    char *text = NULL;
    if (!store_check(path, options->check_bytes_max, err)) {
        return false;
    }
    struct store_leveldb *s = store_leveldb_new(path, options);
    s->db = leveldb_open(s->options, path, &text);
    if (text != NULL) {
        leveldb_close_store(&s->store);
        return fail(err, text, path);
    }
    *ret_store = &s->store;
    return true;
}

/* LevelDB's repair puts all tables into level 0, where the newer file hides the older; merged, the
 * newer write does. And once it was opened, the logs are tables, and what they lack is no gap any
 * more. */
static bool settle(struct store_leveldb *s, bool needs_repair, struct error *err)
{
    char *text = NULL;
    if (needs_repair) {
        leveldb_repair_db(s->options, s->path, &text);
    }
    if (text == NULL) {
        s->db = leveldb_open(s->options, s->path, &text);
    }
    if (text == NULL && needs_repair) {
        leveldb_compact_range(s->db, NULL, 0, NULL, 0);
    }
    return text == NULL || fail(err, text, "opening what was saved");
}

bool store_leveldb_salvage(const char *path, const struct store_options *options,
                           struct salvage_report *report, struct error *err)
{
    if (!store_salvage(path, report, err)) {
        return false;
    }
    struct store_leveldb *s = store_leveldb_new(path, options);
    bool fine = report->damaged_files == 0 || settle(s, report->needs_repair, err);
    leveldb_close_store(&s->store);
    return fine || error_add_context(err, "%s", path);
}

bool store_leveldb_destroy(const char *path, struct error *err)
{
    leveldb_options_t *options = leveldb_options_create();
    char *text = NULL;
    leveldb_destroy_db(options, path, &text);
    leveldb_options_destroy(options);
    return text == NULL || fail(err, text, path);
}
