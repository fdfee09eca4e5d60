/* The watch, with deadlines that are far and one that is near. */
#include "collector/api/watch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { WAITERS_MAX = 3, LONG_MS = 3600000 };

struct fixture {
    struct watch *watch;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    int counts[8]; /* how often each waiter was woken */
    int count;
};

static void on_wake(void *user, void *waiter)
{
    struct fixture *f = user;
    size_t number = (size_t)(intptr_t)waiter;
    pthread_mutex_lock(&f->lock);
    f->counts[number < 8 ? number : 0]++;
    f->count++;
    pthread_cond_signal(&f->woken);
    pthread_mutex_unlock(&f->lock);
}

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->woken, NULL);
    f->watch = watch_open(WAITERS_MAX, WAITERS_MAX, &clock_real, on_wake, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    watch_close(&f->watch);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->woken);
    free(f);
    return 0;
}

static void add(struct fixture *f, const char *id, int64_t wait_ms, intptr_t waiter)
{
    union {
        intptr_t number;
        void *pointer;
    } as = {.number = waiter};
    assert_true(watch_add(f->watch, slice_text(id), wait_ms, NULL, as.pointer));
}

static void those_who_wait_for_a_visitor_are_woken_once(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    add(f, "b", LONG_MS, 2);
    add(f, "a", LONG_MS, 3);
    watch_changed(f->watch, slice_text("a"));
    watch_changed(f->watch, slice_text("a"));
    watch_changed(f->watch, slice_text("c"));
    assert_int_equal(f->counts[1], 1);
    assert_int_equal(f->counts[2], 0);
    assert_int_equal(f->counts[3], 1);
    assert_int_equal(watch_waiters(f->watch), 1);
}

static void no_more_than_the_maximum_wait(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    add(f, "a", LONG_MS, 2);
    add(f, "a", LONG_MS, 3);
    assert_false(watch_add(f->watch, slice_text("a"), LONG_MS, NULL, f));
    watch_changed(f->watch, slice_text("a"));
    add(f, "a", LONG_MS, 4);
}

static void a_waiter_whose_time_is_over_is_woken(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    add(f, "b", 1, 2);
    pthread_mutex_lock(&f->lock);
    while (f->count == 0) {
        pthread_cond_wait(&f->woken, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(f->counts[2], 1);
    assert_int_equal(watch_waiters(f->watch), 1);
}

static void closing_wakes_all(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    add(f, "b", LONG_MS, 2);
    watch_close(&f->watch);
    assert_int_equal(f->counts[1], 1);
    assert_int_equal(f->counts[2], 1);
}

static void who_comes_after_the_stop_is_sent_away_until_the_watch_is_closed(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    watch_stop(f->watch);
    assert_int_equal(f->counts[1], 1);
    assert_false(watch_add(f->watch, slice_text("a"), LONG_MS, NULL, f));
    watch_changed(f->watch, slice_text("a"));
    assert_int_equal(watch_waiters(f->watch), 0);
    watch_stop(f->watch);
    watch_close(&f->watch);
    assert_int_equal(f->count, 1);
}

static void one_address_waits_no_more_often_than_it_may(void **state)
{
    struct fixture *f = *state;
    struct address one;
    struct address other;
    watch_close(&f->watch);
    f->watch = watch_open(100, 2, &clock_real, on_wake, f);
    assert_true(address_parse(slice_text("192.0.2.1"), &one));
    assert_true(address_parse(slice_text("198.51.100.2"), &other));
    assert_true(watch_add(f->watch, slice_text("a"), LONG_MS, &one, &f->counts[0]));
    assert_true(watch_add(f->watch, slice_text("b"), LONG_MS, &one, &f->counts[1]));
    for (int i = 0; i < 10; i++) {
        assert_false(watch_add(f->watch, slice_text("c"), LONG_MS, &one, f));
    }
    assert_true(watch_add(f->watch, slice_text("c"), LONG_MS, NULL, &f->counts[2]));
    watch_cancel(f->watch, &f->counts[1]);
    assert_true(watch_add(f->watch, slice_text("d"), LONG_MS, &one, &f->counts[3]));
    /* Seats are shared by a hash with a random key: of 20 others hardly one sits beside it. */
    size_t others = 0;
    for (uint8_t i = 0; i < 20; i++) {
        other.bytes[15] = i;
        others += watch_add(f->watch, slice_text("e"), LONG_MS, &other, &f->counts[4]);
    }
    assert_in_range(others, 18, 20);
}

static void a_waiter_that_is_cancelled_is_woken_at_once_and_only_it(void **state)
{
    struct fixture *f = *state;
    add(f, "a", LONG_MS, 1);
    add(f, "a", LONG_MS, 2);
    union {
        intptr_t number;
        void *pointer;
    } as = {.number = 1};
    watch_cancel(f->watch, as.pointer);
    watch_cancel(f->watch, as.pointer);
    assert_int_equal(f->counts[1], 1);
    assert_int_equal(f->counts[2], 0);
    assert_int_equal(watch_waiters(f->watch), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_who_wait_for_a_visitor_are_woken_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_more_than_the_maximum_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_waiter_whose_time_is_over_is_woken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_address_waits_no_more_often_than_it_may, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_waiter_that_is_cancelled_is_woken_at_once_and_only_it,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_wakes_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            who_comes_after_the_stop_is_sent_away_until_the_watch_is_closed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
