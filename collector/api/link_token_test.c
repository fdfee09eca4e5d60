/* Tokens that hand an id over: what is good, for how long, and that nothing else is. */
#include "collector/api/link_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { NOW_S = 1767225600 }; /* 2026 */

static const int64_t now = NOW_S * 1000LL;
static const uint8_t key[LINK_KEY_BYTES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                            11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                            22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static enum link_token_state check(const uint8_t *with, const char *token, int64_t at_ms)
{
    uint8_t scratch[LINK_TOKEN_BYTES];
    struct slice id;
    return link_token_check(with, slice_text(token), at_ms, scratch, &id);
}

static void test_a_token_gives_back_its_id_for_two_minutes(void **state)
{
    char token[LINK_TOKEN_BYTES];
    uint8_t scratch[LINK_TOKEN_BYTES];
    struct slice id;
    (void)state;
    link_token_make(key, slice_text("a-1"), now, token);
    assert_int_equal(link_token_check(key, slice_text(token), now, scratch, &id), LINK_TOKEN_GOOD);
    assert_true(slice_is(id, "a-1"));
    assert_int_equal(check(key, token, now + LINK_TOKEN_LIFETIME_MS - 1), LINK_TOKEN_GOOD);
    assert_int_equal(check(key, token, now + LINK_TOKEN_LIFETIME_MS), LINK_TOKEN_EXPIRED);
}

static void test_its_bytes_are_those_of_the_formats_page(void **state)
{
    char token[LINK_TOKEN_BYTES];
    (void)state;
    link_token_make(key, slice_text("a-1"), now, token);
    assert_string_equal(token, "aVW5eGEtMabfdQ797NXDnkAVn9HfAec");
}

static void test_the_longest_id_fits(void **state)
{
    char longest[COOKIE_ID_BYTES_MAX];
    char token[LINK_TOKEN_BYTES];
    (void)state;
    memset(longest, 'a', sizeof longest);
    link_token_make(key, slice_make(longest, sizeof longest), now, token);
    assert_int_equal(check(key, token, now), LINK_TOKEN_GOOD);
}

static void test_a_token_with_any_character_changed_is_wrong(void **state)
{
    char token[LINK_TOKEN_BYTES];
    (void)state;
    link_token_make(key, slice_text("a-1"), now, token);
    for (char *c = token; *c != 0; c++) {
        char was = *c;
        *c = was == 'A' ? 'B' : 'A';
        assert_int_equal(check(key, token, now), LINK_TOKEN_WRONG);
        *c = was;
    }
    assert_int_equal(check(key, token, now), LINK_TOKEN_GOOD);
}

static void test_a_token_of_another_hub_is_wrong(void **state)
{
    static const uint8_t other[LINK_KEY_BYTES] = {9};
    char token[LINK_TOKEN_BYTES];
    (void)state;
    link_token_make(other, slice_text("a-1"), now, token);
    assert_int_equal(check(key, token, now), LINK_TOKEN_WRONG);
}

static void test_what_is_no_token_is_wrong(void **state)
{
    static const char *const wrong[] = {
        "", "A", "....", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAA", "a+b/", "WORKED=="};
    char long_one[LINK_TOKEN_BYTES * 2];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(check(key, wrong[i], now), LINK_TOKEN_WRONG);
    }
    memset(long_one, 'A', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = 0;
    assert_int_equal(check(key, long_one, now), LINK_TOKEN_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_gives_back_its_id_for_two_minutes),
        cmocka_unit_test(test_its_bytes_are_those_of_the_formats_page),
        cmocka_unit_test(test_the_longest_id_fits),
        cmocka_unit_test(test_a_token_with_any_character_changed_is_wrong),
        cmocka_unit_test(test_a_token_of_another_hub_is_wrong),
        cmocka_unit_test(test_what_is_no_token_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
