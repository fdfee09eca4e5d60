#include "shared/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"

struct fixture {
    struct schema *schema;
    struct buf bytes;
    struct buf value;
    msgpack_zone zone;
    struct schema_place where;
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->schema = schema_new();
    buf_init(&f->bytes, 1024 * 1024);
    buf_init(&f->value, 1024 * 1024);
    assert_true(msgpack_zone_init(&f->zone, 4096));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    schema_free(&f->schema);
    buf_done(&f->bytes);
    buf_done(&f->value);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static bool compile(struct fixture *f, const char *json, uint32_t *ret)
{
    msgpack_object object;
    buf_clear(&f->bytes);
    f->where = (struct schema_place){.pointer = ""};
    assert_int_equal(json_read(slice_text(json), &f->bytes), JSON_FINE);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &object, &f->err));
    return schema_add(f->schema, &object, &f->where, ret, &f->err);
}

/* Violations as "pointer rule; …". */
static void check(struct fixture *f, uint32_t root, const char *json, char *ret, size_t size)
{
    struct schema_violations found = {0};
    size_t len = 0;
    buf_clear(&f->value);
    assert_int_equal(json_read(slice_text(json), &f->value), JSON_FINE);
    schema_check(f->schema, root, buf_slice(&f->value), slice_text(""), &found);
    ret[0] = 0;
    for (size_t i = 0; i < found.count; i++) {
        len += (size_t)snprintf(ret + len, size - len, "%s%s %s", i > 0 ? "; " : "",
                                found.list[i].pointer, found.list[i].rule);
    }
}

static void test_values_are_checked_as_the_schema_says(void **state)
{
    static const struct {
        const char *schema;
        const char *value;
        const char *violations;
    } rows[] = {
        {"{}", "{\"a\":[1]}", ""},
        {"{\"type\":\"integer\"}", "1.0", ""},
        {"{\"type\":\"integer\"}", "1.5", " type"},
        {"{\"type\":\"integer\"}", "1e300", ""},
        {"{\"type\":\"number\"}", "18446744073709551615", ""},
        {"{\"type\":[\"string\",\"null\"]}", "null", ""},
        {"{\"type\":[\"string\",\"null\"]}", "false", " type"},
        {"{\"minimum\":0,\"maximum\":10}", "10", ""},
        {"{\"minimum\":0,\"maximum\":10}", "-0.001", " minimum"},
        {"{\"minimum\":0,\"maximum\":10}", "10.1", " maximum"},
        {"{\"minimum\":0}", "\"text\"", ""},
        {"{\"minLength\":2,\"maxLength\":3}", "\"\xc3\xa9\"", " minLength"},
        {"{\"minLength\":2,\"maxLength\":3}", "\"\xc3\xa9\xc3\xa9\xc3\xa9\"", ""},
        {"{\"maxLength\":0}", "\"\"", ""},
        {"{\"enum\":[1,\"a\",null,false]}", "1.0", ""},
        {"{\"enum\":[1,\"a\",null,false]}", "true", " enum"},
        {"{\"enum\":[1,\"a\",null,false]}", "[1]", " enum"},
        {"{\"const\":\"a\"}", "\"b\"", " const"},
        {"{\"format\":\"date-time\"}", "\"1899-12-31T00:00:00Z\"", ""},
        {"{\"format\":\"date-time\"}", "\"1899-12-31\"", " format"},
        {"{\"items\":{\"type\":\"string\"}}", "[\"a\",1,\"b\",2]", "/1 type; /3 type"},
        {"{\"items\":{\"type\":\"string\"}}", "{\"a\":1}", ""},
        {"{\"required\":[\"b\",\"a\"]}", "{\"c\":1}", "/a required; /b required"},
        {"{\"required\":[\"a\"]}", "[]", ""},
        {"{\"properties\":{\"a/b\":{\"type\":\"null\"},\"~\":{\"type\":\"null\"}}}",
         "{\"a/b\":1,\"~\":1,\"c\":1}", "/a~1b type; /~0 type"},
        {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"a\":1,\"b\":2}",
         "/b additionalProperties"},
        {"{\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"string\"}}",
         "{\"a\":1,\"b\":2,\"c\":\"x\"}", "/b type"},
        {"{\"required\":[\"a\"],\"additionalProperties\":false}", "{\"a\":1}",
         "/a additionalProperties"},
        {"{\"properties\":{\"a\":{\"properties\":{\"b\":{\"items\":{\"required\":[\"c\"]}}}}}}",
         "{\"a\":{\"b\":[{\"c\":1},{}]}}", "/a/b/1/c required"},
        {"{\"type\":\"object\",\"title\":\"T\",\"description\":\"D\"}", "{}", ""},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char found[1024];
        uint32_t root;
        if (!compile(f, rows[i].schema, &root)) {
            fail_msg("%s: %s", rows[i].schema, f->err.message);
        }
        check(f, root, rows[i].value, found, sizeof found);
        if (strcmp(found, rows[i].violations) != 0) {
            fail_msg("%s of %s: \"%s\"", rows[i].schema, rows[i].value, found);
        }
    }
}

static void test_what_is_not_supported_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *schema;
        const char *place;
    } rows[] = {
        {"7", ""},
        {"true", ""},
        {"{\"type\":\"text\"}", "/type"},
        {"{\"type\":[]}", "/type"},
        {"{\"pattern\":\"x\"}", "/pattern"},
        {"{\"$ref\":\"#\"}", "/$ref"},
        {"{\"items\":[{}]}", "/items"},
        {"{\"items\":{\"properties\":{\"a/b\":{\"oneOf\":[]}}}}", "/items/properties/a~1b/oneOf"},
        {"{\"properties\":{\"a\":1}}", "/properties/a"},
        {"{\"properties\":[]}", "/properties"},
        {"{\"required\":[1]}", "/required"},
        {"{\"additionalProperties\":1}", "/additionalProperties"},
        {"{\"additionalProperties\":{\"not\":{}}}", "/additionalProperties/not"},
        {"{\"enum\":[]}", "/enum"},
        {"{\"enum\":[[]]}", "/enum"},
        {"{\"const\":{}}", "/const"},
        {"{\"enum\":[1],\"const\":1}", "/const"},
        {"{\"minimum\":\"1\"}", "/minimum"},
        {"{\"maximum\":null}", "/maximum"},
        {"{\"minLength\":-1}", "/minLength"},
        {"{\"maxLength\":1.5}", "/maxLength"},
        {"{\"format\":\"email\"}", "/format"},
        {"{\"title\":1}", "/title"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t root;
        if (compile(f, rows[i].schema, &root) || f->err.kind != ERROR_INVALID ||
            strcmp(f->where.pointer, rows[i].place) != 0) {
            fail_msg("%s: at \"%s\": %s", rows[i].schema, f->where.pointer, f->err.message);
        }
    }
}

static void nest(struct buf *out, int depth, const char *before, const char *inner,
                 const char *after)
{
    for (int i = 0; i < depth; i++) {
        buf_put_slice(out, slice_text(before));
    }
    buf_put_slice(out, slice_text(inner));
    for (int i = 0; i < depth; i++) {
        buf_put_slice(out, slice_text(after));
    }
    buf_put_u8(out, 0);
}

static void test_schemas_nest_as_deep_as_is_said_and_no_deeper(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    char found[1024];
    uint32_t root;
    buf_init(&json, 64 * 1024);
    nest(&json, SCHEMA_DEPTH_MAX - 1, "{\"items\":", "{\"type\":\"null\"}", "}");
    assert_true(compile(f, (const char *)json.data, &root));
    buf_clear(&json);
    nest(&json, SCHEMA_DEPTH_MAX - 1, "[", "1", "]");
    check(f, root, (const char *)json.data, found, sizeof found);
    assert_string_equal(found, "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0 type");
    buf_clear(&json);
    nest(&json, SCHEMA_DEPTH_MAX, "{\"items\":", "{}", "}");
    assert_false(compile(f, (const char *)json.data, &root));
    buf_done(&json);
}

static void test_it_stops_at_the_eighth_violation_and_long_pointers_are_cut(void **state)
{
    struct fixture *f = *state;
    struct schema_violations found = {0};
    struct buf json;
    uint32_t root;
    buf_init(&json, 64 * 1024);
    assert_true(compile(
        f, "{\"items\":{\"type\":\"null\"},\"additionalProperties\":{\"type\":\"null\"}}", &root));
    assert_int_equal(json_read(slice_text("[1,2,3,4,5,6,7,8,9,10]"), &f->value), JSON_FINE);
    schema_check(f->schema, root, buf_slice(&f->value), slice_text("/p"), &found);
    assert_int_equal(found.count, SCHEMA_VIOLATIONS_MAX);
    assert_string_equal(found.list[7].pointer, "/p/7");
    buf_put_format(&json, "{\"");
    for (int i = 0; i < 100; i++) {
        buf_put_format(&json, "\xc3\xa9");
    }
    buf_put_format(&json, "\":1}");
    buf_clear(&f->value);
    assert_int_equal(json_read(buf_slice(&json), &f->value), JSON_FINE);
    found.count = 0;
    schema_check(f->schema, root, buf_slice(&f->value), slice_text(""), &found);
    size_t len = strlen(found.list[0].pointer);
    assert_in_range(len, SCHEMA_POINTER_BYTES - 4, SCHEMA_POINTER_BYTES - 1);
    assert_int_equal((uint8_t)found.list[0].pointer[len - 1], 0xa9); /* a whole character */
    buf_done(&json);
}

static void test_bytes_that_are_cut_off_violate_the_type(void **state)
{
    struct fixture *f = *state;
    uint32_t root;
    assert_true(compile(f, "{\"properties\":{\"a\":{\"items\":{\"type\":\"number\"}}}}", &root));
    assert_int_equal(json_read(slice_text("{\"a\":[1,2,\"x\"],\"b\":{\"c\":1}}"), &f->value),
                     JSON_FINE);
    for (size_t len = 0; len < f->value.len; len++) {
        struct schema_violations found = {0};
        schema_check(f->schema, root, slice_make(f->value.data, len), slice_text(""), &found);
        assert_true(found.count > 0);
        assert_string_equal(found.list[found.count - 1].rule, "type");
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_values_are_checked_as_the_schema_says),
        WITH(test_what_is_not_supported_is_refused_with_its_place),
        WITH(test_schemas_nest_as_deep_as_is_said_and_no_deeper),
        WITH(test_it_stops_at_the_eighth_violation_and_long_pointers_are_cut),
        WITH(test_bytes_that_are_cut_off_violate_the_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
