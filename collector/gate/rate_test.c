#include "collector/gate/rate.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND 1000000000LL

static void test_a_full_bucket_gives_its_burst_and_then_the_rate(void **state)
{
    struct rate_rule rule = rate_rule_make(10, 5);
    struct rate rate = {0};
    int64_t wait;
    int64_t now = 1000 * SECOND;
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(rate_take(&rate, rule, 1, now, &wait));
    }
    assert_false(rate_take(&rate, rule, 1, now, &wait));
    assert_int_equal(wait, SECOND / 10);
    assert_false(rate_take(&rate, rule, 1, now + SECOND / 10 - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(rate_take(&rate, rule, 1, now + SECOND / 10, &wait));
    assert_false(rate_take(&rate, rule, 1, now + SECOND / 10, &wait));
}

static void test_a_bucket_never_holds_more_than_its_burst(void **state)
{
    struct rate_rule rule = rate_rule_make(10, 5);
    struct rate rate = {0};
    int64_t wait;
    (void)state;
    assert_true(rate_take(&rate, rule, 5, SECOND, &wait));
    assert_true(rate_take(&rate, rule, 5, 100 * SECOND, &wait));
    assert_false(rate_take(&rate, rule, 1, 100 * SECOND, &wait));
}

static void test_a_request_is_taken_whole_or_not_at_all(void **state)
{
    struct rate_rule rule = rate_rule_make(1, 10);
    struct rate rate = {0};
    int64_t wait;
    (void)state;
    assert_true(rate_take(&rate, rule, 7, SECOND, &wait));
    assert_false(rate_take(&rate, rule, 4, SECOND, &wait));
    assert_int_equal(wait, SECOND); /* one token is missing */
    assert_true(rate_take(&rate, rule, 3, SECOND, &wait));
}

static void test_a_request_over_the_burst_passes_a_full_bucket_and_is_paid_for_later(void **state)
{
    struct rate_rule rule = rate_rule_make(100, 50);
    struct rate rate = {0};
    int64_t wait;
    (void)state;
    assert_true(rate_take(&rate, rule, 2500, SECOND, &wait));
    assert_false(rate_take(&rate, rule, 1, SECOND, &wait));
    assert_int_equal(wait, 2450 * SECOND / 100 + SECOND / 100);
    assert_false(rate_take(&rate, rule, 2500, 25 * SECOND, &wait)); /* not quite full */
    assert_true(rate_take(&rate, rule, 2500, 26 * SECOND, &wait));
}

static void test_the_rate_holds_over_any_time(void **state)
{
    static const double rates[] = {0.5, 3, 1000, 1e6};
    (void)state;
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct rate_rule rule = rate_rule_make(rates[r], 20);
        struct rate rate = {0};
        int64_t wait;
        int64_t passed = 0;
        int64_t end = (int64_t)(1e9 * 2000 / rates[r]);
        for (int64_t now = 0; now <= end; now += end / 7919) {
            passed += rate_take(&rate, rule, 1, now, &wait);
        }
        assert_in_range(passed, 1990, 2020);
    }
}

static void test_numbers_that_make_no_sense_are_no_limit_and_huge_ones_no_harm(void **state)
{
    static const double wrong[][2] = {{0, 1}, {-1, 1}, {NAN, 1}, {1, NAN}, {INFINITY, 1}, {1, -1}};
    static const double huge[][2] = {{1e300, 1e300}, {1e-300, 1e300}, {1e-300, 0}, {1e9, 1e-9}};
    int64_t wait;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct rate rate = {0};
        struct rate_rule rule = rate_rule_make(wrong[i][0], wrong[i][1]);
        assert_int_equal(rule.event_ns, 0);
        for (int k = 0; k < 100; k++) {
            assert_true(rate_take(&rate, rule, 2500, SECOND, &wait));
        }
    }
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        struct rate rate = {0};
        struct rate_rule rule = rate_rule_make(huge[i][0], huge[i][1]);
        assert_true(rule.event_ns >= 1 && rule.burst >= 1);
        assert_true(rate_take(&rate, rule, 2500, SECOND, &wait));
        (void)rate_take(&rate, rule, 2500, SECOND, &wait);
        assert_true(wait >= 0);
    }
    assert_int_equal(rate_rule_make(2.5, 0).burst, 3); /* not given: one second's events */
}

static void test_a_bucket_goes_on_where_another_stands(void **state)
{
    struct rate_rule rule = rate_rule_make(1, 3);
    struct rate before = {0};
    struct rate after = {0};
    int64_t wait;
    (void)state;
    assert_true(rate_take(&before, rule, 3, SECOND, &wait));
    rate_continue(&after, &before);
    assert_false(rate_take(&after, rule, 1, SECOND, &wait));
}

enum { THREADS = 4, TRIES = 20000 };

struct shared {
    struct rate rate;
    _Atomic int passed;
};

static void *try_often(void *arg)
{
    struct shared *shared = arg;
    struct rate_rule rule = rate_rule_make(1, 10000);
    int64_t wait;
    for (int i = 0; i < TRIES; i++) {
        shared->passed += rate_take(&shared->rate, rule, 1, SECOND, &wait);
    }
    return NULL;
}

static void test_threads_share_one_bucket(void **state)
{
    struct shared shared = {0};
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, try_often, &shared), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(shared.passed, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_bucket_gives_its_burst_and_then_the_rate),
        cmocka_unit_test(test_a_bucket_never_holds_more_than_its_burst),
        cmocka_unit_test(test_a_request_is_taken_whole_or_not_at_all),
        cmocka_unit_test(test_a_request_over_the_burst_passes_a_full_bucket_and_is_paid_for_later),
        cmocka_unit_test(test_the_rate_holds_over_any_time),
        cmocka_unit_test(test_numbers_that_make_no_sense_are_no_limit_and_huge_ones_no_harm),
        cmocka_unit_test(test_a_bucket_goes_on_where_another_stands),
        cmocka_unit_test(test_threads_share_one_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
