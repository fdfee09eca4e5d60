#include "hub/clock_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

#define MINUTE ((int64_t)60 * 1000)
#define HOUR (60 * MINUTE)
#define YEAR (365 * 24 * HOUR)
#define START ((int64_t)1800000000000)

/* A world with a true time, a hub whose clock is `wrong_ms` off, and collectors whose clocks are.
 */
enum { BOXES = 5 };
struct world {
    struct clock_state state;
    int64_t true_ms;
    int64_t monotonic_ms;
    int64_t wrong_ms;
    int64_t boxes[BOXES];
    unsigned box_count; /* that are heard */
};

static int set_up(void **state)
{
    struct world *w = memory_allocate_zeroed(sizeof *w);
    w->true_ms = START;
    w->monotonic_ms = 77 * HOUR;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static struct clock_decision pass_time(struct world *w, int64_t ms)
{
    w->true_ms += ms;
    w->monotonic_ms += ms;
    for (unsigned i = 0; i < w->box_count; i++) {
        clock_state_hear(&w->state, i + 1, w->true_ms + w->boxes[i], w->monotonic_ms);
    }
    return clock_state_decide(&w->state, w->true_ms + w->wrong_ms, w->monotonic_ms);
}

static void have_boxes(struct world *w, unsigned count)
{
    w->box_count = count;
    w->state.has_collectors = true;
}

/* Another run, after being off: what is left is what was noted. */
static void restart(struct world *w, int64_t off_ms)
{
    bool has_collectors = w->state.has_collectors;
    int64_t past = w->state.base_ms + w->monotonic_ms;
    w->state =
        (struct clock_state){.has_collectors = has_collectors, .has_past = true, .past_ms = past};
    w->true_ms += off_ms;
    w->monotonic_ms = HOUR;
}

static void test_a_right_clock_is_believed(void **state)
{
    struct world *w = *state;
    have_boxes(w, 3);
    for (int i = 0; i < 100; i++) {
        struct clock_decision d = pass_time(w, MINUTE);
        assert_false(d.is_held);
        assert_int_equal(d.now_ms, w->true_ms);
    }
}

static void test_a_jump_that_nobody_shares_holds_until_it_is_taken_back(void **state)
{
    struct world *w = *state;
    static const int64_t jumps[] = {10 * MINUTE, 3 * YEAR, -10 * MINUTE, -3 * YEAR};
    have_boxes(w, 3);
    (void)pass_time(w, MINUTE);
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        w->wrong_ms = jumps[i];
        for (int n = 0; n < 200; n++) {
            struct clock_decision d = pass_time(w, MINUTE);
            assert_true(d.is_held);
            assert_int_equal(d.now_ms, w->true_ms);
            assert_int_equal(d.ahead_ms, jumps[i]);
            assert_int_equal(d.voices, 3);
        }
        w->wrong_ms = 0;
        assert_false(pass_time(w, 1).is_held);
    }
}

/* The hub was wrong all the time, and is set right: its collectors agree, its past does not. */
static void test_a_clock_that_is_set_right_is_believed(void **state)
{
    struct world *w = *state;
    w->wrong_ms = -2 * HOUR;
    (void)pass_time(w, MINUTE);
    have_boxes(w, 3);
    (void)pass_time(w, MINUTE);
    w->wrong_ms = 0;
    struct clock_decision d = pass_time(w, MINUTE);
    assert_false(d.is_held);
    assert_int_equal(d.now_ms, w->true_ms);
}

/* Its own past speaks for it: collectors that are all wrong, as boxes without a battery, hold
 * nobody. */
static void test_collectors_that_are_wrong_do_not_hold_a_clock_that_goes_on(void **state)
{
    struct world *w = *state;
    have_boxes(w, BOXES);
    for (int i = 0; i < BOXES; i++) {
        w->boxes[i] = -START;
    }
    for (int i = 0; i < 50; i++) {
        assert_false(pass_time(w, MINUTE).is_held);
    }
}

static void test_one_of_five_that_lies_changes_nothing(void **state)
{
    static const int64_t lies[] = {10 * YEAR, -10 * YEAR, 6 * MINUTE, -6 * MINUTE};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct world *w = *state;
        *w = (struct world){.true_ms = START, .monotonic_ms = HOUR};
        have_boxes(w, BOXES);
        (void)pass_time(w, MINUTE);
        w->boxes[2] = lies[i];
        restart(w, 3 * HOUR);
        assert_false(pass_time(w, MINUTE).is_held);
        w->wrong_ms = lies[i]; /* and cannot speak for a wrong clock */
        struct clock_decision d = pass_time(w, MINUTE);
        assert_true(d.is_held);
        assert_int_equal(d.now_ms, w->true_ms);
    }
}

static void test_without_collectors_or_a_past_nothing_is_held(void **state)
{
    struct world *w = *state;
    w->wrong_ms = 5 * YEAR;
    assert_false(pass_time(w, MINUTE).is_held);
    w->wrong_ms = 0;
    assert_false(pass_time(w, MINUTE).is_held);
    w->state = (struct clock_state){0};
    have_boxes(w, 3);
    w->wrong_ms = 5 * YEAR;
    assert_false(pass_time(w, MINUTE).is_held);
}

/* It comes up with a clock that is years ahead: the time is what the collectors say. */
static void test_a_start_with_a_wrong_clock_is_held(void **state)
{
    struct world *w = *state;
    have_boxes(w, 3);
    (void)pass_time(w, MINUTE);
    restart(w, 7 * HOUR);
    w->box_count = 0;
    w->wrong_ms = 2 * YEAR;
    assert_true(pass_time(w, 100).is_held); /* none was heard yet */
    w->box_count = 3;
    struct clock_decision d = pass_time(w, 100);
    assert_true(d.is_held);
    assert_int_equal(d.now_ms, w->true_ms);
    w->wrong_ms = 0;
    assert_false(pass_time(w, MINUTE).is_held);
}

static void test_a_start_after_long_waits_for_a_collector_but_not_for_ever(void **state)
{
    struct world *w = *state;
    have_boxes(w, 3);
    (void)pass_time(w, MINUTE);
    restart(w, 1000 * HOUR);
    w->box_count = 0;
    assert_true(pass_time(w, 1).is_held);
    assert_true(pass_time(w, MINUTE / 2).is_held);
    assert_false(pass_time(w, MINUTE).is_held);
    restart(w, 1000 * HOUR);
    assert_true(pass_time(w, 1).is_held);
    w->box_count = 1;
    assert_false(pass_time(w, 1).is_held);
    restart(w, MINUTE); /* and a short stop not at all */
    w->box_count = 0;
    assert_false(pass_time(w, 1).is_held);
}

static void test_what_was_said_long_ago_does_not_count(void **state)
{
    struct world *w = *state;
    have_boxes(w, 3);
    (void)pass_time(w, MINUTE);
    w->box_count = 0;
    (void)pass_time(w, 6 * MINUTE);
    w->wrong_ms = YEAR;
    assert_int_equal(pass_time(w, 1).voices, 0);
}

static void test_trust_overrides(void **state)
{
    struct world *w = *state;
    have_boxes(w, BOXES);
    (void)pass_time(w, MINUTE);
    w->state.trusts = true;
    w->wrong_ms = 3 * YEAR;
    struct clock_decision d = pass_time(w, MINUTE);
    assert_false(d.is_held);
    assert_int_equal(d.now_ms, w->true_ms + 3 * YEAR);
}

/* Whatever happens by chance: with most collectors right, the time to go by is never off by more
 * than the tolerance (twice, where the hub's own is within it), once they are heard; and a clock
 * that is right is never held for long. */
static void test_histories(void **state)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct world *w = *state;
        struct rand rand;
        *w = (struct world){.true_ms = START, .monotonic_ms = HOUR};
        rand_seeded_init(&rand, seed);
        have_boxes(w, BOXES);
        (void)pass_time(w, MINUTE);
        for (int step = 0; step < 300; step++) {
            int64_t by = (int64_t)rand_below(&rand, (uint64_t)(4 * YEAR)) - 2 * YEAR;
            switch (rand_below(&rand, 12)) {
            case 0:
                w->wrong_ms = by;
                break;
            case 1:
            case 2:
                w->wrong_ms = 0;
                break;
            case 3:
                w->boxes[rand_below(&rand, 2)] = by; /* two of five may be wrong */
                break;
            case 4:
                w->boxes[rand_below(&rand, 2)] = 0;
                break;
            case 5:
                /* Not where it comes up just where it went down: that is its own past. */
                if (w->wrong_ms >= 0 || w->wrong_ms < -49 * HOUR) {
                    restart(w, (int64_t)rand_below(&rand, (uint64_t)(48 * HOUR)));
                }
                break;
            default:
                break;
            }
            struct clock_decision d = pass_time(w, (int64_t)rand_below(&rand, (uint64_t)HOUR));
            int64_t off = d.now_ms - w->true_ms;
            if (off > CLOCK_GUARD_TOLERANCE_MS || off < -CLOCK_GUARD_TOLERANCE_MS ||
                (w->wrong_ms == 0 && d.is_held)) {
                fail_msg("seed=%llu step=%d: %lld ms off, held %d, wrong by %lld",
                         (unsigned long long)seed, step, (long long)off, d.is_held,
                         (long long)w->wrong_ms);
            }
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_right_clock_is_believed),
        TEST(test_a_jump_that_nobody_shares_holds_until_it_is_taken_back),
        TEST(test_a_clock_that_is_set_right_is_believed),
        TEST(test_collectors_that_are_wrong_do_not_hold_a_clock_that_goes_on),
        TEST(test_one_of_five_that_lies_changes_nothing),
        TEST(test_without_collectors_or_a_past_nothing_is_held),
        TEST(test_a_start_with_a_wrong_clock_is_held),
        TEST(test_a_start_after_long_waits_for_a_collector_but_not_for_ever),
        TEST(test_what_was_said_long_ago_does_not_count),
        TEST(test_trust_overrides),
        TEST(test_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
