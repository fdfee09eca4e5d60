/* Guessing tokens: who is told to wait, for how long, and that it never is who has the right one.
 */
#include "shared/token_guard.h"

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

static enum token_verdict try(struct token_guard *g, const char *given, struct slice from,
                              int64_t at_ms, int64_t *ret_wait_ms)
{
    return token_guard_judge(g, slice_text(given), slice_text("secret"), from, at_ms, ret_wait_ms);
}

static void guess(struct token_guard *g, struct slice from, unsigned times, int64_t at_ms)
{
    int64_t wait_ms;
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(try(g, "Bearer wrong", from, at_ms, &wait_ms), TOKEN_WRONG);
        assert_int_equal(wait_ms, 0);
    }
}

static int64_t wait_of(struct token_guard *g, struct slice from, int64_t at_ms)
{
    int64_t wait_ms;
    enum token_verdict verdict = try(g, "Bearer wrong", from, at_ms, &wait_ms);
    assert_int_equal(verdict, wait_ms > 0 ? TOKEN_TOO_MANY : TOKEN_WRONG);
    return wait_ms;
}

static void test_what_is_a_token_and_what_is_the_right_one(void **state)
{
    static const struct {
        const char *given;
        const char *wanted;
        enum token_verdict verdict;
    } cases[] = {
        {"Bearer secret", "secret", TOKEN_RIGHT},
        {"bearer secret", "secret", TOKEN_RIGHT},
        {"", "secret", TOKEN_MISSING},
        {"Bearer ", "secret", TOKEN_WRONG},
        {"Bearer secre", "secret", TOKEN_WRONG},
        {"Bearer secret ", "secret", TOKEN_WRONG},
        {"Bearer Secret", "secret", TOKEN_WRONG},
        {"Basic secret", "secret", TOKEN_WRONG},
        {"secret", "secret", TOKEN_WRONG},
        {"Bearer secretly", "secret", TOKEN_WRONG},
        {"Bearer ", "", TOKEN_WRONG},
        {"", "", TOKEN_MISSING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct token_guard *g = token_guard_new();
        int64_t wait_ms;
        enum token_verdict verdict =
            token_guard_judge(g, slice_text(cases[i].given), slice_text(cases[i].wanted),
                              address(till), start_ms, &wait_ms);
        if (verdict != cases[i].verdict) {
            fail_msg("\"%s\" for \"%s\": %d", cases[i].given, cases[i].wanted, verdict);
        }
        token_guard_free(&g);
    }
}

static void test_after_too_many_wrong_tokens_an_address_waits_for_the_rest_of_a_minute(void **state)
{
    struct token_guard *g = token_guard_new();
    (void)state;
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
    assert_int_equal(wait_of(g, address(till), start_ms + 1000), TOKEN_GUARD_MS - 1000);
    assert_int_equal(wait_of(g, address(till), start_ms + TOKEN_GUARD_MS - 1), 1);
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms + TOKEN_GUARD_MS);
    assert_true(wait_of(g, address(till), start_ms + TOKEN_GUARD_MS) > 0);
    token_guard_free(&g);
}

static void test_the_right_token_is_taken_however_many_wrong_ones_came(void **state)
{
    struct token_guard *g = token_guard_new();
    int64_t wait_ms;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        (void)try(g, "Bearer wrong", address(till), start_ms + i, &wait_ms);
        assert_int_equal(try(g, "Bearer secret", address(till), start_ms + i, &wait_ms),
                         TOKEN_RIGHT);
        assert_int_equal(wait_ms, 0);
    }
    assert_true(wait_of(g, address(till), start_ms + 1000) > 0); /* which excuses none of them */
    token_guard_free(&g);
}

static void test_a_request_without_a_token_is_no_guess(void **state)
{
    struct token_guard *g = token_guard_new();
    int64_t wait_ms;
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(try(g, "", address(till), start_ms, &wait_ms), TOKEN_MISSING);
    }
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
    token_guard_free(&g);
}

static void test_another_address_does_not_wait_for_it(void **state)
{
    unsigned closed = 0;
    (void)state;
    /* Slots are shared by a hash whose key is random: now and then two addresses meet. */
    for (int i = 0; i < 20; i++) {
        struct token_guard *g = token_guard_new();
        guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
        closed += wait_of(g, address(other), start_ms) > 0;
        token_guard_free(&g);
    }
    assert_in_range(closed, 0, 2);
}

static void test_a_clock_that_was_set_back_lets_nobody_wait_for_long(void **state)
{
    struct token_guard *g = token_guard_new();
    (void)state;
    guess(g, address(till), TOKEN_GUARD_WRONG_MAX, start_ms);
    assert_int_equal(wait_of(g, address(till), start_ms - 3600000), 0);
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
    assert_true(wait_of(g, slice_make(b, sizeof b), start_ms) > 0);
    guess(g, slice_make(NULL, 0), 1, start_ms); /* no address is one too */
    token_guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_a_token_and_what_is_the_right_one),
        cmocka_unit_test(
            test_after_too_many_wrong_tokens_an_address_waits_for_the_rest_of_a_minute),
        cmocka_unit_test(test_the_right_token_is_taken_however_many_wrong_ones_came),
        cmocka_unit_test(test_a_request_without_a_token_is_no_guess),
        cmocka_unit_test(test_another_address_does_not_wait_for_it),
        cmocka_unit_test(test_a_clock_that_was_set_back_lets_nobody_wait_for_long),
        cmocka_unit_test(test_addresses_of_one_network_of_ipv6_are_one),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
