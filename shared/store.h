/* The store seam: an ordered map from bytes to bytes with atomic batches.
 *
 * Guarantee: a batch is applied whole or not at all, in the order of the calls; after a write with
 * sync = true everything written so far survives a power cut; without it, the newest writes may
 * be lost but never out of order. Reading through a snapshot sees the moment it was taken.
 *
 * Threads: get, iterators and snapshots may be used by any thread beside one writing thread.
 * Iterators and batches belong to one thread.
 *
 * Implementations: store_leveldb.c for real, store_memory.c for tests (it can forget what was not
 * synced and fail on demand). One conformance suite, store_test.c, holds both to this page.
 */
#ifndef TRIBUTARY_SHARED_STORE_H
#define TRIBUTARY_SHARED_STORE_H

#include "shared/buf.h"
#include "shared/error.h"

struct store;
struct store_snapshot;
struct store_iterator;

/* A list of changes, in the memory of the caller; reuse it with store_batch_clear(). */
struct store_batch {
    struct buf ops;
    size_t count;
};

void store_batch_init(struct store_batch *batch);
void store_batch_done(struct store_batch *batch);
void store_batch_clear(struct store_batch *batch);
/* Keys and values are copied. */
void store_batch_put(struct store_batch *batch, struct slice key, struct slice value);
void store_batch_delete(struct store_batch *batch, struct slice key);

/* One change of a batch, for implementations: *at starts at 0; false at the end. */
struct store_op {
    bool is_delete;
    struct slice key;
    struct slice value;
};
bool store_batch_next(const struct store_batch *batch, size_t *at, struct store_op *ret);

MUST_CHECK bool store_write(struct store *store, const struct store_batch *batch, bool sync,
                            struct error *err);

/* Read the value into *ret (replacing what was in it). A missing key is a result: *ret_found. */
MUST_CHECK bool store_get(struct store *store, const struct store_snapshot *snapshot,
                          struct slice key, struct buf *ret, bool *ret_found, struct error *err);

/* A view of this moment; NULL in its place means "now". Close before the store. */
struct store_snapshot *store_snapshot_open(struct store *store);
void store_snapshot_close(struct store *store, struct store_snapshot **snapshot);

/* Iterators see the moment they were opened, or the snapshot. They start nowhere: seek first. */
struct store_iterator *store_iterator_open(struct store *store,
                                           const struct store_snapshot *snapshot);
void store_iterator_close(struct store_iterator **iterator);
/* To the first key >= `key`; the last key < `key`. */
void store_iterator_seek(struct store_iterator *iterator, struct slice key);
void store_iterator_seek_before(struct store_iterator *iterator, struct slice key);
void store_iterator_next(struct store_iterator *iterator);
void store_iterator_prev(struct store_iterator *iterator);
/* False at the end, and after a read error, which store_iterator_check() tells apart. */
bool store_iterator_valid(const struct store_iterator *iterator);
/* Borrowed until the iterator moves. */
struct slice store_iterator_key(const struct store_iterator *iterator);
struct slice store_iterator_value(const struct store_iterator *iterator);
MUST_CHECK bool store_iterator_check(const struct store_iterator *iterator, struct error *err);

/* About how many bytes the keys in [from, to) take on disk. */
uint64_t store_size(struct store *store, struct slice from, struct slice to);

/* Close and set *store to NULL. Closing NULL is allowed. */
void store_close(struct store **store);

struct store_options {
    size_t write_buffer_bytes; /* memory held twice at most, before a table is written */
    size_t cache_bytes;        /* uncompressed blocks kept for reading */
    size_t table_bytes;        /* size of a table file */
    int open_files_max;
    size_t check_bytes_max; /* of tables, the newest first, that are read whole when it is opened */
    bool compress;          /* off where values are compressed or sealed already */
    /* Faster to read at random; but what was read counts as resident memory, whatever its size. */
    bool maps_tables;
    /* LevelDB takes no more writes after one that failed, and what it would write behind one may
     * not be found again. For a process that goes on after a failed write: the store is opened anew
     * before the next one, when the disk has room again and no iterator or snapshot is open. Costs
     * a lock for each operation. */
    bool reopens;
};

/* Open or create the LevelDB in folder `path`, for this process alone.
 *
 * Guarantee: what was acknowledged is read back as it was written, or said to be damaged
 * (ERROR_CORRUPT): checksums are held to at every read, in compactions, and when it is opened,
 * where what a power cut left torn is no damage (damage/store_check.h). */
MUST_CHECK bool store_leveldb_open(const char *path, const struct store_options *options,
                                   struct store **ret_store, struct error *err);

/* Make a LevelDB that is damaged one that can be opened, as store_salvage() says, which also tells
 * what of it is lost. Nobody may have it open. */
struct salvage_report;
MUST_CHECK bool store_leveldb_salvage(const char *path, const struct store_options *options,
                                      struct salvage_report *report, struct error *err);

/* Delete the LevelDB in folder `path`, which nobody may have open. */
MUST_CHECK bool store_leveldb_destroy(const char *path, struct error *err);

/* An empty store in memory. */
struct store *store_memory_open(void);
/* As a power cut would: everything since the last synced write is gone. */
void store_memory_crash(struct store *store);
/* Fail the nth write from now (1: the next) with ERROR_UNAVAILABLE, applying nothing; 0: never. */
void store_memory_fail_write(struct store *store, unsigned nth);
/* The same, but apply it: as a disk that has the bytes and fails to say so. */
void store_memory_fail_late(struct store *store, unsigned nth);

/* For implementations: the table of functions that stands first in every struct store. */
struct store_methods {
    bool (*write)(struct store *, const struct store_batch *, bool sync, struct error *);
    bool (*get)(struct store *, const struct store_snapshot *, struct slice key, struct buf *ret,
                bool *ret_found, struct error *);
    struct store_snapshot *(*snapshot_open)(struct store *);
    void (*snapshot_close)(struct store *, struct store_snapshot *);
    struct store_iterator *(*iterator_open)(struct store *, const struct store_snapshot *);
    uint64_t (*size)(struct store *, struct slice from, struct slice to);
    void (*close)(struct store *);
};
struct store_iterator_methods {
    void (*close)(struct store_iterator *);
    void (*seek)(struct store_iterator *, struct slice);
    void (*seek_before)(struct store_iterator *, struct slice);
    void (*next)(struct store_iterator *);
    void (*prev)(struct store_iterator *);
    bool (*valid)(const struct store_iterator *);
    struct slice (*key)(const struct store_iterator *);
    struct slice (*value)(const struct store_iterator *);
    bool (*check)(const struct store_iterator *, struct error *);
};
struct store {
    const struct store_methods *methods;
};
struct store_iterator {
    const struct store_iterator_methods *methods;
};

#endif
