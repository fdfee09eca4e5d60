#include "collector/gate/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

struct fixture {
    struct request request;
    struct visit visit;
    struct tracking_plan *plan;
    struct buf plan_bytes;
    struct buf text;
    msgpack_zone zone;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    request_init(&f->request);
    visit_init(&f->visit);
    f->visit.arena = &f->request.arena;
    buf_init(&f->plan_bytes, 64 * 1024);
    buf_init(&f->text, 16 * 1024 * 1024);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    visit_done(&f->visit);
    request_done(&f->request);
    tracking_plan_free(&f->plan);
    buf_done(&f->plan_bytes);
    buf_done(&f->text);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void set_plan(struct fixture *f, const char *json)
{
    msgpack_object object;
    struct schema_place where;
    struct error err;
    assert_true(json_read_value(slice_text(json), &f->plan_bytes, &f->zone, &object, &err));
    assert_true(tracking_plan_new(&object, &f->plan, &where, &err));
}

static void parse(struct fixture *f, enum event_type type, struct slice json)
{
    request_parse(&f->request, type, json, &rand_secure);
    assert_null(f->request.refusal.code);
    f->visit.growth = 0;
    for (size_t i = 0; i < f->request.count; i++) {
        assert_null(f->request.events[i].refusal.code);
        plan_pass(f->plan, &f->visit, &f->request, &f->request.events[i]);
    }
}

/* The body of the first event as JSON. */
static const char *body(struct fixture *f)
{
    msgpack_object object;
    struct error err;
    struct json_writer w;
    buf_clear(&f->text);
    assert_true(value_unpack(f->request.events[0].event.body, &f->zone, &object, &err));
    json_writer_init(&w, &f->text);
    json_value(&w, &object);
    buf_put_u8(&f->text, 0);
    return (const char *)f->text.data;
}

static const char strict[] = "{\"events\":{\"Sold\":{\"properties\":{\"required\":[\"total\"],"
                             "\"properties\":{\"total\":{\"type\":\"number\"}}}}},\"violations\":";

static void set_strict(struct fixture *f, const char *violations)
{
    char json[512];
    snprintf(json, sizeof json, "%s\"%s\"}", strict, violations);
    set_plan(f, json);
}

static void test_a_planned_event_keeps_its_very_body(void **state)
{
    struct fixture *f = *state;
    set_strict(f, "flag");
    parse(f, EVENT_TRACK,
          slice_text("{\"event\":\"Sold\",\"userId\":\"u\",\"properties\":{\"total\":1}}"));
    assert_string_equal(body(f), "{\"properties\":{\"total\":1}}");
    assert_ptr_equal(f->request.events[0].event.body.data, f->request.bodies.data);
    assert_false(f->request.events[0].event.is_quarantined);
}

static void test_violations_are_added_to_whatever_context_there_is(void **state)
{
    static const struct {
        const char *more;
        const char *body;
    } rows[] = {
        {"", "{\"properties\":{\"total\":\"1\"},\"context\":{\"violations\":[{\"pointer\":"
             "\"/properties/total\",\"rule\":\"type\"}]}}"},
        {",\"context\":null",
         "{\"properties\":{\"total\":\"1\"},\"context\":{\"violations\":[{\"pointer\":"
         "\"/properties/total\",\"rule\":\"type\"}]}}"},
        {",\"context\":{\"violations\":7,\"ip\":\"x\"},\"z\":[1]",
         "{\"properties\":{\"total\":\"1\"},\"z\":[1],\"context\":{\"ip\":\"x\",\"violations\":[{"
         "\"pointer\":\"/properties/total\",\"rule\":\"type\"}]}}"},
    };
    struct fixture *f = *state;
    set_strict(f, "flag");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "{\"event\":\"Sold\",\"userId\":\"u\",\"properties\":{\"total\":\"1\"}%s}",
                 rows[i].more);
        parse(f, EVENT_TRACK, slice_text(json));
        assert_null(f->request.events[0].refusal.code);
        assert_string_equal(body(f), rows[i].body);
        assert_false(f->request.events[0].event.is_quarantined);
    }
}

static void test_a_refused_event_says_where_and_by_which_rule(void **state)
{
    struct fixture *f = *state;
    set_strict(f, "refuse");
    parse(f, EVENT_TRACK, slice_text("{\"event\":\"Sold\",\"userId\":\"u\",\"properties\":{}}"));
    assert_string_equal(f->request.events[0].refusal.code, "plan-violation");
    assert_string_equal(f->request.events[0].refusal.field, "/properties/total");
    assert_non_null(strstr(f->request.events[0].refusal.message, "\"required\""));
}

static void test_quarantine_is_marked_and_names_the_violations_too(void **state)
{
    struct fixture *f = *state;
    set_strict(f, "quarantine");
    parse(f, EVENT_TRACK, slice_text("{\"event\":\"Sold\",\"userId\":\"u\"}"));
    assert_null(f->request.events[0].refusal.code);
    assert_true(f->request.events[0].event.is_quarantined);
    assert_non_null(strstr(body(f), "\"required\""));
}

static void test_only_track_events_have_a_plan(void **state)
{
    struct fixture *f = *state;
    set_strict(f, "refuse");
    parse(f, EVENT_PAGE, slice_text("{\"name\":\"Sold\",\"userId\":\"u\"}"));
    assert_null(f->request.events[0].refusal.code);
}

/* The largest request whose every event violates as much as it can must still fit into a block. */
static void test_what_is_added_to_the_largest_request_fits_into_a_block(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    size_t bytes = 0;
    set_plan(f, "{\"events\":{\"S\":{\"properties\":{\"additionalProperties\":false}}}}");
    buf_init(&json, LIMIT_REQUEST_BYTES);
    buf_put_format(&json, "{\"batch\":[");
    for (int i = 0; i < LIMIT_BATCH_EVENTS; i++) {
        buf_put_format(&json,
                       "%s{\"type\":\"track\",\"event\":\"S\",\"userId\":\"u\",\"properties\":{",
                       i > 0 ? "," : "");
        for (int p = 0; p < 8; p++) {
            buf_put_format(&json, "%s\"%cname12\":1", p > 0 ? "," : "", 'a' + p);
        }
        buf_put_format(&json, "}}");
    }
    buf_put_format(&json, "]}");
    parse(f, EVENT_TYPES, buf_slice(&json));
    assert_int_equal(f->request.count, LIMIT_BATCH_EVENTS);
    for (size_t i = 0; i < f->request.count; i++) {
        struct slice event = f->request.events[i].event.body;
        msgpack_object object;
        struct error err;
        bytes += event.len;
        assert_null(f->request.events[i].refusal.code);
        msgpack_zone_clear(&f->zone);
        assert_true(value_unpack(event, &f->zone, &object, &err));
        const msgpack_object *violations =
            value_member_c(value_member_c(&object, "context"), "violations");
        assert_true(value_is(violations, MSGPACK_OBJECT_ARRAY));
        assert_int_equal(violations->via.array.size, i < 100 ? 8 : violations->via.array.size);
        assert_true(violations->via.array.size > 0);
    }
    assert_in_range(f->visit.growth, 128 * 1024, 512 * 1024);
    assert_true(bytes + LIMIT_BATCH_EVENTS * 128 < LIMIT_BLOCK_BYTES);
    buf_done(&json);
}

static void test_where_the_rules_have_taken_all_room_no_violation_is_added(void **state)
{
    struct fixture *f = *state;
    set_strict(f, "flag");
    request_parse(&f->request, EVENT_TRACK, slice_text("{\"event\":\"Sold\",\"userId\":\"u\"}"),
                  &rand_secure);
    while (visit_grow(&f->visit, 0, 10)) {
    }
    plan_pass(f->plan, &f->visit, &f->request, &f->request.events[0]);
    assert_string_equal(f->request.events[0].refusal.code, "request-too-large");
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_planned_event_keeps_its_very_body),
        WITH(test_violations_are_added_to_whatever_context_there_is),
        WITH(test_a_refused_event_says_where_and_by_which_rule),
        WITH(test_quarantine_is_marked_and_names_the_violations_too),
        WITH(test_only_track_events_have_a_plan),
        WITH(test_what_is_added_to_the_largest_request_fits_into_a_block),
        WITH(test_where_the_rules_have_taken_all_room_no_violation_is_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
