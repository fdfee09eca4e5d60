#include "collector/gate/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/write_key.h"

/* What the hub would send; registry_gate() writes the same. */
static const char definitions[] =
    "{\"version\":7,\"sources\":{"
    "\"web\":{\"consent\":{\"required\":[\"analytics\"]},\"origins\":[\"https://shop.example\"]},"
    "\"strict\":{\"consent\":{\"required\":[\"analytics\",\"marketing\"]}},"
    "\"till\":{\"consent\":{\"exempt\":true,\"required\":[\"analytics\"]}},"
    "\"app\":{\"origins\":[\"https://app.example\",\"https://beta.app.example\"]},"
    "\"odd\":{\"consent\":7,\"origins\":\"https://odd.example\"},"
    "\"odder\":null,"
    "\"planned\":{\"tracking_plan\":\"shop\"},"
    "\"newer\":{\"tracking_plan\":\"future\"},"
    "\"astray\":{\"tracking_plan\":7}},"
    "\"tracking_plans\":{\"shop\":{\"events\":{\"Sold\":{}}},"
    "\"future\":{\"events\":{\"Sold\":{\"properties\":{\"oneOf\":[]}}}},\"odd\":7},"
    "\"normalizers\":{\"user_id\":0,\"mail\":1,\"email\":0,\"broken\":9}}";

struct fixture {
    struct gate *gate;
    struct request request;
};

static struct gate *gate_of(const char *json)
{
    struct gate *gate = NULL;
    struct error err;
    struct buf state;
    buf_init(&state, 1024 * 1024);
    assert_int_equal(json_read(slice_text(json), &state), JSON_FINE);
    if (!gate_new(buf_slice(&state), &gate, &err)) {
        fail_msg("%s: %s", json, err.message);
    }
    buf_done(&state);
    return gate;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->gate = gate_of(definitions);
    request_init(&f->request);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    gate_free(&f->gate);
    request_done(&f->request);
    free(f);
    return 0;
}

/* A gate with a page's key as it is, and two of a till's as hashes. */
static struct gate *gate_with_secrets(void)
{
    static const uint8_t salt[WRITE_KEY_SALT_BYTES] = {5};
    static const char *const keys[] = {"hush-1", "hush-2"};
    struct gate *gate = NULL;
    struct error err;
    struct buf state;
    msgpack_packer k;
    buf_init(&state, 4096);
    value_packer_init(&k, &state);
    msgpack_pack_map(&k, 3);
    value_pack_cstr(&k, "key_salt");
    value_pack_bin(&k, slice_make(salt, sizeof salt));
    value_pack_cstr(&k, "sources");
    msgpack_pack_map(&k, 1);
    value_pack_cstr(&k, "web");
    msgpack_pack_map(&k, 0);
    value_pack_cstr(&k, "secret_sources");
    msgpack_pack_map(&k, 2);
    for (int i = 0; i < 2; i++) {
        struct write_key_hash hash = write_key_hash(salt, slice_text(keys[i]));
        value_pack_bin(&k, slice_make(hash.bytes, sizeof hash.bytes));
        msgpack_pack_map(&k, 2);
        value_pack_cstr(&k, "id");
        value_pack_cstr(&k, "pos");
        value_pack_cstr(&k, "trust");
        value_pack_cstr(&k, "server");
    }
    assert_true(gate_new(buf_slice(&state), &gate, &err));
    buf_done(&state);
    return gate;
}

static void
test_a_source_is_found_by_the_hash_of_its_secret_key_and_the_hash_is_no_key(void **state)
{
    static const uint8_t salt[WRITE_KEY_SALT_BYTES] = {5};
    struct gate *gate = gate_with_secrets();
    (void)state;
    assert_true(gate_has_sources(gate));
    const struct gate_source *first = gate_find_source(gate, slice_text("hush-1"));
    const struct gate_source *second = gate_find_source(gate, slice_text("hush-2"));
    assert_true(first != NULL && second != NULL);
    assert_true(slice_is(gate_source_id(first), "pos") && gate_source_is_server(second));
    assert_true(slice_is(gate_source_id(gate_find_source(gate, slice_text("web"))), "web"));
    assert_null(gate_find_source(gate, slice_text("hush-3")));
    assert_null(gate_find_source(gate, slice_text("pos")));
    assert_null(gate_find_source(gate, slice_text("")));
    struct write_key_hash hash = write_key_hash(salt, slice_text("hush-1"));
    assert_null(gate_find_source(gate, slice_make(hash.bytes, sizeof hash.bytes)));
    gate_free(&gate);
}

static void test_a_source_is_found_by_its_whole_write_key_alone(void **state)
{
    static const char *const known[] = {"web", "strict", "till", "app", "odd", "odder"};
    static const char *const unknown[] = {"", "we", "webb", "WEB", "zzz", "a"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct gate_source *source = gate_find_source(f->gate, slice_text(known[i]));
        assert_non_null(source);
        assert_true(slice_is(gate_source_id(source), known[i]));
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_null(gate_find_source(f->gate, slice_text(unknown[i])));
    }
    assert_int_equal(gate_version(f->gate), 7);
}

static const struct {
    const char *what;
    const char *source;
    const char *preferences; /* of the event, as JSON; NULL: none */
    const char *code;        /* NULL: passes */
} consents[] = {
    {"granted", "web", "{\"analytics\":true}", NULL},
    {"another category does not matter", "web", "{\"analytics\":true,\"marketing\":false}", NULL},
    {"denied", "web", "{\"analytics\":false}", "consent-denied"},
    {"no word of consent", "web", NULL, "consent-missing"},
    {"no word of the category", "web", "{\"marketing\":true}", "consent-missing"},
    {"an empty map", "web", "{}", "consent-missing"},
    {"the category in another case", "web", "{\"Analytics\":true}", "consent-missing"},
    {"a text is no consent", "web", "{\"analytics\":\"true\"}", "consent-denied"},
    {"a word is no consent", "web", "{\"analytics\":\"granted\"}", "consent-denied"},
    {"a number is no consent", "web", "{\"analytics\":1}", "consent-denied"},
    {"null says nothing", "web", "{\"analytics\":null}", "consent-missing"},
    {"nested deeper is no consent", "web", "{\"x\":{\"analytics\":true}}", "consent-missing"},
    {"a list is no consent", "web", "[true]", "consent-missing"},
    {"given twice, the last counts", "web", "{\"analytics\":true,\"analytics\":false}",
     "consent-denied"},
    {"all required categories are asked for", "strict", "{\"analytics\":true,\"marketing\":true}",
     NULL},
    {"one of two is missing", "strict", "{\"analytics\":true}", "consent-missing"},
    {"one of two is denied", "strict", "{\"marketing\":false,\"analytics\":true}",
     "consent-denied"},
    {"an exempt source needs none", "till", NULL, NULL},
    {"an exempt source asks for none", "till", "{\"analytics\":false}", NULL},
    {"a source that names no category needs analytics", "app", NULL, "consent-missing"},
    {"and has it denied", "app", "{\"analytics\":false}", "consent-denied"},
    {"or granted", "app", "{\"analytics\":true}", NULL},
    {"a source whose consent is of the wrong type names none", "odd", NULL, "consent-missing"},
    {"a source of the wrong type names none", "odder", "{\"marketing\":true}", "consent-missing"},
};

static void test_what_a_source_requires_decides_what_passes(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    rand_seeded_init(&rand, 1);
    for (size_t i = 0; i < sizeof consents / sizeof *consents; i++) {
        struct buf json;
        buf_init(&json, 4096);
        buf_put_format(&json, "{\"userId\":\"u\",\"event\":\"E\"%s%s%s}",
                       consents[i].preferences == NULL
                           ? ""
                           : ",\"context\":{\"consent\":{\"categoryPreferences\":",
                       consents[i].preferences == NULL ? "" : consents[i].preferences,
                       consents[i].preferences == NULL ? "" : "}}");
        request_parse(&f->request, EVENT_TRACK, buf_slice(&json), &rand);
        buf_done(&json);
        assert_int_equal(f->request.count, 1);
        struct refusal refusal = gate_check(
            gate_find_source(f->gate, slice_text(consents[i].source)), &f->request.events[0]);
        bool as_expected =
            consents[i].code == NULL
                ? refusal.code == NULL
                : refusal.code != NULL && strcmp(refusal.code, consents[i].code) == 0;
        if (!as_expected) {
            fail_msg("%s: %s", consents[i].what, refusal.code == NULL ? "passed" : refusal.code);
        }
    }
}

static bool keep_seen(void *user, struct slice source, const struct refusal_seen *seen)
{
    (void)source;
    *(struct refusal_seen *)user = *seen;
    return false;
}

static void test_of_a_denied_event_the_refusal_shows_what_was_sent(void **state)
{
    struct fixture *f = *state;
    struct visit visit;
    struct refusal_seen seen = {0};
    struct bots *bots = bots_new();
    struct refusals *refusals = refusals_new(&clock_real);
    const struct gate_source *web = gate_find_source(f->gate, slice_text("web"));
    visit_init(&visit);
    visit.rules = gate_rules(web);
    visit.bots = bots;
    visit.arena = &f->request.arena;
    request_parse(
        &f->request, EVENT_TRACK,
        slice_text("{\"anonymousId\":\"a\",\"event\":\"Sold\",\"properties\":{\"a\":1},\"context\":"
                   "{\"consent\":{\"categoryPreferences\":{\"analytics\":false}}}}"),
        &rand_secure);
    assert_int_equal(gate_pass_all(web, &visit, &f->request, refusals), 1);
    assert_true(f->request.events[0].is_withdrawal);
    refusals_each_last(refusals, keep_seen, &seen);
    assert_string_equal(seen.code, "consent-denied");
    assert_string_equal(seen.type, "track");
    assert_string_equal(seen.event, "Sold");
    assert_non_null(strstr(seen.sample, "properties{a:number}"));
    visit_done(&visit);
    refusals_free(&refusals);
    bots_free(&bots);
}

static void test_a_source_has_one_id_and_one_rate_under_each_of_its_write_keys(void **state)
{
    (void)state;
    int64_t wait_ns;
    struct gate *gate = gate_of("{\"sources\":{\"old\":{\"id\":\"till\",\"trust\":\"server\","
                                "\"rate\":{\"events_per_second\":1,"
                                "\"burst\":2}},\"new\":{\"id\":\"till\",\"trust\":\"server\","
                                "\"rate\":{\"events_per_second\":"
                                "1,\"burst\":2}},\"page\":{}}}");
    const struct gate_source *before = gate_find_source(gate, slice_text("old"));
    const struct gate_source *after = gate_find_source(gate, slice_text("new"));
    assert_true(slice_is(gate_source_id(before), "till"));
    assert_true(slice_is(gate_source_id(after), "till"));
    assert_true(gate_source_is_server(after));
    assert_true(gate_take_rate(before, 2, 1, &wait_ns));
    assert_false(gate_take_rate(after, 1, 1, &wait_ns));
    assert_true(slice_is(gate_source_id(gate_find_source(gate, slice_text("page"))), "page"));
    assert_false(gate_source_is_server(gate_find_source(gate, slice_text("page"))));
    assert_null(gate_find_source(gate, slice_text("till")));
    assert_non_null(gate_find_source_by_id(gate, slice_text("till")));
    gate_free(&gate);
}

/* What the gate says to an event of the source "s", which is defined so. */
static const char *refusal_of(struct fixture *f, const char *source, const char *event)
{
    char json[512];
    struct visit visit;
    struct bots *bots = bots_new();
    struct refusals *refusals = refusals_new(&clock_real);
    snprintf(json, sizeof json, "{\"sources\":{\"s\":%s}}", source);
    struct gate *gate = gate_of(json);
    const struct gate_source *found = gate_find_source(gate, slice_text("s"));
    visit_init(&visit);
    visit.rules = gate_rules(found);
    visit.bots = bots;
    visit.arena = &f->request.arena;
    request_parse(&f->request, EVENT_IDENTIFY, slice_text(event), &rand_secure);
    (void)gate_pass_all(found, &visit, &f->request, refusals);
    visit_done(&visit);
    bots_free(&bots);
    refusals_free(&refusals);
    gate_free(&gate);
    const char *code = f->request.events[0].refusal.code;
    return code == NULL ? "" : code;
}

static void test_a_client_that_names_nobody_it_could_prove_is_refused(void **state)
{
#define EXEMPT "\"consent\":{\"exempt\":true}"
    static const struct {
        const char *source;
        const char *event;
        const char *code;
    } table[] = {
        {"{" EXEMPT "}", "{\"userId\":\"u\"}", "nobody"},
        {"{" EXEMPT "}", "{\"userId\":\"u\",\"anonymousId\":\"a\"}", ""},
        {"{" EXEMPT "}", "{\"userId\":\"u\",\"context\":{\"proof\":\"x.y.z\"}}", ""},
        {"{" EXEMPT ",\"open\":[]}", "{\"userId\":\"u\"}", "nobody"},
        {"{" EXEMPT ",\"open\":[\"user_id\"]}", "{\"userId\":\"u\"}", ""},
        {"{" EXEMPT ",\"trust\":\"server\"}", "{\"userId\":\"u\"}", ""},
        {"{" EXEMPT ",\"trust\":\"client\"}", "{\"userId\":\"u\"}", "nobody"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_string_equal(refusal_of(*state, table[i].source, table[i].event), table[i].code);
    }
}

static void test_rates_go_on_when_the_definitions_change(void **state)
{
    static const char limited[] = "{\"sources\":{\"a\":{},\"web\":{\"rate\":{"
                                  "\"events_per_second\":1,\"burst\":10}}}}";
    static const char fewer[] = "{\"sources\":{\"web\":{\"rate\":{\"events_per_second\":1,"
                                "\"burst\":5}},\"z\":{\"rate\":{\"events_per_second\":1}}}}";
    const int64_t second = 1000000000;
    const int64_t now = 100 * second;
    struct gate *old = gate_of(limited);
    struct gate *gate = gate_of(fewer);
    int64_t wait;
    (void)state;
    const struct gate_source *web = gate_find_source(old, slice_text("web"));
    assert_true(gate_take_rate(gate_find_source(old, slice_text("a")), 2500, now, &wait));
    assert_true(gate_take_rate(web, 8, now, &wait));
    assert_false(gate_take_rate(web, 3, now, &wait));
    assert_int_equal(wait, second);
    gate_continue(old, NULL); /* the first gate of all follows none */
    gate_continue(gate, old);
    gate_free(&old);
    web = gate_find_source(gate, slice_text("web"));
    assert_false(gate_take_rate(web, 1, now, &wait));
    assert_int_equal(wait, 4 * second);
    assert_true(gate_take_rate(gate_find_source(gate, slice_text("z")), 1, now, &wait));
    gate_free(&gate);
}

static void test_only_named_origins_may_send_cookies(void **state)
{
    struct fixture *f = *state;
    assert_true(gate_allows_origin(f->gate, slice_text("https://shop.example")));
    assert_true(gate_allows_origin(f->gate, slice_text("https://beta.app.example")));
    assert_false(gate_allows_origin(f->gate, slice_text("https://shop.example.evil")));
    assert_false(gate_allows_origin(f->gate, slice_text("http://shop.example")));
    assert_false(gate_allows_origin(f->gate, slice_text("https://odd.example")));
    assert_false(gate_allows_origin(f->gate, slice_text("")));
    assert_false(gate_allows_origin(f->gate, slice_text("null")));
}

static void test_normalisers_are_those_of_the_hub_and_else_the_default(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(gate_normalizer(f->gate, slice_text("mail")), NORMALIZE_EMAIL);
    assert_int_equal(gate_normalizer(f->gate, slice_text("email")), NORMALIZE_TRIM);
    assert_int_equal(gate_normalizer(f->gate, slice_text("phone")), NORMALIZE_PHONE);
    assert_int_equal(gate_normalizer(f->gate, slice_text("broken")), NORMALIZE_TRIM);
}

static void test_without_definitions_a_gate_knows_no_source(void **state)
{
    static const char *const empty[] = {"{}", "{\"sources\":[]}", "{\"sources\":{}}",
                                        "{\"version\":\"x\",\"sources\":null}"};
    struct gate *gate;
    struct error err;
    (void)state;
    assert_true(gate_new(slice_make(NULL, 0), &gate, &err));
    assert_null(gate_find_source(gate, slice_text("web")));
    assert_false(gate_allows_origin(gate, slice_text("https://shop.example")));
    assert_int_equal(gate_version(gate), 0);
    gate_free(&gate);
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        gate = gate_of(empty[i]);
        assert_null(gate_find_source(gate, slice_text("web")));
        gate_free(&gate);
    }
    gate_free(&gate); /* closing NULL is allowed */
}

static void test_damaged_definitions_are_refused(void **state)
{
    static const char *const damaged[] = {"\xc1", "\x81", "\x81\xa7sources", "{}"};
    struct gate *gate = NULL;
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        assert_false(gate_new(slice_text(damaged[i]), &gate, &err));
        assert_int_equal(err.kind, ERROR_CORRUPT);
    }
}

static void test_a_gate_keeps_a_copy_of_its_definitions(void **state)
{
    struct buf bytes;
    struct gate *gate;
    struct error err;
    (void)state;
    buf_init(&bytes, 4096);
    assert_int_equal(json_read(slice_text("{\"sources\":{\"web\":{}}}"), &bytes), JSON_FINE);
    assert_true(gate_new(buf_slice(&bytes), &gate, &err));
    memset(bytes.data, 0, bytes.len);
    buf_done(&bytes);
    assert_non_null(gate_find_source(gate, slice_text("web")));
    gate_free(&gate);
}

static void test_a_source_has_the_plan_that_it_names_if_this_collector_can_read_it(void **state)
{
    struct fixture *f = *state;
    static const char *const without[] = {"web", "newer", "astray"};
    assert_non_null(gate_source_plan(gate_find_source(f->gate, slice_text("planned"))));
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        assert_null(gate_source_plan(gate_find_source(f->gate, slice_text(without[i]))));
    }
}

static void test_the_types_for_the_suppression_list_are_those_of_the_rules(void **state)
{
    struct fixture *f = *state;
    const struct suppression_types *types = gate_identifier_types(f->gate);
    assert_int_equal(types->count, 4);
    assert_int_equal(suppression_normalizer(types, slice_text("mail")), NORMALIZE_EMAIL);
    assert_int_equal(suppression_normalizer(types, slice_text("phone")), NORMALIZE_PHONE);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_source_is_found_by_the_hash_of_its_secret_key_and_the_hash_is_no_key),
        WITH(test_a_source_is_found_by_its_whole_write_key_alone),
        WITH(test_a_source_has_the_plan_that_it_names_if_this_collector_can_read_it),
        WITH(test_the_types_for_the_suppression_list_are_those_of_the_rules),
        WITH(test_what_a_source_requires_decides_what_passes),
        cmocka_unit_test(test_a_source_has_one_id_and_one_rate_under_each_of_its_write_keys),
        cmocka_unit_test_setup_teardown(test_a_client_that_names_nobody_it_could_prove_is_refused,
                                        set_up, tear_down),
        WITH(test_of_a_denied_event_the_refusal_shows_what_was_sent),
        cmocka_unit_test(test_rates_go_on_when_the_definitions_change),
        WITH(test_only_named_origins_may_send_cookies),
        WITH(test_normalisers_are_those_of_the_hub_and_else_the_default),
        cmocka_unit_test(test_without_definitions_a_gate_knows_no_source),
        cmocka_unit_test(test_damaged_definitions_are_refused),
        cmocka_unit_test(test_a_gate_keeps_a_copy_of_its_definitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
