/* Power cuts, by histories of a seed: of what was not synced, any page of a log may be on the disk
 * and any other not. */
#include "shared/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/file.h"
#include "shared/rand.h"
#include "shared/store.h"
#include "shared/test_disk.h"

enum {
    SEEDS = 400,
    PAGE_BYTES = 4096,
    SMALL_MAX = 900,
    LARGE_MAX = 90 * 1000,
    LOG_MAX = 4 << 20,
    LOGS_MAX = 16,
    DESCRIPTORS = 100,
    OVERHEAD_BYTES = 300, /* of a write in the memory of LevelDB */
};

/* One log, which is never full; and logs that soon are. */
static const struct store_options options = {.write_buffer_bytes = LOG_MAX,
                                             .cache_bytes = 64 * 1024,
                                             .table_bytes = 64 * 1024,
                                             .open_files_max = 64};

static const struct store_options small_logs = {.write_buffer_bytes = 64 * 1024,
                                                .cache_bytes = 64 * 1024,
                                                .table_bytes = 64 * 1024,
                                                .open_files_max = 64};

struct fixture {
    char path[TEST_FOLDER_BYTES];
    struct store *store;
    struct store_batch batch;
    int written; /* keys 0 to here */
};

/* What surely is on the disk of each log: a copy that our fdatasync() makes. */
static struct {
    char path[256];
    struct buf bytes;
} synced[LOGS_MAX];
static int syncs;
static bool disk_fails;
static bool lacks_descriptors; /* so that nothing can be copied */

/* While a history is written no table is finished, so that all of its logs stay. */
static pthread_mutex_t tables = PTHREAD_MUTEX_INITIALIZER;

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    return len >= strlen(end) && strcmp(text + len - strlen(end), end) == 0;
}

static void read_file(const char *path, struct buf *ret)
{
    struct error err;
    bool found = false;
    assert_true(file_load(AT_FDCWD, path, ret, &found, &err) && found);
}

static struct buf *synced_of(const char *path)
{
    int i = 0;
    while (synced[i].path[0] != '\0' && strcmp(synced[i].path, path) != 0) {
        i++;
        assert_true(i < LOGS_MAX);
    }
    snprintf(synced[i].path, sizeof synced[i].path, "%s", path);
    return &synced[i].bytes;
}

int fdatasync(int fd)
{
    char link[64];
    char path[256];
    if (lacks_descriptors) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = '\0';
    if (ends_with(path, ".log")) {
        syncs++;
        if (disk_fails) {
            errno = EIO;
            return -1;
        }
        read_file(path, synced_of(path));
    } else if (ends_with(path, ".ldb")) {
        pthread_mutex_lock(&tables);
        pthread_mutex_unlock(&tables);
    }
    return 0;
}

static void open_store(struct fixture *f, const struct store_options *with)
{
    struct error err;
    if (!store_leveldb_open(f->path, with, &f->store, &err)) {
        fail_msg("%s", err.message);
    }
}

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    for (int i = 0; i < LOGS_MAX; i++) {
        synced[i].path[0] = '\0';
        buf_init(&synced[i].bytes, LOG_MAX);
    }
    syncs = 0;
    disk_fails = false;
    store_batch_init(&f->batch);
    test_folder_make(f->path);
    open_store(f, &options);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_trylock(&tables);
    pthread_mutex_unlock(&tables);
    store_close(&f->store);
    store_batch_done(&f->batch);
    for (int i = 0; i < LOGS_MAX; i++) {
        buf_done(&synced[i].bytes);
    }
    test_folder_remove(f->path);
    free(f);
    return 0;
}

static void make_value(int n, size_t len, uint8_t *ret)
{
    memset(ret, 1 + n % 255, len);
}

/* Write the next key. */
static bool put(struct fixture *f, size_t len, bool sync)
{
    static uint8_t value[LARGE_MAX];
    char key[16];
    struct error err;
    snprintf(key, sizeof key, "%08d", f->written);
    make_value(f->written, len, value);
    store_batch_clear(&f->batch);
    store_batch_put(&f->batch, slice_text(key), slice_make(value, len));
    bool fine = store_write(f->store, &f->batch, sync, &err);
    f->written += fine;
    return fine;
}

/* How many keys there are, which are the first ones, with what was written. */
static int count_first(struct store *store)
{
    static uint8_t value[LARGE_MAX];
    char key[16];
    int count = 0;
    struct error err;
    struct store_iterator *it = store_iterator_open(store, NULL);
    for (store_iterator_seek(it, slice_text("")); store_iterator_valid(it);
         store_iterator_next(it)) {
        struct slice found = store_iterator_value(it);
        snprintf(key, sizeof key, "%08d", count);
        assert_true(slice_is(store_iterator_key(it), key));
        make_value(count, found.len, value);
        assert_memory_equal(found.data, value, found.len);
        count++;
    }
    assert_true(store_iterator_check(it, &err));
    store_iterator_close(&it);
    return count;
}

/* Of the store; to be freed. */
static glob_t files_of(const struct fixture *f, const char *pattern)
{
    glob_t files;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->path, pattern);
    assert_int_equal(glob(path, 0, NULL, &files), 0);
    return files;
}

static void write_file(const char *path, struct slice bytes)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    fclose(file);
}

/* A log as the disk may have it, where one page in some is not the newest. */
static void lose_pages(struct rand *rand, uint64_t lost_one_in, const struct buf *known,
                       struct buf *log)
{
    size_t grown = log->len > known->len ? log->len - known->len : 0;
    size_t len = log->len - (grown == 0 ? 0 : rand_below(rand, grown + 1));
    for (size_t at = 0; at < len; at += PAGE_BYTES) {
        if (rand_below(rand, lost_one_in) == 0) {
            size_t n = len - at < PAGE_BYTES ? len - at : PAGE_BYTES;
            size_t old = known->len > at ? known->len - at : 0;
            old = old < n ? old : n;
            if (old > 0) {
                memcpy(log->data + at, known->data + at, old);
            }
            memset(log->data + at + old, 0, n - old);
        }
    }
    log->len = len;
}

/* What is found after a power cut in this moment, which ends the history. */
static int count_after_power_cut(struct fixture *f, struct rand *rand)
{
    struct fixture after = {0};
    char to[512];
    struct buf bytes;
    uint64_t lost_one_in = 1 + rand_below(rand, 30);
    buf_init(&bytes, LOG_MAX);
    test_folder_make(after.path);
    glob_t files = files_of(f, "*");
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *from = files.gl_pathv[i];
        read_file(from, &bytes);
        if (ends_with(from, ".log")) {
            lose_pages(rand, lost_one_in, synced_of(from), &bytes);
        }
        snprintf(to, sizeof to, "%s%s", after.path, strrchr(from, '/'));
        write_file(to, buf_slice(&bytes));
    }
    globfree(&files);
    pthread_mutex_unlock(&tables);
    open_store(&after, &options);
    int count = count_first(after.store);
    store_close(&after.store);
    test_folder_remove(after.path);
    buf_done(&bytes);
    return count;
}

/* Writes by chance: small ones and, in some histories, large ones. How many are surely there. */
static int write_history(struct fixture *f, struct rand *rand, int steps, size_t bytes_max)
{
    uint64_t sync_one_in = 1 + rand_below(rand, rand_below(rand, 2) == 0 ? 100 : 1000);
    uint64_t large_one_in = 2 + rand_below(rand, 400);
    size_t small_max = 1 + rand_below(rand, SMALL_MAX);
    bool varies = rand_below(rand, 2) == 0;
    bool syncs_large = rand_below(rand, 2) == 0;
    int surely = 0;
    for (int i = 0; i < steps; i++) {
        bool is_large = rand_below(rand, large_one_in) == 0;
        bool sync = rand_below(rand, sync_one_in) == 0 || (is_large && syncs_large);
        size_t len = is_large ? 1 + rand_below(rand, LARGE_MAX)
                     : varies ? 1 + rand_below(rand, small_max)
                              : small_max;
        if (len + OVERHEAD_BYTES < bytes_max) {
            bytes_max -= len + OVERHEAD_BYTES;
            assert_true(put(f, len, sync));
            surely = sync ? f->written : surely;
        }
    }
    return surely;
}

static void run_histories(void **state, const struct store_options *with, int steps_max,
                          size_t bytes_max)
{
    int with_losses = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rand rand;
        tear_down(state);
        set_up(state);
        struct fixture *f = *state;
        store_close(&f->store);
        open_store(f, with);
        rand_seeded_init(&rand, seed);
        pthread_mutex_lock(&tables);
        int surely =
            write_history(f, &rand, 1 + (int)rand_below(&rand, (uint64_t)steps_max), bytes_max);
        int found = count_after_power_cut(f, &rand);
        if (found < surely || found > f->written) {
            fail_msg("seed=%llu: %d found of %d, %d synced", (unsigned long long)seed, found,
                     f->written, surely);
        }
        with_losses += found < f->written;
    }
    assert_true(with_losses > SEEDS / 4); /* the cuts did cut */
}

static void test_a_power_cut_leaves_a_beginning_with_all_that_was_synced(void **state)
{
    run_histories(state, &options, 400, LOG_MAX / 2);
}

/* Of two logs, as the first is full: it would wait for a third. */
static void test_a_power_cut_leaves_no_gap_between_two_logs(void **state)
{
    run_histories(state, &small_logs, 1000, (size_t)115 * 1000);
}

static size_t log_bytes(struct fixture *f)
{
    struct stat status;
    glob_t logs = files_of(f, "*.log");
    assert_int_equal(logs.gl_pathc, 1);
    assert_int_equal(stat(logs.gl_pathv[0], &status), 0);
    globfree(&logs);
    return (size_t)status.st_size;
}

static void test_small_writes_seldom_make_the_log_grow(void **state)
{
    struct fixture *f = *state;
    size_t bytes = 0;
    int grown = 0;
    for (int i = 0; i < 2000; i++) {
        assert_true(put(f, 500, true));
        grown += log_bytes(f) != bytes;
        bytes = log_bytes(f);
    }
    assert_true(grown < 12);
    assert_in_range(syncs, 2000, 2001); /* one for each write, and what opening needs */
    assert_true(bytes < (size_t)2000 * 540 + 300 * 1024);
}

static void test_large_writes_are_not_written_twice(void **state)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 40; i++) {
        assert_true(put(f, 20 * 1000, true));
        assert_true(log_bytes(f) < (size_t)i * 20100);
    }
}

static void test_what_is_not_synced_is_there_after_the_process_alone_ended(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    rand_seeded_init(&rand, 1);
    pthread_mutex_lock(&tables);
    for (int i = 0; i < 50; i++) {
        assert_true(put(f, 700, false));
    }
    glob_t logs = files_of(f, "*.log");
    read_file(logs.gl_pathv[0], synced_of(logs.gl_pathv[0])); /* as if all of it was synced */
    globfree(&logs);
    assert_int_equal(count_after_power_cut(f, &rand), 50);
}

/* The whole room is used, though there was none to reserve. */
static void test_a_log_without_room_fails_at_its_end_and_takes_nothing_more(void **state)
{
    enum { LIMIT = 100 * 1000 };
    struct fixture *f = *state;
    signal(SIGXFSZ, SIG_IGN);
    test_limit_files(LIMIT);
    while (put(f, 3000, true)) {
        assert_true(f->written * 3000 < LIMIT);
    }
    test_limit_files(RLIM_INFINITY);
    assert_true(f->written >= LIMIT / 3100);
    assert_false(put(f, 10, true));
    store_close(&f->store);
    open_store(f, &options);
    assert_int_equal(count_first(f->store), f->written);
    assert_true(put(f, 10, true));
}

static void test_a_failed_sync_fails_the_write_and_those_after_it(void **state)
{
    struct fixture *f = *state;
    assert_true(put(f, 100, true));
    disk_fails = true;
    assert_false(put(f, 100, true));
    disk_fails = false;
    assert_false(put(f, 100, true));
    assert_false(put(f, 100, false));
}

/* What is synced without being asked to, so that nothing comes out of order. */
static void test_a_failed_sync_between_unsynced_writes_fails_one_and_those_after_it(void **state)
{
    struct fixture *f = *state;
    disk_fails = true;
    while (put(f, 1000, false)) {
        assert_true(f->written < 40);
    }
    disk_fails = false;
    assert_false(put(f, 100, false));
    assert_false(put(f, 100, true));
}

static int taken[DESCRIPTORS];

static void take_all_descriptors(void)
{
    const struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};
    int count = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((taken[count] = dup(0)) >= 0) {
        count++;
    }
    lacks_descriptors = true;
}

static void give_all_descriptors_back(void)
{
    for (int i = 0; taken[i] >= 0; i++) {
        close(taken[i]);
    }
    lacks_descriptors = false;
}

/* Logs, tables and MANIFESTs are opened meanwhile, with what is kept back. */
static void test_a_store_survives_a_lack_of_descriptors(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    open_store(f, &small_logs);
    take_all_descriptors();
    for (int i = 0; i < 3000; i++) {
        assert_true(put(f, 500, false));
    }
    assert_int_equal(count_first(f->store), f->written);
    give_all_descriptors_back();
    store_close(&f->store);
    open_store(f, &small_logs);
    assert_int_equal(count_first(f->store), f->written);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_power_cut_leaves_a_beginning_with_all_that_was_synced),
        TEST(test_a_power_cut_leaves_no_gap_between_two_logs),
        TEST(test_small_writes_seldom_make_the_log_grow),
        TEST(test_large_writes_are_not_written_twice),
        TEST(test_what_is_not_synced_is_there_after_the_process_alone_ended),
        TEST(test_a_log_without_room_fails_at_its_end_and_takes_nothing_more),
        TEST(test_a_failed_sync_fails_the_write_and_those_after_it),
        TEST(test_a_failed_sync_between_unsynced_writes_fails_one_and_those_after_it),
        TEST(test_a_store_survives_a_lack_of_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
