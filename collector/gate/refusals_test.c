#include "collector/gate/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "collector/gate/refusal_sample.h"

struct fixture {
    struct clock_fake clock;
    struct refusals *refusals;
    struct request request;
    size_t count;
    char seen[REFUSALS_SOURCES * REFUSALS_LAST_OF_SOURCE + 1][64];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->clock, 1795292103120);
    f->refusals = refusals_new(&f->clock.clock);
    request_init(&f->request);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    refusals_free(&f->refusals);
    request_done(&f->request);
    free(f);
    return 0;
}

static void note(struct fixture *f, const char *source, const char *code)
{
    struct refusal refusal = {code, "A sentence.", NULL};
    refusals_count(f->refusals, slice_text(source), code);
    refusals_note(f->refusals, slice_text(source), &refusal, NULL);
}

static bool list_seen(void *user, struct slice source, const struct refusal_seen *seen)
{
    struct fixture *f = user;
    snprintf(f->seen[f->count++], sizeof f->seen[0], "%.*s %s %llu", SLICE_ARGS(source), seen->code,
             (unsigned long long)seen->serial);
    return true;
}

static void list_count(void *user, struct slice source, const char *code, uint64_t count)
{
    struct fixture *f = user;
    if (f->count < sizeof f->seen / sizeof *f->seen) {
        snprintf(f->seen[f->count++], sizeof f->seen[0], "%.*s %s %llu", SLICE_ARGS(source), code,
                 (unsigned long long)count);
    }
}

static void test_the_newest_of_each_source_come_first_and_only_the_last_are_kept(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 25; i++) {
        note(f, "web", "x");
    }
    note(f, "till", "y");
    refusals_each_last(f->refusals, list_seen, f);
    assert_int_equal(f->count, REFUSALS_LAST_OF_SOURCE + 1);
    assert_string_equal(f->seen[0], "web x 25");
    assert_string_equal(f->seen[1], "till y 26");
    assert_string_equal(f->seen[2], "web x 24");
    assert_string_equal(f->seen[20], "web x 6");
    assert_int_equal(refusals_serial(f->refusals), 26);
    f->count = 0;
    refusals_each_count(f->refusals, list_count, f);
    assert_int_equal(f->count, 2);
    assert_string_equal(f->seen[0], "web x 25");
}

static void test_beyond_fifty_sources_the_one_refused_longest_ago_is_forgotten(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < REFUSALS_SOURCES + 1; i++) {
        char source[16];
        snprintf(source, sizeof source, "s%d", i);
        note(f, source, "x");
        note(f, "s1", "x"); /* always fresh */
    }
    refusals_each_last(f->refusals, list_seen, f);
    bool has[REFUSALS_SOURCES + 1] = {false};
    for (size_t i = 0; i < f->count; i++) {
        has[atoi(f->seen[i] + 1)] = true;
    }
    assert_false(has[0]);
    for (int i = 1; i <= REFUSALS_SOURCES; i++) {
        assert_true(has[i]);
    }
}

static void test_counts_beyond_the_bound_are_counted_together_under_no_ones_name(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    for (int i = 0; i < 600; i++) {
        char source[16];
        snprintf(source, sizeof source, "s%d", i);
        refusals_count(f->refusals, slice_text(source), "x");
        refusals_count(f->refusals, slice_text(source), "x");
    }
    buf_init(&out, 1024 * 1024);
    refusals_put_metrics(f->refusals, &out);
    buf_put_u8(&out, 0);
    assert_non_null(strstr((const char *)out.data, "{source=\"s510\",reason=\"x\"} 2\n"));
    assert_null(strstr((const char *)out.data, "s511"));
    assert_non_null(strstr((const char *)out.data, "{source=\"\",reason=\"other\"} 178\n"));
    buf_done(&out);
}

static void sample(struct fixture *f, const char *json, struct refusal_seen *ret)
{
    request_parse(&f->request, EVENT_TRACK, slice_text(json), &rand_secure);
    assert_int_equal(f->request.count, 1);
    memset(ret, 0, sizeof *ret);
    refusal_sample_event(&f->request.events[0], ret);
}

static void test_a_sample_has_the_shape_and_nobodys_data(void **state)
{
    static const struct {
        const char *json;
        const char *sample;
    } rows[] = {
        {"{\"event\":\"E\",\"userId\":\"jane\"}", "userId:text(4)"},
        {"{\"event\":\"E\",\"userId\":\"jane@example.com\",\"anonymousId\":\"a\"}",
         "userId:text(16) j…@… anonymousId:text(1)"},
        {"{\"event\":\"E\",\"properties\":{\"a\":1,\"b\":1.5,\"c\":null,\"d\":true,\"e\":[1,2]}}",
         "properties{a:number,b:number,c:null,d:boolean,e:array(2)}"},
        {"{\"event\":\"E\",\"properties\":{\"jane@example.com\":1,\"0123456789\":2,\"\":3,\"é\":4}"
         "}",
         "properties{…:number,…:number,…:number,…:number}"},
        {"{\"event\":\"E\",\"x\":\"@\",\"y\":\"4@x\"}", "x:text(1) y:text(3)"},
        {"{\"event\":\"E\",\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1}}}}}", "a{b{c{d:object(1)}}}"},
        {"{\"event\":\"E\",\"userId\":[1]}", ""}, /* refused before the body was complete */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct refusal_seen seen;
        sample(f, rows[i].json, &seen);
        if (strcmp(seen.sample, rows[i].sample) != 0) {
            fail_msg("%s: \"%s\"", rows[i].json, seen.sample);
        }
    }
}

static void test_of_pointers_and_event_names_only_what_looks_like_a_name_is_shown(void **state)
{
    static const char *const rows[][2] = {
        {"/properties/total", "/properties/total"},
        {"/context/consent/categoryPreferences", "/context/consent/categoryPreferences"},
        {"/properties/items/3/a b", "/properties/items/3/a b"},
        {"/properties/jane@example.com", "/properties/…"},
        {"/properties/0123456789/x", "/properties/…/x"},
        {"/properties/a~1b", "/properties/…"},
        {"/", "/"},
        {"//x", "//x"},
        {"", ""},
    };
    static const char *const names[][2] = {
        {"Order Completed", "Order Completed"},
        {"jane@example.com", "…"},
        {"Call 0791234567", "…"},
        {"a\\nb", "…"},
    };
    struct fixture *f = *state;
    struct refusal_seen seen;
    char text[128];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refusal_sample_pointer(slice_text(rows[i][0]), seen.field, sizeof seen.field);
        assert_string_equal(seen.field, rows[i][1]);
    }
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 30) {
        text[i] = '/';
    }
    refusal_sample_pointer(slice_make(text, sizeof text), seen.field, sizeof seen.field);
    assert_in_range(strlen(seen.field), 60, sizeof seen.field - 1);
    assert_string_equal(seen.field + strlen(seen.field) - strlen("…"), "…");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "{\"event\":\"%s\",\"userId\":\"u\"}", names[i][0]);
        sample(f, text, &seen);
        assert_string_equal(seen.event, names[i][1]);
    }
}

static void test_long_shapes_are_cut_and_long_names_left_out(void **state)
{
    struct fixture *f = *state;
    struct refusal_seen seen;
    struct buf json;
    buf_init(&json, 64 * 1024);
    buf_put_format(&json, "{\"event\":\"");
    for (int i = 0; i < 50; i++) {
        buf_put_format(&json, "ab");
    }
    buf_put_format(&json, "\",\"userId\":\"u\",\"properties\":{");
    for (int i = 0; i < 100; i++) {
        buf_put_format(&json, "%s\"name%d\":1", i > 0 ? "," : "", i);
    }
    buf_put_format(&json, "}}");
    buf_put_u8(&json, 0);
    sample(f, (const char *)json.data, &seen);
    size_t len = strlen(seen.sample);
    assert_in_range(len, sizeof seen.sample - 30, sizeof seen.sample - 1);
    assert_string_equal(seen.sample + len - strlen("…"), "…");
    assert_string_equal(seen.event, "…");
    buf_done(&json);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_the_newest_of_each_source_come_first_and_only_the_last_are_kept),
        WITH(test_beyond_fifty_sources_the_one_refused_longest_ago_is_forgotten),
        WITH(test_counts_beyond_the_bound_are_counted_together_under_no_ones_name),
        WITH(test_a_sample_has_the_shape_and_nobodys_data),
        WITH(test_of_pointers_and_event_names_only_what_looks_like_a_name_is_shown),
        WITH(test_long_shapes_are_cut_and_long_names_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
