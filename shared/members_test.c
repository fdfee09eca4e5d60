#include "shared/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "shared/json.h"

static const struct member rate[] = {MEMBER("events_per_second"), MEMBER("burst"), MEMBERS_END};
static const struct member rule[] = {MEMBER("type"), MEMBER("limit"), MEMBERS_END};
static const struct member table[] = {
    MEMBER("name"),
    MEMBER_TEXT("text"),
    MEMBER_FLAG("flag"),
    MEMBER_INTEGER("whole"),
    MEMBER("origins"),
    MEMBER("properties"),
    MEMBER_OF("rate", rate),
    MEMBER_OF("rules", rule),
    MEMBER_MAP_OF("by_name", rule),
    MEMBERS_END,
};

static void check(const char *json, const char *pointer, const char *message)
{
    struct members_mistake mistake;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
    struct error err;
    buf_init(&bytes, 64 * 1024);
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(json_read_value(slice_text(json), &bytes, &zone, &object, &err));
    bool fine = members_are_known(&object, table, &mistake);
    assert_int_equal(fine, pointer == NULL);
    if (pointer != NULL) {
        assert_string_equal(mistake.pointer, pointer);
        assert_string_equal(mistake.message, message);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
}

static void test_what_is_known_passes_wherever_it_stands(void **state)
{
    (void)state;
    check("{}", NULL, NULL);
    check("{\"name\":{\"anything\":1},\"rate\":{\"burst\":1},\"rules\":[{\"type\":1},{}],"
          "\"by_name\":{\"any name\":{\"limit\":1}}}",
          NULL, NULL);
    check("{\"rate\":7,\"rules\":[7,\"x\",[]],\"by_name\":[{\"limit\":1}]}", NULL, NULL);
    check("[]", NULL, NULL);
}

static void test_an_unknown_member_is_named_with_its_place_and_the_nearest(void **state)
{
    static const struct {
        const char *json;
        const char *pointer;
        const char *message;
    } rows[] = {
        {"{\"orgins\":[]}", "/orgins", "\"orgins\" is not known here; did you mean \"origins\"?"},
        {"{\"Origins\":[]}", "/Origins",
         "\"Origins\" is not known here; did you mean \"origins\"?"},
        {"{\"naem\":1}", "/naem", "\"naem\" is not known here; did you mean \"name\"?"},
        {"{\"rate\":{\"brust\":1}}", "/rate/brust",
         "\"brust\" is not known here; did you mean \"burst\"?"},
        {"{\"rules\":[{\"type\":1},{\"limits\":1}]}", "/rules/1/limits",
         "\"limits\" is not known here; did you mean \"limit\"?"},
        {"{\"by_name\":{\"a/b~\":{\"tpye\":1}}}", "/by_name/a~1b~0/tpye",
         "\"tpye\" is not known here; did you mean \"type\"?"},
        {"{\"rate\":{\"wholly other\":1}}", "/rate/wholly other",
         "\"wholly other\" is not known here; known are events_per_second, burst."},
        {"{\"\":1}", "/",
         "\"\" is not known here; known are name, text, flag, whole, origins, properties, rate, "
         "rules, by_name."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(rows[i].json, rows[i].pointer, rows[i].message);
    }
}

static void test_a_member_of_another_type_is_named(void **state)
{
    (void)state;
    check("{\"text\":\"\",\"flag\":false,\"whole\":-3}", NULL, NULL);
    check("{\"whole\":3.0}", NULL, NULL);
    check("{\"text\":7}", "/text", "\"text\" must be a text.");
    check("{\"flag\":null}", "/flag", "\"flag\" must be true or false.");
    check("{\"whole\":\"3\"}", "/whole", "\"whole\" must be a whole number.");
    check("{\"whole\":1.5}", "/whole", "\"whole\" must be a whole number.");
}

static void test_long_names_and_deep_places_are_cut(void **state)
{
    struct members_mistake mistake;
    char name[400];
    (void)state;
    memset(name, '~', sizeof name);
    msgpack_object_kv kv = {
        .key = {.type = MSGPACK_OBJECT_STR, .via.str = {sizeof name, name}},
        .val = {.type = MSGPACK_OBJECT_NIL},
    };
    msgpack_object object = {.type = MSGPACK_OBJECT_MAP, .via.map = {1, &kv}};
    assert_false(members_are_known(&object, table, &mistake));
    assert_true(strlen(mistake.pointer) < sizeof mistake.pointer);
    assert_true(strlen(mistake.message) < sizeof mistake.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_known_passes_wherever_it_stands),
        cmocka_unit_test(test_an_unknown_member_is_named_with_its_place_and_the_nearest),
        cmocka_unit_test(test_a_member_of_another_type_is_named),
        cmocka_unit_test(test_long_names_and_deep_places_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
