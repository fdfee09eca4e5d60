#include "shared/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

struct fixture {
    struct buf bytes;
    struct buf text;
    msgpack_zone zone;
    msgpack_object value;
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    buf_init(&f->bytes, 4 * LIMIT_REQUEST_BYTES);
    buf_init(&f->text, 16 * LIMIT_REQUEST_BYTES);
    *state = f;
    return msgpack_zone_init(&f->zone, 8192) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->bytes);
    buf_done(&f->text);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static enum json_fault read_slice(struct fixture *f, struct slice text)
{
    struct error err;
    buf_clear(&f->bytes);
    enum json_fault fault = json_read(text, &f->bytes);
    if (fault == JSON_FINE) {
        assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &f->value, &err));
    }
    return fault;
}

static enum json_fault read_text(struct fixture *f, const char *text)
{
    return read_slice(f, slice_text(text));
}

static struct slice written(struct fixture *f, const msgpack_object *value)
{
    struct json_writer w;
    buf_clear(&f->text);
    json_writer_init(&w, &f->text);
    json_value(&w, value);
    return buf_slice(&f->text);
}

static void test_what_is_read_is_written_as_it_was(void **state)
{
    static const char *const rows[] = {
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "[[],{},\"\",0]",
        "{\"a\":1,\"b\":[true,false,null],\"c\":{\"d\":\"e\"}}",
        "{\"\":{\"\":\"\"}}",
        "{\"a\":1,\"a\":2}",
        "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"",
        "\"\\\"\\\\/\"",
        "\"\\u0000\\u0001\\u001f\"",
        "[0,-1,9223372036854775807,-9223372036854775808,18446744073709551615]",
        "[0.5,-0.1,1e+300,1.7976931348623157e+308,4.94065645841247e-324,123456.789]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(*state, rows[i]), JSON_FINE);
        struct fixture *f = *state;
        struct slice text = written(f, &f->value);
        if (!slice_is(text, rows[i])) {
            fail_msg("%s became %.*s", rows[i], SLICE_ARGS(text));
        }
    }
}

static void test_numbers_keep_their_value_and_whole_ones_stay_whole(void **state)
{
    static const struct {
        const char *text;
        const char *written; /* NULL: out of range */
        int type;
    } rows[] = {
        {"0", "0", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"-0", "0", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"-0.0", "0", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"1.0", "1", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"1e3", "1000", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"1E+3", "1000", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"-2.5e1", "-25", MSGPACK_OBJECT_NEGATIVE_INTEGER},
        {"1e-400", "0", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"9007199254740991.0", "9007199254740991", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"9007199254740992.0", "9007199254740992", MSGPACK_OBJECT_FLOAT64},
        {"9007199254740993", "9007199254740993", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"999999999999999999", "999999999999999999", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"1000000000000000000", "1000000000000000000", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"9223372036854775807", "9223372036854775807", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"9223372036854775808", "9223372036854775808", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"18446744073709551615", "18446744073709551615", MSGPACK_OBJECT_POSITIVE_INTEGER},
        {"18446744073709551616", "1.8446744073709552e+19", MSGPACK_OBJECT_FLOAT64},
        {"-9223372036854775808", "-9223372036854775808", MSGPACK_OBJECT_NEGATIVE_INTEGER},
        {"-9223372036854775809", "-9.223372036854776e+18", MSGPACK_OBJECT_FLOAT64},
        {"0.1", "0.1", MSGPACK_OBJECT_FLOAT64},
        {"0.30000000000000004", "0.30000000000000004", MSGPACK_OBJECT_FLOAT64},
        {"2.5", "2.5", MSGPACK_OBJECT_FLOAT64},
        {"1e308", "1e+308", MSGPACK_OBJECT_FLOAT64},
        {"1e309", NULL, 0},
        {"1e999", NULL, 0},
        {"-1e999", NULL, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum json_fault fault = read_text(f, rows[i].text);
        if (rows[i].written == NULL) {
            assert_int_equal(fault, JSON_BAD_NUMBER);
            continue;
        }
        assert_int_equal(fault, JSON_FINE);
        struct slice text = written(f, &f->value);
        if ((int)f->value.type != rows[i].type || !slice_is(text, rows[i].written)) {
            fail_msg("%s became %.*s of type %d", rows[i].text, SLICE_ARGS(text),
                     (int)f->value.type);
        }
    }
}

/* Short decimals take a way of their own; strtod() is the measure. */
static void test_short_decimals_are_what_strtod_makes_of_them(void **state)
{
    struct fixture *f = *state;
    char text[32];
    struct rand rand;
    rand_seeded_init(&rand, 13);
    for (int i = 0; i < 20000; i++) {
        uint64_t digits = rand_u64(&rand) % (i % 2 == 0 ? 1000000ULL : 99999999999999ULL);
        int behind = 1 + (int)(rand_u64(&rand) % 9);
        snprintf(text, sizeof text, "%s%llu.%0*llu", i % 3 == 0 ? "-" : "",
                 (unsigned long long)digits / 1000, behind, (unsigned long long)digits % 1000);
        assert_int_equal(read_text(*state, text), JSON_FINE);
        double value;
        assert_true(value_number(&f->value, &value));
        double wanted = strtod(text, NULL);
        if (memcmp(&value, &wanted, sizeof value) != 0 && value != wanted) {
            fail_msg("%s became %.17g", text, value);
        }
    }
}

static void test_what_is_no_json_is_refused(void **state)
{
    static const char *const rows[] = {
        "",           " ",
        "{",          "[1,]",
        "{\"a\":}",   "{a:1}",
        "'a'",        "01",
        "+1",         ".5",
        "1.",         "1e",
        "-",          "Nan",
        "nul",        "[1 2]",
        "{} {}",      "{} \"x",
        "[]tru",      "{}-",
        "1 \"",       "[] x",
        "\"a",        "\"\\x\"",
        "\"\\u12\"",  "[1}",
        "{\"a\"}",    "\"a\nb\"",
        "\"\t\"",     "{1:2}",
        "tru",        "0x10",
        "[Infinit]",  "\xef\xbb\xbf[]x",
        "[--Inf]",    "[]\xef\xbb\xbf",
        "{\"a\":1,}", "]",
        "// x\n1",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum json_fault fault = read_text(*state, rows[i]);
        if (fault != JSON_NOT_JSON) {
            fail_msg("\"%s\" gave \"%s\"", rows[i], json_fault_code(fault));
        }
    }
}

static void test_escapes_are_undone(void **state)
{
    static const struct {
        const char *json;
        const char *text;
        size_t len;
    } rows[] = {
        {"\"\\u00e9\"", "\xc3\xa9", 2},
        {"\"\\u20AC\"", "\xe2\x82\xac", 3},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\n\\r\\t\\b\\f\\/\\\\\\\"\"", "\n\r\t\b\f/\\\"", 8},
        {"\"\x7f\"", "\x7f", 1},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice text;
        assert_int_equal(read_text(f, rows[i].json), JSON_FINE);
        assert_true(value_text(&f->value, &text));
        assert_int_equal(text.len, rows[i].len);
        assert_memory_equal(text.data, rows[i].text, rows[i].len);
    }
}

#define HALF "\xef\xbf\xbd" /* U+FFFD */

/* Clients cut texts in the middle of a pair. */
static void test_half_a_character_becomes_u_fffd_and_nothing_else_changes(void **state)
{
    static const struct {
        const char *json;
        const char *text;
    } rows[] = {
        {"\"\\ud83d\"", HALF},
        {"\"\\ud83dx\"", HALF "x"},
        {"\"\\ude00\"", HALF},
        {"\"\\ude00\\ud83d\"", HALF HALF},
        {"\"ab\\ud83d\\u0041YZ\"", "ab" HALF "AYZ"},
        {"\"\\uD83D\\uD83D\\uDE00\"", HALF "\xf0\x9f\x98\x80"},
        {"\"\\ud83d\\n\"", HALF "\n"},
        {"\"\\ud83d\\\\ude00\"", HALF "\\ude00"},
        {"\"\\\\ud83d\"", "\\ud83d"},
        {"\"\\ud83d\xc3\xa9\"", HALF "\xc3\xa9"},
        {"\"\xed\xa0\xbdx\"", HALF "x"},
        {"\"x\xed\xb8\x80\"", "x" HALF},
        {"\"\xed\xa0\xbd\xed\xb8\x80\"", "\xf0\x9f\x98\x80"},
        {"\"\xed\x9f\xbf\"", "\xed\x9f\xbf"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice text = slice_text("");
        if (read_text(f, rows[i].json) != JSON_FINE || !value_text(&f->value, &text) ||
            !slice_is(text, rows[i].text)) {
            fail_msg("%s became %.*s", rows[i].json, SLICE_ARGS(text));
        }
    }
    assert_int_equal(read_text(f, "{\"\\ude00\":1}"), JSON_FINE); /* in a key, too */
    assert_true(slice_is(written(f, &f->value), "{\"" HALF "\":1}"));
}

static void test_what_programs_print_for_no_number_is_one_out_of_range(void **state)
{
    static const char *const rows[] = {"NaN",         "[NaN]",        "{\"a\":NaN}",
                                       "[-Infinity]", "[ Infinity ]", "[1,nan,2]",
                                       "[-NaN]",      "[+Inf]",       "{\"a\":[{\"b\":-inf}]}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (read_text(*state, rows[i]) != JSON_BAD_NUMBER) {
            fail_msg("%s was taken for something else", rows[i]);
        }
    }
    assert_int_equal(read_text(*state, "[\"NaN\",\"\\\"NaN\"]"), JSON_FINE);
}

static void test_a_byte_order_mark_before_the_text_is_passed_over(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(read_text(f, "\xef\xbb\xbf[1]"), JSON_FINE);
    assert_int_equal(read_text(f, "\xef\xbb\xbf \"\\ud83d\""), JSON_FINE);
    assert_int_equal(read_text(f, "\xef\xbb\xbf"), JSON_NOT_JSON);
}

static void test_text_that_is_no_utf8_is_refused_in_values_and_keys(void **state)
{
    static const char *const rows[] = {
        "[\"\xff\"]", "[\"\xc0\x80\"]", "[\"\xed\xa0\"]", "[\"\xc3\"]", "{\"\x80\":1}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(*state, rows[i]), JSON_BAD_TEXT);
    }
}

static void test_depth_is_bounded(void **state)
{
    char text[4 * LIMIT_JSON_DEPTH + 8];
    for (int extra = 0; extra <= 1; extra++) {
        int depth = LIMIT_JSON_DEPTH + extra;
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        enum json_fault fault = read_slice(*state, slice_make(text, 2 * (size_t)depth));
        assert_int_equal(fault, extra == 0 ? JSON_FINE : JSON_TOO_DEEP);
    }
    char *many = memory_allocate(LIMIT_REQUEST_BYTES);
    memset(many, '[', LIMIT_REQUEST_BYTES);
    assert_int_equal(read_slice(*state, slice_make(many, LIMIT_REQUEST_BYTES)), JSON_NOT_JSON);
    memset(many + LIMIT_REQUEST_BYTES / 2, ']', LIMIT_REQUEST_BYTES / 2);
    assert_int_equal(read_slice(*state, slice_make(many, LIMIT_REQUEST_BYTES)), JSON_TOO_DEEP);
    free(many);
}

/* `count` members, each of them `member`, in an array or an object. */
static enum json_fault read_many(struct fixture *f, bool is_map, const char *member, size_t count)
{
    struct buf text;
    buf_init(&text, 4 * 1024 * 1024);
    buf_put_u8(&text, is_map ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_put_u8(&text, ',');
        }
        buf_put_slice(&text, slice_text(member));
    }
    buf_put_u8(&text, is_map ? '}' : ']');
    enum json_fault fault = read_slice(f, buf_slice(&text));
    buf_done(&text);
    return fault;
}

static void test_a_container_holds_as_many_members_as_its_count_can_say(void **state)
{
    static const char *const elements[] = {"1", "[]", "{}", "\"\"", "null", "true", "[1]"};
    static const char *const pairs[] = {"\"\":1", "\"\":[]", "\"\":{}"};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        assert_int_equal(read_many(f, false, elements[i], 65535), JSON_FINE);
        assert_int_equal(f->value.via.array.size, 65535);
        assert_int_equal(read_many(f, false, elements[i], 65536), JSON_TOO_LARGE);
        assert_int_equal(read_many(f, false, elements[i], 70000), JSON_TOO_LARGE);
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(read_many(f, true, pairs[i], 65535), JSON_FINE);
        assert_int_equal(f->value.via.map.size, 65535);
        assert_int_equal(read_many(f, true, pairs[i], 65536), JSON_TOO_LARGE);
    }
}

static void test_output_that_does_not_fit_is_a_result(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2,3,\"four\",5.5],\"b\":{\"c\":null,\"d\":true}}";
    size_t whole = 0;
    for (size_t room = 0; room < 120; room++) {
        struct buf out;
        buf_init(&out, room);
        enum json_fault fault = json_read(slice_text(text), &out);
        assert_int_equal(fault, fault == JSON_FINE || whole > 0 ? JSON_FINE : JSON_TOO_LARGE);
        assert_true(out.len <= room);
        whole = fault == JSON_FINE ? out.len : 0;
        buf_done(&out);
    }
    assert_int_equal(whole, 36);
}

static void test_each_prefix_of_json_is_refused(void **state)
{
    static const char text[] = "{\"a\":[1,2.5,\"\\u00e9\",{\"b\":null}],\"c\":true}";
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        uint8_t *exact = memory_allocate(len);
        memcpy(exact, text, len);
        assert_int_equal(read_slice(*state, slice_make(exact, len)), JSON_NOT_JSON);
        free(exact);
    }
    assert_int_equal(read_text(*state, text), JSON_FINE);
}

static void test_every_fault_has_a_code_and_a_sentence(void **state)
{
    (void)state;
    for (int fault = JSON_TOO_DEEP; fault <= JSON_NOT_JSON; fault++) {
        const char *code = json_fault_code((enum json_fault)fault);
        assert_true(strlen(code) > 3);
        assert_null(strpbrk(code, " _ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
        assert_true(strlen(json_fault_sentence((enum json_fault)fault)) > 10);
    }
}

static void test_a_value_that_must_be_json_fails_with_an_error_for_the_sender(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_true(json_read_value(slice_text("{\"a\":1}"), &f->bytes, &f->zone, &f->value, &err));
    assert_non_null(value_member_c(&f->value, "a"));
    buf_clear(&f->bytes);
    assert_false(json_read_value(slice_text("{"), &f->bytes, &f->zone, &f->value, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
}

static void test_the_writer_puts_commas_quotes_and_escapes(void **state)
{
    struct fixture *f = *state;
    struct json_writer w;
    buf_clear(&f->text);
    json_writer_init(&w, &f->text);
    json_open_object(&w);
    json_key(&w, "a");
    json_open_array(&w);
    json_int(&w, INT64_MIN);
    json_double(&w, 0.1);
    json_double(&w, INFINITY);
    json_double(&w, (double)NAN);
    json_bool(&w, true);
    json_null(&w);
    json_open_object(&w);
    json_close_object(&w);
    json_close_array(&w);
    json_key_slice(&w, slice_make("k\"\n\0", 4));
    json_text(&w, slice_text("\x01\x1f\"\\/\x7f\xc3\xa9"));
    json_key(&w, "t");
    json_time(&w, 1795292103120);
    json_key(&w, "e");
    json_text(&w, slice_make(NULL, 0));
    json_close_object(&w);
    assert_true(slice_is(buf_slice(&f->text),
                         "{\"a\":[-9223372036854775808,0.1,null,null,true,null,{}],"
                         "\"k\\\"\\u000a\\u0000\":\"\\u0001\\u001f\\\"\\\\/\x7f\xc3\xa9\","
                         "\"t\":\"2026-11-21T20:15:03.120Z\",\"e\":\"\"}"));
}

static void test_binary_is_written_as_hex_and_what_json_lacks_as_null(void **state)
{
    static const uint8_t bytes[] = {0x94, 0xc4, 0x03, 0x00, 0xab, 0xff, 0xd4, 0x05,
                                    0x01, 0xca, 0x3f, 0x00, 0x00, 0x00, 0xcb, 0x7f,
                                    0xf0, 0,    0,    0,    0,    0,    0};
    struct fixture *f = *state;
    struct error err;
    assert_true(value_unpack(slice_make(bytes, sizeof bytes), &f->zone, &f->value, &err));
    assert_true(slice_is(written(f, &f->value), "[\"00abff\",null,0.5,null]"));
}

static void test_seeded_random_doubles_read_back_as_they_were(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    rand_seeded_init(&rand, 11);
    for (int i = 0; i < 20000; i++) {
        double value;
        double back = 0;
        uint64_t bits = rand_u64(&rand);
        struct json_writer w;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        buf_clear(&f->text);
        json_writer_init(&w, &f->text);
        json_double(&w, value);
        assert_int_equal(read_slice(f, buf_slice(&f->text)), JSON_FINE);
        if (!value_number(&f->value, &back) || back < value || back > value) {
            fail_msg("seed 11, round %d: %.17g became %.17g", i, value, back);
        }
        msgpack_zone_clear(&f->zone);
    }
}

/* A random value as JSON text, in the form in which the writer would put it. */
static void put_random(struct rand *rand, struct buf *out, int depth)
{
    static const char *const leaves[] = {"null", "true",  "false",       "0",
                                         "-17",  "0.25",  "\"\"",        "\"x\xc3\xa9\"",
                                         "4711", "1e-07", "\"\\u0007\"", "[]"};
    uint64_t kind = depth == 0 ? 9 : rand_below(rand, 10);
    if (kind > 2) {
        buf_put_slice(out, slice_text(leaves[rand_below(rand, sizeof leaves / sizeof *leaves)]));
        return;
    }
    buf_put_u8(out, kind == 0 ? '[' : '{');
    for (uint64_t n = rand_below(rand, 6); n > 0; n--) {
        if (kind != 0) {
            buf_put_format(out, "\"k%d\":", (int)rand_below(rand, 4));
        }
        put_random(rand, out, depth - 1);
        if (n > 1) {
            buf_put_u8(out, ',');
        }
    }
    buf_put_u8(out, kind == 0 ? ']' : '}');
}

static void test_seeded_random_values_round_trip(void **state)
{
    struct fixture *f = *state;
    struct rand rand;
    struct buf text;
    rand_seeded_init(&rand, 12);
    buf_init(&text, 1024 * 1024);
    for (int i = 0; i < 5000; i++) {
        buf_clear(&text);
        buf_put_slice(&text, slice_text("["));
        put_random(&rand, &text, LIMIT_JSON_DEPTH - 2);
        buf_put_slice(&text, slice_text("]"));
        assert_int_equal(read_slice(f, buf_slice(&text)), JSON_FINE);
        struct slice back = written(f, &f->value);
        if (!slice_equal(back, buf_slice(&text))) {
            fail_msg("seed 12, round %d: %.*s became %.*s", i, SLICE_ARGS(buf_slice(&text)),
                     SLICE_ARGS(back));
        }
        msgpack_zone_clear(&f->zone);
    }
    buf_done(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_read_is_written_as_it_was),
        TEST(test_numbers_keep_their_value_and_whole_ones_stay_whole),
        TEST(test_short_decimals_are_what_strtod_makes_of_them),
        TEST(test_what_is_no_json_is_refused),
        TEST(test_escapes_are_undone),
        TEST(test_half_a_character_becomes_u_fffd_and_nothing_else_changes),
        TEST(test_what_programs_print_for_no_number_is_one_out_of_range),
        TEST(test_a_byte_order_mark_before_the_text_is_passed_over),
        TEST(test_text_that_is_no_utf8_is_refused_in_values_and_keys),
        TEST(test_depth_is_bounded),
        TEST(test_a_container_holds_as_many_members_as_its_count_can_say),
        TEST(test_output_that_does_not_fit_is_a_result),
        TEST(test_each_prefix_of_json_is_refused),
        TEST(test_every_fault_has_a_code_and_a_sentence),
        TEST(test_a_value_that_must_be_json_fails_with_an_error_for_the_sender),
        TEST(test_the_writer_puts_commas_quotes_and_escapes),
        TEST(test_binary_is_written_as_hex_and_what_json_lacks_as_null),
        TEST(test_seeded_random_doubles_read_back_as_they_were),
        TEST(test_seeded_random_values_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
