/* Snowplow's tracker protocol: what becomes of its parameters, and of those that are wrong. */
#include "collector/request/snowplow.h"

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
    struct rand rand;
    struct buf written;
    msgpack_zone zone;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    request_init(&f->request);
    rand_seeded_init(&f->rand, 1);
    buf_init(&f->written, 4 * LIMIT_REQUEST_BYTES);
    *state = f;
    return msgpack_zone_init(&f->zone, 8192) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    request_done(&f->request);
    buf_done(&f->written);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void parse(struct fixture *f, const char *json)
{
    /* In memory of its own, so that a read past the end is seen by the sanitizer. */
    size_t len = strlen(json);
    uint8_t *copy = memory_allocate(len + 1);
    memcpy(copy, json, len);
    snowplow_parse(&f->request, slice_make(copy, len), slice_make(NULL, 0), &f->rand);
    free(copy);
}

/* One event, given as the members of its object. */
static const struct request_event *parse_one(struct fixture *f, const char *members)
{
    char json[8192];
    snprintf(json, sizeof json,
             "{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\","
             "\"data\":[{\"duid\":\"d1\",%s}]}",
             members);
    parse(f, json);
    if (f->request.refusal.code != NULL || f->request.count != 1) {
        fail_msg("%zu events, %s", f->request.count,
                 f->request.refusal.code == NULL ? "fine" : f->request.refusal.code);
    }
    return &f->request.events[0];
}

static const char *text_of(struct slice text, char ret[256])
{
    snprintf(ret, 256, "%.*s", SLICE_ARGS(text));
    return ret;
}

static void assert_text(struct slice text, const char *wanted)
{
    char got[256];
    assert_string_equal(text_of(text, got), wanted);
}

static const char *body(struct fixture *f, const struct request_event *e)
{
    struct json_writer w;
    msgpack_object object;
    struct error err;
    if (e->refusal.code != NULL) {
        fail_msg("refused: %s", e->refusal.code);
    }
    msgpack_zone_clear(&f->zone);
    buf_clear(&f->written);
    assert_true(value_unpack(e->event.body, &f->zone, &object, &err));
    json_writer_init(&w, &f->written);
    json_value(&w, &object);
    buf_put_u8(&f->written, 0);
    return (const char *)f->written.data;
}

static void assert_body(struct fixture *f, const char *members, const char *wanted)
{
    assert_string_equal(body(f, parse_one(f, members)), wanted);
}

static void assert_refused(struct fixture *f, const char *members, const char *code)
{
    const struct request_event *e = parse_one(f, members);
    if (e->refusal.code == NULL || strcmp(e->refusal.code, code) != 0) {
        fail_msg("%s: %s, not %s", members, e->refusal.code == NULL ? "fine" : e->refusal.code,
                 code);
    }
}

static void test_a_page_view_is_a_page_with_its_address_taken_apart(void **state)
{
    struct fixture *f = *state;
    const struct request_event *e = parse_one(
        f, "\"e\":\"pv\",\"eid\":\"m1\",\"uid\":\" u1 \",\"aid\":\"shop\","
           "\"url\":\"https://a.example/x/y?q=1#z\",\"page\":\"X\",\"refr\":\"r\","
           "\"lang\":\"de-DE\",\"tz\":\"Europe/Berlin\",\"res\":\"1920x1080\","
           "\"vp\":\"800x600\",\"ua\":\"UA\",\"ip\":\"192.0.2.1\",\"vid\":\"3\",\"p\":\"web\"");
    assert_int_equal(e->event.type, EVENT_PAGE);
    assert_text(e->event.message_id, "m1");
    assert_text(e->event.user_id, "u1");
    assert_text(e->event.anonymous_id, "d1");
    assert_text(f->request.write_key, "shop");
    assert_string_equal(
        body(f, e),
        "{\"context\":{\"page\":{\"url\":\"https://a.example/x/y?q=1#z\",\"title\":\"X\","
        "\"referrer\":\"r\",\"path\":\"/x/y\",\"search\":\"?q=1\"},"
        "\"screen\":{\"width\":1920,\"height\":1080,\"innerWidth\":800,\"innerHeight\":600},"
        "\"locale\":\"de-DE\",\"timezone\":\"Europe/Berlin\",\"userAgent\":\"UA\","
        "\"ip\":\"192.0.2.1\",\"snowplow\":{\"aid\":\"shop\",\"vid\":3,\"p\":\"web\"}},"
        "\"properties\":{\"url\":\"https://a.example/x/y?q=1#z\",\"title\":\"X\","
        "\"referrer\":\"r\",\"path\":\"/x/y\",\"search\":\"?q=1\"}}");
}

static void test_each_kind_of_event_has_its_name_and_properties(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *members;
        const char *name;
        const char *properties;
    } kinds[] = {
        {"\"e\":\"se\",\"se_ca\":\"c\",\"se_ac\":\"Add\",\"se_la\":\"l\",\"se_pr\":\"p\","
         "\"se_va\":\"2.50\"",
         "Add", "{\"category\":\"c\",\"label\":\"l\",\"property\":\"p\",\"value\":2.5}"},
        {"\"e\":\"pp\",\"pp_mix\":\"0\",\"pp_max\":\"7\",\"pp_miy\":\"1\",\"pp_may\":\"-9\"",
         "Page Ping", "{\"min_x\":0,\"max_x\":7,\"min_y\":1,\"max_y\":-9}"},
        {"\"e\":\"tr\",\"tr_id\":\"o1\",\"tr_af\":\"web\",\"tr_tt\":80.5,\"tr_tx\":\"8\","
         "\"tr_sh\":\"0\",\"tr_ci\":\"Lyon\",\"tr_st\":\"ARA\",\"tr_co\":\"FR\",\"tr_cu\":\"EUR\"",
         "Order Completed",
         "{\"order_id\":\"o1\",\"affiliation\":\"web\",\"total\":80.5,\"tax\":8,\"shipping\":0,"
         "\"city\":\"Lyon\",\"state\":\"ARA\",\"country\":\"FR\",\"currency\":\"EUR\"}"},
        {"\"e\":\"ti\",\"ti_id\":\"o1\",\"ti_sk\":\"s\",\"ti_nm\":\"n\",\"ti_ca\":\"c\","
         "\"ti_pr\":\"9.99\",\"ti_qu\":\"2\",\"ti_cu\":\"EUR\"",
         "Product Purchased",
         "{\"order_id\":\"o1\",\"sku\":\"s\",\"name\":\"n\",\"category\":\"c\",\"price\":9.99,"
         "\"quantity\":2,\"currency\":\"EUR\"}"},
        {"\"e\":\"ue\",\"ue_pr\":\"{\\\"schema\\\":\\\"iglu:v/unstruct_event/jsonschema/1-0-0\\\","
         "\\\"data\\\":{\\\"schema\\\":\\\"iglu:com.acme/add_to_cart/jsonschema/1-0-0\\\","
         "\\\"data\\\":{\\\"sku\\\":\\\"s\\\",\\\"n\\\":[1,null]}}}\"",
         "add_to_cart", "{\"sku\":\"s\",\"n\":[1,null]}"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct request_event *e = parse_one(f, kinds[i].members);
        const char *properties = strstr(body(f, e), "\"properties\":");
        char wanted[1024];
        assert_int_equal(e->event.type, EVENT_TRACK);
        assert_text(e->event.name, kinds[i].name);
        snprintf(wanted, sizeof wanted, "\"properties\":%s}", kinds[i].properties);
        assert_string_equal(properties, wanted);
    }
}

static void test_what_should_be_a_number_and_is_none_stays_text(void **state)
{
    assert_body(*state,
                "\"e\":\"se\",\"se_ac\":\"a\",\"se_va\":\"1e999\",\"vid\":\"0x10\",\"cd\":\"\"",
                "{\"context\":{\"snowplow\":{\"vid\":\"0x10\"}},"
                "\"properties\":{\"value\":\"1e999\"}}");
}

static void test_contexts_are_kept_whether_in_base64_or_plain(void **state)
{
    /* {"schema":"s","data":[{"schema":"iglu:a/b/c/1","data":{"x":"ÿ?>"}}]}, in three spellings */
    static const char *const spellings[] = {
        "\"co\":\"{\\\"schema\\\":\\\"s\\\",\\\"data\\\":[{\\\"schema\\\":\\\"iglu:a/b/c/1\\\","
        "\\\"data\\\":{\\\"x\\\":\\\"\xc3\xbf?>\\\"}}]}\"",
        "\"cx\":\"eyJzY2hlbWEiOiJzIiwiZGF0YSI6W3sic2NoZW1hIjoiaWdsdTphL2IvYy8xIiwiZGF0YSI6eyJ4Ijoi"
        "w78_PiJ9fV19\"",
        "\"cx\":\"eyJzY2hlbWEiOiJzIiwiZGF0YSI6W3sic2NoZW1hIjoiaWdsdTphL2IvYy8xIiwiZGF0YSI6eyJ4Ijoi"
        "w78/PiJ9fV19=\"",
    };
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        char members[512];
        snprintf(members, sizeof members, "\"e\":\"pv\",%s", spellings[i]);
        assert_body(*state, members,
                    "{\"context\":{\"contexts\":[{\"schema\":\"iglu:a/b/c/1\",\"data\":{\"x\":"
                    "\"\xc3\xbf?>\"}}],\"snowplow\":{}},\"properties\":{}}");
    }
}

#define PROOF(data)                                                                                \
    "{\\\"schema\\\":\\\"iglu:tributary/proof/jsonschema/1-0-0\\\",\\\"data\\\":" data "}"

static void test_an_entity_that_is_a_proof_goes_where_proofs_are(void **state)
{
    static const struct {
        const char *entities;
        const char *context;
    } rows[] = {
        {PROOF("{\\\"token\\\":\\\"a.b.c\\\"}"), "\"contexts\":[],\"proof\":\"a.b.c\","},
        {"{\\\"schema\\\":\\\"iglu:a/b/c/1\\\"}," PROOF("{\\\"token\\\":\\\"a.b.c\\\"}"),
         "\"contexts\":[{\"schema\":\"iglu:a/b/c/1\"}],\"proof\":\"a.b.c\","},
        {PROOF("{\\\"token\\\":\\\"1\\\"}") "," PROOF("{\\\"token\\\":\\\"2\\\"}"),
         "\"contexts\":[],\"proof\":\"2\","},
        {PROOF("{\\\"token\\\":7}"),
         "\"contexts\":[{\"schema\":\"iglu:tributary/proof/jsonschema/1-0-0\",\"data\":{"
         "\"token\":7}}],"},
        {"7", "\"contexts\":[7],"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char members[1024];
        char wanted[1024];
        snprintf(members, sizeof members, "\"e\":\"pv\",\"co\":\"{\\\"data\\\":[%s]}\"",
                 rows[i].entities);
        snprintf(wanted, sizeof wanted, "{\"context\":{%s\"snowplow\":{}},\"properties\":{}}",
                 rows[i].context);
        assert_body(*state, members, wanted);
    }
}

static void test_the_clock_of_the_client_is_corrected_and_a_true_time_is_not(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *times;
        int64_t wanted_ms;
    } rows[] = {
        {"\"dtm\":\"1000\",\"stm\":\"4000\"", 1795292103120 - 3000},
        {"\"dtm\":\"1795292000000\"", 1795292000000},
        {"\"ttm\":\"1795291000000\",\"stm\":\"4000\"", 1795291000000},
        {"\"stm\":\"4000\"", 1795292103120},
        {"\"p\":\"web\"", 1795292103120},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char members[256];
        snprintf(members, sizeof members, "\"e\":\"pv\",%s", rows[i].times);
        parse_one(f, members);
        request_stamp(&f->request, slice_text("s"), 1795292103120);
        assert_int_equal(f->request.events[0].event.timestamp_ms, rows[i].wanted_ms);
    }
}

static void assert_preference(const struct request_event *e, size_t i, const char *category,
                              bool granted)
{
    assert_true(e->preference_count > i);
    assert_text(e->preferences[i].category, category);
    assert_int_equal(e->preferences[i].granted, granted);
}

#define SNOWPLOW "iglu:com.snowplowanalytics.snowplow/"

static void test_scopes_of_consent_are_categories(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *decision;
        size_t count;
        bool granted;
    } rows[] = {{"allow_all", 2, true},        {"allow_selected", 2, true},
                {"implicit_consent", 2, true}, {"deny_all", 2, false},
                {"withdrawn", 2, false},       {"expired", 2, false},
                {"pending", 0, false},         {"", 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char members[1024];
        snprintf(members, sizeof members,
                 "\"e\":\"pv\",\"co\":\"{\\\"data\\\":[{\\\"schema\\\":\\\"" SNOWPLOW
                 "consent_preferences/jsonschema/1-0-0\\\",\\\"data\\\":{\\\"eventType\\\":"
                 "\\\"%s\\\",\\\"consentScopes\\\":[\\\"analytics\\\",7,\\\"ads\\\"]}}]}\"",
                 rows[i].decision);
        const struct request_event *e = parse_one(f, members);
        assert_int_equal(e->preference_count, rows[i].count);
        if (rows[i].count == 2) {
            assert_preference(e, 0, "analytics", rows[i].granted);
            assert_preference(e, 1, "ads", rows[i].granted);
        }
        assert_true((strstr(body(f, e), "\"categoryPreferences\":{\"analytics\":") != NULL) ==
                    (rows[i].count == 2));
    }
}

static void test_a_document_of_consent_is_a_category_until_it_is_withdrawn(void **state)
{
    struct fixture *f = *state;
    static const char *const schemas[] = {"consent_granted", "consent_withdrawn"};
    for (size_t i = 0; i < 2; i++) {
        char members[1024];
        snprintf(members, sizeof members,
                 "\"e\":\"ue\",\"ue_pr\":\"{\\\"data\\\":{\\\"schema\\\":\\\"" SNOWPLOW
                 "%s/jsonschema/1-0-0\\\",\\\"data\\\":{}}}\","
                 "\"co\":\"{\\\"data\\\":[{\\\"schema\\\":\\\"" SNOWPLOW
                 "consent_document/jsonschema/1-0-0\\\",\\\"data\\\":{\\\"id\\\":\\\"7\\\","
                 "\\\"name\\\":\\\"analytics\\\"}},"
                 "{\\\"schema\\\":\\\"" SNOWPLOW
                 "consent_document/jsonschema/1-0-0\\\",\\\"data\\\":{\\\"id\\\":\\\"ads\\\"}}]}\"",
                 schemas[i]);
        const struct request_event *e = parse_one(f, members);
        assert_int_equal(e->preference_count, 2);
        assert_preference(e, 0, "analytics", i == 0);
        assert_preference(e, 1, "ads", i == 0);
    }
}

static void test_what_is_wrong_is_refused_with_its_code(void **state)
{
    static const struct {
        const char *members;
        const char *code;
    } rows[] = {
        {"\"e\":\"xx\"", "invalid-type"},
        {"\"eid\":\"m\"", "invalid-type"},
        {"\"e\":\"se\"", "missing-event-name"},
        {"\"e\":\"ue\"", "invalid-shape"},
        {"\"e\":\"ue\",\"ue_pr\":\"{}\"", "invalid-shape"},
        {"\"e\":\"ue\",\"ue_pr\":\"{\\\"data\\\":{\\\"schema\\\":\\\"noschema\\\"}}\"",
         "invalid-shape"},
        {"\"e\":\"ue\",\"ue_pr\":\"{\\\"data\\\":{\\\"schema\\\":\\\"iglu:a/b/c/"
         "1\\\",\\\"data\\\":[]}}\"",
         "invalid-shape"},
        {"\"e\":\"ue\",\"ue_pr\":\"nonsense\"", "invalid-json"},
        {"\"e\":\"ue\",\"ue_px\":\"!!\"", "invalid-json"},
        {"\"e\":\"pv\",\"co\":\"{}\"", "invalid-shape"},
        {"\"e\":\"pv\",\"co\":\"{\\\"data\\\":{}}\"", "invalid-shape"},
        {"\"e\":\"pv\",\"co\":\"{\\\"data\\\":[1e999]}\"", "number-out-of-range"},
        {"\"e\":\"pv\",\"page\":\"\xff\"", "invalid-utf8"},
        {"\"e\":\"pv\",\"\xff\":\"x\"", "invalid-utf8"},
        {"\"e\":\"pv\",\"duid\":\" \"", "missing-identifier"},
        {"\"e\":\"pv\",\"duid\":\"null\",\"uid\":\"0\"", "nobody"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_refused(*state, rows[i].members, rows[i].code);
    }
}

static void test_a_bad_event_leaves_its_neighbours_alone(void **state)
{
    struct fixture *f = *state;
    parse(f, "{\"data\":[{\"e\":\"pv\",\"duid\":\"a\"},7,[[{}]],{\"e\":\"pv\",\"duid\":\"\xff\"},"
             "{\"e\":\"pv\",\"duid\":\"b\",\"x\":{\"e\":\"se\"},\"duid\":{},\"e\":[]}],\"later\":{"
             "\"data\":[1]}}");
    assert_null(f->request.refusal.code);
    assert_int_equal(f->request.count, 5);
    assert_null(f->request.events[0].refusal.code);
    assert_string_equal(f->request.events[1].refusal.code, "invalid-shape");
    assert_string_equal(f->request.events[2].refusal.code, "invalid-shape");
    assert_string_equal(f->request.events[3].refusal.code, "invalid-utf8");
    assert_null(f->request.events[4].refusal.code);
    assert_text(f->request.events[4].event.anonymous_id, "b");
    assert_int_equal(f->request.events[4].event.message_id.len, 36);
}

static void test_a_request_without_events_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *json;
        const char *code;
    } rows[] = {
        {"", "invalid-json"},
        {"{\"data\":[", "invalid-json"},
        {"7", "invalid-shape"},
        {"[]", "invalid-shape"},
        {"{}", "invalid-shape"},
        {"{\"data\":{}}", "invalid-shape"},
        {"{\"data\":[]}", "invalid-shape"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parse(f, rows[i].json);
        assert_non_null(f->request.refusal.code);
        assert_string_equal(f->request.refusal.code, rows[i].code);
        assert_int_equal(f->request.count, 0);
    }
}

static void test_an_event_over_the_limits_is_refused(void **state)
{
    struct fixture *f = *state;
    struct snowplow_parameter many[SNOWPLOW_PARAMETERS_MAX + 1];
    static char large[LIMIT_EVENT_BYTES];
    for (size_t i = 0; i < SNOWPLOW_PARAMETERS_MAX + 1; i++) {
        many[i] = (struct snowplow_parameter){slice_text("e"), slice_text("pv")};
    }
    snowplow_parse_query(&f->request, many, SNOWPLOW_PARAMETERS_MAX + 1, slice_make(NULL, 0),
                         &f->rand);
    assert_string_equal(f->request.events[0].refusal.code, "invalid-shape");
    memset(large, 'x', sizeof large);
    many[1] = (struct snowplow_parameter){slice_text("page"), slice_make(large, sizeof large)};
    snowplow_parse_query(&f->request, many, 2, slice_make(NULL, 0), &f->rand);
    assert_string_equal(f->request.events[0].refusal.code, "event-too-large");
}

static void test_a_query_is_one_event_with_the_browsers_user_agent(void **state)
{
    struct fixture *f = *state;
    const struct snowplow_parameter parameters[] = {
        {slice_text("e"), slice_text("pv")},
        {slice_text("duid"), slice_text("d1")},
        {slice_text("aid"), slice_text("shop")},
    };
    snowplow_parse_query(&f->request, parameters, 3, slice_text("Browser/1"), &f->rand);
    assert_int_equal(f->request.count, 1);
    assert_text(f->request.write_key, "shop");
    assert_string_equal(
        body(f, &f->request.events[0]),
        "{\"context\":{\"userAgent\":\"Browser/1\",\"snowplow\":{\"aid\":\"shop\"}},"
        "\"properties\":{}}");
    const struct request_event *e = &f->request.events[0];
    /* Where the gate looks for it. */
    assert_text(slice_make(e->event.body.data + e->user_agent_at, e->user_agent_len), "Browser/1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_page_view_is_a_page_with_its_address_taken_apart),
        TEST(test_each_kind_of_event_has_its_name_and_properties),
        TEST(test_what_should_be_a_number_and_is_none_stays_text),
        TEST(test_contexts_are_kept_whether_in_base64_or_plain),
        TEST(test_an_entity_that_is_a_proof_goes_where_proofs_are),
        TEST(test_the_clock_of_the_client_is_corrected_and_a_true_time_is_not),
        TEST(test_scopes_of_consent_are_categories),
        TEST(test_a_document_of_consent_is_a_category_until_it_is_withdrawn),
        TEST(test_what_is_wrong_is_refused_with_its_code),
        TEST(test_a_bad_event_leaves_its_neighbours_alone),
        TEST(test_a_request_without_events_is_refused),
        TEST(test_an_event_over_the_limits_is_refused),
        TEST(test_a_query_is_one_event_with_the_browsers_user_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
