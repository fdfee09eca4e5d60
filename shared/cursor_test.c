#include "shared/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/json.h"
#include "shared/rand.h"

static struct cursor cursor_at(const uint8_t *bytes, size_t len)
{
    return cursor_of(slice_make(bytes, len));
}

static void test_every_head_is_read_as_msgpack_says(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum token_kind kind;
        double value; /* of numbers; length of texts, bytes and containers; 1 for true */
    } rows[] = {
        {"\xc0", 1, TOKEN_NIL, 0},
        {"\xc2", 1, TOKEN_BOOL, 0},
        {"\xc3", 1, TOKEN_BOOL, 1},
        {"\x7f", 1, TOKEN_INTEGER, 127},
        {"\xe0", 1, TOKEN_INTEGER, -32},
        {"\xcc\xff", 2, TOKEN_INTEGER, 255},
        {"\xcd\x01\x00", 3, TOKEN_INTEGER, 256},
        {"\xce\xff\xff\xff\xff", 5, TOKEN_INTEGER, 4294967295.0},
        {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9, TOKEN_DOUBLE, 9223372036854775808.0},
        {"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 9, TOKEN_INTEGER, 4294967296.0},
        {"\xd0\x80", 2, TOKEN_INTEGER, -128},
        {"\xd1\xff\x7f", 3, TOKEN_INTEGER, -129},
        {"\xd2\x80\x00\x00\x00", 5, TOKEN_INTEGER, -2147483648.0},
        {"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9, TOKEN_INTEGER, -2147483649.0},
        {"\xca\x3f\xc0\x00\x00", 5, TOKEN_DOUBLE, 1.5},
        {"\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00", 9, TOKEN_DOUBLE, -1.5},
        {"\xa2hi", 3, TOKEN_TEXT, 2},
        {"\xd9\x02hi", 4, TOKEN_TEXT, 2},
        {"\xda\x00\x02hi", 5, TOKEN_TEXT, 2},
        {"\xdb\x00\x00\x00\x02hi", 7, TOKEN_TEXT, 2},
        {"\xc4\x02hi", 4, TOKEN_BYTES, 2},
        {"\xc5\x00\x02hi", 5, TOKEN_BYTES, 2},
        {"\xc6\x00\x00\x00\x02hi", 7, TOKEN_BYTES, 2},
        {"\xc7\x02\x01hi", 5, TOKEN_BYTES, 3},
        {"\xd5\x01hi", 4, TOKEN_BYTES, 3},
        {"\x92", 1, TOKEN_ARRAY, 2},
        {"\xdc\x00\x03", 3, TOKEN_ARRAY, 3},
        {"\xdd\x00\x00\x00\x04", 5, TOKEN_ARRAY, 4},
        {"\x82", 1, TOKEN_MAP, 2},
        {"\xde\x00\x03", 3, TOKEN_MAP, 3},
        {"\xdf\x00\x00\x00\x04", 5, TOKEN_MAP, 4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct token token;
        double value = 0;
        struct cursor c = cursor_at((const uint8_t *)rows[i].bytes, rows[i].len);
        if (!cursor_next(&c, &token) || token.kind != rows[i].kind || c.at != c.end) {
            fail_msg("row %zu", i);
        }
        value = token.kind == TOKEN_BOOL                                ? token.boolean
                : token.kind == TOKEN_INTEGER                           ? (double)token.integer
                : token.kind == TOKEN_DOUBLE                            ? token.number
                : token.kind == TOKEN_TEXT || token.kind == TOKEN_BYTES ? (double)token.text.len
                : token.kind == TOKEN_NIL                               ? 0
                                                                        : token.count;
        assert_true(value == rows[i].value);
        for (size_t cut = 0; cut < rows[i].len; cut++) {
            c = cursor_at((const uint8_t *)rows[i].bytes, cut);
            if (cursor_next(&c, &token)) {
                fail_msg("row %zu is read from %zu bytes", i, cut);
            }
        }
    }
}

static void test_members_are_found_and_the_last_of_a_name_counts(void **state)
{
    struct buf bytes;
    struct cursor at;
    struct token token;
    (void)state;
    buf_init(&bytes, 4096);
    assert_int_equal(
        json_read(slice_text("{\"a\":[1,{\"b\":2}],\"b\":3,\"c\":null,\"b\":4}"), &bytes),
        JSON_FINE);
    assert_true(cursor_member(cursor_of(buf_slice(&bytes)), "b", &at));
    assert_true(cursor_next(&at, &token));
    assert_int_equal(token.integer, 4);
    assert_true(cursor_member(cursor_of(buf_slice(&bytes)), "c", &at));
    assert_false(cursor_member(cursor_of(buf_slice(&bytes)), "d", &at));
    assert_false(cursor_member(cursor_of(slice_make(NULL, 0)), "d", &at));
    assert_false(cursor_member(at, "b", &at)); /* no map */
    buf_done(&bytes);
}

static void test_skipping_ends_where_unpacking_would(void **state)
{
    struct rand rand;
    (void)state;
    rand_seeded_init(&rand, 7);
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        msgpack_zone zone;
        msgpack_object object;
        size_t used = 0;
        rand_fill(&rand, bytes, sizeof bytes);
        /* Mostly small containers and scalars: for large ones msgpack-c makes room at once. */
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] =
                rand_below(&rand, 3) > 0 ? (uint8_t)(0x80 + rand_below(&rand, 0x60)) : bytes[i];
            bytes[i] = bytes[i] == 0xdd || bytes[i] == 0xdf ? 0x92 : bytes[i];
        }
        struct cursor c = cursor_at(bytes, sizeof bytes);
        bool skipped = cursor_skip(&c);
        msgpack_zone_init(&zone, 1024);
        msgpack_unpack_return result =
            msgpack_unpack((const char *)bytes, sizeof bytes, &used, &zone, &object);
        bool unpacked = result == MSGPACK_UNPACK_SUCCESS || result == MSGPACK_UNPACK_EXTRA_BYTES;
        /* msgpack-c gives up at 32 levels, which skipping need not. */
        if (result != MSGPACK_UNPACK_NOMEM_ERROR && unpacked &&
            (!skipped || used != (size_t)(c.at - bytes))) {
            fail_msg("round %d: skipped=%d", round, skipped);
        }
        if (skipped && result == MSGPACK_UNPACK_CONTINUE) {
            fail_msg("round %d: skipped what is not whole", round);
        }
        msgpack_zone_destroy(&zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_head_is_read_as_msgpack_says),
        cmocka_unit_test(test_members_are_found_and_the_last_of_a_name_counts),
        cmocka_unit_test(test_skipping_ends_where_unpacking_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
