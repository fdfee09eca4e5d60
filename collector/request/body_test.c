#include "collector/request/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/rand.h"

static struct slice ip[] = {{(const uint8_t *)"context", 7}, {(const uint8_t *)"ip", 2}};
static struct slice deny[] = {{(const uint8_t *)"context", 7},
                              {(const uint8_t *)"consent", 7},
                              {(const uint8_t *)"categoryPreferences", 19},
                              {(const uint8_t *)"ads", 3}};
static const struct body_path ip_path = {ip, 2};
static const struct body_path deny_path = {deny, 4};

static void pack(const char *json, struct buf *out)
{
    buf_init(out, 1024 * 1024);
    if (json[0] != 0) {
        assert_int_equal(json_read(slice_text(json), out), JSON_FINE);
    }
}

/* The MessagePack bytes as JSON, which also shows that they are one whole value. */
static void assert_json(struct slice bytes, const char *expected)
{
    msgpack_zone zone;
    msgpack_object object;
    struct json_writer w;
    struct buf text;
    struct error err;
    buf_init(&text, 1024 * 1024);
    assert_true(msgpack_zone_init(&zone, 4096));
    if (!value_unpack(bytes, &zone, &object, &err)) {
        fail_msg("not one value where %s is expected: %s", expected, err.message);
    }
    json_writer_init(&w, &text);
    json_value(&w, &object);
    if (!slice_is(buf_slice(&text), expected)) {
        fail_msg("%.*s in place of %s", SLICE_ARGS(buf_slice(&text)), expected);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&text);
}

static const struct {
    const char *body;
    struct body_path path;
    const char *value; /* JSON; empty: remove */
    const char *expected;
} changes[] = {
    {"{}", {ip, 2}, "\"1.2.3.4\"", "{\"context\":{\"ip\":\"1.2.3.4\"}}"},
    {"{\"context\":{\"ip\":\"1.2.3.4\",\"a\":1}}",
     {ip, 2},
     "\"5\"",
     "{\"context\":{\"a\":1,\"ip\":\"5\"}}"},
    {"{\"context\":{\"a\":[1,{\"ip\":2}]},\"z\":null}",
     {ip, 2},
     "\"5\"",
     "{\"z\":null,\"context\":{\"a\":[1,{\"ip\":2}],\"ip\":\"5\"}}"},
    {"{\"context\":{\"ip\":\"1.2.3.4\",\"a\":1}}", {ip, 2}, "", "{\"context\":{\"a\":1}}"},
    {"{\"context\":{\"ip\":{\"v4\":1},\"a\":1,\"ip\":2}}", {ip, 2}, "", "{\"context\":{\"a\":1}}"},
    {"{\"context\":{\"ip\":1},\"context\":{\"ip\":2,\"b\":3}}",
     {ip, 2},
     "",
     "{\"context\":{\"b\":3}}"},
    {"{\"context\":{\"a\":1}}", {ip, 2}, "", "{\"context\":{\"a\":1}}"},
    {"{\"properties\":{\"x\":-7.5}}", {ip, 2}, "", "{\"properties\":{\"x\":-7.5}}"},
    {"{\"context\":7}", {ip, 2}, "", "{\"context\":7}"},
    {"{\"context\":7}", {ip, 2}, "\"5\"", "{\"context\":{\"ip\":\"5\"}}"},
    {"{\"a\":1}",
     {deny, 4},
     "false",
     "{\"a\":1,\"context\":{\"consent\":{\"categoryPreferences\":{\"ads\":false}}}}"},
    {"{\"context\":{\"consent\":{\"gpc\":true,\"categoryPreferences\":{\"ads\":true,\"b\":true}}}}",
     {deny, 4},
     "false",
     "{\"context\":{\"consent\":{\"gpc\":true,\"categoryPreferences\":{\"b\":true,\"ads\":false}}}"
     "}"},
    {"{\"context\":{\"consent\":{\"categoryPreferences\":[true]}}}",
     {deny, 4},
     "false",
     "{\"context\":{\"consent\":{\"categoryPreferences\":{\"ads\":false}}}}"},
    {"{\"context\":{\"consent\":{\"categoryPreferences\":[true]}}}",
     {deny, 4},
     "",
     "{\"context\":{\"consent\":{\"categoryPreferences\":[true]}}}"},
    {"{\"context\":{\"consent\":{}}}", {deny, 4}, "", "{\"context\":{\"consent\":{}}}"},
};

static void test_a_member_is_put_replaced_and_removed_wherever_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct buf body;
        struct buf value;
        struct buf out;
        struct slice found;
        pack(changes[i].body, &body);
        pack(changes[i].value, &value);
        buf_init(&out, 4096);
        assert_true(body_put(buf_slice(&body), changes[i].path, buf_slice(&value), &out));
        assert_json(buf_slice(&out), changes[i].expected);
        assert_int_equal(body_get(buf_slice(&out), changes[i].path, &found), value.len > 0);
        if (value.len > 0) {
            assert_true(slice_equal(found, buf_slice(&value)));
        }
        buf_done(&body);
        buf_done(&value);
        buf_done(&out);
    }
}

static void test_of_a_member_given_twice_the_last_is_found(void **state)
{
    struct buf body;
    struct slice value;
    struct slice text;
    (void)state;
    pack("{\"context\":{\"ip\":\"1\"},\"context\":{\"ip\":\"2\",\"x\":[[]],\"ip\":\"3\"}}", &body);
    assert_true(body_get(buf_slice(&body), ip_path, &value) && body_text(value, &text));
    assert_true(slice_is(text, "3"));
    buf_done(&body);
    pack("{\"context\":{\"ip\":\"1\"},\"context\":{\"ip\":4}}", &body);
    assert_true(body_get(buf_slice(&body), ip_path, &value));
    assert_false(body_text(value, &text));
    buf_done(&body);
}

static void test_values_of_every_format_are_skipped(void **state)
{
    static const uint8_t bodies[][40] = {
        "\x82\xa1v\xc0",
        "\x82\xa1v\xc3",
        "\x82\xa1v\x7f",
        "\x82\xa1v\xff",
        "\x82\xa1v\xc4\x01x",
        "\x82\xa1v\xc5\0\x01x",
        "\x82\xa1v\xc6\0\0\0\x01x",
        "\x82\xa1v\xc7\x01tx",
        "\x82\xa1v\xc8\0\x01tx",
        "\x82\xa1v\xc9\0\0\0\x01tx",
        "\x82\xa1v\xca"
        "abcd",
        "\x82\xa1v\xcb"
        "abcdefgh",
        "\x82\xa1v\xcc"
        "a",
        "\x82\xa1v\xcd"
        "ab",
        "\x82\xa1v\xce"
        "abcd",
        "\x82\xa1v\xcf"
        "abcdefgh",
        "\x82\xa1v\xd0"
        "a",
        "\x82\xa1v\xd1"
        "ab",
        "\x82\xa1v\xd2"
        "abcd",
        "\x82\xa1v\xd3"
        "abcdefgh",
        "\x82\xa1v\xd4ta",
        "\x82\xa1v\xd5tab",
        "\x82\xa1v\xd6tabcd",
        "\x82\xa1v\xd7tabcdefgh",
        "\x82\xa1v\xd8tabcdefghijklmnop",
        "\x82\xa1v\xd9\x01x",
        "\x82\xa1v\xda\0\x01x",
        "\x82\xa1v\xdb\0\0\0\x01x",
        "\x82\xa1v\xdc\0\x01\x01",
        "\x82\xa1v\xdd\0\0\0\x01\x01",
        "\x82\xa1v\xde\0\x01\x01\x02",
        "\x82\xa1v\xdf\0\0\0\x01\x01\x02",
        "\x82\xa1v\x91\x90",
        "\x82\xa1v\x81\x01\x80",
    };
    /* How long each is; the texts above end with zeros. */
    static const uint8_t lens[] = {4, 4, 4,  4, 6, 7, 9,  7,  8, 10, 8, 12, 5, 6, 8,  12, 5,
                                   6, 8, 12, 6, 7, 9, 13, 21, 6, 7,  9, 7,  9, 8, 10, 5,  6};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        static const struct slice names[] = {{(const uint8_t *)"w", 1}};
        struct body_path path = {names, 1};
        uint8_t bytes[64];
        struct slice found;
        memcpy(bytes, bodies[i], lens[i]);
        memcpy(bytes + lens[i], "\xa1w\x07", 3);
        struct slice body = slice_make(bytes, lens[i] + 3u);
        if (!body_get(body, path, &found)) {
            fail_msg("format %02x", bodies[i][3]);
        }
        assert_int_equal(found.len, 1);
        assert_int_equal(found.data[0], 7);
        for (size_t cut = 0; cut < body.len; cut++) {
            assert_false(body_get(slice_make(bytes, cut), path, &found));
        }
    }
}

static void test_damaged_bytes_are_neither_read_nor_changed(void **state)
{
    struct rand rand;
    struct buf body;
    struct buf out;
    struct slice found;
    (void)state;
    rand_seeded_init(&rand, 1);
    pack("{\"a\":[1,2.5,\"x\"],\"context\":{\"ip\":\"1.2.3.4\",\"consent\":{\"gpc\":true}}}",
         &body);
    buf_init(&out, 4096);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[256];
        uint8_t random[3];
        memcpy(bytes, body.data, body.len);
        rand_fill(&rand, random, sizeof random);
        bytes[random[0] % body.len] = random[1];
        struct slice damaged = slice_make(bytes, body.len - random[2] % 3);
        buf_clear(&out);
        (void)body_get(damaged, deny_path, &found);
        if (body_put(damaged, deny_path, slice_make("\xc2", 1), &out)) {
            assert_true(body_get(buf_slice(&out), deny_path, &found));
            assert_int_equal(found.data[0], 0xc2);
        }
    }
    buf_clear(&out);
    assert_false(body_put(slice_make(NULL, 0), ip_path, slice_make("\xc2", 1), &out));
    assert_false(body_put(slice_text("\x93"), ip_path, slice_make("\xc2", 1), &out));
    assert_false(body_put(slice_text("\xc1"), ip_path, slice_make("\xc2", 1), &out));
    buf_done(&body);
    buf_done(&out);
}

static void test_what_does_not_fit_is_said(void **state)
{
    struct buf body;
    struct buf out;
    (void)state;
    pack("{\"context\":{\"a\":\"0123456789\"}}", &body);
    for (size_t room = 0; room < body.len + 6; room++) {
        buf_init(&out, room);
        assert_false(body_put(buf_slice(&body), ip_path, slice_make("\xc2", 1), &out));
        buf_done(&out);
    }
    buf_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_is_put_replaced_and_removed_wherever_it_is),
        cmocka_unit_test(test_of_a_member_given_twice_the_last_is_found),
        cmocka_unit_test(test_values_of_every_format_are_skipped),
        cmocka_unit_test(test_damaged_bytes_are_neither_read_nor_changed),
        cmocka_unit_test(test_what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
