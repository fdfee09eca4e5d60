#include "hub/lookups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct lookups_limits limits = {.per_second = 20, .outside_per_minute = 60};
static const int64_t second_ns = 1000000000;
static const int64_t start_ns = 1234567890123;

/* How many of so many look-ups, all at once, are answered. */
static int burst(struct lookups *l, enum lookups_result result, int64_t now_ns)
{
    int answered = 0;
    for (int i = 0; i < 1000; i++) {
        answered += lookups_begin(l, &limits, now_ns) && lookups_end(l, &limits, result, now_ns);
    }
    return answered;
}

static void test_look_ups_in_scope_are_bounded_by_their_rate_alone(void **state)
{
    struct lookups l = {0};
    (void)state;
    assert_int_equal(burst(&l, LOOKUPS_FOUND, start_ns), 200);
    assert_int_equal(l.counts[LOOKUPS_FOUND], 200);
    assert_int_equal(l.counts[LOOKUPS_LIMITED], 800);
    assert_int_equal(burst(&l, LOOKUPS_FOUND, start_ns + second_ns), 20);
    assert_int_equal(burst(&l, LOOKUPS_FOUND, start_ns + 3600 * second_ns), 200);
}

static void test_guesses_and_strangers_have_a_narrow_bucket_of_their_own(void **state)
{
    struct lookups l = {0};
    int64_t now_ns = start_ns;
    int told = 0;
    (void)state;
    for (int i = 0; i < 600; i++) { /* two a second for five minutes, every other one a guess */
        enum lookups_result result = i % 2 == 0 ? LOOKUPS_NOBODY : LOOKUPS_OUTSIDE;
        told += lookups_begin(&l, &limits, now_ns) && lookups_end(&l, &limits, result, now_ns);
        now_ns += second_ns / 2;
    }
    assert_in_range(told, 180 + 298, 180 + 301); /* three minutes' at once, then one a second */
    assert_int_equal(l.counts[LOOKUPS_NOBODY] + l.counts[LOOKUPS_OUTSIDE], told);
    assert_int_equal(l.counts[LOOKUPS_LIMITED], 600 - told);
    assert_true(lookups_begin(&l, &limits, now_ns)); /* who is in scope is told all the same */
    assert_true(lookups_end(&l, &limits, LOOKUPS_FOUND, now_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_ups_in_scope_are_bounded_by_their_rate_alone),
        cmocka_unit_test(test_guesses_and_strangers_have_a_narrow_bucket_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
