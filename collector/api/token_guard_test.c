/* Guessing tokens: who is refused, and for how long. */
#include "collector/api/token_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>

static const int64_t start_ms = 1795292000000;
static const uint8_t till[4] = {192, 0, 2, 1};
static const uint8_t other[4] = {192, 0, 2, 2};

static struct slice address(const uint8_t bytes[4])
{
    return slice_make(bytes, 4);
}

static void guess(struct token_guard *g, struct slice from, unsigned times, int64_t at_ms)
{
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(token_guard_wait_ms(g, from, at_ms), 0);
        token_guard_note_wrong(g, from, at_ms);
    }
}

static void test_too_many_wrong_tokens_close_an_address_for_the_rest_of_a_minute(void **state)
{
    struct token_guard *g = token_guard_new();
    (void)state;
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
    assert_int_equal(token_guard_wait_ms(g, address(till), start_ms + 1000), TOKEN_GUARD_MS - 1000);
    assert_int_equal(token_guard_wait_ms(g, address(till), start_ms + TOKEN_GUARD_MS - 1), 1);
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms + TOKEN_GUARD_MS);
    assert_true(token_guard_wait_ms(g, address(till), start_ms + TOKEN_GUARD_MS) > 0);
    token_guard_free(&g);
}

static void test_another_address_is_not_closed_with_it(void **state)
{
    unsigned closed = 0;
    (void)state;
    /* Slots are shared by a hash whose key is random: now and then two addresses meet. */
    for (int i = 0; i < 20; i++) {
        struct token_guard *g = token_guard_new();
        guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
        closed += token_guard_wait_ms(g, address(other), start_ms) > 0;
        token_guard_free(&g);
    }
    assert_in_range(closed, 0, 2);
}

static void test_a_clock_that_was_set_back_closes_nobody_for_long(void **state)
{
    struct token_guard *g = token_guard_new();
    (void)state;
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
    assert_int_equal(token_guard_wait_ms(g, address(till), start_ms - 3600000), 0);
    token_guard_free(&g);
}

static void test_addresses_of_one_network_of_ipv6_are_one(void **state)
{
    uint8_t a[16] = {0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    uint8_t b[16];
    struct token_guard *g = token_guard_new();
    (void)state;
    memcpy(b, a, sizeof b);
    b[15] = 99;
    guess(g, slice_make(a, sizeof a), TOKEN_GUARD_WRONG_MAX, start_ms);
    assert_true(token_guard_wait_ms(g, slice_make(b, sizeof b), start_ms) > 0);
    guess(g, slice_make(NULL, 0), 1, start_ms); /* no address is one too */
    token_guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many_wrong_tokens_close_an_address_for_the_rest_of_a_minute),
        cmocka_unit_test(test_another_address_is_not_closed_with_it),
        cmocka_unit_test(test_a_clock_that_was_set_back_closes_nobody_for_long),
        cmocka_unit_test(test_addresses_of_one_network_of_ipv6_are_one),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
