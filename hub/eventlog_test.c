#include "hub/eventlog.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

struct fixture {
    struct store *store;
    struct eventlog *log;
    struct buf bytes;
    msgpack_zone zone;
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    buf_init(&f->bytes, 1024 * 1024);
    assert_true(eventlog_open(f->store, &f->log, &f->err));
    *state = f;
    return msgpack_zone_init(&f->zone, 1024) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    eventlog_close(&f->log);
    store_close(&f->store);
    buf_done(&f->bytes);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void cut_power(struct fixture *f)
{
    eventlog_close(&f->log);
    store_memory_crash(f->store);
    assert_true(eventlog_open(f->store, &f->log, &f->err));
}

static struct eventlog_record record(const char *bytes)
{
    return (struct eventlog_record){.kind = EVENTLOG_BLOCK,
                                    .at_ms = 1795292103120,
                                    .clock_offset_ms = -3600000,
                                    .collector = 7,
                                    .collector_id = slice_text("till-1"),
                                    .bytes = slice_text(bytes)};
}

static void append(struct fixture *f, const char *bytes)
{
    struct eventlog_record r = record(bytes);
    assert_true(eventlog_append(f->log, &r, 1, NULL, &f->err));
}

static bool read_record(struct fixture *f, uint64_t number, struct eventlog_record *ret)
{
    bool found;
    msgpack_zone_clear(&f->zone);
    assert_true(eventlog_read(f->log, number, &f->bytes, &f->zone, ret, &found, &f->err));
    return found;
}

static void assert_record(struct fixture *f, uint64_t number, const char *bytes)
{
    struct eventlog_record r;
    if (!read_record(f, number, &r) || !slice_is(r.bytes, bytes)) {
        fail_msg("record %llu is not \"%s\"", (unsigned long long)number, bytes);
    }
    assert_int_equal(r.kind, EVENTLOG_BLOCK);
    assert_int_equal(r.at_ms, 1795292103120);
    assert_int_equal(r.clock_offset_ms, -3600000);
    assert_int_equal(r.collector, 7);
    assert_true(slice_is(r.collector_id, "till-1"));
}

static void test_records_are_numbered_from_1_in_the_order_of_their_coming(void **state)
{
    struct fixture *f = *state;
    struct eventlog_record r;
    struct eventlog_record two[] = {record("b"), record("c")};
    assert_int_equal(eventlog_next(f->log), 1);
    append(f, "a");
    assert_true(eventlog_append(f->log, two, 2, NULL, &f->err));
    assert_int_equal(eventlog_next(f->log), 4);
    assert_record(f, 1, "a");
    assert_record(f, 2, "b");
    assert_record(f, 3, "c");
    assert_false(read_record(f, 0, &r));
    assert_false(read_record(f, 4, &r));
}

static void test_what_was_appended_survives_a_power_cut_and_numbers_go_on(void **state)
{
    struct fixture *f = *state;
    append(f, "a");
    append(f, "b");
    cut_power(f);
    assert_int_equal(eventlog_next(f->log), 3);
    append(f, "c");
    assert_record(f, 1, "a");
    assert_record(f, 2, "b");
    assert_record(f, 3, "c");
}

static void test_what_must_change_with_the_log_changes_with_it_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct store_batch more;
    struct eventlog_record r = record("a");
    struct eventlog_record none;
    bool found;
    store_batch_init(&more);
    store_batch_put(&more, slice_text("zz"), slice_text("with the log"));
    store_batch_delete(&more, slice_text("zy"));
    store_memory_fail_write(f->store, 1);
    assert_false(eventlog_append(f->log, &r, 1, &more, &f->err));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_int_equal(eventlog_next(f->log), 1);
    assert_false(read_record(f, 1, &none));
    assert_true(store_get(f->store, NULL, slice_text("zz"), &f->bytes, &found, &f->err));
    assert_false(found);
    assert_true(eventlog_append(f->log, &r, 1, &more, &f->err));
    assert_record(f, 1, "a");
    cut_power(f);
    assert_true(store_get(f->store, NULL, slice_text("zz"), &f->bytes, &found, &f->err));
    assert_true(found && slice_is(buf_slice(&f->bytes), "with the log"));
    /* Also without any record. */
    store_batch_clear(&more);
    store_batch_delete(&more, slice_text("zz"));
    assert_true(eventlog_append(f->log, NULL, 0, &more, &f->err));
    cut_power(f);
    assert_true(store_get(f->store, NULL, slice_text("zz"), &f->bytes, &found, &f->err));
    assert_false(found);
    assert_int_equal(eventlog_next(f->log), 2);
    store_batch_done(&more);
}

static void test_the_end_is_found_among_all_other_keys(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {"A", "D1x", "V", "c1", "h1", "q", "s", "zzz"};
    struct store_batch batch;
    store_batch_init(&batch);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        store_batch_put(&batch, slice_text(others[i]), slice_text("x"));
    }
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
    cut_power(f);
    assert_int_equal(eventlog_next(f->log), 1);
    append(f, "a");
    cut_power(f);
    assert_int_equal(eventlog_next(f->log), 2);
}

static void test_a_damaged_record_is_told_from_a_missing_one(void **state)
{
    static const char *const damaged[] = {"", "\xc1", "\x90", "\x96\x01\x01\x01\x01\x01\x01"};
    struct fixture *f = *state;
    uint8_t key[9] = {'r', 0, 0, 0, 0, 0, 0, 0, 9};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct store_batch batch;
        struct eventlog_record r;
        bool found;
        store_batch_init(&batch);
        store_batch_put(&batch, slice_make(key, sizeof key), slice_text(damaged[i]));
        assert_true(store_write(f->store, &batch, true, &f->err));
        store_batch_done(&batch);
        msgpack_zone_clear(&f->zone);
        assert_false(eventlog_read(f->log, 9, &f->bytes, &f->zone, &r, &found, &f->err));
        assert_int_equal(f->err.kind, ERROR_CORRUPT);
    }
}

static void test_keys_of_epochs_do_not_run_into_each_other(void **state)
{
    struct buf a;
    struct buf b;
    (void)state;
    buf_init(&a, 128);
    buf_init(&b, 128);
    eventlog_header_key(slice_text("till"), 1, &a);
    eventlog_receipt_key(slice_text("till"), 1, &b);
    assert_false(slice_equal(buf_slice(&a), buf_slice(&b)));
    eventlog_header_key(slice_text("till-1"), 1, &b);
    assert_false(slice_starts_with(buf_slice(&b), buf_slice(&a)));
    eventlog_header_key(slice_text("till"), 2, &b);
    assert_true(slice_compare(buf_slice(&a), buf_slice(&b)) < 0);
    buf_done(&a);
    buf_done(&b);
}

static void *append_later(void *arg)
{
    append(arg, "later");
    return NULL;
}

static void test_waiting_ends_when_the_record_comes(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    append(f, "a");
    eventlog_wait(f->log, 1, 60000); /* is there: no waiting */
    eventlog_wait(f->log, 2, 1);     /* in vain */
    assert_int_equal(pthread_create(&thread, NULL, append_later, f), 0);
    while (eventlog_next(f->log) == 2) {
        eventlog_wait(f->log, 2, 60000);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_record(f, 2, "later");
}

static void test_random_appends_failures_and_power_cuts_keep_what_was_promised(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rand rand;
        uint64_t next = 1;
        rand_seeded_init(&rand, seed);
        tear_down(state);
        set_up(state);
        for (int step = 0; step < 300; step++) {
            struct fixture *f = *state;
            char text[32];
            uint64_t choice = rand_below(&rand, 10);
            if (choice == 0) {
                cut_power(f);
            } else if (choice == 1) {
                struct eventlog_record r = record("lost");
                store_memory_fail_write(f->store, 1);
                assert_false(eventlog_append(f->log, &r, 1, NULL, &f->err));
            } else {
                snprintf(text, sizeof text, "record %llu", (unsigned long long)next++);
                append(f, text);
            }
            if (eventlog_next(f->log) != next) {
                fail_msg("seed=%llu step=%d: next is %llu, not %llu", (unsigned long long)seed,
                         step, (unsigned long long)eventlog_next(f->log), (unsigned long long)next);
            }
        }
        for (uint64_t n = 1; n < next; n++) {
            char text[32];
            snprintf(text, sizeof text, "record %llu", (unsigned long long)n);
            assert_record(*state, n, text);
        }
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_records_are_numbered_from_1_in_the_order_of_their_coming),
        WITH(test_what_was_appended_survives_a_power_cut_and_numbers_go_on),
        WITH(test_what_must_change_with_the_log_changes_with_it_or_not_at_all),
        WITH(test_the_end_is_found_among_all_other_keys),
        WITH(test_a_damaged_record_is_told_from_a_missing_one),
        cmocka_unit_test(test_keys_of_epochs_do_not_run_into_each_other),
        WITH(test_waiting_ends_when_the_record_comes),
        WITH(test_random_appends_failures_and_power_cuts_keep_what_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
