#include "hub/scrub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/receipts.h"

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct error err;
    uint64_t records;
    uint64_t blocks;
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    f->store = store_memory_open();
    assert_true(eventlog_open(f->store, &f->log, &f->err));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    eventlog_close(&f->log);
    store_close(&f->store);
    free(f);
    return 0;
}

static void append(struct fixture *f, int count)
{
    const struct eventlog_record record = {.kind = EVENTLOG_BLOCK,
                                           .collector_id = slice_text("till-1"),
                                           .bytes = slice_text("sealed")};
    for (int i = 0; i < count; i++) {
        assert_true(eventlog_append(f->log, &record, 1, NULL, &f->err));
    }
}

static void remove_record(struct fixture *f, uint8_t number)
{
    const uint8_t key[9] = {'r', 0, 0, 0, 0, 0, 0, 0, number};
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_delete(&batch, slice_make(key, sizeof key));
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

static void put_receipts(struct fixture *f, const char *collector, uint64_t epoch,
                         const uint64_t *numbers, size_t count)
{
    struct receipts receipts;
    struct store_batch batch;
    struct buf key;
    struct buf value;
    receipts_init(&receipts);
    store_batch_init(&batch);
    buf_init(&key, 128);
    buf_init(&value, 1024);
    for (size_t i = 0; i < count; i++) {
        receipts_add(&receipts, numbers[i]);
    }
    eventlog_receipt_key(slice_text(collector), epoch, &key);
    receipts_write(&receipts, &value);
    store_batch_put(&batch, buf_slice(&key), buf_slice(&value));
    assert_true(store_write(f->store, &batch, true, &f->err));
    receipts_done(&receipts);
    store_batch_done(&batch);
    buf_done(&key);
    buf_done(&value);
}

static void on_read(void *user, uint64_t bytes)
{
    *(uint64_t *)user += bytes;
}

static void count(struct fixture *f)
{
    uint64_t bytes = 0;
    assert_true(scrub_count_gaps(f->log, &f->records, &f->blocks, on_read, &bytes, &f->err));
}

static void test_a_log_without_gaps_has_none(void **state)
{
    struct fixture *f = *state;
    count(f);
    assert_int_equal(f->records, 0);
    append(f, 20);
    count(f);
    assert_int_equal(f->records, 0);
    assert_int_equal(f->blocks, 0);
}

static void test_records_that_are_missing_are_counted_wherever_they_were(void **state)
{
    struct fixture *f = *state;
    append(f, 20);
    remove_record(f, 1);
    remove_record(f, 2);
    remove_record(f, 9);
    count(f);
    assert_int_equal(f->records, 3);
}

/* In the last epoch of a collector they may be under way. */
static void test_blocks_that_never_come_are_counted(void **state)
{
    struct fixture *f = *state;
    const uint64_t gaps[] = {5, 6, 9, 10, 12};
    const uint64_t whole[] = {13, 14};
    put_receipts(f, "till-1", 100, gaps, 5);
    count(f);
    assert_int_equal(f->blocks, 0);
    put_receipts(f, "till-1", 200, whole, 2);
    put_receipts(f, "till-2", 300, gaps, 5);
    count(f);
    assert_int_equal(f->blocks, 3);
    put_receipts(f, "till-2", 400, gaps, 5);
    count(f);
    assert_int_equal(f->blocks, 6);
}

static void test_without_a_rate_it_reads_nothing(void **state)
{
    struct fixture *f = *state;
    const struct scrub_options options = {.log = f->log, .data_dir = "/nowhere", .partitions = 1};
    struct scrub *scrub = scrub_open(&options);
    assert_int_equal(scrub_figures(scrub).bytes, 0);
    assert_int_equal(scrub_figures(scrub).faults, 0);
    scrub_close(&scrub);
    assert_null(scrub);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_log_without_gaps_has_none),
        TEST(test_records_that_are_missing_are_counted_wherever_they_were),
        TEST(test_blocks_that_never_come_are_counted),
        TEST(test_without_a_rate_it_reads_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
