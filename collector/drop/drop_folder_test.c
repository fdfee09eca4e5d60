/* The drop folder with a fake import: what it does when the disk cannot follow, when it is stopped
 * in the middle, and at each step of a file's end. */
#include "collector/drop/drop_folder.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "collector/drop/drop_move.h"
#include "collector/drop/drop_scan.h"
#include "shared/file.h"
#include "shared/test_disk.h"

static const char mapping_json[] =
    "{\"files\": \"*.csv\", \"source\": \"s\", \"event\": {\"type\": \"track\","
    "\"event\": {\"column\": \"what\"}, \"userId\": {\"column\": \"who\"}}}";

struct fixture {
    char dir[TEST_FOLDER_BYTES];
    char drop[96];
    struct drop_folders folders;
    int data;
    pthread_mutex_t lock;
    unsigned calls;
    unsigned durable_calls_max; /* later ones are told to come again */
    uint64_t events;            /* of calls that were durable */
    bool grows;                 /* a.csv gets half a row more during the first call */
    unsigned halves;            /* how often that was taken */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    test_folder_make(f->dir);
    snprintf(f->drop, sizeof f->drop, "%s/drop", f->dir);
    pthread_mutex_init(&f->lock, NULL);
    f->durable_calls_max = UINT32_MAX;
    f->data = open(f->dir, O_RDONLY | O_DIRECTORY);
    *state = f;
    return mkdir(f->drop, 0700) == 0 && drop_folders_open(f->drop, &f->folders, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    drop_folders_close(&f->folders);
    close(f->data);
    test_folder_remove(f->dir);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static void append(struct fixture *f, const char *name, const char *text)
{
    int fd = openat(f->folders.folder, name, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static enum import_result fake_import(void *user, struct slice write_key, struct request *request,
                                      struct error *err)
{
    struct fixture *f = user;
    pthread_mutex_lock(&f->lock);
    bool is_durable = f->calls++ < f->durable_calls_max;
    if (is_durable) {
        for (size_t i = 0; i < request->count; i++) {
            f->events += request->events[i].refusal.code == NULL;
            f->halves += slice_is(request->events[i].event.user_id, "u");
        }
    }
    if (f->grows) {
        append(f, "a.csv", "Hello,u");
        f->grows = false;
    }
    pthread_mutex_unlock(&f->lock);
    if (!slice_is(write_key, "s")) {
        error_set(err, ERROR_UNAVAILABLE, "no such source");
        return IMPORT_NO_SOURCE;
    }
    if (!is_durable) {
        error_set(err, ERROR_FULL, "the spool is full");
        return IMPORT_LATER;
    }
    return IMPORT_DURABLE;
}

static struct drop_folder *open_folder(struct fixture *f)
{
    struct drop_options options = {
        .path = f->drop,
        .data_dir = f->dir,
        .settle_ms = 1,
        .clock = &clock_real,
        .import = fake_import,
        .user = f,
    };
    struct drop_folder *folder = NULL;
    struct error err;
    if (!drop_folder_open(&options, &folder, &err)) {
        fail_msg("%s", err.message);
    }
    return folder;
}

static void put(int folder, const char *name, const char *text)
{
    struct error err;
    assert_true(file_replace(folder, name, 0640, slice_text(text), &err));
}

/* A file of rows, `bad` of which, at the beginning, name nobody. */
static void put_rows(struct fixture *f, const char *name, unsigned count, unsigned bad)
{
    struct buf text;
    struct error err;
    buf_init(&text, SIZE_MAX);
    buf_put_slice(&text, slice_text("what,who\n"));
    for (unsigned i = 0; i < count; i++) {
        buf_put_format(&text, "Hello,%s\n", i < bad ? "" : "u1");
    }
    assert_true(file_replace(f->folders.folder, name, 0640, buf_slice(&text), &err));
    buf_done(&text);
}

static bool has(int folder, const char *name)
{
    return faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void wait_for_file(int folder, const char *name)
{
    for (int i = 0; i < 2000; i++) {
        if (has(folder, name)) {
            return;
        }
        usleep(10000);
    }
    fail_msg("%s does not come", name);
}

static void wait_for_calls(struct fixture *f, unsigned calls)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&f->lock);
        bool enough = f->calls >= calls;
        pthread_mutex_unlock(&f->lock);
        if (enough) {
            return;
        }
        usleep(10000);
    }
    fail_msg("%u calls do not come", calls);
}

static void read_text(int folder, const char *name, struct buf *ret)
{
    struct error err;
    bool found;
    assert_true(file_load(folder, name, ret, &found, &err));
    assert_true(found);
    buf_put_u8(ret, 0);
}

static void a_file_waits_while_the_disk_cannot_follow_and_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct drop_progress progress;
    f->durable_calls_max = 2;
    put(f->folders.folder, "m.mapping", mapping_json);
    put_rows(f, "a.csv", 5 * DROP_BATCH_ROWS, 3);
    struct drop_folder *folder = open_folder(f);
    wait_for_calls(f, 3); /* the last was told to come again */
    drop_folder_close(&folder);
    assert_true(has(f->folders.folder, "a.csv"));

    drop_progress_init(&progress);
    assert_true(drop_progress_load(&progress, f->data, &err));
    assert_string_equal(progress.file, "a.csv");
    assert_int_equal(progress.position.line, 2 + 2 * DROP_BATCH_ROWS);
    assert_int_equal(progress.rejected, 3);
    assert_int_equal(progress.taken, 2 * DROP_BATCH_ROWS - 3);
    drop_progress_done(&progress);

    /* The disk follows again, after a restart. */
    f->durable_calls_max = UINT32_MAX;
    folder = open_folder(f);
    wait_for_file(f->folders.rejected, "a.csv");
    drop_folder_close(&folder);
    assert_int_equal(f->events, 5 * DROP_BATCH_ROWS - 3);
    assert_false(has(f->data, "drop.progress"));

    struct buf report;
    buf_init(&report, SIZE_MAX);
    read_text(f->folders.rejected, "a.csv.report", &report);
    assert_non_null(strstr((const char *)report.data, "3 of 5000 rows were not taken"));
    assert_non_null(strstr((const char *)report.data, "line 4: missing-identifier"));
    buf_done(&report);
}

static void a_file_whose_rest_cannot_be_read_says_what_was_taken(void **state)
{
    struct fixture *f = *state;
    struct buf report;
    f->durable_calls_max = 1;
    put(f->folders.folder, "m.mapping", mapping_json);
    put_rows(f, "a.csv", 2 * DROP_BATCH_ROWS, 1);
    struct drop_folder *folder = open_folder(f);
    wait_for_calls(f, 2);
    drop_folder_close(&folder);
    put(f->folders.folder, "m.mapping",
        "{\"files\": \"*.csv\", \"source\": \"s\", \"event\": {\"type\": {\"column\": \"kind\"}}}");
    folder = open_folder(f);
    wait_for_file(f->folders.rejected, "a.csv");
    drop_folder_close(&folder);
    buf_init(&report, SIZE_MAX);
    read_text(f->folders.rejected, "a.csv.report", &report);
    assert_non_null(strstr((const char *)report.data, "line 2: missing-identifier"));
    assert_non_null(strstr((const char *)report.data,
                           "The rest of it was not taken.\nthe header has "
                           "no column \"kind\""));
    buf_done(&report);
}

static void progress_of_another_file_of_the_same_name_is_not_followed(void **state)
{
    struct fixture *f = *state;
    f->durable_calls_max = 1;
    put(f->folders.folder, "m.mapping", mapping_json);
    put_rows(f, "a.csv", 2 * DROP_BATCH_ROWS, 0);
    struct drop_folder *folder = open_folder(f);
    wait_for_calls(f, 2);
    drop_folder_close(&folder);
    f->durable_calls_max = UINT32_MAX;
    f->events = 0;
    put_rows(f, "a.csv", 3 * DROP_BATCH_ROWS, 0);
    folder = open_folder(f);
    wait_for_file(f->folders.done, "a.csv");
    drop_folder_close(&folder);
    assert_int_equal(f->events, 3 * DROP_BATCH_ROWS);
}

static void half_a_row_of_a_file_that_grows_is_not_taken(void **state)
{
    struct fixture *f = *state;
    const unsigned rows = 30 * DROP_BATCH_ROWS; /* more than is read ahead */
    f->grows = true;
    put(f->folders.folder, "m.mapping", mapping_json);
    put_rows(f, "a.csv", rows, 0);
    struct drop_folder *folder = open_folder(f);
    wait_for_file(f->folders.done, "a.csv");
    drop_folder_close(&folder);
    assert_int_equal(f->halves, 1); /* when the file was complete, from its start again */
    assert_int_equal(f->events, 2 * rows + 1);
}

static void damaged_progress_costs_only_time(void **state)
{
    struct fixture *f = *state;
    static const char *const damaged[] = {"", "{", "[]", "{\"file\":\"a.csv\",\"offset\":-1}",
                                          "{\"file\":5}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct drop_progress progress;
        struct error err;
        put(f->data, "drop.progress", damaged[i]);
        drop_progress_init(&progress);
        assert_true(drop_progress_load(&progress, f->data, &err));
        assert_string_equal(progress.file, "");
        drop_progress_done(&progress);
    }
}

static void a_report_names_so_many_rows_and_counts_the_rest(void **state)
{
    struct fixture *f = *state;
    struct buf report;
    unsigned lines = 0;
    put(f->folders.folder, "m.mapping", mapping_json);
    put_rows(f, "a.csv", 5000, 5000);
    struct drop_folder *folder = open_folder(f);
    wait_for_file(f->folders.rejected, "a.csv");
    drop_folder_close(&folder);
    buf_init(&report, SIZE_MAX);
    read_text(f->folders.rejected, "a.csv.report", &report);
    const char *at = (const char *)report.data;
    while ((at = strstr(at, "\nline ")) != NULL) {
        lines++;
        at++;
    }
    assert_int_equal(lines, DROP_REPORT_LINES_MAX);
    assert_non_null(strstr((const char *)report.data, "and 4800 more rows"));
    buf_done(&report);
}

static void a_mapping_that_changes_is_read_again(void **state)
{
    struct fixture *f = *state;
    put(f->folders.folder, "m.mapping", "{\"files\": \"*.csv\"}");
    put_rows(f, "a.csv", 1, 0);
    struct drop_folder *folder = open_folder(f);
    for (int i = 0; i < 2000 && drop_folder_stats(folder).files_unmatched == 0; i++) {
        usleep(10000);
    }
    assert_int_equal(drop_folder_stats(folder).files_unmatched, 1);
    put(f->folders.folder, "m.mapping", mapping_json);
    wait_for_file(f->folders.done, "a.csv");
    drop_folder_close(&folder);
    assert_int_equal(f->events, 1);
}

static void
a_name_that_is_taken_gets_a_number_and_a_report_without_its_file_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    struct error err;
    struct buf report;
    bool moved = false;
    put(f->folders.rejected, "a.csv", "old");
    put(f->folders.rejected, "a.csv.report", "old report");
    put(f->folders.rejected, "a.csv.2.report", "from before the power cut");
    put(f->folders.folder, "a.csv", "new");
    assert_int_equal(fstatat(f->folders.folder, "a.csv", &status, 0), 0);
    assert_true(drop_move_rejected(&f->folders, "a.csv", drop_identity_of(&status),
                                   slice_text("new report"), &moved, &err));
    assert_true(moved);
    assert_true(has(f->folders.rejected, "a.csv.2"));
    buf_init(&report, 4096);
    read_text(f->folders.rejected, "a.csv.2.report", &report);
    assert_string_equal((const char *)report.data, "new report");
    read_text(f->folders.rejected, "a.csv.report", &report);
    assert_string_equal((const char *)report.data, "old report");
    buf_done(&report);
}

static void a_file_that_took_anothers_place_is_not_moved(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    struct error err;
    bool moved = true;
    put(f->folders.folder, "a.csv", "read");
    assert_int_equal(fstatat(f->folders.folder, "a.csv", &status, 0), 0);
    struct drop_identity identity = drop_identity_of(&status);
    put(f->folders.folder, "a.csv", "never read");
    assert_true(drop_move_done(&f->folders, "a.csv", identity, &moved, &err));
    assert_false(moved);
    assert_true(has(f->folders.folder, "a.csv"));
    assert_false(has(f->folders.done, "a.csv"));
    assert_int_equal(unlinkat(f->folders.folder, "a.csv", 0), 0);
    assert_true(drop_move_done(&f->folders, "a.csv", identity, &moved, &err));
    assert_false(moved);
}

static void only_files_that_lie_in_done_for_long_are_deleted(void **state)
{
    struct fixture *f = *state;
    put(f->folders.done, "a.csv", "");
    int64_t now = clock_now_ms(&clock_real);
    assert_int_equal(drop_clean_done(&f->folders, 3600000, now), 0);
    assert_int_equal(drop_clean_done(&f->folders, 3600000, now + 7200000), 1);
    assert_false(has(f->folders.done, "a.csv"));
}

static const struct drop_candidate *next(struct drop_scan *scan, struct fixture *f,
                                         const struct mapping_set *set, const char *first,
                                         int64_t ms)
{
    const struct drop_candidate *file = NULL;
    struct error err;
    assert_true(drop_scan_next(scan, f->folders.folder, set, first, ms * 1000000, &file, &err));
    return file;
}

static void a_file_is_complete_when_it_has_stayed_the_same(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct mapping_set *set = mapping_set_new();
    struct drop_scan *scan = drop_scan_new(2000);
    put(f->folders.folder, "m.mapping", mapping_json);
    assert_true(mapping_set_refresh(set, f->folders.folder, &err));
    assert_int_equal(mapping_set_count(set), 1);
    put(f->folders.folder, "a.csv", "x");
    put(f->folders.folder, "b.csv", "x");
    put(f->folders.folder, "c.csv.tmp", "x");
    put(f->folders.folder, "d.txt", "x");
    put(f->folders.folder, "e\n.csv", "x");
    assert_null(next(scan, f, set, "", 1000));
    assert_null(next(scan, f, set, "", 2900));
    put(f->folders.folder, "a.csv", "xy");
    assert_string_equal(next(scan, f, set, "", 3000)->name, "b.csv");
    assert_string_equal(next(scan, f, set, "a.csv", 4900)->name, "b.csv");
    assert_string_equal(next(scan, f, set, "a.csv", 5000)->name, "a.csv");
    assert_int_equal(drop_scan_waiting(scan), 2);
    assert_int_equal(drop_scan_unmatched(scan), 1);
    drop_scan_free(&scan);
    mapping_set_free(&set);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_file_waits_while_the_disk_cannot_follow_and_goes_on_where_it_was),
        IN_FOLDER(a_file_whose_rest_cannot_be_read_says_what_was_taken),
        IN_FOLDER(progress_of_another_file_of_the_same_name_is_not_followed),
        IN_FOLDER(half_a_row_of_a_file_that_grows_is_not_taken),
        IN_FOLDER(damaged_progress_costs_only_time),
        IN_FOLDER(a_report_names_so_many_rows_and_counts_the_rest),
        IN_FOLDER(a_mapping_that_changes_is_read_again),
        IN_FOLDER(a_name_that_is_taken_gets_a_number_and_a_report_without_its_file_is_replaced),
        IN_FOLDER(a_file_that_took_anothers_place_is_not_moved),
        IN_FOLDER(only_files_that_lie_in_done_for_long_are_deleted),
        IN_FOLDER(a_file_is_complete_when_it_has_stayed_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
