/* The rules as the gate applies them, from a source's definition and an event of a client to what
 * is stored. */
#include "collector/gate/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "collector/gate/gate.h"
#include "shared/json.h"

#define CRAWLER "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
#define CHROME "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36"

struct fixture {
    struct request request;
    struct visit visit;
    struct bots *bots;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    request_init(&f->request);
    visit_init(&f->visit);
    f->bots = bots_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    request_done(&f->request);
    visit_done(&f->visit);
    bots_free(&f->bots);
    free(f);
    return 0;
}

static struct gate *gate_of_definitions(struct slice json)
{
    struct gate *gate = NULL;
    struct error err;
    struct buf state;
    buf_init(&state, 64 * 1024);
    assert_int_equal(json_read(json, &state), JSON_FINE);
    assert_true(gate_new(buf_slice(&state), &gate, &err));
    buf_done(&state);
    return gate;
}

/* The gate of one source, a server's, so that nobody's events are missing a visitor. */
static struct gate *gate_of(const char *source)
{
    struct buf json;
    buf_init(&json, 64 * 1024);
    buf_put_slice(&json, slice_text("{\"version\":1,\"sources\":{\"web\":{\"trust\":\"server\""));
    buf_put_slice(&json, slice_text(source[1] == '}' ? "" : ","));
    buf_put_slice(&json, slice_text(source + 1));
    buf_put_slice(&json, slice_text("}}"));
    struct gate *gate = gate_of_definitions(buf_slice(&json));
    buf_done(&json);
    return gate;
}

/* Pass the one event of a request. The visit but for its rules is the caller's. */
static struct request_event *pass(struct fixture *f, const struct gate *gate, enum event_type type,
                                  const char *event)
{
    struct rand rand;
    const struct gate_source *source = gate_find_source(gate, slice_text("web"));
    rand_seeded_init(&rand, 1);
    f->visit.rules = gate_rules(source);
    f->visit.bots = f->bots;
    f->visit.arena = &f->request.arena;
    f->visit.judged = slice_make(NULL, 0);
    f->visit.judged_as_bot = false;
    f->visit.growth = 0;
    request_parse(&f->request, type, slice_text(event), &rand);
    assert_int_equal(f->request.count, 1);
    assert_null(f->request.events[0].refusal.code);
    gate_pass(source, &f->visit, &f->request, &f->request.events[0]);
    return &f->request.events[0];
}

static void assert_code(const struct request_event *e, const char *code, const char *what)
{
    const char *got = e->refusal.code == NULL ? "passed" : e->refusal.code;
    if (strcmp(got, code == NULL ? "passed" : code) != 0) {
        fail_msg("%s: %s in place of %s", what, got, code == NULL ? "passed" : code);
    }
}

static void assert_body(const struct request_event *e, const char *expected, const char *what)
{
    msgpack_zone zone;
    msgpack_object object;
    struct json_writer w;
    struct buf text;
    struct error err;
    buf_init(&text, 1024 * 1024);
    assert_true(msgpack_zone_init(&zone, 4096));
    assert_true(value_unpack(e->event.body, &zone, &object, &err));
    json_writer_init(&w, &text);
    json_value(&w, &object);
    if (!slice_is(buf_slice(&text), expected)) {
        fail_msg("%s: %.*s", what, SLICE_ARGS(buf_slice(&text)));
    }
    msgpack_zone_destroy(&zone);
    buf_done(&text);
}

/* ---- Bots ---- */

static const struct {
    const char *what;
    const char *source;
    const char *context_agent; /* of the event; NULL: none */
    const char *header_agent;  /* of a browser; NULL: the request is that of a server */
    const char *code;
} agents[] = {
    {"a crawler", "{}", NULL, CRAWLER, "bot"},
    {"a person", "{}", NULL, CHROME, NULL},
    {"a server's own agent is not looked at", "{}", NULL, NULL, NULL},
    {"an agent that a server passes on is", "{}", CRAWLER, NULL, "bot"},
    {"what the event says counts before the header", "{}", CHROME, CRAWLER, NULL},
    {"and the other way round", "{}", CRAWLER, CHROME, "bot"},
    {"an empty one says nothing", "{}", "", CRAWLER, "bot"},
    {"the source may refuse in so many words", "{\"bots\":\"refuse\"}", CRAWLER, NULL, "bot"},
    {"the source may keep them", "{\"bots\":\"keep\"}", CRAWLER, CRAWLER, NULL},
    {"a rule that is none", "{\"bots\":7}", CRAWLER, NULL, "bot"},
};

static void test_programs_are_refused_unless_the_source_keeps_them(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof agents / sizeof *agents; i++) {
        struct buf event;
        struct gate *gate = gate_of(agents[i].source);
        buf_init(&event, 4096);
        buf_put_format(&event,
                       "{\"userId\":\"u\",\"event\":\"E\",\"context\":{\"consent\":"
                       "{\"categoryPreferences\":{\"analytics\":true}}%s%s%s}}%c",
                       agents[i].context_agent == NULL ? "" : ",\"userAgent\":\"",
                       agents[i].context_agent == NULL ? "" : agents[i].context_agent,
                       agents[i].context_agent == NULL ? "" : "\"", 0);
        const char *header = agents[i].header_agent;
        f->visit.user_agent = header == NULL ? slice_make(NULL, 0) : slice_text(header);
        assert_code(pass(f, gate, EVENT_TRACK, (const char *)event.data), agents[i].code,
                    agents[i].what);
        buf_done(&event);
        gate_free(&gate);
    }
}

/* ---- Addresses ---- */

#define EXEMPT "\"consent\":{\"exempt\":true}"

static const struct {
    const char *what;
    const char *rule;
    const char *context; /* of the event */
    const char *client;  /* a browser's address; NULL: unknown, or a server's */
    const char *body;
} addresses[] = {
    {"as sent", "as_sent", "{\"ip\":\"192.0.2.77\"}", "198.51.100.9",
     "{\"context\":{\"ip\":\"192.0.2.77\"}}"},
    {"none added", "as_sent", "{}", "198.51.100.9", "{\"context\":{}}"},
    {"added", "keep", "{\"a\":1}", "198.51.100.9",
     "{\"context\":{\"a\":1,\"ip\":\"198.51.100.9\"}}"},
    {"what was sent stays", "keep", "{\"ip\":\"192.0.2.77\"}", "198.51.100.9",
     "{\"context\":{\"ip\":\"192.0.2.77\"}}"},
    {"a server's is not added", "keep", "{\"a\":1}", NULL, "{\"context\":{\"a\":1}}"},
    {"what was sent is cut", "truncate", "{\"ip\":\"192.0.2.77\",\"a\":1}", NULL,
     "{\"context\":{\"a\":1,\"ip\":\"192.0.2.0\"}}"},
    {"IPv6", "truncate", "{\"ip\":\"2001:db8:1:2::7\"}", NULL,
     "{\"context\":{\"ip\":\"2001:db8:1::\"}}"},
    {"what is added is cut", "truncate", "{}", "198.51.100.9",
     "{\"context\":{\"ip\":\"198.51.100.0\"}}"},
    {"what is no address is removed", "truncate", "{\"ip\":\"home\",\"a\":1}", "198.51.100.9",
     "{\"context\":{\"a\":1}}"},
    {"of whatever type", "truncate", "{\"ip\":[192,0,2,77],\"a\":1}", NULL,
     "{\"context\":{\"a\":1}}"},
    {"dropped", "drop", "{\"ip\":\"192.0.2.77\",\"a\":1,\"ip\":\"192.0.2.78\"}", "198.51.100.9",
     "{\"context\":{\"a\":1}}"},
    {"nothing to drop", "drop", "{\"a\":1}", "198.51.100.9", "{\"context\":{\"a\":1}}"},
};

static void test_addresses_are_stored_as_the_source_says(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct buf text;
        buf_init(&text, 4096);
        buf_put_format(&text, "{" EXEMPT ",\"ip\":\"%s\"}%c", addresses[i].rule, 0);
        struct gate *gate = gate_of((const char *)text.data);
        buf_clear(&text);
        buf_put_format(&text, "{\"userId\":\"u\",\"event\":\"E\",\"context\":%s}%c",
                       addresses[i].context, 0);
        f->visit.has_address = addresses[i].client != NULL;
        if (f->visit.has_address) {
            assert_true(address_parse(slice_text(addresses[i].client), &f->visit.address));
        }
        struct request_event *e = pass(f, gate, EVENT_TRACK, (const char *)text.data);
        assert_code(e, NULL, addresses[i].what);
        assert_body(e, addresses[i].body, addresses[i].what);
        buf_done(&text);
        gate_free(&gate);
    }
}

/* The hub takes the limit and LIMIT_ANNOTATION_BYTES. */
static void test_an_event_of_the_limit_may_still_be_annotated(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    struct gate *gate = gate_of_definitions(
        slice_text("{\"sources\":{\"web\":{\"trust\":\"server\",\"consent\":{\"exempt\":true},"
                   "\"bots\":\"keep\","
                   "\"tracking_plan\":\"p\"}},\"tracking_plans\":{\"p\":{\"events\":{},"
                   "\"unplanned\":\"flag\"}}}"));
    f->visit.objects = false;
    buf_init(&json, (size_t)2 * LIMIT_EVENT_BYTES);
    buf_put_format(&json, "{\"userId\":\"u\",\"event\":\"E\",\"properties\":{\"x\":\"");
    for (int i = 0; i < LIMIT_EVENT_BYTES - 32; i++) {
        buf_put_u8(&json, 'x');
    }
    buf_put_format(&json, "\"}}%c", 0);
    struct request_event *e = pass(f, gate, EVENT_TRACK, (const char *)json.data);
    assert_code(e, NULL, "annotated");
    assert_in_range(e->event.body.len, LIMIT_EVENT_BYTES + 1,
                    LIMIT_EVENT_BYTES + LIMIT_ANNOTATION_BYTES);
    gate_free(&gate);
    buf_done(&json);
}

static void test_an_event_that_grows_over_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{" EXEMPT ",\"ip\":\"keep\"}");
    struct buf text;
    buf_init(&text, 64 * 1024);
    buf_put_format(&text, "{\"userId\":\"u\",\"event\":\"E\",\"properties\":{\"x\":\"");
    for (int i = 0; i < LIMIT_EVENT_BYTES - 25; i++) {
        buf_put_u8(&text, 'x');
    }
    buf_put_format(&text, "\"}}%c", 0);
    f->visit.has_address = false;
    assert_code(pass(f, gate, EVENT_TRACK, (const char *)text.data), NULL, "as it came");
    f->visit.has_address = true;
    assert_true(address_parse(slice_text("198.51.100.9"), &f->visit.address));
    assert_code(pass(f, gate, EVENT_TRACK, (const char *)text.data), "event-too-large", "grown");
    buf_done(&text);
    gate_free(&gate);
}

/* ---- Objections and withdrawals ---- */

#define PREFERENCES(p) "\"context\":{\"consent\":{\"categoryPreferences\":" p "}}"

static void test_an_objection_denies_the_categories_of_the_source_and_is_noted(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{\"consent\":{\"gpc\":[\"marketing\",\"sharing\"]}}");
    static const char event[] = "{\"userId\":\"u\",\"event\":\"E\"," PREFERENCES(
        "{\"analytics\":true,\"marketing\":true}") "}";
    f->visit.objects = false;
    assert_body(pass(f, gate, EVENT_TRACK, event),
                "{" PREFERENCES("{\"analytics\":true,\"marketing\":true}") "}", "no objection");
    f->visit.objects = true;
    struct request_event *e = pass(f, gate, EVENT_TRACK, event);
    assert_code(e, NULL, "the category that storing needs is granted");
    assert_body(
        e,
        "{\"context\":{\"consent\":{\"gpc\":true,\"categoryPreferences\":{\"analytics\":true,"
        "\"marketing\":false,\"sharing\":false}}}}",
        "an objection");
    gate_free(&gate);
}

static void test_an_objection_that_the_event_tells_counts_as_well(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{\"consent\":{\"exempt\":true,\"gpc\":[\"ads\"]}}");
    f->visit.objects = false;
    assert_body(
        pass(f, gate, EVENT_TRACK,
             "{\"userId\":\"u\",\"event\":\"E\",\"context\":{\"consent\":{\"gpc\":true}}}"),
        "{\"context\":{\"consent\":{\"gpc\":true,\"categoryPreferences\":{\"ads\":false}}}}",
        "told by the event");
    assert_body(
        pass(f, gate, EVENT_TRACK,
             "{\"userId\":\"u\",\"event\":\"E\",\"context\":{\"consent\":{\"gpc\":false}}}"),
        "{\"context\":{\"consent\":{\"gpc\":false}}}", "not objecting");
    gate_free(&gate);
}

static void test_sources_that_name_no_category_do_not_look_at_objections(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{" EXEMPT "}");
    f->visit.objects = true;
    assert_body(pass(f, gate, EVENT_TRACK, "{\"userId\":\"u\",\"event\":\"E\"}"), "{}", "no rule");
    gate_free(&gate);
}

static void test_an_objection_counts_even_beside_as_many_categories_as_are_read(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{\"consent\":{\"gpc\":[\"analytics\"]}}");
    f->visit.objects = true;
    struct request_event *e = pass(
        f, gate, EVENT_TRACK,
        "{\"userId\":\"u\",\"event\":\"E\"," PREFERENCES(
            "{\"analytics\":true,\"b\":true,\"c\":true,\"d\":true,\"e\":true,\"f\":true,\"g\":true,"
            "\"h\":true,\"i\":true,\"j\":true,\"k\":true,\"l\":true,\"m\":true,\"n\":true,"
            "\"o\":true,\"p\":true}") "}");
    assert_code(e, "consent-denied", "sixteen categories");
    gate_free(&gate);
}

static void test_of_a_denied_event_ids_times_and_preferences_are_left(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{}");
    f->visit.objects = false;
    struct request_event *e =
        pass(f, gate, EVENT_TRACK,
             "{\"userId\":\"u\",\"anonymousId\":\"a\",\"messageId\":\"m\",\"event\":\"Seen\","
             "\"properties\":{\"what\":\"secret\"},\"timestamp\":\"2026-11-21T10:00:00Z\","
             "\"context\":{\"ip\":\"192.0.2.7\",\"externalIds\":[{\"type\":\"card\",\"id\":\"7\"}],"
             "\"consent\":{\"x\":1,\"categoryPreferences\":{\"analytics\":true,\"ads\":true,"
             "\"analytics\":false}}}}");
    assert_code(e, "consent-denied", "denied");
    assert_true(request_event_is_stored(e));
    assert_true(event_is_withdrawal(&e->event));
    assert_body(e,
                "{\"context\":{\"consent\":{\"categoryPreferences\":{\"ads\":true,\"analytics\":"
                "false}},\"externalIds\":[{\"type\":\"card\",\"id\":\"7\"}]}}",
                "what is left");
    assert_true(slice_is(e->event.user_id, "u") && slice_is(e->event.anonymous_id, "a"));
    /* The client's event may come again once there is consent, and then counts. */
    assert_false(slice_is(e->event.message_id, "m"));
    assert_int_equal(e->event.message_id.len, 36);
    gate_free(&gate);
}

static void test_an_objection_to_what_storing_needs_is_a_withdrawal(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{\"consent\":{\"gpc\":[\"analytics\"]}}");
    f->visit.objects = true;
    struct request_event *e = pass(
        f, gate, EVENT_PAGE, "{\"anonymousId\":\"a\"," PREFERENCES("{\"analytics\":true}") "}");
    assert_code(e, "consent-denied", "objected");
    assert_true(e->is_withdrawal);
    assert_body(e,
                "{\"context\":{\"consent\":{\"gpc\":true,\"categoryPreferences\":{\"analytics\":"
                "false}}}}",
                "what is left");
    gate_free(&gate);
}

/* A source whose objections are as long as can be. */
static struct gate *gate_of_long_objections(const char *consent)
{
    struct buf source;
    buf_init(&source, 64 * 1024);
    buf_put_format(&source, "{\"consent\":{%s,\"gpc\":[", consent);
    for (int i = 0; i < LIMIT_CONSENT_CATEGORIES; i++) {
        buf_put_format(&source, "%s\"%0*d\"", i == 0 ? "" : ",", LIMIT_NAME_BYTES, i);
    }
    buf_put_format(&source, "]}}%c", 0);
    struct gate *gate = gate_of((const char *)source.data);
    buf_done(&source);
    return gate;
}

/* Whatever the rules add, all events of a request fit into one block. */
static void fill_a_block(struct fixture *f, const char *consent)
{
    struct rand rand;
    struct buf json;
    size_t stored = 0;
    size_t bytes = 0;
    struct gate *gate = gate_of_long_objections(consent);
    const struct gate_source *source = gate_find_source(gate, slice_text("web"));
    buf_init(&json, LIMIT_REQUEST_BYTES);
    rand_seeded_init(&rand, 1);
    buf_put_format(&json, "{\"batch\":[");
    for (int i = 0; i < LIMIT_BATCH_EVENTS; i++) {
        buf_put_format(&json,
                       "%s{\"type\":\"page\",\"userId\":\"u\"," PREFERENCES("{\"x\":false}") "}",
                       i == 0 ? "" : ",");
    }
    buf_put_format(&json, "]}");
    request_parse(&f->request, EVENT_TYPES, buf_slice(&json), &rand);
    f->visit.rules = gate_rules(source);
    f->visit.bots = f->bots;
    f->visit.arena = &f->request.arena;
    f->visit.judged = slice_make(NULL, 0);
    f->visit.growth = 0;
    f->visit.objects = true;
    for (size_t i = 0; i < f->request.count; i++) {
        struct request_event *e = &f->request.events[i];
        gate_pass(source, &f->visit, &f->request, e);
        stored += request_event_is_stored(e);
        bytes += request_event_is_stored(e) ? e->event.body.len : 0;
    }
    assert_int_equal(f->request.count, LIMIT_BATCH_EVENTS);
    assert_in_range(stored, 100, LIMIT_BATCH_EVENTS - 100);
    assert_true(bytes < 1024 * 1024);
    buf_done(&json);
    gate_free(&gate);
}

static void
test_events_that_grow_by_the_rules_fit_one_block_and_the_others_are_refused(void **state)
{
    fill_a_block(*state, "\"exempt\":true");
}

static void test_withdrawals_that_grow_by_the_rules_fit_one_block_as_well(void **state)
{
    fill_a_block(*state, "\"required\":[\"x\"]");
}

static void test_what_says_nothing_of_consent_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct gate *gate = gate_of("{}");
    f->visit.objects = false;
    struct request_event *e = pass(f, gate, EVENT_TRACK, "{\"userId\":\"u\",\"event\":\"E\"}");
    assert_code(e, "consent-missing", "silent");
    assert_false(request_event_is_stored(e));
    gate_free(&gate);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_programs_are_refused_unless_the_source_keeps_them),
        WITH(test_addresses_are_stored_as_the_source_says),
        WITH(test_an_event_that_grows_over_the_limit_is_refused),
        WITH(test_an_event_of_the_limit_may_still_be_annotated),
        WITH(test_an_objection_denies_the_categories_of_the_source_and_is_noted),
        WITH(test_an_objection_that_the_event_tells_counts_as_well),
        WITH(test_sources_that_name_no_category_do_not_look_at_objections),
        WITH(test_an_objection_counts_even_beside_as_many_categories_as_are_read),
        WITH(test_of_a_denied_event_ids_times_and_preferences_are_left),
        WITH(test_an_objection_to_what_storing_needs_is_a_withdrawal),
        WITH(test_events_that_grow_by_the_rules_fit_one_block_and_the_others_are_refused),
        WITH(test_withdrawals_that_grow_by_the_rules_fit_one_block_as_well),
        WITH(test_what_says_nothing_of_consent_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
