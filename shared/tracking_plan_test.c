#include "shared/tracking_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

static struct tracking_plan *plan_of(const char *json)
{
    struct tracking_plan *plan = NULL;
    struct schema_place where;
    struct error err;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    buf_init(&bytes, 64 * 1024);
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(json_read_value(slice_text(json), &bytes, &zone, &object, &err));
    if (!tracking_plan_new(&object, &plan, &where, &err)) {
        fail_msg("%s: %s at %s", json, err.message, where.pointer);
    }
    /* The plan has copied what it needs. */
    memset(bytes.data, 0xc1, bytes.len);
    buf_done(&bytes);
    msgpack_zone_destroy(&zone);
    return plan;
}

static enum plan_verdict check(const struct tracking_plan *plan, const char *name, const char *body,
                               struct schema_violations *found)
{
    struct buf bytes;
    buf_init(&bytes, 64 * 1024);
    assert_int_equal(json_read(slice_text(body), &bytes), JSON_FINE);
    enum plan_verdict verdict =
        tracking_plan_check(plan, slice_text(name), buf_slice(&bytes), found);
    buf_done(&bytes);
    return verdict;
}

#define EVENTS                                                                                     \
    "\"events\":{\"Sold\":{\"properties\":{\"type\":\"object\",\"required\":[\"total\"]}},"        \
    "\"Seen\":{},\"Added\":{\"properties\":{\"additionalProperties\":false}}}"

static void test_the_plan_says_what_becomes_of_an_event(void **state)
{
    static const struct {
        const char *plan;
        const char *event;
        const char *body;
        enum plan_verdict verdict;
    } rows[] = {
        {"{" EVENTS "}", "Sold", "{\"properties\":{\"total\":1}}", PLAN_FINE},
        {"{" EVENTS "}", "Sold", "{\"properties\":{}}", PLAN_FLAG},
        {"{" EVENTS "}", "Sold", "{}", PLAN_FLAG},
        {"{" EVENTS "}", "Sold", "{\"properties\":null}", PLAN_FLAG},
        {"{" EVENTS "}", "Seen", "{\"properties\":{\"x\":1}}", PLAN_FINE},
        {"{" EVENTS "}", "Added", "{\"properties\":null}", PLAN_FINE},
        {"{" EVENTS "}", "Added", "{\"properties\":{\"x\":1}}", PLAN_FLAG},
        {"{" EVENTS "}", "Bought", "{}", PLAN_FINE},
        {"{" EVENTS ",\"violations\":\"quarantine\"}", "Sold", "{}", PLAN_QUARANTINE},
        {"{" EVENTS ",\"violations\":\"refuse\"}", "Sold", "{}", PLAN_REFUSE},
        {"{" EVENTS ",\"unplanned\":\"flag\"}", "Bought", "{}", PLAN_FLAG},
        {"{" EVENTS ",\"unplanned\":\"quarantine\"}", "Bought", "{}", PLAN_QUARANTINE},
        {"{" EVENTS ",\"unplanned\":\"quarantine\"}", "Sol", "{}", PLAN_QUARANTINE},
        {"{\"events\":{}}", "Sold", "{}", PLAN_FINE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct schema_violations found;
        struct tracking_plan *plan = plan_of(rows[i].plan);
        enum plan_verdict verdict = check(plan, rows[i].event, rows[i].body, &found);
        if (verdict != rows[i].verdict || (verdict == PLAN_FINE) != (found.count == 0)) {
            fail_msg("row %zu: verdict %d with %zu violations", i, (int)verdict, found.count);
        }
        tracking_plan_free(&plan);
    }
}

static void test_violations_point_into_the_event(void **state)
{
    struct schema_violations found;
    struct tracking_plan *plan = plan_of("{" EVENTS ",\"unplanned\":\"flag\"}");
    (void)state;
    (void)check(plan, "Sold", "{\"context\":{},\"properties\":{\"x\":1}}", &found);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.list[0].pointer, "/properties/total");
    assert_string_equal(found.list[0].rule, "required");
    (void)check(plan, "Bought", "{}", &found);
    assert_string_equal(found.list[0].pointer, "/event");
    assert_string_equal(found.list[0].rule, "unplanned");
    tracking_plan_free(&plan);
}

static void test_a_body_that_is_damaged_is_no_planned_one(void **state)
{
    struct schema_violations found;
    struct tracking_plan *plan = plan_of("{" EVENTS "}");
    (void)state;
    assert_int_equal(tracking_plan_check(plan, slice_text("Sold"),
                                         slice_text("\x81\xaaproperties\x82\xa5total"), &found),
                     PLAN_FLAG);
    assert_int_equal(tracking_plan_check(plan, slice_text("Sold"), slice_make(NULL, 0), &found),
                     PLAN_FLAG);
    tracking_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_plan_says_what_becomes_of_an_event),
        cmocka_unit_test(test_violations_point_into_the_event),
        cmocka_unit_test(test_a_body_that_is_damaged_is_no_planned_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
