/* A real LevelDB, whose files are damaged: either it says so, or everything that was acknowledged
 * is there. And what can be saved of it. */
#include "shared/damage/store_check.h"
#include "shared/damage/store_salvage.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/file.h"
#include "shared/rand.h"
#include "shared/store.h"
#include "shared/test_disk.h"

enum { KEYS = 60, FILE_MAX = 1 << 20, PATH_BYTES = 512, SAID_BYTES = 4096 };

struct fixture {
    char path[TEST_FOLDER_BYTES]; /* as it was left */
    char copy[TEST_FOLDER_BYTES];
    struct buf bytes;
    struct rand rand;
    char said[SAID_BYTES];
};

static const struct store_options sparing = {.write_buffer_bytes = 64 * 1024,
                                             .cache_bytes = 64 * 1024,
                                             .table_bytes = 64 * 1024,
                                             .open_files_max = 64,
                                             .compress = true};

static const struct store_options thorough = {.write_buffer_bytes = 64 * 1024,
                                              .cache_bytes = 64 * 1024,
                                              .table_bytes = 64 * 1024,
                                              .open_files_max = 64,
                                              .check_bytes_max = SIZE_MAX,
                                              .compress = true};

/* What is asked of the disk takes most of the time, and these tests cut no power. */
int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

static size_t make_value(int n, uint8_t ret[400])
{
    struct rand rand;
    rand_seeded_init(&rand, (uint64_t)n + 1);
    rand_fill(&rand, ret, 400);
    memset(ret, 'x', 100); /* something to compress, and what looks like nothing */
    memset(ret + 380, 0, 20);
    return 100 + (size_t)(n * 37 % 300);
}

static void put(struct store *store, int n)
{
    struct store_batch batch;
    uint8_t value[400];
    char key[16];
    struct error err;
    store_batch_init(&batch);
    snprintf(key, sizeof key, "%08d", n);
    size_t len = make_value(n, value);
    store_batch_put(&batch, slice_text(key), slice_make(value, len));
    assert_true(store_write(store, &batch, true, &err));
    store_batch_done(&batch);
}

static void open_or_fail(const char *path, const struct store_options *options, struct store **ret)
{
    struct error err;
    if (!store_leveldb_open(path, options, ret, &err)) {
        fail_msg("%s", err.message);
    }
}

static void copy_store(const char *from, const char *to)
{
    struct buf bytes;
    glob_t files;
    char path[PATH_BYTES];
    struct error err;
    bool found;
    buf_init(&bytes, FILE_MAX);
    snprintf(path, sizeof path, "%s/*", from);
    assert_int_equal(glob(path, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        assert_true(file_load(AT_FDCWD, files.gl_pathv[i], &bytes, &found, &err) && found);
        snprintf(path, sizeof path, "%s%s", to, strrchr(files.gl_pathv[i], '/'));
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
        fclose(file);
    }
    globfree(&files);
    buf_done(&bytes);
}

/* Two thirds in a table, the rest in the log, which was reserved. */
static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    struct store *store;
    buf_init(&f->bytes, FILE_MAX);
    rand_seeded_init(&f->rand, 5);
    test_folder_make(f->path);
    test_folder_make(f->copy);
    open_or_fail(f->path, &sparing, &store);
    for (int n = 0; n < KEYS * 2 / 3; n++) {
        put(store, n);
    }
    store_close(&store);
    open_or_fail(f->path, &sparing, &store);
    for (int n = KEYS * 2 / 3; n < KEYS; n++) {
        put(store, n);
    }
    store_close(&store);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->path);
    test_folder_remove(f->copy);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static void begin_copy(struct fixture *f)
{
    test_folder_remove(f->copy);
    assert_int_equal(mkdir(f->copy, 0700), 0);
    copy_store(f->path, f->copy);
}

/* The file of the store that `pattern` finds, in the copy, and its contents. */
static void find(struct fixture *f, const char *pattern, char ret[PATH_BYTES])
{
    glob_t files;
    struct error err;
    bool found;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->path, pattern);
    assert_int_equal(glob(path, 0, NULL, &files), 0);
    assert_true(file_load(AT_FDCWD, files.gl_pathv[0], &f->bytes, &found, &err) && found);
    snprintf(ret, PATH_BYTES, "%s%s", f->copy, strrchr(files.gl_pathv[0], '/'));
    globfree(&files);
}

static void write_at(const char *path, size_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
    close(fd);
}

static void flip(const struct fixture *f, const char *path, size_t bit)
{
    uint8_t byte = f->bytes.data[bit / 8] ^ (uint8_t)(1 << bit % 8);
    write_at(path, bit / 8, &byte, 1);
}

/* How many of the keys are there. A value that was never written fails the test; *ret_said: the
 * store says that it is damaged. */
static int read_all(struct store *store, bool *ret_said)
{
    struct buf value;
    int found = 0;
    buf_init(&value, 1024);
    *ret_said = false;
    for (int n = 0; n < KEYS; n++) {
        uint8_t wanted[400];
        char key[16];
        struct error err;
        bool is_there = false;
        size_t len = make_value(n, wanted);
        snprintf(key, sizeof key, "%08d", n);
        buf_clear(&value);
        if (!store_get(store, NULL, slice_text(key), &value, &is_there, &err)) {
            assert_int_equal(err.kind, ERROR_CORRUPT);
            *ret_said = true;
        } else if (is_there) {
            assert_int_equal(value.len, len);
            assert_memory_equal(value.data, wanted, len);
            found++;
        }
    }
    buf_done(&value);
    return found;
}

static int walk_all(struct store *store, bool *ret_said)
{
    int found = 0;
    struct error err;
    struct store_iterator *it = store_iterator_open(store, NULL);
    for (store_iterator_seek(it, slice_text("")); store_iterator_valid(it);
         store_iterator_next(it)) {
        found++;
    }
    *ret_said = !store_iterator_check(it, &err);
    assert_true(!*ret_said || err.kind == ERROR_CORRUPT);
    store_iterator_close(&it);
    return found;
}

static bool exists(const char *folder, const char *name)
{
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* True: the store says that it is damaged. False: everything is there. */
static bool says_damage(struct fixture *f, const struct store_options *options, const char *what,
                        size_t bit)
{
    struct store *store;
    struct error err;
    bool get_says;
    bool walk_says;
    if (!store_leveldb_open(f->copy, options, &store, &err)) {
        if (err.kind != ERROR_CORRUPT || strstr(err.message, f->copy) == NULL) {
            fail_msg("%s bit %zu: %s", what, bit, err.message);
        }
        return true;
    }
    int got = read_all(store, &get_says);
    int walked = walk_all(store, &walk_says);
    store_close(&store);
    if ((got < KEYS && !get_says) || (walked < KEYS && !walk_says)) {
        fail_msg("%s bit %zu: %d found, %d walked of %d, and not a word", what, bit, got, walked,
                 KEYS);
    }
    if (get_says || walk_says) {
        assert_true(exists(f->copy, "SUSPECT"));
        assert_false(store_leveldb_open(f->copy, &sparing, &store, &err));
    }
    return get_says || walk_says;
}

/* Of a hundred bits about so many mean something: not those of a filter, where nothing reads the
 * file as a whole, and few of a footer. */
static void turn_bits(struct fixture *f, const struct store_options *options, const char *pattern,
                      size_t step, size_t percent)
{
    char path[PATH_BYTES];
    size_t tries = 0;
    size_t said = 0;
    find(f, pattern, path);
    size_t end = f->bytes.len;
    while (end > 0 && f->bytes.data[end - 1] == 0) {
        end--;
    }
    for (size_t at = 0; at < end; at += at < 64 || at + 300 > end ? 1 : step) {
        size_t bit = at * 8 + rand_below(&f->rand, 8);
        begin_copy(f);
        flip(f, path, bit);
        said += says_damage(f, options, pattern, bit);
        tries++;
    }
    assert_true(tries > 0 && said * 100 >= tries * percent);
}

static void test_a_turned_bit_of_a_log_is_never_silent(void **state)
{
    turn_bits(*state, &sparing, "*.log", 11, 100);
}

static void test_a_turned_bit_of_a_table_is_never_silent_when_it_is_read(void **state)
{
    turn_bits(*state, &sparing, "*.ldb", 17, 50);
}

static void test_a_turned_bit_of_a_table_is_found_at_the_start(void **state)
{
    turn_bits(*state, &thorough, "*.ldb", 29, 90);
}

static void test_a_turned_bit_of_a_manifest_is_never_silent(void **state)
{
    turn_bits(*state, &sparing, "MANIFEST-*", 1, 100);
}

static void test_a_turned_bit_of_current_is_never_silent(void **state)
{
    turn_bits(*state, &sparing, "CURRENT", 1, 100);
}

static void test_a_file_that_is_missing_is_never_silent(void **state)
{
    struct fixture *f = *state;
    static const char *const patterns[] = {"*.ldb", "MANIFEST-*", "CURRENT"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char path[PATH_BYTES];
        begin_copy(f);
        find(f, patterns[i], path);
        assert_int_equal(unlink(path), 0);
        assert_true(says_damage(f, &sparing, patterns[i], 0));
    }
}

static void test_a_log_that_is_cut_anywhere_opens_with_its_beginning(void **state)
{
    struct fixture *f = *state;
    char path[PATH_BYTES];
    static const uint8_t zeros[FILE_MAX];
    find(f, "*.log", path);
    size_t end = f->bytes.len;
    while (f->bytes.data[end - 1] == 0) {
        end--;
    }
    int fewest = KEYS;
    for (size_t at = 0; at < end; at += at < 50 || at + 400 > end ? 1 : 13) {
        struct store *store;
        bool said;
        begin_copy(f);
        if (at % 2 == 0) {
            assert_int_equal(truncate(path, (off_t)at), 0);
        } else {
            write_at(path, at, zeros, f->bytes.len - at);
        }
        open_or_fail(f->copy, &sparing, &store);
        int found = read_all(store, &said);
        assert_false(said);
        assert_true(found >= KEYS * 2 / 3);
        fewest = found < fewest ? found : fewest;
        store_close(&store);
    }
    assert_int_equal(fewest, KEYS * 2 / 3);
}

/* ---- Salvage ---- */

static void on_said(void *user, const char *sentence)
{
    struct fixture *f = user;
    size_t len = strlen(f->said);
    snprintf(f->said + len, sizeof f->said - len, "%s\n", sentence);
}

static struct salvage_report salvage(struct fixture *f)
{
    struct salvage_report report = {.say = on_said, .user = f};
    struct error err;
    f->said[0] = '\0';
    if (!store_leveldb_salvage(f->copy, &thorough, &report, &err)) {
        fail_msg("%s", err.message);
    }
    return report;
}

static int count_after(struct fixture *f)
{
    struct store *store;
    bool get_says;
    bool walk_says;
    open_or_fail(f->copy, &thorough, &store);
    int got = read_all(store, &get_says);
    assert_int_equal(walk_all(store, &walk_says), got);
    assert_false(get_says || walk_says);
    put(store, KEYS + 1); /* it takes writes again */
    store_close(&store);
    open_or_fail(f->copy, &thorough, &store);
    store_close(&store);
    return got;
}

static void test_a_turned_bit_is_turned_back_and_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    static const char *const patterns[] = {"*.log", "*.ldb", "MANIFEST-*"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char path[PATH_BYTES];
        find(f, patterns[i], path);
        size_t end = f->bytes.len;
        while (f->bytes.data[end - 1] == 0) {
            end--;
        }
        for (size_t at = 0; at < end; at += 1 + end / 80) {
            struct store *store;
            struct error err;
            begin_copy(f);
            flip(f, path, at * 8 + rand_below(&f->rand, 8));
            bool was_refused = !store_leveldb_open(f->copy, &thorough, &store, &err);
            if (!was_refused) {
                store_close(&store);
                continue; /* bytes that mean nothing */
            }
            struct salvage_report report = salvage(f);
            assert_int_equal(report.mended, 1);
            assert_int_equal(report.lost_bytes, 0);
            assert_false(report.needs_repair);
            assert_int_equal(count_after(f), KEYS);
            assert_non_null(strstr(f->said, strrchr(path, '/') + 1));
        }
    }
}

static void test_of_a_log_only_what_was_hit_is_lost_and_counted(void **state)
{
    struct fixture *f = *state;
    char path[PATH_BYTES];
    char lost[PATH_BYTES + 8];
    begin_copy(f);
    find(f, "*.log", path);
    write_at(path, 500, "################", 16);
    assert_true(says_damage(f, &sparing, "log", 500 * 8));
    struct salvage_report report = salvage(f);
    assert_int_equal(report.lost_changes, 1);
    assert_int_equal(report.damaged_files, 1);
    assert_in_range(report.lost_bytes, 100, 500);
    assert_int_equal(count_after(f), KEYS - 1);
    snprintf(lost, sizeof lost, "lost%s", strrchr(path, '/'));
    assert_true(exists(f->copy, lost));
}

static void test_of_a_table_only_the_blocks_that_were_hit_are_lost(void **state)
{
    struct fixture *f = *state;
    char path[PATH_BYTES];
    begin_copy(f);
    find(f, "*.ldb", path);
    write_at(path, 500, "################", 16);
    struct salvage_report report = salvage(f);
    assert_in_range(report.lost_bytes, 1000, 5000);
    int kept = count_after(f);
    assert_in_range(kept, KEYS / 2, KEYS - 2);
    assert_non_null(strstr(f->said, "is damaged at byte 0"));
}

static void test_without_a_manifest_everything_is_found_again(void **state)
{
    struct fixture *f = *state;
    static const char *const patterns[] = {"MANIFEST-*", "CURRENT"};
    for (size_t i = 0; i < 4; i++) {
        char path[PATH_BYTES];
        begin_copy(f);
        find(f, patterns[i / 2], path);
        if (i % 2 == 0) {
            assert_int_equal(unlink(path), 0);
        } else {
            write_at(path, 3, "##########", 10);
        }
        struct salvage_report report = salvage(f);
        assert_true(report.damaged_files > 0);
        assert_int_equal(count_after(f), KEYS);
    }
}

static void test_a_sound_store_is_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    begin_copy(f);
    struct salvage_report report = salvage(f);
    assert_int_equal(report.damaged_files, 0);
    assert_int_equal(count_after(f), KEYS);
    assert_false(exists(f->copy, "lost"));
}

/* ---- Beside damage ---- */

/* What a merge reads is held to its checksums too: it must not give damage a new one. */
static void test_a_merge_does_not_take_damage_over(void **state)
{
    struct fixture *f = *state;
    char path[PATH_BYTES];
    struct store *store;
    struct error err;
    struct store_batch batch;
    bool fine = true;
    begin_copy(f);
    find(f, "*.ldb", path);
    flip(f, path, 1000 * 8);
    open_or_fail(f->copy, &sparing, &store);
    store_batch_init(&batch);
    for (int i = 0; fine && i < 2000; i++) {
        char key[16];
        uint8_t value[400];
        snprintf(key, sizeof key, "%08d", i % KEYS);
        store_batch_clear(&batch);
        store_batch_put(&batch, slice_text(key), slice_make(value, make_value(i, value)));
        fine = store_write(store, &batch, false, &err);
    }
    store_batch_done(&batch);
    store_close(&store);
    assert_false(fine);
    assert_int_equal(err.kind, ERROR_CORRUPT);
}

static void test_a_store_that_is_open_elsewhere_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct store *store;
    struct error err;
    int ready[2];
    int over[2];
    char byte = 0;
    assert_int_equal(pipe(ready) + pipe(over), 0);
    begin_copy(f);
    pid_t child = fork();
    if (child == 0) {
        close(over[1]);
        bool fine = store_leveldb_open(f->copy, &sparing, &store, &err) &&
                    write(ready[1], &byte, 1) == 1 && read(over[0], &byte, 1) == 0;
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_false(store_leveldb_open(f->copy, &sparing, &store, &err));
    assert_int_equal(err.kind, ERROR_UNAVAILABLE);
    close(over[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_turned_bit_of_a_log_is_never_silent),
        TEST(test_a_turned_bit_of_a_table_is_never_silent_when_it_is_read),
        TEST(test_a_turned_bit_of_a_table_is_found_at_the_start),
        TEST(test_a_turned_bit_of_a_manifest_is_never_silent),
        TEST(test_a_turned_bit_of_current_is_never_silent),
        TEST(test_a_file_that_is_missing_is_never_silent),
        TEST(test_a_log_that_is_cut_anywhere_opens_with_its_beginning),
        TEST(test_a_turned_bit_is_turned_back_and_nothing_is_lost),
        TEST(test_of_a_log_only_what_was_hit_is_lost_and_counted),
        TEST(test_of_a_table_only_the_blocks_that_were_hit_are_lost),
        TEST(test_without_a_manifest_everything_is_found_again),
        TEST(test_a_sound_store_is_left_as_it_is),
        TEST(test_a_merge_does_not_take_damage_over),
        TEST(test_a_store_that_is_open_elsewhere_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
