/* One suite holds every implementation of the store to store.h; a few tests more are for what only
 * the memory store can do, and for what LevelDB must keep on disk. */
#include "shared/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/clock.h"
#include "shared/rand.h"
#include "shared/test_disk.h"

struct fixture {
    bool is_leveldb;
    char path[TEST_FOLDER_BYTES];
    struct store *store;
    struct store_batch batch;
    struct buf value;
};

static const struct store_options options = {.write_buffer_bytes = 64 * 1024,
                                             .cache_bytes = 64 * 1024,
                                             .table_bytes = 64 * 1024,
                                             .open_files_max = 64,
                                             .compress = true};

static void open_leveldb(struct fixture *f)
{
    struct error err;
    if (!store_leveldb_open(f->path, &options, &f->store, &err)) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state, bool is_leveldb)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    f->is_leveldb = is_leveldb;
    store_batch_init(&f->batch);
    buf_init(&f->value, 1024 * 1024);
    if (is_leveldb) {
        test_folder_make(f->path);
        open_leveldb(f);
    } else {
        f->store = store_memory_open();
    }
    *state = f;
    return 0;
}

static int set_up_memory(void **state)
{
    return set_up(state, false);
}

static int set_up_leveldb(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    store_batch_done(&f->batch);
    buf_done(&f->value);
    if (f->is_leveldb) {
        test_folder_remove(f->path);
    }
    free(f);
    return 0;
}

static bool write_batch(struct fixture *f, bool sync)
{
    struct error err = {.kind = ERROR_NONE};
    bool fine = store_write(f->store, &f->batch, sync, &err);
    assert_true(fine || err.kind == ERROR_UNAVAILABLE);
    store_batch_clear(&f->batch);
    return fine;
}

static void put(struct fixture *f, const char *key, const char *value)
{
    store_batch_put(&f->batch, slice_text(key), slice_text(value));
    assert_true(write_batch(f, false));
}

static void erase(struct fixture *f, const char *key)
{
    store_batch_delete(&f->batch, slice_text(key));
    assert_true(write_batch(f, false));
}

/* The value, or "-" where there is none. */
static const char *get_at(struct fixture *f, const struct store_snapshot *snapshot, const char *key)
{
    struct error err;
    bool found = false;
    assert_true(store_get(f->store, snapshot, slice_text(key), &f->value, &found, &err));
    if (!found) {
        assert_int_equal(f->value.len, 0);
        return "-";
    }
    buf_put_u8(&f->value, 0);
    return (const char *)f->value.data;
}

static const char *get(struct fixture *f, const char *key)
{
    return get_at(f, NULL, key);
}

/* "key=value " of all from where the iterator stands, forwards or backwards. */
static const char *walk(struct fixture *f, struct store_iterator *it, bool backwards)
{
    struct error err;
    buf_clear(&f->value);
    while (store_iterator_valid(it)) {
        buf_put_slice(&f->value, store_iterator_key(it));
        buf_put_u8(&f->value, '=');
        buf_put_slice(&f->value, store_iterator_value(it));
        buf_put_u8(&f->value, ' ');
        if (backwards) {
            store_iterator_prev(it);
        } else {
            store_iterator_next(it);
        }
    }
    assert_true(store_iterator_check(it, &err));
    buf_put_u8(&f->value, 0);
    return (const char *)f->value.data;
}

static const char *all(struct fixture *f, const struct store_snapshot *snapshot)
{
    struct store_iterator *it = store_iterator_open(f->store, snapshot);
    store_iterator_seek(it, slice_make(NULL, 0));
    const char *text = walk(f, it, false);
    store_iterator_close(&it);
    assert_null(it);
    return text;
}

static void test_a_missing_key_is_a_result(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, "a"), "-");
    put(f, "ab", "1");
    assert_string_equal(get(f, "a"), "-");
    assert_string_equal(get(f, "abc"), "-");
    assert_string_equal(get(f, ""), "-");
    assert_string_equal(all(f, NULL), "ab=1 ");
}

static void test_a_later_value_replaces_and_a_deletion_removes(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    put(f, "a", "22");
    assert_string_equal(get(f, "a"), "22");
    put(f, "a", "");
    assert_string_equal(get(f, "a"), ""); /* empty is not missing */
    erase(f, "a");
    assert_string_equal(get(f, "a"), "-");
    erase(f, "a");
    assert_string_equal(all(f, NULL), "");
}

static void test_a_batch_is_applied_in_the_order_of_its_calls(void **state)
{
    struct fixture *f = *state;
    store_batch_put(&f->batch, slice_text("a"), slice_text("1"));
    store_batch_put(&f->batch, slice_text("a"), slice_text("2"));
    store_batch_put(&f->batch, slice_text("b"), slice_text("1"));
    store_batch_delete(&f->batch, slice_text("b"));
    store_batch_delete(&f->batch, slice_text("c"));
    store_batch_put(&f->batch, slice_text("c"), slice_text("3"));
    assert_int_equal(f->batch.count, 6);
    assert_string_equal(all(f, NULL), ""); /* nothing before the write */
    assert_true(write_batch(f, true));
    assert_int_equal(f->batch.count, 0);
    assert_string_equal(all(f, NULL), "a=2 c=3 ");
    assert_true(write_batch(f, true)); /* an empty batch is fine */
    assert_true(write_batch(f, false));
    assert_string_equal(all(f, NULL), "a=2 c=3 ");
}

static void test_a_batch_copies_keys_and_values(void **state)
{
    struct fixture *f = *state;
    char key[] = "key";
    char value[] = "value";
    store_batch_put(&f->batch, slice_text(key), slice_text(value));
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    assert_true(write_batch(f, false));
    assert_string_equal(all(f, NULL), "key=value ");
}

static void test_keys_are_in_byte_order_and_may_hold_anything(void **state)
{
    static const struct {
        const char *key;
        size_t len;
    } keys[] = {{"", 0},   {"\0", 1}, {"\0\0", 2}, {"\0\xff", 2}, {"a", 1},    {"a\0", 2},
                {"aa", 2}, {"b", 1},  {"\x7f", 1}, {"\x80", 1},   {"\xff", 1}, {"\xff\xff", 2}};
    enum { KEYS = sizeof keys / sizeof *keys };
    struct fixture *f = *state;
    for (size_t i = KEYS; i-- > 0;) {
        store_batch_put(&f->batch, slice_make(keys[i].key, keys[i].len),
                        slice_make(&keys[i].len, 1));
    }
    assert_true(write_batch(f, true));
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    store_iterator_seek(it, slice_make(NULL, 0));
    for (size_t i = 0; i < KEYS; i++) {
        assert_true(store_iterator_valid(it));
        assert_true(slice_equal(store_iterator_key(it), slice_make(keys[i].key, keys[i].len)));
        store_iterator_next(it);
    }
    assert_false(store_iterator_valid(it));
    store_iterator_close(&it);
}

static void test_seeking_finds_the_first_not_before_and_the_last_before(void **state)
{
    static const struct {
        const char *key;
        const char *at; /* "-": not valid */
        const char *before;
    } rows[] = {
        {"", "b", "-"},  {"a", "b", "-"},  {"b", "b", "-"}, {"bb", "d", "b"}, {"c", "d", "b"},
        {"d", "d", "b"}, {"d0", "f", "d"}, {"f", "f", "d"}, {"g", "-", "f"},  {"z", "-", "f"},
    };
    struct fixture *f = *state;
    put(f, "d", "2");
    put(f, "f", "3");
    put(f, "b", "1");
    put(f, "c", "gone");
    erase(f, "c");
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    assert_false(store_iterator_valid(it));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int before = 0; before <= 1; before++) {
            const char *expected = before ? rows[i].before : rows[i].at;
            if (before) {
                store_iterator_seek_before(it, slice_text(rows[i].key));
            } else {
                store_iterator_seek(it, slice_text(rows[i].key));
            }
            bool valid = store_iterator_valid(it);
            if (valid != (expected[0] != '-') ||
                (valid && !slice_is(store_iterator_key(it), expected))) {
                fail_msg("seeking %s, before=%d", rows[i].key, before);
            }
        }
    }
    store_iterator_close(&it);
}

static void test_iterators_go_forwards_and_backwards_and_turn(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    put(f, "b", "2");
    put(f, "c", "3");
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    store_iterator_seek(it, slice_text("b"));
    assert_string_equal(walk(f, it, false), "b=2 c=3 ");
    store_iterator_seek(it, slice_text("b"));
    assert_string_equal(walk(f, it, true), "b=2 a=1 ");
    store_iterator_seek_before(it, slice_text("zzz"));
    assert_string_equal(walk(f, it, true), "c=3 b=2 a=1 ");
    store_iterator_seek(it, slice_text("a"));
    store_iterator_next(it);
    store_iterator_prev(it);
    assert_true(slice_is(store_iterator_key(it), "a"));
    store_iterator_next(it);
    store_iterator_next(it);
    store_iterator_prev(it);
    assert_true(slice_is(store_iterator_key(it), "b"));
    assert_true(slice_is(store_iterator_value(it), "2"));
    store_iterator_close(&it);
}

static void test_an_iterator_over_nothing_is_not_valid(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    assert_false(store_iterator_valid(it));
    store_iterator_seek(it, slice_text("a"));
    assert_false(store_iterator_valid(it));
    store_iterator_seek_before(it, slice_text("a"));
    assert_false(store_iterator_valid(it));
    assert_true(store_iterator_check(it, &err));
    store_iterator_close(&it);
    store_iterator_close(&it);
}

static void test_an_iterator_sees_the_moment_it_was_opened(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    put(f, "b", "2");
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    put(f, "a", "changed");
    put(f, "c", "3");
    erase(f, "b");
    store_iterator_seek(it, slice_text("a"));
    assert_string_equal(walk(f, it, false), "a=1 b=2 ");
    store_iterator_close(&it);
    assert_string_equal(all(f, NULL), "a=changed c=3 ");
}

static void test_a_snapshot_sees_its_moment_and_null_sees_now(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    struct store_snapshot *first = store_snapshot_open(f->store);
    put(f, "a", "2");
    put(f, "b", "1");
    struct store_snapshot *second = store_snapshot_open(f->store);
    erase(f, "a");
    assert_string_equal(get_at(f, first, "a"), "1");
    assert_string_equal(get_at(f, first, "b"), "-");
    assert_string_equal(get_at(f, second, "a"), "2");
    assert_string_equal(get(f, "a"), "-");
    assert_string_equal(all(f, first), "a=1 ");
    assert_string_equal(all(f, second), "a=2 b=1 ");
    assert_string_equal(all(f, NULL), "b=1 ");
    store_snapshot_close(f->store, &first);
    assert_null(first);
    assert_string_equal(get_at(f, second, "a"), "2");
    store_snapshot_close(f->store, &second);
    store_snapshot_close(f->store, &second);
}

static void test_reading_replaces_what_was_in_the_buffer(void **state)
{
    struct fixture *f = *state;
    struct error err;
    bool found = true;
    put(f, "a", "1");
    buf_put(&f->value, "old", 3);
    assert_true(store_get(f->store, NULL, slice_text("a"), &f->value, &found, &err));
    assert_true(found && slice_is(buf_slice(&f->value), "1"));
    assert_true(store_get(f->store, NULL, slice_text("b"), &f->value, &found, &err));
    assert_false(found);
    assert_int_equal(f->value.len, 0);
}

static void test_large_values_come_back_whole(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    struct error err;
    bool found;
    size_t len = 700000;
    uint8_t *bytes = memory_allocate(len);
    rand_seeded_init(&rand, 41);
    rand_fill(&rand, bytes, len);
    store_batch_put(&f->batch, slice_text("large"), slice_make(bytes, len));
    assert_true(write_batch(f, true));
    assert_true(store_get(f->store, NULL, slice_text("large"), &f->value, &found, &err));
    assert_true(found && slice_equal(buf_slice(&f->value), slice_make(bytes, len)));
    free(bytes);
}

/* Against a plain array of the values of 64 keys. */
static void test_seeded_random_changes_agree_with_a_model(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    int model[64];
    rand_seeded_init(&rand, 42);
    memset(model, -1, sizeof model);
    for (int round = 0; round < 400; round++) {
        for (uint64_t n = rand_below(&rand, 20); n > 0; n--) {
            char key[16];
            char value[16];
            size_t k = rand_below(&rand, 64);
            model[k] = rand_below(&rand, 3) == 0 ? -1 : (int)rand_below(&rand, 100000);
            snprintf(key, sizeof key, "k%02zu", k);
            snprintf(value, sizeof value, "%d", model[k]);
            if (model[k] < 0) {
                store_batch_delete(&f->batch, slice_text(key));
            } else {
                store_batch_put(&f->batch, slice_text(key), slice_text(value));
            }
        }
        assert_true(write_batch(f, round % 50 == 0));
        char expected[64 * 24] = "";
        size_t len = 0;
        for (size_t k = 0; k < 64; k++) {
            if (model[k] >= 0) {
                len += (size_t)snprintf(expected + len, sizeof expected - len, "k%02zu=%d ", k,
                                        model[k]);
            }
        }
        if (strcmp(all(f, NULL), expected) != 0) {
            fail_msg("seed 42, round %d", round);
        }
    }
}

static void test_the_size_of_a_range_is_about_that_of_its_content(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    rand_seeded_init(&rand, 43);
    assert_int_equal(store_size(f->store, slice_text("a"), slice_text("z")), 0);
    for (int i = 0; i < 500; i++) {
        char key[16];
        uint8_t noise[2000];
        rand_fill(&rand, noise, sizeof noise);
        snprintf(key, sizeof key, "m%04d", i);
        store_batch_put(&f->batch, slice_text(key), slice_make(noise, sizeof noise));
        assert_true(write_batch(f, false));
    }
    /* LevelDB does not count what is still in its write buffer. */
    assert_in_range(store_size(f->store, slice_text("a"), slice_text("z")), 700000, 1300000);
    assert_in_range(store_size(f->store, slice_text("n"), slice_text("z")), 0, 10000);
}

struct readers {
    struct fixture *f;
    atomic_bool stop;
    atomic_int wrong;
};

/* "a" and "b" are always written together. */
static void *read_pairs(void *arg)
{
    struct readers *r = arg;
    struct buf a;
    struct buf b;
    buf_init(&a, 64);
    buf_init(&b, 64);
    while (!atomic_load(&r->stop)) {
        struct error err;
        bool found_a = false;
        bool found_b = false;
        struct store_snapshot *snapshot = store_snapshot_open(r->f->store);
        bool fine = store_get(r->f->store, snapshot, slice_text("a"), &a, &found_a, &err) &&
                    store_get(r->f->store, snapshot, slice_text("b"), &b, &found_b, &err);
        struct store_iterator *it = store_iterator_open(r->f->store, snapshot);
        store_iterator_seek(it, slice_text("b"));
        bool same = found_a == found_b && slice_equal(buf_slice(&a), buf_slice(&b)) &&
                    (!found_b || (store_iterator_valid(it) &&
                                  slice_equal(store_iterator_value(it), buf_slice(&a))));
        store_iterator_close(&it);
        store_snapshot_close(r->f->store, &snapshot);
        if (!fine || !same) {
            atomic_fetch_add(&r->wrong, 1);
        }
    }
    buf_done(&a);
    buf_done(&b);
    return NULL;
}

static void test_other_threads_read_whole_batches_beside_the_writer(void **state)
{
    struct readers r = {.f = *state};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_pairs, &r), 0);
    }
    for (int i = 0; i < 2000; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        if (i % 7 == 6) {
            store_batch_delete(&r.f->batch, slice_text("a"));
            store_batch_delete(&r.f->batch, slice_text("b"));
        } else {
            store_batch_put(&r.f->batch, slice_text("a"), slice_text(value));
            store_batch_put(&r.f->batch, slice_text("b"), slice_text(value));
        }
        assert_true(write_batch(r.f, false));
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&r.wrong), 0);
}

static void test_closing_nothing_is_allowed(void **state)
{
    struct store *none = NULL;
    (void)state;
    store_close(&none);
}

static void test_a_late_power_cut_loses_only_unsynced_writes(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "unsynced, but followed by a sync");
    store_batch_put(&f->batch, slice_text("b"), slice_text("synced"));
    store_batch_put(&f->batch, slice_text("c"), slice_text("synced"));
    assert_true(write_batch(f, true));
    put(f, "c", "too late");
    put(f, "d", "too late");
    erase(f, "b");
    assert_string_equal(all(f, NULL), "a=unsynced, but followed by a sync c=too late d=too late ");
    store_memory_crash(f->store);
    assert_string_equal(all(f, NULL), "a=unsynced, but followed by a sync b=synced c=synced ");
    put(f, "e", "1");
    assert_true(write_batch(f, true)); /* an empty synced batch syncs what was before it */
    store_memory_crash(f->store);
    assert_string_equal(get(f, "e"), "1");
    assert_string_equal(get(f, "d"), "-"); /* what was lost does not come back */
}

static void test_a_snapshot_outlives_a_crash(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    struct store_snapshot *snapshot = store_snapshot_open(f->store);
    store_memory_crash(f->store);
    assert_string_equal(get(f, "a"), "-");
    assert_string_equal(get_at(f, snapshot, "a"), "1");
    store_snapshot_close(f->store, &snapshot);
}

static void test_the_write_that_is_told_to_fails_whole_and_the_next_works(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    store_memory_fail_write(f->store, 2);
    put(f, "b", "2");
    store_batch_put(&f->batch, slice_text("a"), slice_text("never"));
    store_batch_put(&f->batch, slice_text("c"), slice_text("never"));
    assert_false(write_batch(f, true));
    assert_string_equal(all(f, NULL), "a=1 b=2 ");
    store_memory_crash(f->store); /* the failed write did not sync either */
    assert_string_equal(all(f, NULL), "");
    put(f, "d", "4");
    assert_string_equal(all(f, NULL), "d=4 ");
    store_memory_fail_write(f->store, 1);
    store_memory_fail_write(f->store, 0);
    put(f, "e", "5");
}

static void test_what_was_written_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    put(f, "a", "1");
    store_batch_put(&f->batch, slice_text("b"), slice_text("2"));
    assert_true(write_batch(f, true));
    store_close(&f->store);
    assert_null(f->store);
    open_leveldb(f);
    assert_string_equal(all(f, NULL), "a=1 b=2 ");
}

static void test_a_folder_is_opened_by_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct store *second = NULL;
    struct error err = {.kind = ERROR_NONE};
    assert_false(store_leveldb_open(f->path, &options, &second, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
    assert_non_null(strstr(err.message, f->path));
    assert_null(second);
}

static void test_a_folder_that_cannot_be_is_an_error(void **state)
{
    struct store *store = NULL;
    struct error err = {.kind = ERROR_NONE};
    (void)state;
    assert_false(store_leveldb_open("/dev/null/store", &options, &store, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
}

static void test_damage_on_disk_is_told_from_other_failures(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct error err = {.kind = ERROR_NONE};
    put(f, "a", "1");
    store_close(&f->store);
    snprintf(path, sizeof path, "%s/CURRENT", f->path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("MANIFEST-999999", file); /* without the end of line that belongs there */
    fclose(file);
    assert_false(store_leveldb_open(f->path, &options, &f->store, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
    f->store = NULL;
}

static bool put_numbered(struct fixture *f, int n)
{
    char key[16];
    char value[3000];
    struct error err;
    memset(value, 'a' + n % 26, sizeof value);
    snprintf(key, sizeof key, "%06d", n);
    store_batch_clear(&f->batch);
    store_batch_put(&f->batch, slice_text(key), slice_make(value, sizeof value));
    return store_write(f->store, &f->batch, true, &err);
}

static int count_from(struct fixture *f, int first)
{
    char key[16];
    int count = 0;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    snprintf(key, sizeof key, "%06d", first);
    for (store_iterator_seek(it, slice_text(key)); store_iterator_valid(it);
         store_iterator_next(it)) {
        snprintf(key, sizeof key, "%06d", first + count);
        assert_true(slice_is(store_iterator_key(it), key));
        count++;
    }
    store_iterator_close(&it);
    return count;
}

static void test_after_a_failed_write_the_store_goes_on_and_nothing_written_is_lost(void **state)
{
    enum { LIMIT = 100 * 1000 };
    struct fixture *f = *state;
    struct store_options reopening = options;
    struct error err;
    int written = 0;
    reopening.reopens = true;
    reopening.write_buffer_bytes = 1024 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    store_close(&f->store);
    assert_true(store_leveldb_open(f->path, &reopening, &f->store, &err));
    test_limit_files(LIMIT);
    while (put_numbered(f, written)) {
        assert_true(++written * 3000 < LIMIT);
    }
    /* What is in it can be read meanwhile, at most with the record that failed. */
    int found = count_from(f, 0);
    assert_true(found == written || found == written + 1);
    struct store_iterator *view = store_iterator_open(f->store, NULL);
    assert_false(put_numbered(f, written)); /* somebody still looks at it */
    store_iterator_close(&view);
    test_limit_files(RLIM_INFINITY);
    int64_t start = clock_monotonic_ns(&clock_real);
    while (!put_numbered(f, written)) {
        assert_true(clock_monotonic_ns(&clock_real) - start < 20 * 1000000000LL);
    }
    for (int more = 0; more < 100; more++) {
        assert_true(put_numbered(f, ++written));
    }
    store_close(&f->store);
    open_leveldb(f);
    assert_int_equal(count_from(f, 0), written + 1);
}

static void test_a_value_larger_than_the_buffer_may_be_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct buf small;
    struct error err;
    bool found;
    put(f, "a", "12345");
    buf_init(&small, 4);
    assert_false(store_get(f->store, NULL, slice_text("a"), &small, &found, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
    buf_done(&small);
}

#define CONFORMANCE(set_up_one)                                                                    \
    BOTH(test_a_missing_key_is_a_result, set_up_one),                                              \
        BOTH(test_a_later_value_replaces_and_a_deletion_removes, set_up_one),                      \
        BOTH(test_a_batch_is_applied_in_the_order_of_its_calls, set_up_one),                       \
        BOTH(test_a_batch_copies_keys_and_values, set_up_one),                                     \
        BOTH(test_keys_are_in_byte_order_and_may_hold_anything, set_up_one),                       \
        BOTH(test_seeking_finds_the_first_not_before_and_the_last_before, set_up_one),             \
        BOTH(test_iterators_go_forwards_and_backwards_and_turn, set_up_one),                       \
        BOTH(test_an_iterator_over_nothing_is_not_valid, set_up_one),                              \
        BOTH(test_an_iterator_sees_the_moment_it_was_opened, set_up_one),                          \
        BOTH(test_a_snapshot_sees_its_moment_and_null_sees_now, set_up_one),                       \
        BOTH(test_reading_replaces_what_was_in_the_buffer, set_up_one),                            \
        BOTH(test_large_values_come_back_whole, set_up_one),                                       \
        BOTH(test_seeded_random_changes_agree_with_a_model, set_up_one),                           \
        BOTH(test_the_size_of_a_range_is_about_that_of_its_content, set_up_one),                   \
        BOTH(test_other_threads_read_whole_batches_beside_the_writer, set_up_one),                 \
        BOTH(test_a_value_larger_than_the_buffer_may_be_is_an_error, set_up_one),                  \
        BOTH(test_closing_nothing_is_allowed, set_up_one)
#define BOTH(name, set_up_one) cmocka_unit_test_setup_teardown(name, set_up_one, tear_down)

int main(void)
{
    const struct CMUnitTest memory[] = {
        CONFORMANCE(set_up_memory),
        BOTH(test_a_late_power_cut_loses_only_unsynced_writes, set_up_memory),
        BOTH(test_a_snapshot_outlives_a_crash, set_up_memory),
        BOTH(test_the_write_that_is_told_to_fails_whole_and_the_next_works, set_up_memory),
    };
    const struct CMUnitTest leveldb[] = {
        CONFORMANCE(set_up_leveldb),
        BOTH(test_what_was_written_is_there_after_reopening, set_up_leveldb),
        BOTH(test_a_folder_is_opened_by_one_at_a_time, set_up_leveldb),
        BOTH(test_a_folder_that_cannot_be_is_an_error, set_up_leveldb),
        BOTH(test_damage_on_disk_is_told_from_other_failures, set_up_leveldb),
        BOTH(test_after_a_failed_write_the_store_goes_on_and_nothing_written_is_lost,
             set_up_leveldb),
    };
    int failed = cmocka_run_group_tests_name("memory", memory, NULL, NULL);
    return failed + cmocka_run_group_tests_name("leveldb", leveldb, NULL, NULL);
}
