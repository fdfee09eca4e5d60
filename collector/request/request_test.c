/* Requests in Segment's API. Where a test says nothing else, what is refused is one event, and its
 * neighbours are taken. */
#include "collector/request/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/timetext.h"
#include "shared/uuid.h"

struct fixture {
    struct request request;
    struct rand rand;
    struct buf json;    /* what was sent */
    struct buf written; /* a body, back as JSON */
    msgpack_zone zone;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    request_init(&f->request);
    rand_seeded_init(&f->rand, 1);
    buf_init(&f->json, 4 * LIMIT_REQUEST_BYTES);
    buf_init(&f->written, 4 * LIMIT_REQUEST_BYTES);
    *state = f;
    return msgpack_zone_init(&f->zone, 8192) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    request_done(&f->request);
    buf_done(&f->json);
    buf_done(&f->written);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void parse_slice(struct fixture *f, enum event_type type, struct slice json)
{
    /* In memory of its own, so that a read past the end is seen by the sanitizer. */
    uint8_t *copy = memory_allocate(json.len);
    memcpy(copy, json.data, json.len);
    request_parse(&f->request, type, slice_make(copy, json.len), &f->rand);
    free(copy);
}

static void parse(struct fixture *f, enum event_type type, const char *json)
{
    parse_slice(f, type, slice_text(json));
}

static void parse_batch(struct fixture *f, const char *json)
{
    parse(f, EVENT_TYPES, json);
}

static const struct request_event *only(struct fixture *f)
{
    if (f->request.refusal.code != NULL || f->request.count != 1) {
        fail_msg("%zu events, %s", f->request.count,
                 f->request.refusal.code == NULL ? "fine" : f->request.refusal.code);
    }
    return &f->request.events[0];
}

static bool is_code(struct refusal refusal, const char *code)
{
    return refusal.code == NULL || code == NULL ? refusal.code == code
                                                : strcmp(refusal.code, code) == 0;
}

static void assert_code(struct refusal refusal, const char *code, const char *what)
{
    if (!is_code(refusal, code)) {
        fail_msg("%s: %s, not %s", what, refusal.code == NULL ? "fine" : refusal.code,
                 code == NULL ? "fine" : code);
    }
}

/* The body of an event as JSON. */
static const char *body(struct fixture *f, size_t i)
{
    struct json_writer w;
    struct error err;
    msgpack_object object;
    buf_clear(&f->written);
    if (!value_unpack(f->request.events[i].event.body, &f->zone, &object, &err)) {
        fail_msg("body %zu: %s", i, err.message);
    }
    json_writer_init(&w, &f->written);
    json_value(&w, &object);
    buf_put_u8(&f->written, 0);
    return (const char *)f->written.data;
}

static void test_a_single_event_has_its_members_and_the_rest_is_its_body(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_TRACK,
          "{\"type\":\"track\",\"event\":\"Order Completed\",\"messageId\":\"m-1\","
          "\"anonymousId\":\"a-1\",\"userId\":\"u-1\",\"writeKey\":\"web\","
          "\"timestamp\":\"2026-11-21T20:15:03.120Z\",\"sentAt\":\"2026-11-21T20:15:04Z\","
          "\"originalTimestamp\":\"2026-11-21T21:15:02+01:00\","
          "\"properties\":{\"revenue\":12.5},\"context\":{\"ip\":\"::1\"},\"x\":[null,true]}");
    const struct request_event *e = only(f);
    assert_code(e->refusal, NULL, "event");
    assert_false(f->request.is_batch);
    assert_int_equal(e->event.type, EVENT_TRACK);
    assert_true(slice_is(e->event.name, "Order Completed"));
    assert_true(slice_is(e->event.message_id, "m-1"));
    assert_true(slice_is(e->event.anonymous_id, "a-1"));
    assert_true(slice_is(e->event.user_id, "u-1"));
    assert_true(slice_is(f->request.write_key, "web"));
    assert_int_equal(e->timestamp_ms, 1795292103120);
    assert_int_equal(e->sent_ms, 1795292104000);
    assert_int_equal(e->original_ms, 1795292102000);
    assert_string_equal(body(f, 0), "{\"properties\":{\"revenue\":12.5},\"context\":{\"ip\":"
                                    "\"::1\"},\"x\":[null,true]}");
}

static void test_the_path_and_not_the_body_says_the_type_of_a_single_event(void **state)
{
    struct fixture *f = *state;
    for (enum event_type type = 0; type < EVENT_TYPES; type++) {
        parse(f, type, "{\"type\":\"nonsense\",\"userId\":\"u\",\"event\":\"E\",\"name\":\"N\"}");
        assert_code(only(f)->refusal, NULL, event_type_name(type));
        assert_int_equal(only(f)->event.type, type);
        const char *name = type == EVENT_TRACK                          ? "E"
                           : type == EVENT_PAGE || type == EVENT_SCREEN ? "N"
                                                                        : "";
        assert_true(slice_is(only(f)->event.name, name));
    }
}

static void test_a_batch_has_an_event_for_each_item(void **state)
{
    struct fixture *f = *state;
    parse_batch(f, "{\"sentAt\":\"2026-11-21T20:15:03Z\",\"writeKey\":\"k\",\"batch\":["
                   "{\"type\":\"identify\",\"userId\":\"u\",\"traits\":{\"a\":1}},"
                   "{\"type\":\"page\",\"name\":\"Home\",\"anonymousId\":\"a\"},"
                   "{\"type\":\"alias\",\"userId\":\"u\",\"previousId\":\"p\"}]}");
    assert_code(f->request.refusal, NULL, "batch");
    assert_true(f->request.is_batch);
    assert_int_equal(f->request.count, 3);
    assert_int_equal(f->request.sent_ms, 1795292103000);
    assert_true(slice_is(f->request.write_key, "k"));
    assert_int_equal(f->request.events[0].event.type, EVENT_IDENTIFY);
    assert_true(slice_is(f->request.events[1].event.name, "Home"));
    assert_string_equal(body(f, 2), "{\"previousId\":\"p\"}");
    for (size_t i = 0; i < 3; i++) {
        assert_code(f->request.events[i].refusal, NULL, "item");
        assert_int_equal(f->request.events[i].event.message_id.len, 36);
    }
    assert_false(
        slice_equal(f->request.events[0].event.message_id, f->request.events[1].event.message_id));
}

static void test_a_request_can_be_parsed_over_and_over(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 200; i++) {
        parse_batch(f, "{\"batch\":[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"},7],"
                       "\"context\":{\"a\":1}}");
        assert_int_equal(f->request.count, 2);
        parse(f, EVENT_PAGE, "{\"userId\":\"u\"}");
        assert_code(only(f)->refusal, NULL, "page");
        assert_string_equal(body(f, 0), "{}");
        assert_int_equal(only(f)->preference_count, 0);
        parse(f, EVENT_PAGE, "{");
        assert_code(f->request.refusal, "invalid-json", "cut");
        assert_int_equal(f->request.count, 0);
    }
}

/* ---- What is refused ---- */

static const struct {
    const char *json;
    const char *code;
} bad_requests[] = {
    {"{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}tru", "invalid-json"},
    {"{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}\"x", "invalid-json"},
    {"", "invalid-json"},
    {" ", "invalid-json"},
    {"{\"batch\":[", "invalid-json"},
    {"{\"batch\":[]}x", "invalid-json"},
    {"{\"batch\":[{\"userId\":\"u\",}]}", "invalid-json"},
    {"{\"batch\":[{\"userId\":01}]}", "invalid-json"},
    {"not json", "invalid-json"},
    {"null", "invalid-shape"},
    {"7", "invalid-shape"},
    {"\"text\"", "invalid-shape"},
    {"true", "invalid-shape"},
    {"[]", "invalid-shape"},
    {"[{\"type\":\"track\"}]", "invalid-shape"},
    {"{}", "invalid-shape"},
    {"{\"batch\":[]}", "invalid-shape"},
    {"{\"batch\":null}", "invalid-shape"},
    {"{\"batch\":\"x\"}", "invalid-shape"},
    {"{\"batch\":{}}", "invalid-shape"},
    {"{\"events\":[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}]}", "invalid-shape"},
};

static void test_what_is_no_request_is_refused_whole(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad_requests / sizeof *bad_requests; i++) {
        parse_batch(f, bad_requests[i].json);
        assert_code(f->request.refusal, bad_requests[i].code, bad_requests[i].json);
        assert_int_equal(f->request.count, 0);
    }
}

/* `item` stands between two good events of a batch. */
static const struct {
    const char *item;
    const char *code;
    const char *field;
} items[] = {
    {"{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}", NULL, NULL},
    {"null", "invalid-shape", NULL},
    {"7", "invalid-shape", NULL},
    {"\"x\"", "invalid-shape", NULL},
    {"false", "invalid-shape", NULL},
    {"[]", "invalid-shape", NULL},
    {"[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}]", "invalid-shape", NULL},
    {"{}", "invalid-type", "/type"},
    {"{\"userId\":\"u\",\"event\":\"E\"}", "invalid-type", "/type"},
    {"{\"type\":\"Track\",\"event\":\"E\",\"userId\":\"u\"}", "invalid-type", "/type"},
    {"{\"type\":null,\"event\":\"E\",\"userId\":\"u\"}", "invalid-type", "/type"},
    {"{\"type\":7,\"event\":\"E\",\"userId\":\"u\"}", "invalid-shape", "/type"},
    {"{\"type\":\"track\",\"userId\":\"u\"}", "missing-event-name", "/event"},
    {"{\"type\":\"track\",\"event\":\"\",\"userId\":\"u\"}", "missing-event-name", "/event"},
    {"{\"type\":\"track\",\"event\":null,\"userId\":\"u\"}", "missing-event-name", "/event"},
    {"{\"type\":\"track\",\"event\":{},\"userId\":\"u\"}", "invalid-shape", "/event"},
    {"{\"type\":\"track\",\"event\":5,\"userId\":\"u\"}", "invalid-shape", "/event"},
    {"{\"type\":\"track\",\"event\":\"E\"}", "missing-identifier", NULL},
    {"{\"type\":\"track\",\"event\":\"E\",\"userId\":\"\"}", "missing-identifier", NULL},
    {"{\"type\":\"track\",\"event\":\"E\",\"userId\":null,\"anonymousId\":null}",
     "missing-identifier", NULL},
    {"{\"type\":\"track\",\"event\":\"E\",\"userId\":true}", "nobody", NULL},
    {"{\"type\":\"track\",\"event\":\"E\",\"userId\":[\"u\"]}", "nobody", NULL},
    {"{\"type\":\"page\",\"anonymousId\":{\"a\":{\"b\":[1]}}}", "nobody", NULL},
    {"{\"type\":\"page\",\"userId\":\"None\"}", "nobody", NULL},
    {"{\"type\":\"page\",\"userId\":0}", "nobody", NULL},
    {"{\"type\":\"page\",\"userId\":\"u1\\u0000x\"}", "nobody", NULL},
    {"{\"type\":\"page\",\"userId\":\"<nil>\",\"anonymousId\":\"00000000-0000-0000-0000-"
     "000000000000\"}",
     "nobody", NULL},
    {"{\"type\":\"page\",\"context\":{\"externalIds\":[{\"type\":\"loyalty_id\",\"id\":\"N/A\"},"
     "{\"type\":\"email\",\"id\":\"none\"},{\"type\":\"loyalty_id\",\"id\":0}]}}",
     "nobody", NULL},
    {"{\"type\":\"page\",\"userId\":\"None\",\"anonymousId\":\"a\"}", NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"NULL\",\"context\":{\"externalIds\":[{\"type\":\"email\","
     "\"id\":\"j@x.org\"}]}}",
     NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"name\":[]}", "invalid-shape", "/name"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"messageId\":false}", "invalid-shape", "/messageId"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":[1]}", "invalid-shape", "/properties"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"integrations\":[1]}", "invalid-shape", "/integrations"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":\"x\"}", "invalid-shape", "/properties"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":5}", "invalid-shape", "/properties"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":true}", "invalid-shape", "/properties"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":null}", NULL, NULL},
    {"{\"type\":\"identify\",\"userId\":\"u\",\"traits\":[{\"a\":[1]}]}", "invalid-shape",
     "/traits"},
    {"{\"type\":\"identify\",\"userId\":\"u\",\"traits\":\"x\"}", "invalid-shape", "/traits"},
    {"{\"type\":\"identify\",\"userId\":\"u\",\"traits\":null}", NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"context\":[{}]}", "invalid-shape", "/context"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"context\":\"x\"}", "invalid-shape", "/context"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"context\":0}", "invalid-shape", "/context"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"context\":null}", NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"x\":{\"context\":[],\"traits\":1}}", NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"n\":1e999}}", "number-out-of-range",
     NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"n\":-1e999}}", "number-out-of-range",
     NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"n\":NaN}}", "number-out-of-range",
     NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"n\":1e308}}", NULL, NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"t\":\"\xff\"}}", "invalid-utf8", NULL},
    {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"\xc0\x80\":1}}", "invalid-utf8", NULL},
    {"{\"type\":\"page\",\"userId\":\"\xff\"}", "invalid-utf8", "/userId"},
    {"{\"type\":\"page\",\"userId\":\"u\",\"name\":\"\xe2\x82\"}", "invalid-utf8", "/name"},
};

/* What PHP writes for an empty map. */
static void test_an_empty_array_stands_for_an_empty_object(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_IDENTIFY,
          "{\"userId\":\"u\",\"traits\":[],\"properties\":[ ],\"context\":[],\"integrations\":[],"
          "\"x\":[]}");
    assert_code(only(f)->refusal, NULL, "empty arrays");
    assert_string_equal(
        body(f, 0),
        "{\"traits\":{},\"properties\":{},\"context\":{},\"integrations\":{},\"x\":[]}");
    parse_batch(f, "{\"context\":{\"a\":1},\"batch\":[{\"type\":\"page\",\"userId\":\"u\","
                   "\"context\":[]}]}");
    assert_string_equal(body(f, 0), "{\"context\":{\"a\":1}}");
    parse_batch(f, "{\"context\":[],\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}");
    assert_code(only(f)->refusal, NULL, "an empty outer context");
}

static void test_an_event_is_taken_whatever_its_time_looks_like(void **state)
{
    static const struct {
        const char *members;
        int64_t ms; /* TIME_ABSENT: unreadable */
    } rows[] = {
        {"\"timestamp\":1795168800123", 1795168800123},
        {"\"timestamp\":1795168800", 1795168800000},
        {"\"timestamp\":1795168800.25", 1795168800250},
        {"\"timestamp\":\"1795168800\"", 1795168800000},
        {"\"timestamp\":\"2026-11-20T10:00:00\"", 1795168800000},
        {"\"timestamp\":\"2026-11-20 10:00\"", 1795168800000},
        {"\"timestamp\":\"2026-11-20\"", 1795132800000},
        {"\"timestamp\":\"\"", TIME_ABSENT},
        {"\"timestamp\":\"yesterday\"", TIME_ABSENT},
        {"\"timestamp\":\"20/11/2026 10:00:00\"", TIME_ABSENT},
        {"\"timestamp\":\"0001-01-01T00:00:00Z\"", TIME_ABSENT},
        {"\"timestamp\":{\"$date\":1}", TIME_ABSENT},
        {"\"timestamp\":false", TIME_ABSENT},
        {"\"timestamp\":1e999", TIME_ABSENT},
        {"\"timestamp\":-5", TIME_ABSENT},
        {"\"originalTimestamp\":\"1969-12-31T23:59:59Z\"", TIME_ABSENT},
        {"\"originalTimestamp\":\"x\",\"timestamp\":1795168800", 1795168800000},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&f->json);
        buf_put_format(&f->json,
                       "{\"userId\":\"u\",\"context\":{\"userAgent\":\"Agent/1\",\"a\":1},%s}",
                       rows[i].members);
        parse_slice(f, EVENT_PAGE, buf_slice(&f->json));
        const struct request_event *e = only(f);
        assert_code(e->refusal, NULL, rows[i].members);
        request_stamp(&f->request, slice_text("web"), 1795292103000);
        bool is_lost = rows[i].ms == TIME_ABSENT;
        assert_int_equal(e->event.timestamp_ms, is_lost ? 1795292103000 : rows[i].ms);
        if ((strstr(body(f, 0), "\"timeUnreadable\":true") != NULL) != is_lost) {
            fail_msg("%s: %s", rows[i].members, body(f, 0));
        }
        struct slice agent = slice_make(e->event.body.data + e->user_agent_at, e->user_agent_len);
        assert_true(slice_is(agent, "Agent/1"));
    }
}

static void test_a_body_in_utf16_is_told_so(void **state)
{
    static const char *const rows[] = {"\xff\xfe{\0}\0", "\xfe\xff\0{\0}", "{\0}\0\0\0",
                                       "\0{\0}\0\0"};
    struct fixture *f = *state;
    for (size_t i = 0; i < 4; i++) {
        parse_slice(f, EVENT_PAGE, slice_make(rows[i], 6));
        assert_code(f->request.refusal, "invalid-json", "UTF-16");
        assert_string_equal(f->request.refusal.message,
                            "The body is UTF-16; JSON is sent in UTF-8.");
    }
}

static void test_a_sent_at_that_nobody_can_read_costs_nothing(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_PAGE,
          "{\"userId\":\"u\",\"timestamp\":\"2026-11-20T10:00:00Z\",\"sentAt\":\"now\"}");
    assert_code(only(f)->refusal, NULL, "sentAt");
    assert_int_equal(only(f)->timestamp_ms, 1795168800000);
    assert_string_equal(body(f, 0), "{}");
}

/* The array may move while the bodies are marked. */
static void test_a_batch_of_unreadable_times_keeps_every_body(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->json);
    buf_put_format(&f->json, "{\"batch\":[");
    for (int i = 0; i < 1000; i++) {
        buf_put_format(&f->json, "%s{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":%s,\"i\":%d}",
                       i == 0 ? "" : ",", i % 3 == 0 ? "\"?\"" : "1795168800", i);
    }
    buf_put_format(&f->json, "]}");
    parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
    assert_int_equal(f->request.count, 1000);
    for (int i = 0; i < 1000; i++) {
        char expected[80];
        snprintf(expected, sizeof expected, "{\"i\":%d%s}", i,
                 i % 3 == 0 ? ",\"context\":{\"timeUnreadable\":true}" : "");
        assert_string_equal(body(f, (size_t)i), expected);
    }
}

static void test_events_of_one_millisecond_are_put_in_the_order_of_their_microseconds(void **state)
{
    static const char *const times[] = {"00.5",    "00.123300", "00.123100Z",
                                        "00.1231", "00.123",    "00.4"};
    static const char *const order[] = {"4", "2", "3", "1", "5", "0"};
    struct fixture *f = *state;
    buf_clear(&f->json);
    buf_put_format(&f->json, "{\"batch\":[");
    for (size_t i = 0; i < 6; i++) {
        buf_put_format(&f->json,
                       "%s{\"type\":\"track\",\"userId\":\"u\",\"event\":\"%zu\",\"timestamp\":"
                       "\"2026-11-20T10:00:%s\"}",
                       i == 0 ? "" : ",", i, times[i]);
    }
    buf_put_format(&f->json, "]}");
    parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
    request_stamp(&f->request, slice_text("web"), 1795292103000);
    request_order(&f->request);
    for (size_t i = 0; i < 6; i++) {
        assert_true(slice_is(f->request.events[i].event.name, order[i]));
    }
}

static void test_events_of_equal_times_stay_in_the_order_of_the_request(void **state)
{
    struct fixture *f = *state;
    parse_batch(f,
                "{\"batch\":[{\"type\":\"track\",\"userId\":\"u\",\"event\":\"z\"},"
                "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"a\"},"
                "{\"type\":\"track\",\"userId\":\"u\",\"event\":\"m\",\"timestamp\":1795168800}]}");
    request_stamp(&f->request, slice_text("web"), 1795292103000);
    request_order(&f->request);
    assert_true(slice_is(f->request.events[0].event.name, "z"));
    assert_true(slice_is(f->request.events[1].event.name, "a"));
    assert_true(slice_is(f->request.events[2].event.name, "m"));
}

static void test_a_cookie_stands_in_for_an_id_that_names_nobody(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_PAGE, "{\"anonymousId\":\"undefined\"}");
    assert_code(only(f)->refusal, "nobody", "before");
    request_adopt(&f->request, slice_text("null"));
    assert_code(only(f)->refusal, "nobody", "a cookie that names nobody either");
    request_adopt(&f->request, slice_text("c-1"));
    assert_code(only(f)->refusal, NULL, "after");
    assert_true(slice_is(only(f)->event.anonymous_id, "c-1"));
}

static void test_one_bad_item_is_marked_and_its_neighbours_are_taken(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        const char *good = "{\"type\":\"track\",\"event\":\"Good\",\"userId\":\"g\","
                           "\"properties\":{\"p\":[1,{}]}}";
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"batch\":[%s,%s,%s]}", good, items[i].item, good);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(f->request.refusal, NULL, items[i].item);
        assert_int_equal(f->request.count, 3);
        assert_code(f->request.events[1].refusal, items[i].code, items[i].item);
        const char *field = f->request.events[1].refusal.field;
        if (items[i].field == NULL ? field != NULL && items[i].code == NULL
                                   : field == NULL || strcmp(field, items[i].field) != 0) {
            fail_msg("%s: field %s", items[i].item, field == NULL ? "none" : field);
        }
        for (size_t g = 0; g < 3; g += 2) {
            assert_code(f->request.events[g].refusal, NULL, items[i].item);
            assert_true(slice_is(f->request.events[g].event.name, "Good"));
            assert_string_equal(body(f, g), "{\"properties\":{\"p\":[1,{}]}}");
        }
    }
}

static void test_an_item_nested_too_deep_harms_only_itself(void **state)
{
    struct fixture *f = *state;
    for (int depth = LIMIT_JSON_DEPTH - 2; depth <= LIMIT_JSON_DEPTH + 40; depth++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"x\":");
        for (int i = 1; i < depth; i++) {
            buf_put_format(&f->json, "%s", i % 2 == 0 ? "[" : "{\"k\":");
        }
        buf_put_format(&f->json, "0");
        for (int i = depth - 1; i > 0; i--) {
            buf_put_format(&f->json, "%s", i % 2 == 0 ? "]" : "}");
        }
        buf_put_format(&f->json, ",\"z\":{\"y\":[]}},{\"type\":\"page\",\"userId\":\"v\"}]}");
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_int_equal(f->request.count, 2);
        assert_code(f->request.events[0].refusal, depth <= LIMIT_JSON_DEPTH ? NULL : "too-deep",
                    "depth");
        assert_code(f->request.events[1].refusal, NULL, "neighbour");
        assert_true(slice_is(f->request.events[1].event.user_id, "v"));
    }
}

/* An event whose one property has `len` bytes. */
static void put_large(struct buf *json, size_t len)
{
    buf_put_format(json, "{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"p\":\"");
    for (size_t i = 0; i < len; i++) {
        buf_put_u8(json, 'x');
    }
    buf_put_format(json, "\"}}");
}

static void test_an_event_over_the_limit_is_refused_and_the_next_is_taken(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t len;
        const char *code;
    } rows[] = {{100, NULL},
                {LIMIT_EVENT_BYTES - 200, NULL},
                {LIMIT_EVENT_BYTES, "event-too-large"},
                {3 * LIMIT_EVENT_BYTES, "event-too-large"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"batch\":[");
        put_large(&f->json, rows[i].len);
        buf_put_format(&f->json, ",");
        put_large(&f->json, 5);
        buf_put_format(&f->json, "]}");
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_int_equal(f->request.count, 2);
        assert_code(f->request.events[0].refusal, rows[i].code, "large");
        assert_code(f->request.events[1].refusal, NULL, "small");
        assert_string_equal(body(f, 1), "{\"properties\":{\"p\":\"xxxxx\"}}");
    }
}

static void put_items(struct buf *json, size_t count, const char *item)
{
    buf_put_format(json, "{\"batch\":[");
    for (size_t i = 0; i < count; i++) {
        buf_put_format(json, "%s%s", i > 0 ? "," : "", item);
    }
    buf_put_format(json, "]}");
}

static void test_a_batch_over_the_limit_is_refused_whole(void **state)
{
    static const char *const kinds[] = {"{\"type\":\"page\",\"userId\":\"u\"}", "7", "[]"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        buf_clear(&f->json);
        put_items(&f->json, LIMIT_BATCH_EVENTS, kinds[i]);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(f->request.refusal, NULL, kinds[i]);
        assert_int_equal(f->request.count, LIMIT_BATCH_EVENTS);
        buf_clear(&f->json);
        put_items(&f->json, LIMIT_BATCH_EVENTS + 1, kinds[i]);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(f->request.refusal, "batch-too-long", kinds[i]);
        assert_int_equal(f->request.count, 0);
    }
}

static void test_ids_have_their_limits(void **state)
{
    static const struct {
        const char *member;
        size_t most;
        const char *code;
    } rows[] = {{"messageId", LIMIT_MESSAGE_ID_BYTES, "invalid-message-id"},
                {"userId", LIMIT_IDENTIFIER_BYTES, "identifier-too-long"},
                {"anonymousId", LIMIT_IDENTIFIER_BYTES, "identifier-too-long"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t extra = 0; extra <= 1; extra++) {
            const char *id = strcmp(rows[i].member, "messageId") == 0 ? ",\"userId\":\"u\"" : "";
            buf_clear(&f->json);
            buf_put_format(&f->json, "{\"event\":\"E\"%s,\"%s\":\"", id, rows[i].member);
            for (size_t n = 0; n < rows[i].most + extra; n++) {
                buf_put_u8(&f->json, 'i');
            }
            buf_put_format(&f->json, "\"}");
            parse_slice(f, EVENT_TRACK, buf_slice(&f->json));
            assert_code(only(f)->refusal, extra == 0 ? NULL : rows[i].code, rows[i].member);
        }
    }
}

/* ---- Identifiers ---- */

static void test_ids_that_come_as_numbers_are_their_digits(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_TRACK,
          "{\"event\":\"E\",\"userId\":12345678901234567890,\"anonymousId\":-7,\"messageId\":0}");
    assert_code(only(f)->refusal, NULL, "numbers");
    assert_true(slice_is(only(f)->event.user_id, "12345678901234567890"));
    assert_true(slice_is(only(f)->event.anonymous_id, "-7"));
    assert_true(slice_is(only(f)->event.message_id, "0"));
}

static void test_ids_that_come_as_other_numbers_are_what_they_are_in_a_body(void **state)
{
    static const struct {
        const char *number;
        const char *id; /* or the code of the refusal */
    } rows[] = {
        {"1.0", "1"},
        {"-0.0", "nobody"},
        {"1e15", "1000000000000000"},
        {"12345678901234567890123", "12345678901234567890123"},
        {"0.5", "0.5"},
        {"1e300", "nobody"}, /* rounded: it is many numbers */
        {"1e400", "number-out-of-range"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"event\":\"E\",\"userId\":%s}", rows[i].number);
        parse_slice(f, EVENT_TRACK, buf_slice(&f->json));
        struct refusal refusal = only(f)->refusal;
        if (refusal.code != NULL) {
            assert_code(refusal, rows[i].id, rows[i].number);
        } else {
            assert_true(slice_is(only(f)->event.user_id, rows[i].id));
        }
    }
}

static const struct {
    const char *context;
    bool counts;
} external_ids[] = {
    {"{\"externalIds\":[{\"id\":\"7\",\"type\":\"loyalty_id\"}]}", true},
    {"{\"externalIds\":[{\"type\":\"loyalty_id\",\"id\":\"7\",\"encoding\":\"none\"}]}", true},
    {"{\"externalIds\":[{},{\"id\":\"7\",\"type\":\"loyalty_id\"}]}", true},
    {"{\"externalIds\":[{\"id\":7,\"type\":\"loyalty_id\"}]}", true},
    {"{\"externalIds\":[{\"id\":\"\",\"type\":\"loyalty_id\"}]}", false},
    {"{\"externalIds\":[{\"id\":null,\"type\":\"loyalty_id\"}]}", false},
    {"{\"externalIds\":[{\"id\":\"7\"}]}", false},
    {"{\"externalIds\":[{\"type\":\"loyalty_id\"}]}", false},
    {"{\"externalIds\":[\"id\",\"7\"]}", false},
    {"{\"externalIds\":[[{\"id\":\"7\",\"type\":\"loyalty_id\"}]]}", false},
    {"{\"externalIds\":{\"a\":{\"id\":\"7\",\"type\":\"loyalty_id\"}}}", false},
    {"{\"externalIds\":[]}", false},
    {"{\"x\":{\"externalIds\":[{\"id\":\"7\",\"type\":\"loyalty_id\"}]}}", false},
    {"{\"consent\":[{\"id\":\"7\",\"type\":\"loyalty_id\"}]}", false},
};

static void test_an_external_id_identifies_where_the_hub_could_use_it(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof external_ids / sizeof *external_ids; i++) {
        /* The outer context of a batch counts for each event. */
        static const char *const forms[] = {
            "{\"batch\":[{\"type\":\"page\",\"context\":%s}]}",
            "{\"batch\":[{\"type\":\"page\",\"context\":%s}],\"integrations\":{\"All\":true}}",
            "{\"context\":%s,\"batch\":[{\"type\":\"page\"}]}",
            "{\"batch\":[{\"type\":\"page\",\"context\":{\"a\":1}}],\"context\":%s}",
        };
        for (size_t n = 0; n < sizeof forms / sizeof *forms; n++) {
            char json[512];
            const char *mark = strstr(forms[n], "%s");
            snprintf(json, sizeof json, "%.*s%s%s", (int)(mark - forms[n]), forms[n],
                     external_ids[i].context, mark + 2);
            parse_batch(f, json);
            assert_code(only(f)->refusal, external_ids[i].counts ? NULL : "missing-identifier",
                        json);
        }
    }
}

/* ---- The outer context ---- */

static const struct {
    const char *what;
    const char *outer;
    const char *own;
    const char *body;
} merges[] = {
    {"the event has none", "\"context\":{\"ip\":\"1\",\"l\":{\"a\":1}}", "",
     "{\"context\":{\"ip\":\"1\",\"l\":{\"a\":1}}}"},
    {"both have one", "\"context\":{\"ip\":\"1\",\"a\":2}", ",\"context\":{\"ip\":\"9\",\"b\":3}",
     "{\"context\":{\"ip\":\"9\",\"b\":3,\"a\":2}}"},
    {"what the event has stays as it is", "\"context\":{\"page\":{\"url\":\"x\"}}",
     ",\"context\":{\"page\":{\"title\":\"t\"}}", "{\"context\":{\"page\":{\"title\":\"t\"}}}"},
    {"integrations too", "\"integrations\":{\"All\":false}",
     ",\"integrations\":{\"X\":true},\"context\":{\"c\":1}",
     "{\"integrations\":{\"X\":true,\"All\":false},\"context\":{\"c\":1}}"},
    {"both at once", "\"integrations\":{\"All\":false},\"context\":{\"c\":1}", "",
     "{\"context\":{\"c\":1},\"integrations\":{\"All\":false}}"},
    {"an empty one changes nothing", "\"context\":{}", ",\"context\":{\"b\":3}",
     "{\"context\":{\"b\":3}}"},
    {"an outer one that is no object is passed over", "\"context\":[1],\"integrations\":7",
     ",\"context\":{\"b\":3}", "{\"context\":{\"b\":3}}"},
    {"null counts as none", "\"context\":null", ",\"context\":{\"b\":3}",
     "{\"context\":{\"b\":3}}"},
    {"other outer members are passed over", "\"extra\":{\"a\":[{}]},\"y\":[[]],\"z\":\"s\"", "",
     "{}"},
};

static void test_outer_context_and_integrations_fill_what_the_event_lacks(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        for (int before = 0; before <= 1; before++) {
            buf_clear(&f->json);
            buf_put_format(&f->json, "{%s%s\"batch\":[{\"type\":\"page\",\"userId\":\"u\"%s}]%s%s}",
                           before ? merges[i].outer : "", before ? "," : "", merges[i].own,
                           before ? "" : ",", before ? "" : merges[i].outer);
            parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
            assert_code(only(f)->refusal, NULL, merges[i].what);
            if (strcmp(body(f, 0), merges[i].body) != 0) {
                fail_msg("%s: %s", merges[i].what, body(f, 0));
            }
        }
    }
}

static void test_an_event_made_too_large_by_the_outer_context_is_refused(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->json);
    buf_put_format(&f->json, "{\"batch\":[");
    put_large(&f->json, LIMIT_EVENT_BYTES / 2);
    buf_put_format(&f->json, ",");
    put_large(&f->json, 10);
    buf_put_format(&f->json, "],\"context\":{\"big\":\"");
    for (int i = 0; i < LIMIT_EVENT_BYTES * 2 / 3; i++) {
        buf_put_u8(&f->json, 'c');
    }
    buf_put_format(&f->json, "\"}}");
    parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
    assert_int_equal(f->request.count, 2);
    assert_code(f->request.events[0].refusal, "event-too-large", "large");
    assert_code(f->request.events[1].refusal, NULL, "small");
}

/* ---- Consent ---- */

static const struct {
    const char *what;
    const char *own;    /* the event's context */
    const char *outer;  /* the batch's, or NULL */
    const char *expect; /* category and + or -, in order; "none" without any preferences */
} consents[] = {
    {"none", "{}", NULL, "none"},
    {"of the event", "{\"consent\":{\"categoryPreferences\":{\"a\":true,\"m\":false}}}", NULL,
     "a+m-"},
    {"empty", "{\"consent\":{\"categoryPreferences\":{}}}", NULL, ""},
    {"only true grants, null says nothing, and what is unclear denies",
     "{\"consent\":{\"categoryPreferences\":{\"a\":1,\"b\":\"granted\",\"c\":null,\"d\":true,\"e\":"
     "0,"
     "\"f\":\"no\"}}}",
     NULL, "a-b-d+e-f-"},
    {"deeper ones do not grant",
     "{\"consent\":{\"categoryPreferences\":{\"a\":{\"b\":true},\"c\":[true],\"d\":false}}}", NULL,
     "a-c-d-"},
    {"at other places they do not count",
     "{\"categoryPreferences\":{\"a\":true},\"x\":{\"categoryPreferences\":{\"b\":true}}}", NULL,
     "none"},
    {"a list is none", "{\"consent\":{\"categoryPreferences\":[true,false]}}", NULL, "none"},
    {"given twice, the last counts",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true}},"
     "\"consent\":{\"categoryPreferences\":{\"b\":false}}}",
     NULL, "b-"},
    {"taken back by a second consent",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true}},\"consent\":{}}", NULL, "none"},
    {"taken back by a second context",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true}}},\"context\":{\"x\":1}", NULL, "none"},
    {"taken back by an empty second context",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true}}},\"context\":null", NULL, "none"},
    {"a truth value is none", "{\"consent\":{\"categoryPreferences\":true}}", NULL, "none"},
    {"of the outer context", "{}", "{\"consent\":{\"categoryPreferences\":{\"a\":true}}}", "a+"},
    {"the event's own goes before", "{\"consent\":{\"categoryPreferences\":{\"a\":false}}}",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true,\"b\":true}}}", "a-"},
    {"an event's consent without preferences hides the outer", "{\"consent\":{\"x\":1}}",
     "{\"consent\":{\"categoryPreferences\":{\"a\":true}}}", "none"},
    {"outer integrations leave it", "{\"consent\":{\"categoryPreferences\":{\"a\":true}}}", "{}",
     "a+"},
    {"outer list is none", "{}", "{\"consent\":{\"categoryPreferences\":[true]}}", "none"},
};

static void test_consent_preferences_are_found_in_event_and_outer_context(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof consents / sizeof *consents; i++) {
        char got[128] = "none";
        buf_clear(&f->json);
        /* First an event with preferences of its own: nothing of it may show in the next. */
        buf_put_format(&f->json,
                       "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"context\":{\"consent\":"
                       "{\"categoryPreferences\":{\"first\":true}}}},"
                       "{\"type\":\"page\",\"userId\":\"u\",\"context\":%s}]%s%s}",
                       consents[i].own, consents[i].outer == NULL ? "" : ",\"context\":",
                       consents[i].outer == NULL ? "" : consents[i].outer);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_int_equal(f->request.count, 2);
        const struct request_event *e = &f->request.events[1];
        if (e->has_preferences || e->preference_count > 0) {
            got[0] = 0;
        }
        for (size_t p = 0; p < e->preference_count; p++) {
            size_t len = strlen(got);
            snprintf(got + len, sizeof got - len, "%.*s%c", SLICE_ARGS(e->preferences[p].category),
                     e->preferences[p].granted ? '+' : '-');
        }
        bool same = strcmp(got, consents[i].expect) == 0 ||
                    (strcmp(consents[i].expect, "none") == 0 && got[0] == 0);
        if (!same) {
            fail_msg("%s: %s, not %s", consents[i].what, got, consents[i].expect);
        }
    }
}

static const struct {
    const char *what;
    const char *members; /* of the event, beside type and user id */
    const char *outer;   /* context of the batch, or NULL */
    const char *expect;
} user_agents[] = {
    {"none", "", NULL, ""},
    {"of the event", ",\"context\":{\"a\":1,\"userAgent\":\"Mo/5\",\"b\":[\"x\"]}", NULL, "Mo/5"},
    {"after consent", ",\"context\":{\"consent\":{\"x\":{}},\"userAgent\":\"A\"}", NULL, "A"},
    {"escaped", ",\"context\":{\"userAgent\":\"a\\u0041\\n\"}", NULL, "aA\n"},
    {"given twice, the last counts", ",\"context\":{\"userAgent\":\"A\",\"userAgent\":\"BC\"}",
     NULL, "BC"},
    {"also where the last is no text", ",\"context\":{\"userAgent\":\"A\",\"userAgent\":7}", NULL,
     ""},
    {"a context given twice", ",\"context\":{\"userAgent\":\"A\"},\"context\":{}", NULL, ""},
    {"a list is none", ",\"context\":{\"userAgent\":[\"A\"],\"b\":\"c\"}", NULL, ""},
    {"nor is one further in", ",\"context\":{\"x\":{\"userAgent\":\"A\"},\"y\":\"z\"}", NULL, ""},
    {"nor one outside", ",\"userAgent\":\"A\",\"properties\":{\"userAgent\":\"A\"}", NULL, ""},
    {"of the outer context", "", "{\"userAgent\":\"O\"}", "O"},
    {"the event's own goes before", ",\"context\":{\"userAgent\":\"A\"}", "{\"userAgent\":\"O\"}",
     "A"},
    {"beside another outer member", ",\"context\":{\"b\":1,\"userAgent\":\"A\"}", "{\"o\":1}", "A"},
};

static void test_the_user_agent_is_found_in_event_and_outer_context(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof user_agents / sizeof *user_agents; i++) {
        const char *outer = user_agents[i].outer;
        buf_clear(&f->json);
        /* The event before makes the place of the second something else than the start. */
        buf_put_format(&f->json,
                       "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"context\":{"
                       "\"userAgent\":\"first\"}},{\"type\":\"page\",\"userId\":\"u\"%s}]%s%s}",
                       user_agents[i].members,
                       outer == NULL ? "" : ",\"context\":", outer == NULL ? "" : outer);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_int_equal(f->request.count, 2);
        const struct request_event *e = &f->request.events[1];
        struct slice agent = slice_make(e->event.body.data + e->user_agent_at, e->user_agent_len);
        if (!slice_is(agent, user_agents[i].expect)) {
            fail_msg("%s: \"%.*s\"", user_agents[i].what, SLICE_ARGS(agent));
        }
    }
}

static void test_each_event_of_a_long_batch_has_the_outer_consent(void **state)
{
    struct fixture *f = *state;
    buf_clear(&f->json);
    put_items(&f->json, 1000, "{\"type\":\"page\",\"userId\":\"u\"}");
    f->json.len--;
    buf_put_format(&f->json, ",\"context\":{\"consent\":{\"categoryPreferences\":{"
                             "\"analytics\":true,\"marketing\":false}}}}");
    parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
    assert_int_equal(f->request.count, 1000);
    for (size_t i = 0; i < f->request.count; i++) {
        const struct request_event *e = &f->request.events[i];
        assert_int_equal(e->preference_count, 2);
        assert_true(slice_is(e->preferences[0].category, "analytics"));
        assert_true(e->preferences[0].granted && !e->preferences[1].granted);
    }
}

static void test_more_categories_than_the_limit_do_no_harm(void **state)
{
    struct fixture *f = *state;
    for (int outer = 0; outer <= 1; outer++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"%s",
                       outer ? "}]," : ",");
        buf_put_format(&f->json, "\"context\":{\"consent\":{\"categoryPreferences\":{");
        for (int i = 0; i < 40; i++) {
            buf_put_format(&f->json, "%s\"c%d\":true", i > 0 ? "," : "", i);
        }
        buf_put_format(&f->json, outer ? "}}}}" : "}}}}]}");
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(only(f)->refusal, NULL, "many categories");
        assert_int_equal(only(f)->preference_count, LIMIT_CONSENT_CATEGORIES);
    }
}

/* ---- Keys given twice ---- */

static void test_of_a_member_given_twice_the_last_counts(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_TRACK,
          "{\"event\":\"A\",\"event\":\"B\",\"userId\":\"u\",\"userId\":\"v\",\"messageId\":\"1\","
          "\"messageId\":\"2\",\"properties\":{\"p\":1},\"properties\":{\"p\":2}}");
    const struct request_event *e = only(f);
    msgpack_object map;
    struct error err;
    int64_t p;
    assert_code(e->refusal, NULL, "twice");
    assert_true(slice_is(e->event.name, "B"));
    assert_true(slice_is(e->event.user_id, "v"));
    assert_true(slice_is(e->event.message_id, "2"));
    assert_true(value_unpack(e->event.body, &f->zone, &map, &err));
    assert_true(value_int(value_path(&map, slice_text("properties.p")), &p));
    assert_int_equal(p, 2);
}

/* ---- Times ---- */

enum { ABSENT = -1 };

/* In seconds after a moment; the event is received at 1000. */
static const struct {
    const char *what;
    int original;
    int timestamp;
    int sent; /* of the event */
    int outer_sent;
    int expect;
    bool is_of_client;
} stamps[] = {
    {"no time at all", ABSENT, ABSENT, ABSENT, ABSENT, 1000, false},
    {"only sentAt", ABSENT, ABSENT, 900, ABSENT, 1000, false},
    {"timestamp alone is taken as given", ABSENT, 500, ABSENT, ABSENT, 500, true},
    {"originalTimestamp alone is taken as given", 500, ABSENT, ABSENT, ABSENT, 500, true},
    {"originalTimestamp goes before timestamp", 500, 600, ABSENT, ABSENT, 500, true},
    {"the rule", ABSENT, 500, 700, ABSENT, 800, false},
    {"the rule with originalTimestamp", 600, 500, 700, ABSENT, 900, false},
    {"the batch's sentAt counts for events without", ABSENT, 500, ABSENT, 600, 900, false},
    {"the event's own sentAt goes before", ABSENT, 500, 700, 600, 800, false},
    {"a clock a day behind", 100, ABSENT, 110, ABSENT, 990, false},
    {"sent before it happened", ABSENT, 800, 700, ABSENT, 1100, false},
    {"years ahead is for the hub to judge", ABSENT, 90000000, ABSENT, ABSENT, 90000000, true},
    {"a little ahead by the rule is kept", ABSENT, 100 + 23 * 3600, 100, ABSENT, 1000 + 23 * 3600,
     false},
    {"more than 23 hours ahead by the rule", ABSENT, 90000, 100, ABSENT, 1000, false},
};

static void put_time(struct buf *json, const char *member, int seconds)
{
    if (seconds != ABSENT) {
        buf_put_format(json, ",\"%s\":\"%s\"", member,
                       time_text_format(1795292000000 + (int64_t)seconds * 1000).text);
    }
}

static void test_times_follow_segments_rule(void **state)
{
    struct fixture *f = *state;
    const int64_t received = 1795292000000 + 1000 * 1000;
    for (size_t i = 0; i < sizeof stamps / sizeof *stamps; i++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"");
        put_time(&f->json, "originalTimestamp", stamps[i].original);
        put_time(&f->json, "timestamp", stamps[i].timestamp);
        put_time(&f->json, "sentAt", stamps[i].sent);
        buf_put_format(&f->json, "}]");
        put_time(&f->json, "sentAt", stamps[i].outer_sent);
        buf_put_format(&f->json, "}");
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(only(f)->refusal, NULL, stamps[i].what);
        request_stamp(&f->request, slice_text("web"), received);
        const struct event *e = &only(f)->event;
        if (e->timestamp_ms != 1795292000000 + (int64_t)stamps[i].expect * 1000) {
            fail_msg("%s: %s", stamps[i].what, time_text_format(e->timestamp_ms).text);
        }
        assert_true(e->received_ms == received);
        assert_int_equal(e->has_client_time, stamps[i].is_of_client);
        assert_true(slice_is(e->source, "web"));
    }
}

static void test_a_time_before_1970_by_the_rule_becomes_the_time_of_receipt(void **state)
{
    struct fixture *f = *state;
    parse(f, EVENT_PAGE,
          "{\"userId\":\"u\",\"timestamp\":\"1970-01-01T00:00:00Z\","
          "\"sentAt\":\"9999-12-31T23:59:59Z\"}");
    request_stamp(&f->request, slice_text("web"), 1795292103120);
    assert_true(only(f)->event.timestamp_ms == 1795292103120);
}

/* What is no time in the outer sentAt does not spoil the batch. */
static void test_an_outer_sent_at_that_is_no_time_is_passed_over(void **state)
{
    static const char *const rows[] = {"\"never\"", "7", "null", "{}", "[1]", "true"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&f->json);
        buf_put_format(&f->json, "{\"sentAt\":%s,\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]}",
                       rows[i]);
        parse_slice(f, EVENT_TYPES, buf_slice(&f->json));
        assert_code(only(f)->refusal, NULL, rows[i]);
        assert_true(f->request.sent_ms == TIME_ABSENT);
    }
}

/* ---- Segment's own examples ---- */

/* Most leave out what an SDK adds to every call: the type, which is that of the path then, or an
 * anonymous id. */
static void take_payload(struct fixture *f, struct slice payload)
{
    struct buf bytes;
    struct error err;
    msgpack_object map;
    struct slice text;
    buf_init(&bytes, LIMIT_REQUEST_BYTES);
    msgpack_zone_clear(&f->zone);
    assert_int_equal(json_read(payload, &bytes), JSON_FINE);
    assert_true(value_unpack(buf_slice(&bytes), &f->zone, &map, &err));
    bool has_type = value_text(value_member_c(&map, "type"), &text);
    enum event_type type = has_type ? event_type_from(text) : EVENT_TRACK;
    bool has_id =
        value_member_c(&map, "userId") != NULL || value_member_c(&map, "anonymousId") != NULL;
    buf_clear(&f->json);
    buf_put_format(&f->json, "{%s", has_id ? "" : "\"anonymousId\":\"a\",");
    buf_put_slice(&f->json, slice_skip(payload, 1));
    buf_done(&bytes);
    parse_slice(f, type, buf_slice(&f->json));
    if (f->request.refusal.code != NULL || only(f)->refusal.code != NULL) {
        struct refusal why =
            f->request.refusal.code != NULL ? f->request.refusal : only(f)->refusal;
        fail_msg("%s (%s): %.*s", why.code, why.field == NULL ? "" : why.field,
                 SLICE_ARGS(payload));
    }
}

static void test_every_payload_of_segments_specification_is_taken(void **state)
{
    static const char path[] = "../shared/data/segment_fixtures/segment_spec_payloads.jsonl";
    static const char start[] = "\"payload\": ";
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    size_t count = 0;
    if (file == NULL) {
        print_message("skipped: %s is not here\n", path);
        skip();
    }
    while (getline(&line, &capacity, file) > 0) {
        /* {"src": ..., "payload": {...}} */
        const char *from = strstr(line, start);
        const char *end = strrchr(line, '}');
        assert_true(from != NULL && end > from);
        from += sizeof start - 1;
        take_payload(*state, slice_make(from, (size_t)(end - from)));
        count++;
    }
    free(line);
    fclose(file);
    assert_int_equal(count, 75);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void test_an_adopted_id_goes_to_those_that_have_none(void **state)
{
    struct fixture *f = *state;
    parse_batch(f,
                "{\"batch\":["
                "{\"type\":\"track\",\"event\":\"E\",\"anonymousId\":\"own\"},"
                "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u1\"},"
                "{\"type\":\"track\",\"event\":\"E\"},"
                "{\"type\":\"track\"},"
                "{\"type\":\"page\",\"context\":{\"externalIds\":[{\"type\":\"t\",\"id\":1}]}}]}");
    static const char *const ids[] = {"own", "cookie", "cookie", NULL, "cookie"};
    assert_int_equal(f->request.without_anonymous_id, 3);
    assert_code(f->request.events[2].refusal, "missing-identifier", "before");
    request_adopt(&f->request, slice_text(" cookie "));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const struct request_event *e = &f->request.events[i];
        assert_code(e->refusal, ids[i] == NULL ? "missing-event-name" : NULL, "after");
        assert_true(slice_is(e->event.anonymous_id, ids[i] == NULL ? "" : ids[i]));
        assert_true(ids[i] == NULL || e->event.message_id.len == UUID_TEXT_BYTES);
    }
}

static void test_what_cannot_be_an_id_is_not_adopted(void **state)
{
    struct fixture *f = *state;
    char too_long[LIMIT_IDENTIFIER_BYTES + 1];
    memset(too_long, 'a', sizeof too_long);
    const struct slice ids[] = {slice_text(""), slice_text("  "), slice_text("\xff"),
                                slice_make(too_long, sizeof too_long)};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        parse(f, EVENT_PAGE, "{}");
        request_adopt(&f->request, ids[i]);
        assert_code(only(f)->refusal, "missing-identifier", "after");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_single_event_has_its_members_and_the_rest_is_its_body),
        WITH(test_the_path_and_not_the_body_says_the_type_of_a_single_event),
        WITH(test_a_batch_has_an_event_for_each_item),
        WITH(test_a_request_can_be_parsed_over_and_over),
        WITH(test_what_is_no_request_is_refused_whole),
        WITH(test_one_bad_item_is_marked_and_its_neighbours_are_taken),
        WITH(test_an_empty_array_stands_for_an_empty_object),
        WITH(test_an_event_is_taken_whatever_its_time_looks_like),
        WITH(test_a_body_in_utf16_is_told_so),
        WITH(test_a_sent_at_that_nobody_can_read_costs_nothing),
        WITH(test_a_batch_of_unreadable_times_keeps_every_body),
        WITH(test_events_of_one_millisecond_are_put_in_the_order_of_their_microseconds),
        WITH(test_events_of_equal_times_stay_in_the_order_of_the_request),
        WITH(test_a_cookie_stands_in_for_an_id_that_names_nobody),
        WITH(test_an_item_nested_too_deep_harms_only_itself),
        WITH(test_an_event_over_the_limit_is_refused_and_the_next_is_taken),
        WITH(test_a_batch_over_the_limit_is_refused_whole),
        WITH(test_ids_have_their_limits),
        WITH(test_ids_that_come_as_numbers_are_their_digits),
        WITH(test_ids_that_come_as_other_numbers_are_what_they_are_in_a_body),
        WITH(test_an_adopted_id_goes_to_those_that_have_none),
        WITH(test_what_cannot_be_an_id_is_not_adopted),
        WITH(test_an_external_id_identifies_where_the_hub_could_use_it),
        WITH(test_outer_context_and_integrations_fill_what_the_event_lacks),
        WITH(test_an_event_made_too_large_by_the_outer_context_is_refused),
        WITH(test_consent_preferences_are_found_in_event_and_outer_context),
        WITH(test_the_user_agent_is_found_in_event_and_outer_context),
        WITH(test_each_event_of_a_long_batch_has_the_outer_consent),
        WITH(test_more_categories_than_the_limit_do_no_harm),
        WITH(test_of_a_member_given_twice_the_last_counts),
        WITH(test_times_follow_segments_rule),
        WITH(test_a_time_before_1970_by_the_rule_becomes_the_time_of_receipt),
        WITH(test_an_outer_sent_at_that_is_no_time_is_passed_over),
        WITH(test_every_payload_of_segments_specification_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
