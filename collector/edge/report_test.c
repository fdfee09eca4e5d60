#include "collector/edge/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/wire.h"

struct fixture {
    struct clock_fake clock;
    struct rand rand;
    struct refusals *refusals;
    struct store *store;
    struct spool *spool;
    struct report *report;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object map;
    struct error err;
};

static void open_report(struct fixture *f)
{
    struct spool_options options = {.bytes_max = 1 << 30};
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
    f->report = report_open(f->refusals, f->spool, &f->clock.clock, &f->clock.clock, &f->rand);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->clock, 1795292103120);
    rand_seeded_init(&f->rand, 5);
    f->refusals = refusals_new(&f->clock.clock);
    f->store = store_memory_open();
    buf_init(&f->bytes, WIRE_REPORT_BYTES);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    open_report(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    report_close(&f->report);
    spool_close(&f->spool);
    store_close(&f->store);
    refusals_free(&f->refusals);
    buf_done(&f->bytes);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void write_report(struct fixture *f)
{
    buf_clear(&f->bytes);
    report_write(f->report, &f->bytes);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->map, &f->err));
}

static void note(struct fixture *f, const char *source, const char *code)
{
    struct refusal refusal = {code, "A sentence.", "/properties/total"};
    refusals_count(f->refusals, slice_text(source), code);
    refusals_note(f->refusals, slice_text(source), &refusal, NULL);
}

static const msgpack_object *last(struct fixture *f)
{
    return value_member_c(&f->map, "last_refusals");
}

static void test_the_last_refusals_are_told_until_an_answer_comes_and_again_when_there_are_new_ones(
    void **state)
{
    struct fixture *f = *state;
    write_report(f);
    assert_null(last(f));
    note(f, "web", "x");
    f->clock.ms += 5000;
    write_report(f);
    assert_int_equal(last(f)->via.array.size, 1);
    int64_t age;
    assert_true(value_int(value_member_c(&last(f)->via.array.ptr[0], "age"), &age));
    assert_int_equal(age, 5000);
    report_settle(f->report, false);
    write_report(f);
    assert_non_null(last(f));
    note(f, "web", "x"); /* while the poll is under way */
    report_settle(f->report, true);
    write_report(f);
    assert_int_equal(last(f)->via.array.size, 2);
    report_settle(f->report, true);
    write_report(f);
    assert_null(last(f));
    report_settle(f->report, false); /* perhaps the hub has lost everything */
    write_report(f);
    assert_int_equal(last(f)->via.array.size, 2);
}

static void test_counts_and_the_number_of_the_start_are_always_there(void **state)
{
    struct fixture *f = *state;
    int64_t start;
    int64_t other;
    note(f, "web", "x");
    note(f, "web", "x");
    note(f, "", "y");
    write_report(f);
    const msgpack_object *counts = value_member_c(&f->map, "refusals");
    assert_int_equal(counts->via.array.size, 2);
    assert_int_equal(counts->via.array.ptr[0].via.array.ptr[2].via.u64, 2);
    assert_true(value_int(value_member_c(&f->map, "start"), &start));
    report_close(&f->report);
    spool_close(&f->spool);
    open_report(f);
    write_report(f);
    assert_true(value_int(value_member_c(&f->map, "start"), &other));
    assert_true(start != other && start >= 0 && other >= 0);
}

static void test_a_report_is_bounded_whatever_was_refused(void **state)
{
    struct fixture *f = *state;
    char source[LIMIT_NAME_BYTES + 1];
    memset(source, 'x', LIMIT_NAME_BYTES);
    source[LIMIT_NAME_BYTES] = 0;
    for (int i = 0; i < 600; i++) {
        snprintf(source, 8, "s%05d", i);
        source[7] = '-';
        note(f, source, "identifier-too-long");
    }
    write_report(f);
    assert_in_range(f->bytes.len, 8 * 1024, WIRE_REPORT_BYTES);
    assert_true(value_member_c(&f->map, "refusals")->via.array.size > 40);
    assert_true(last(f)->via.array.size > 10);
}

static void append(struct fixture *f)
{
    struct spool_entry entry = {.lane = LANE_NORMAL, .block = slice_text("block")};
    assert_true(spool_append(f->spool, &entry, 1, 1, f->clock.ms, &f->err));
    assert_true(entry.is_stored);
}

static void acknowledge(struct fixture *f)
{
    struct spool_place place;
    struct buf block;
    struct buf header;
    bool found;
    buf_init(&block, 1024);
    buf_init(&header, 1024);
    assert_true(spool_find(f->spool, LANE_NORMAL, 0, &place, &block, &header, &found, &f->err));
    assert_true(found);
    assert_true(spool_acknowledge(f->spool, &place, &f->err));
    buf_done(&block);
    buf_done(&header);
}

static void test_lag_is_at_least_the_age_of_the_oldest_block_and_not_much_more(void **state)
{
    enum { EVERY_MS = 1000, BLOCKS = 300 };
    struct fixture *f = *state;
    int64_t appended[BLOCKS];
    int first = 0;
    int next = 0;
    struct rand rand;
    rand_seeded_init(&rand, 2);
    assert_int_equal(report_lag_ms(f->report), 0);
    while (next < BLOCKS) {
        f->clock.ms += (int64_t)rand_below(&rand, EVERY_MS);
        if (rand_below(&rand, 3) > 0) {
            appended[next++] = f->clock.ms;
            append(f);
        }
        while (first < next && rand_below(&rand, next < BLOCKS / 2 ? 9 : 2) == 0) {
            acknowledge(f);
            first++;
        }
        f->clock.ms += (int64_t)rand_below(&rand, EVERY_MS);
        int64_t lag = report_lag_ms(f->report);
        int64_t age = first == next ? 0 : f->clock.ms - appended[first];
        /* Marks thin out: what is older is known less exactly. */
        if (lag < age || lag > age + age / 2 + 20 * EVERY_MS) {
            fail_msg("seed 2, block %d of %d: lag %lld, age %lld", first, next, (long long)lag,
                     (long long)age);
        }
    }
    while (first < next) {
        acknowledge(f);
        first++;
    }
    assert_int_equal(report_lag_ms(f->report), 0);
}

static void test_blocks_of_an_earlier_run_lag_since_then(void **state)
{
    struct fixture *f = *state;
    append(f);
    report_close(&f->report);
    spool_close(&f->spool);
    open_report(f);
    append(f);
    f->clock.ms += 7000;
    assert_in_range(report_lag_ms(f->report), 7000, INT64_MAX);
    acknowledge(f);
    f->clock.ms += 1000;
    assert_int_equal(report_lag_ms(f->report), 8000);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(
            test_the_last_refusals_are_told_until_an_answer_comes_and_again_when_there_are_new_ones),
        WITH(test_counts_and_the_number_of_the_start_are_always_there),
        WITH(test_a_report_is_bounded_whatever_was_refused),
        WITH(test_lag_is_at_least_the_age_of_the_oldest_block_and_not_much_more),
        WITH(test_blocks_of_an_earlier_run_lag_since_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
