#include "hub/reports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

enum { MINUTE_MS = 60000 };

struct fixture {
    struct reports *reports;
    int64_t now_ms;
    struct buf bytes;
    size_t count;
    char lines[300][128];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->reports = reports_new();
    f->now_ms = 1795292103120;
    buf_init(&f->bytes, 64 * 1024);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    reports_free(&f->reports);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static void take(struct fixture *f, const char *collector, const char *json)
{
    buf_clear(&f->bytes);
    assert_int_equal(json_read(slice_text(json), &f->bytes), JSON_FINE);
    reports_take(f->reports, slice_text(collector), buf_slice(&f->bytes), f->now_ms);
}

static void list_count(void *user, const struct report_count *c)
{
    struct fixture *f = user;
    snprintf(f->lines[f->count++], sizeof f->lines[0], "%.*s/%.*s/%.*s %llu %llu %llu",
             SLICE_ARGS(c->collector), SLICE_ARGS(c->source), SLICE_ARGS(c->code),
             (unsigned long long)c->since_start, (unsigned long long)c->total,
             (unsigned long long)c->last_hour);
}

static const char *counts(struct fixture *f, const char *collector)
{
    f->count = 0;
    f->lines[0][0] = 0;
    reports_each_count(f->reports, slice_text(collector), f->now_ms, list_count, f);
    return f->lines[0];
}

static void list_refusal(void *user, const struct report_refusal *r)
{
    struct fixture *f = user;
    snprintf(f->lines[f->count++], sizeof f->lines[0], "%.*s %.*s %.*s %lld",
             SLICE_ARGS(r->collector), SLICE_ARGS(r->code), SLICE_ARGS(r->sample),
             (long long)(f->now_ms - r->at_ms));
}

static void test_counts_go_on_over_the_starts_of_a_collector(void **state)
{
    struct fixture *f = *state;
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",5]]}");
    assert_string_equal(counts(f, ""), "edge/web/x 5 5 0"); /* nobody knows when these were */
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",7]]}");
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",7]]}");
    assert_string_equal(counts(f, ""), "edge/web/x 7 7 2");
    take(f, "edge", "{\"start\":2,\"refusals\":[[\"web\",\"x\",3]]}");
    assert_string_equal(counts(f, ""), "edge/web/x 3 10 5");
    take(f, "edge", "{\"start\":3,\"refusals\":[]}");
    assert_string_equal(counts(f, ""), "edge/web/x 0 10 5");
}

static void test_the_last_hour_ends(void **state)
{
    struct fixture *f = *state;
    take(f, "edge", "{\"start\":1}");
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",1]]}");
    f->now_ms += 30 * MINUTE_MS;
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",11]]}");
    assert_string_equal(counts(f, ""), "edge/web/x 11 11 11");
    f->now_ms += 30 * MINUTE_MS;
    assert_string_equal(counts(f, ""), "edge/web/x 11 11 10");
    f->now_ms += 30 * MINUTE_MS;
    assert_string_equal(counts(f, ""), "edge/web/x 11 11 0");
    f->now_ms += 1000 * MINUTE_MS;
    take(f, "edge", "{\"start\":1,\"refusals\":[[\"web\",\"x\",12]]}");
    assert_string_equal(counts(f, ""), "edge/web/x 12 12 1");
    f->now_ms -= 500 * MINUTE_MS; /* the clock was set */
    assert_string_equal(counts(f, ""), "edge/web/x 12 12 1");
}

static void test_collectors_are_told_apart(void **state)
{
    struct fixture *f = *state;
    take(f, "a", "{\"start\":1,\"lag\":5,\"refusals\":[[\"web\",\"x\",1]]}");
    take(f, "b", "{\"start\":1,\"refusals\":[[\"web\",\"x\",2],[\"\",\"y\",3]]}");
    assert_string_equal(counts(f, "a"), "a/web/x 1 1 0");
    (void)counts(f, "");
    assert_int_equal(f->count, 3);
    (void)counts(f, "c");
    assert_int_equal(f->count, 0);
    assert_int_equal(reports_lag_ms(f->reports, slice_text("a")), 5);
    assert_int_equal(reports_lag_ms(f->reports, slice_text("b")), -1);
    assert_int_equal(reports_lag_ms(f->reports, slice_text("c")), -1);
}

static void test_what_was_dropped_is_told_by_lane_and_outlives_reports_without_it(void **state)
{
    struct fixture *f = *state;
    uint64_t dropped[REPORT_LANES];
    take(f, "edge", "{\"start\":1,\"dropped\":[0,7,40]}");
    take(f, "edge", "{\"start\":2,\"dropped\":[-1,\"x\"]}");
    reports_dropped(f->reports, slice_text("edge"), dropped);
    assert_int_equal(dropped[0], 0);
    assert_int_equal(dropped[1], 7);
    assert_int_equal(dropped[2], 40);
    reports_dropped(f->reports, slice_text("nobody"), dropped);
    assert_int_equal(dropped[2], 0);
}

static void test_the_version_is_the_last_one_told_and_nothing_that_is_none(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(reports_version(f->reports, slice_text("edge")).text, "");
    take(f, "edge", "{\"start\":1,\"version\":\"0.2.0\"}");
    take(f, "edge", "{\"start\":1}");
    take(f, "edge", "{\"start\":1,\"version\":7}");
    take(f, "edge", "{\"start\":1,\"version\":\"012345678901234567890123456789012\"}");
    assert_string_equal(reports_version(f->reports, slice_text("edge")).text, "0.2.0");
    take(f, "edge", "{\"start\":2,\"version\":\"0.3.0\"}");
    assert_string_equal(reports_version(f->reports, slice_text("edge")).text, "0.3.0");
}

static void test_the_last_refusals_are_those_told_last_with_their_ages(void **state)
{
    struct fixture *f = *state;
    take(f, "edge",
         "{\"start\":1,\"last_refusals\":[{\"code\":\"x\",\"age\":100,\"sample\":\"s\"}]}");
    f->now_ms += 1000;
    take(f, "edge", "{\"start\":1}");
    reports_each_refusal(f->reports, slice_text(""), list_refusal, f);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->lines[0], "edge x s 1100");
    take(f, "edge",
         "{\"start\":1,\"last_refusals\":[{\"code\":\"y\",\"age\":-7},{\"code\":\"z\"},7]}");
    f->count = 0;
    reports_each_refusal(f->reports, slice_text("edge"), list_refusal, f);
    assert_int_equal(f->count, 3);
    assert_string_equal(f->lines[0], "edge y  0");
}

static void test_reports_that_make_no_sense_change_nothing(void **state)
{
    static const char *const rows[] = {
        "7",
        "[]",
        "{}",
        "{\"start\":\"1\"}",
        "{\"start\":9,\"refusals\":7,\"last_refusals\":{}}",
        "{\"start\":9,\"refusals\":[[\"web\",\"x\",-1],[\"web\",\"x\"],[1,2,3],{}],\"lag\":"
        "\"long\"}",
    };
    struct fixture *f = *state;
    take(f, "edge", "{\"start\":9,\"lag\":3,\"refusals\":[[\"web\",\"x\",5]]}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        take(f, "edge", rows[i]);
        assert_string_equal(counts(f, ""), "edge/web/x 5 5 0");
        assert_int_equal(reports_lag_ms(f->reports, slice_text("edge")), 3);
    }
    reports_take(f->reports, slice_text("edge"), slice_make(NULL, 0), f->now_ms);
    reports_take(f->reports, slice_text("edge"), slice_text("\x81\xa1"), f->now_ms);
    /* A code and a source that are no UTF-8 would spoil the API's JSON. */
    reports_take(f->reports, slice_text("edge"),
                 slice_text("\x82\xa5start\x09\xa8refusals\x91\x93\xa1\xff\xa1x\x07"), f->now_ms);
    (void)counts(f, "");
    assert_int_equal(f->count, 1);
}

static void test_counts_are_bounded(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 3; round++) {
        struct buf json;
        buf_init(&json, 64 * 1024);
        buf_put_format(&json, "{\"start\":1,\"refusals\":[");
        for (int i = 0; i < 150; i++) {
            buf_put_format(&json, "%s[\"s%d\",\"x\",1]", i > 0 ? "," : "", round * 150 + i);
        }
        buf_put_format(&json, "]}");
        buf_put_u8(&json, 0);
        take(f, "edge", (const char *)json.data);
        buf_done(&json);
    }
    (void)counts(f, "");
    assert_int_equal(f->count, 256);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_counts_go_on_over_the_starts_of_a_collector),
        WITH(test_the_last_hour_ends),
        WITH(test_collectors_are_told_apart),
        WITH(test_what_was_dropped_is_told_by_lane_and_outlives_reports_without_it),
        WITH(test_the_version_is_the_last_one_told_and_nothing_that_is_none),
        WITH(test_the_last_refusals_are_those_told_last_with_their_ages),
        WITH(test_reports_that_make_no_sense_change_nothing),
        WITH(test_counts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
