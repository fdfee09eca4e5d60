/* Which identifiers the rules find in an event. */
#include "hub/identity/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

struct fixture {
    struct buf rules_bytes;
    struct buf event_bytes;
    struct buf found;
    msgpack_zone zone;
    struct arena arena;
    struct identity_rules rules;
    msgpack_object root;
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    buf_init(&f->rules_bytes, 1 << 20);
    buf_init(&f->event_bytes, 1 << 20);
    buf_init(&f->found, 1 << 20);
    arena_init(&f->arena, 1024);
    *state = f;
    return msgpack_zone_init(&f->zone, 8192) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->rules_bytes);
    buf_done(&f->event_bytes);
    buf_done(&f->found);
    arena_done(&f->arena);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static bool read_rules(struct fixture *f, const char *json, struct error *err)
{
    buf_clear(&f->rules_bytes);
    return json_read_value(slice_text(json), &f->rules_bytes, &f->zone, &f->root, err) &&
           identity_rules_read(&f->root, &f->rules, err);
}

static void use_rules(struct fixture *f, const char *json)
{
    struct error err;
    if (!read_rules(f, json, &err)) {
        fail_msg("%s", err.message);
    }
}

/* The identifiers as "type=value " in their order. */
static const char *extract(struct fixture *f, enum event_type type, const char *user_id,
                           const char *anonymous_id, const char *body)
{
    struct identifier ids[LIMIT_EVENT_IDENTIFIERS];
    struct event event = {.type = type,
                          .source = slice_text("web"),
                          .user_id = slice_text(user_id),
                          .anonymous_id = slice_text(anonymous_id)};
    struct error err;
    buf_clear(&f->event_bytes);
    buf_clear(&f->found);
    if (!json_read_value(slice_text(body), &f->event_bytes, &f->zone, &event.body_map, &err)) {
        fail_msg("%s", err.message);
    }
    size_t count = identity_extract(&f->rules, &event, NULL, 0, &f->arena, ids);
    for (size_t i = 0; i < count; i++) {
        buf_put_format(&f->found, "%.*s=%.*s ", SLICE_ARGS(ids[i].type), SLICE_ARGS(ids[i].value));
    }
    buf_put_u8(&f->found, 0);
    return (const char *)f->found.data;
}

static void test_the_default_rules_bound_every_type_that_names_a_person(void **state)
{
    struct fixture *f = *state;
    use_rules(f, identity_rules_default);
    for (size_t i = 0; i < f->rules.count; i++) {
        const struct identity_rule *rule = &f->rules.rules[i];
        int64_t limit = slice_is(rule->type, "user_id") ? 1 : rule->is_known ? 5 : 0;
        assert_int_equal(rule->limit, limit);
    }
    assert_int_equal(f->rules.count, 5);
}

static void test_a_value_that_names_nobody_is_no_identifier_at_any_door(void **state)
{
    struct fixture *f = *state;
    use_rules(f, identity_rules_default);
    assert_string_equal(extract(f, EVENT_TRACK, "None", "a-1", "{}"), "anonymous_id=a-1 ");
    assert_string_equal(extract(f, EVENT_TRACK, "u-1", "undefined", "{}"), "user_id=u-1 ");
    assert_string_equal(extract(f, EVENT_IDENTIFY, "u-1", "",
                                "{\"traits\":{\"email\":\"N/A\",\"phone\":\"0000000000\","
                                "\"loyalty_id\":0}}"),
                        "user_id=u-1 ");
    assert_string_equal(extract(f, EVENT_TRACK, "u-1", "",
                                "{\"context\":{\"traits\":{\"email\":\"noemail@noemail.com\"},"
                                "\"externalIds\":["
                                "{\"type\":\"loyalty_id\",\"id\":\"9,78202E+12\"},"
                                "{\"type\":\"phone\",\"id\":\"9,78202E+12\"},"
                                "{\"type\":\"shop_card\",\"id\":\"<nil>\"}]}}"),
                        "user_id=u-1 ");
    assert_string_equal(extract(f, EVENT_ALIAS, "u-1", "", "{\"previousId\":\"[object Object]\"}"),
                        "user_id=u-1 ");
    assert_string_equal(extract(f, EVENT_TRACK, " \"NULL\" ", "", "{}"), "");
}

static void test_rules_add_values_and_patterns_of_their_own(void **state)
{
    struct fixture *f = *state;
    use_rules(
        f, "{\"identifiers\":[{\"type\":\"email\",\"blockedPatterns\":[\"*@shop.example\"]},"
           "{\"type\":\"loyalty_id\",\"blocked\":[\"House\"],\"blockedPatterns\":[\"TMP?*\"]}]}");
    static const struct {
        const char *email;
        const char *card;
        const char *found;
    } rows[] = {
        {"Boutique@SHOP.example", "house", "user_id=u "},
        {"jane@x.org", "tmp-1", "user_id=u email=jane@x.org "},
        {"none", "TMP", "user_id=u loyalty_id=TMP "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"traits\":{\"email\":\"%s\",\"loyalty_id\":\"%s\"}}",
                 rows[i].email, rows[i].card);
        assert_string_equal(extract(f, EVENT_IDENTIFY, "u", "", text), rows[i].found);
    }
}

static void test_national_phones_are_of_the_country_of_their_source(void **state)
{
    struct fixture *f = *state;
    use_rules(f, "{\"identifiers\":[{\"type\":\"phone\"}],"
                 "\"phone\":{\"country\":\"FR\",\"sources\":{\"web\":\"CH\"}}}");
    const char *body = "{\"traits\":{\"phone\":\"079 123 45 67\"}}";
    assert_string_equal(extract(f, EVENT_IDENTIFY, "", "", body), "phone=+41791234567 ");
    struct identity_rule rule = identity_rule_of(&f->rules, slice_text("phone"));
    struct slice asked = identity_normalize(&rule, slice_text("06 12 34 56 78"), &f->arena);
    assert_true(slice_is(asked, "+33612345678")); /* whoever asks is of no source */
}

static void test_lists_that_are_none_are_refused(void **state)
{
    static const char *const rows[] = {
        "{\"identifiers\":[{\"type\":\"email\",\"blocked\":\"none\"}]}",
        "{\"identifiers\":[{\"type\":\"email\",\"blocked\":[1]}]}",
        "{\"identifiers\":[{\"type\":\"email\",\"blockedPatterns\":{}}]}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err;
        assert_false(read_rules(*state, rows[i], &err));
        assert_non_null(strstr(err.message, "\"blocked"));
    }
}

static void test_countries_that_are_none_are_refused(void **state)
{
    static const char *const rows[] = {
        "\"FR\"",           "{\"country\":\"France\"}",
        "{\"country\":33}", "{\"country\":\"XX\"}",
        "{\"sources\":[]}", "{\"sources\":{\"web\":\"+33\"}}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err;
        char json[128];
        snprintf(json, sizeof json, "{\"identifiers\":[],\"phone\":%s}", rows[i]);
        assert_false(read_rules(*state, json, &err));
        assert_non_null(strstr(err.message, "phone"));
    }
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        WITH(test_the_default_rules_bound_every_type_that_names_a_person),
        WITH(test_a_value_that_names_nobody_is_no_identifier_at_any_door),
        WITH(test_rules_add_values_and_patterns_of_their_own),
        WITH(test_national_phones_are_of_the_country_of_their_source),
        WITH(test_lists_that_are_none_are_refused),
        WITH(test_countries_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
