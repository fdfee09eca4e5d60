#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "collector/spool/clock_offset.h"

/* A wall clock that can be set, beside a monotonic one that cannot. */
struct two_clocks {
    struct clock clock;
    int64_t wall_ms;
    int64_t monotonic_ms;
};

static int64_t wall(const struct clock *clock)
{
    return ((const struct two_clocks *)(const void *)clock)->wall_ms;
}

static int64_t monotonic(const struct clock *clock)
{
    return ((const struct two_clocks *)(const void *)clock)->monotonic_ms * 1000000;
}

static void pass(struct two_clocks *clocks, int64_t ms)
{
    clocks->wall_ms += ms;
    clocks->monotonic_ms += ms;
}

static void nothing_is_known_before_the_first_answer(void **state)
{
    struct two_clocks clocks = {{wall, monotonic}, 1000, 50};
    struct clock_offset *offset = clock_offset_new(&clocks.clock);
    int64_t ms;
    (void)state;
    assert_false(clock_offset_get(offset, &ms));
    clock_offset_free(&offset);
}

static void a_late_answer_does_not_spoil_what_a_quick_one_told(void **state)
{
    struct two_clocks clocks = {{wall, monotonic}, 1000, 50};
    struct clock_offset *offset = clock_offset_new(&clocks.clock);
    int64_t ms;
    (void)state;
    clock_offset_note(offset, clocks.wall_ms + 86400000 - 5);
    pass(&clocks, 4000);
    clock_offset_note(offset, clocks.wall_ms + 86400000 - 2500); /* it was under way for 2.5 s */
    assert_true(clock_offset_get(offset, &ms));
    assert_int_equal(ms, 86400000 - 5);
    clock_offset_free(&offset);
}

static void setting_the_clock_voids_what_was_learnt(void **state)
{
    struct two_clocks clocks = {{wall, monotonic}, 1000, 50};
    struct clock_offset *offset = clock_offset_new(&clocks.clock);
    int64_t ms;
    (void)state;
    clock_offset_note(offset, clocks.wall_ms + 86400000);
    clocks.wall_ms += 86400000;
    assert_false(clock_offset_get(offset, &ms));
    clock_offset_note(offset, clocks.wall_ms);
    assert_true(clock_offset_get(offset, &ms));
    assert_int_equal(ms, 0);
    clock_offset_free(&offset);
}

static void count_call(void *user)
{
    ++*(int *)user;
}

static void who_watches_is_told_when_the_offset_becomes_known(void **state)
{
    struct two_clocks clocks = {{wall, monotonic}, 1000, 50};
    struct clock_offset *offset = clock_offset_new(&clocks.clock);
    int calls = 0;
    (void)state;
    clock_offset_watch(offset, count_call, &calls);
    assert_int_equal(calls, 0);
    clock_offset_note(offset, 1000);
    assert_int_equal(calls, 1);
    clock_offset_note(offset, 2000);
    assert_int_equal(calls, 1);
    clocks.wall_ms += 86400000;
    clock_offset_note(offset, 3000);
    assert_int_equal(calls, 2);
    clock_offset_free(&offset);
}

static void slow_drift_is_followed(void **state)
{
    struct two_clocks clocks = {{wall, monotonic}, 1000, 50};
    struct clock_offset *offset = clock_offset_new(&clocks.clock);
    int64_t ms;
    (void)state;
    for (int i = 0; i < 100; i++) {
        pass(&clocks, 60000);
        clocks.wall_ms -= 100; /* loses 100 ms a minute */
        clock_offset_note(offset, 7000 + 100 * (int64_t)i + clocks.wall_ms);
    }
    assert_true(clock_offset_get(offset, &ms));
    assert_int_equal(ms, 7000 + 9900);
    clock_offset_free(&offset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_known_before_the_first_answer),
        cmocka_unit_test(a_late_answer_does_not_spoil_what_a_quick_one_told),
        cmocka_unit_test(setting_the_clock_voids_what_was_learnt),
        cmocka_unit_test(who_watches_is_told_when_the_offset_becomes_known),
        cmocka_unit_test(slow_drift_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
