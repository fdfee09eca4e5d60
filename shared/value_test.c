#include "shared/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    struct buf bytes;
    msgpack_packer packer;
    msgpack_zone zone;
    msgpack_object value;
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    buf_init(&f->bytes, 1024 * 1024);
    value_packer_init(&f->packer, &f->bytes);
    *state = f;
    return msgpack_zone_init(&f->zone, 1024) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->bytes);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static void unpack(struct fixture *f)
{
    struct error err;
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->value, &err));
}

static void test_values_of_every_type_read_back(void **state)
{
    struct fixture *f = *state;
    struct slice slice;
    int64_t number;
    double real;
    bool flag;
    msgpack_pack_array(&f->packer, 8);
    value_pack_text(&f->packer, slice_text("text"));
    value_pack_bin(&f->packer, slice_make("b\0n", 3));
    value_pack_cstr(&f->packer, "");
    msgpack_pack_int64(&f->packer, INT64_MIN);
    msgpack_pack_uint64(&f->packer, INT64_MAX);
    msgpack_pack_uint64(&f->packer, UINT64_MAX);
    msgpack_pack_double(&f->packer, 2.5);
    msgpack_pack_true(&f->packer);
    unpack(f);
    const msgpack_object *at = f->value.via.array.ptr;
    assert_true(value_text(&at[0], &slice) && slice_is(slice, "text"));
    assert_false(value_bin(&at[0], &slice));
    assert_true(value_bin(&at[1], &slice) && slice_equal(slice, slice_make("b\0n", 3)));
    assert_false(value_text(&at[1], &slice));
    assert_true(value_text(&at[2], &slice) && slice.len == 0);
    assert_true(value_int(&at[3], &number) && number == INT64_MIN);
    assert_true(value_int(&at[4], &number) && number == INT64_MAX);
    assert_false(value_int(&at[5], &number)); /* does not fit */
    assert_true(value_number(&at[5], &real) && real > 1.8e19);
    assert_false(value_int(&at[6], &number)); /* never cut to a whole number */
    assert_true(value_number(&at[6], &real) && real > 2.4 && real < 2.6);
    assert_true(value_number(&at[3], &real) && real < -9.2e18);
    assert_true(value_bool(&at[7], &flag) && flag);
    assert_false(value_number(&at[7], &real));
    assert_false(value_bool(&at[3], &flag));
    assert_false(value_text(NULL, &slice) || value_bin(NULL, &slice) || value_int(NULL, &number) ||
                 value_number(NULL, &real) || value_bool(NULL, &flag));
}

static void test_members_are_found_by_name_and_the_last_of_a_name_counts(void **state)
{
    struct fixture *f = *state;
    int64_t number;
    msgpack_pack_map(&f->packer, 5);
    value_pack_cstr(&f->packer, "a");
    msgpack_pack_int(&f->packer, 1);
    msgpack_pack_int(&f->packer, 7); /* a key that is no text is nobody's name */
    msgpack_pack_int(&f->packer, 2);
    value_pack_cstr(&f->packer, "a");
    msgpack_pack_int(&f->packer, 3);
    value_pack_cstr(&f->packer, "");
    msgpack_pack_int(&f->packer, 4);
    value_pack_bin(&f->packer, slice_text("b"));
    msgpack_pack_int(&f->packer, 5);
    unpack(f);
    assert_true(value_int(value_member_c(&f->value, "a"), &number) && number == 3);
    assert_true(value_int(value_member_c(&f->value, ""), &number) && number == 4);
    assert_null(value_member_c(&f->value, "b"));
    assert_null(value_member_c(&f->value, "ab"));
    assert_null(value_member_c(NULL, "a"));
    assert_null(value_member_c(value_member_c(&f->value, "a"), "a"));
}

static void test_a_dotted_name_is_tried_as_it_stands_before_it_reaches_into_objects(void **state)
{
    struct fixture *f = *state;
    int64_t number;
    static const struct {
        const char *name;
        int64_t number; /* 0: not there */
    } rows[] = {
        {"a.b", 1}, {"a.c", 2}, {"a.d.e", 3}, {"a.d.f", 0}, {"x.y.z", 4}, {"a", 0},
        {"a.", 0},  {".", 0},   {"", 0},      {"a..b", 0},  {"q.r", 0},   {"a.c.d", 0},
    };
    msgpack_pack_map(&f->packer, 3);
    value_pack_cstr(&f->packer, "a.b");
    msgpack_pack_int(&f->packer, 1);
    value_pack_cstr(&f->packer, "a");
    msgpack_pack_map(&f->packer, 3);
    value_pack_cstr(&f->packer, "b");
    msgpack_pack_int(&f->packer, 9);
    value_pack_cstr(&f->packer, "c");
    msgpack_pack_int(&f->packer, 2);
    value_pack_cstr(&f->packer, "d");
    msgpack_pack_map(&f->packer, 1);
    value_pack_cstr(&f->packer, "e");
    msgpack_pack_int(&f->packer, 3);
    value_pack_cstr(&f->packer, "x.y");
    msgpack_pack_map(&f->packer, 1);
    value_pack_cstr(&f->packer, "z");
    msgpack_pack_int(&f->packer, 4);
    unpack(f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        number = 0;
        (void)value_int(value_path(&f->value, slice_text(rows[i].name)), &number);
        if (number != rows[i].number) {
            fail_msg("%s gave %lld", rows[i].name, (long long)number);
        }
    }
}

static void test_damaged_bytes_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\xc1", 1},     /* never used */
        {"\x01\x02", 2}, /* followed by more */
        {"\x92\x01", 2}, /* ends too early, here and below */
        {"\x81\x01", 2},
        {"\xa3"
         "ab",
         3},
        {"\xd9", 1},
        {"\xd9\x02x", 3},
        {"\xda\x00", 2},
        {"\xc4\x05"
         "abcd",
         6},
        {"\xc6\x00\x00\x00", 4},
        {"\xcb\x00\x00\x00\x00\x00\x00\x00", 8},
        {"\xcd\x01", 2},
        {"\xd8\x01"
         "1234567890abcde",
         17},
        {"\xc7\x04\x01"
         "abc",
         6},
        {"\xc7\xff", 2},
        {"\xdc\x00", 2},
        {"\xdc\x00\x02\x01", 4},
        {"\xdd\xff\xff\xff\xff", 5}, /* announces gigabytes, here and below */
        {"\xdf\xff\xff\xff\xff", 5},
        {"\xdd\x10\x00\x00\x00\x01\x01", 7},
        {"\x91\xdf\x7f\xff\xff\xff\xc0", 7},
        {"\xdb\xff\xff\xff\xff"
         "a",
         6},
        {"\xc9\xff\xff\xff\xff\x01", 6},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error err = {.kind = ERROR_NONE};
        uint8_t *exact = memory_allocate(rows[i].len);
        memcpy(exact, rows[i].bytes, rows[i].len);
        if (value_unpack(slice_make(exact, rows[i].len), &f->zone, &f->value, &err) ||
            err.kind != ERROR_CORRUPT) {
            fail_msg("row %zu", i);
        }
        free(exact);
    }
    struct error err;
    assert_false(value_unpack(slice_make(NULL, 0), &f->zone, &f->value, &err));
}

static void test_every_head_is_read_to_the_end_of_its_content(void **state)
{
    /* For each first byte: as many zeros as it needs make a value, one fewer or more does not. */
    static const uint8_t content[256] = {
        [0xc4] = 1, [0xc5] = 2, [0xc6] = 4, [0xc7] = 2, [0xc8] = 3, [0xc9] = 5, [0xca] = 4,
        [0xcb] = 8, [0xcc] = 1, [0xcd] = 2, [0xce] = 4, [0xcf] = 8, [0xd0] = 1, [0xd1] = 2,
        [0xd2] = 4, [0xd3] = 8, [0xd4] = 2, [0xd5] = 3, [0xd6] = 5, [0xd7] = 9, [0xd8] = 17,
        [0xd9] = 1, [0xda] = 2, [0xdb] = 4, [0xdc] = 2, [0xdd] = 4, [0xde] = 2, [0xdf] = 4,
    };
    struct fixture *f = *state;
    for (unsigned head = 0; head < 256; head++) {
        struct error err;
        uint8_t bytes[64] = {(uint8_t)head};
        size_t len = 1 + (head >= 0x80 && head < 0x90   ? 2 * (head & 15)
                          : head >= 0x90 && head < 0xa0 ? head & 15
                          : head >= 0xa0 && head < 0xc0 ? head & 31
                                                        : content[head]);
        bool fine = value_unpack(slice_make(bytes, len), &f->zone, &f->value, &err);
        bool shorter = value_unpack(slice_make(bytes, len - 1), &f->zone, &f->value, &err);
        bool longer = value_unpack(slice_make(bytes, len + 1), &f->zone, &f->value, &err);
        if (fine != (head != 0xc1) || shorter || longer) {
            fail_msg("head %02x: %d %d %d", head, fine, shorter, longer);
        }
    }
}

static void test_depth_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint8_t bytes[1000];
    memset(bytes, 0x91, sizeof bytes);
    bytes[24] = 0xc0;
    assert_true(value_unpack(slice_make(bytes, 25), &f->zone, &f->value, &err));
    bytes[24] = 0x91;
    bytes[999] = 0xc0;
    assert_false(value_unpack(slice_make(bytes, 1000), &f->zone, &f->value, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_of_every_type_read_back),
        TEST(test_members_are_found_by_name_and_the_last_of_a_name_counts),
        TEST(test_a_dotted_name_is_tried_as_it_stands_before_it_reaches_into_objects),
        TEST(test_damaged_bytes_are_refused),
        TEST(test_every_head_is_read_to_the_end_of_its_content),
        TEST(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
