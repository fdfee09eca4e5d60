#include "hub/trust/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "shared/json.h"

struct fixture {
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object object;
};

static const msgpack_object *read(struct fixture *f, const char *json)
{
    struct error err;
    buf_init(&f->bytes, 64 * 1024);
    assert_true(msgpack_zone_init(&f->zone, 1024));
    assert_int_equal(json_read(slice_text(json), &f->bytes), JSON_FINE);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->object, &err));
    return &f->object;
}

static void done(struct fixture *f)
{
    msgpack_zone_destroy(&f->zone);
    buf_done(&f->bytes);
}

static void test_a_source_is_a_client_whose_key_is_its_id_unless_it_says_otherwise(void **state)
{
    struct fixture f;
    (void)state;
    struct source plain = source_read(slice_text("web"), read(&f, "{}"));
    assert_false(plain.is_server);
    assert_int_equal(source_key_count(&plain), 1);
    assert_true(slice_is(source_key_at(&plain, 0), "web"));
    assert_false(source_is_open(&plain, slice_text("user_id")));
    done(&f);
    struct source said = source_read(
        slice_text("till"),
        read(&f, "{\"trust\":\"server\",\"writeKeys\":[\"k1\",\"k2\"],\"open\":[\"email\"]}"));
    assert_true(said.is_server);
    assert_int_equal(source_key_count(&said), 2);
    assert_true(slice_is(source_key_at(&said, 1), "k2"));
    assert_true(source_is_open(&said, slice_text("email")));
    assert_false(source_is_open(&said, slice_text("user_id")));
    done(&f);
}

static void test_mistakes_are_named_with_their_place(void **state)
{
    static const struct {
        const char *json;
        const char *field; /* NULL: no mistake */
    } table[] = {
        {"{}", NULL},
        {"{\"trust\":\"client\",\"writeKeys\":[\"a\",\"b\"],\"open\":[]}", NULL},
        {"{\"trust\":\"friend\"}", "/trust"},
        {"{\"trust\":true}", "/trust"},
        {"{\"writeKeys\":[]}", "/writeKeys"},
        {"{\"writeKeys\":\"a\"}", "/writeKeys"},
        {"{\"writeKeys\":[\"a\",\"a\"]}", "/writeKeys"},
        {"{\"writeKeys\":[\"\"]}", "/writeKeys"},
        {"{\"writeKeys\":[7]}", "/writeKeys"},
        {"{\"open\":{}}", "/open"},
        {"{\"open\":[1]}", "/open"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct fixture f;
        const char *field = NULL;
        const char *mistake = source_mistake(read(&f, table[i].json), &field);
        if (table[i].field == NULL) {
            assert_null(mistake);
        } else {
            assert_non_null(mistake);
            assert_string_equal(field, table[i].field);
        }
        done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_source_is_a_client_whose_key_is_its_id_unless_it_says_otherwise),
        cmocka_unit_test(test_mistakes_are_named_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
