#include "shared/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

/* Decodes by the definition: slow, obvious, and independent of the code under test. */
static bool is_valid_by_the_book(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        uint8_t lead = text.data[i++];
        int more = lead < 0x80       ? 0
                   : lead >> 5 == 6  ? 1
                   : lead >> 4 == 14 ? 2
                   : lead >> 3 == 30 ? 3
                                     : -1;
        if (more < 0) {
            return false;
        }
        static const uint32_t masks[] = {0x7f, 0x1f, 0x0f, 0x07};
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        uint32_t code = lead & masks[more];
        for (int k = 0; k < more; k++) {
            if (i == text.len || text.data[i] >> 6 != 2) {
                return false;
            }
            code = code << 6 | (text.data[i++] & 0x3f);
        }
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

static void test_malformed_text_is_told_from_well_formed(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        bool valid;
    } rows[] = {
        {"", 0, true},
        {"plain", 5, true},
        {"a\0b", 3, true},
        {"\x7f", 1, true},
        {"\xc3\xa9", 2, true},
        {"\xe2\x82\xac", 3, true},
        {"\xed\x9f\xbf", 3, true},
        {"\xee\x80\x80", 3, true},
        {"\xef\xbf\xbf", 3, true},
        {"\xf0\x90\x80\x80", 4, true},
        {"\xf4\x8f\xbf\xbf", 4, true},
        {"\x80", 1, false},
        {"\xbf", 1, false},
        {"\xc3", 1, false},
        {"\xc0\x80", 2, false},         /* overlong U+0000 */
        {"\xc1\xbf", 2, false},         /* overlong U+007F */
        {"\xe0\x80\xaf", 3, false},     /* overlong '/' */
        {"\xe0\x9f\xbf", 3, false},     /* overlong U+07FF */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong U+FFFF */
        {"\xed\xa0\x80", 3, false},     /* U+D800 */
        {"\xed\xbf\xbf", 3, false},     /* U+DFFF */
        {"\xf4\x90\x80\x80", 4, false}, /* U+110000 */
        {"\xf5\x80\x80\x80", 4, false},
        {"\xff", 1, false},
        {"\xfe", 1, false},
        {"\xe2\x82", 2, false},
        {"\xe2\x28\xa1", 3, false},
        {"\xf0\x90\x28\xbc", 4, false},
        {"12345678\xc3", 9, false},
        {"1234567\xc3\xa9", 9, true},
        {"12345678"
         "12345678\x80",
         17, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice text = slice_make(rows[i].text, rows[i].len);
        if (utf8_is_valid(text) != rows[i].valid || is_valid_by_the_book(text) != rows[i].valid) {
            fail_msg("row %zu", i);
        }
    }
    assert_true(utf8_is_valid(slice_make(NULL, 0)));
}

static void test_all_sequences_of_up_to_three_bytes_agree_with_the_definition(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 1U << 24; code++) {
        uint8_t bytes[3] = {(uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code};
        if (bytes[0] < 0x80) {
            code |= 0xffff; /* a single byte, already covered */
        }
        struct slice text = slice_make(bytes, sizeof bytes);
        if (utf8_is_valid(text) != is_valid_by_the_book(text)) {
            fail_msg("%02x %02x %02x", bytes[0], bytes[1], bytes[2]);
        }
    }
}

static void test_seeded_random_bytes_agree_with_the_definition(void **state)
{
    static const uint8_t likely[] = {0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f,
                                     0xf0, 0x90, 0xf4, 0x8f, 0xef, 0xc1, 0x7f, 0xf5};
    struct rand rand;
    (void)state;
    rand_seeded_init(&rand, 8);
    for (int i = 0; i < 200000; i++) {
        size_t len = rand_below(&rand, 24);
        uint8_t *bytes = malloc(len + 1);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = likely[rand_below(&rand, i % 2 == 0 ? 2 : sizeof likely)];
        }
        struct slice text = slice_make(bytes, len);
        bool same = utf8_is_valid(text) == is_valid_by_the_book(text);
        free(bytes);
        if (!same) {
            fail_msg("seed 8, round %d", i);
        }
    }
}

static void test_text_is_composed_by_normal_form_c(void **state)
{
    static const struct {
        const char *text;
        const char *normal;
    } rows[] = {
        {"plain", "plain"},
        {"e\xcc\x81", "\xc3\xa9"}, /* e + acute */
        {"\xc3\xa9", "\xc3\xa9"},
        {"A\xcc\x8a", "\xc3\x85"},                                /* A + ring */
        {"\xe2\x84\xab", "\xc3\x85"},                             /* Angstrom sign */
        {"\xe2\x84\xa6", "\xce\xa9"},                             /* Ohm sign */
        {"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},               /* marks in order */
        {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"}, /* Hangul */
        {"\xef\xac\x81", "\xef\xac\x81"},                         /* fi stays: C, not KC */
        {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composition */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, 1024);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice once = utf8_normalize(slice_text(rows[i].text), &arena);
        if (!slice_is(once, rows[i].normal)) {
            fail_msg("row %zu gave \"%.*s\"", i, SLICE_ARGS(once));
        }
        assert_true(slice_equal(utf8_normalize(once, &arena), once));
    }
    arena_done(&arena);
}

static void test_normal_text_is_returned_itself(void **state)
{
    static const char text[] = "caf\xc3\xa9";
    struct arena arena;
    (void)state;
    arena_init(&arena, 64);
    assert_ptr_equal(utf8_normalize(slice_text(text), &arena).data, text);
    assert_int_equal(utf8_normalize(slice_make(NULL, 0), &arena).len, 0);
    struct slice zero = utf8_normalize(slice_make("e\xcc\x81\0e\xcc\x81", 7), &arena);
    assert_int_equal(zero.len, 5);
    assert_memory_equal(zero.data, "\xc3\xa9\0\xc3\xa9", 5);
    arena_done(&arena);
}

static void test_a_text_is_cut_between_characters(void **state)
{
    (void)state;
    struct slice text = slice_text("a\xc3\xa9\xe2\x82\xacz"); /* aé€z */
    static const size_t wanted[] = {0, 1, 1, 3, 3, 3, 6, 7, 7};
    for (size_t max = 0; max < sizeof wanted / sizeof *wanted; max++) {
        assert_int_equal(utf8_cut(text, max), wanted[max]);
    }
    assert_int_equal(utf8_cut(slice_text(""), 5), 0);
}

static void test_every_code_point_can_be_normalized(void **state)
{
    struct arena arena;
    (void)state;
    arena_init(&arena, 4096);
    for (uint32_t code = 0x80; code <= 0x10ffff; code++) {
        if (code >= 0xd800 && code <= 0xdfff) {
            continue;
        }
        uint8_t text[4];
        size_t len = 0;
        if (code < 0x800) {
            text[len++] = (uint8_t)(0xc0 | code >> 6);
        } else if (code < 0x10000) {
            text[len++] = (uint8_t)(0xe0 | code >> 12);
            text[len++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        } else {
            text[len++] = (uint8_t)(0xf0 | code >> 18);
            text[len++] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
            text[len++] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        }
        text[len++] = (uint8_t)(0x80 | (code & 0x3f));
        assert_true(utf8_is_valid(slice_make(text, len)));
        assert_true(utf8_is_valid(utf8_normalize(slice_make(text, len), &arena)));
        if (code % 1024 == 0) {
            arena_clear(&arena);
        }
    }
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_text_is_told_from_well_formed),
        cmocka_unit_test(test_all_sequences_of_up_to_three_bytes_agree_with_the_definition),
        cmocka_unit_test(test_seeded_random_bytes_agree_with_the_definition),
        cmocka_unit_test(test_text_is_composed_by_normal_form_c),
        cmocka_unit_test(test_normal_text_is_returned_itself),
        cmocka_unit_test(test_a_text_is_cut_between_characters),
        cmocka_unit_test(test_every_code_point_can_be_normalized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
