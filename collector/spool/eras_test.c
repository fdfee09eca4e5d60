/* Boots of a box, with and without a real-time clock, on the memory store. */
#include "collector/spool/eras.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static const int64_t noon = 1795262400000; /* in November 2026 */
enum { MINUTE = 60000, HOUR = 3600000 };

struct fixture {
    struct clock_machine_fake machine;
    struct store *store;
    struct spool *spool;
    struct eras *eras;
    struct error err;
};

static void start(struct fixture *f)
{
    struct spool_options options = {.bytes_max = 1000000};
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
    assert_true(eras_open(f->store, f->spool, &f->machine.machine, &f->eras, &f->err));
}

static void stop(struct fixture *f)
{
    eras_close(&f->eras);
    spool_close(&f->spool);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    store_close(&f->store);
    free(f);
    return 0;
}

/* Power cut, and later on again, with the wall clock at wall_ms. */
static void boot(struct fixture *f, int64_t wall_ms)
{
    uint8_t number = (uint8_t)(f->machine.boot + 1);
    stop(f);
    store_memory_crash(f->store);
    clock_machine_fake_init(&f->machine, wall_ms);
    f->machine.boot = number;
    start(f);
}

static void pass(struct fixture *f, int64_t ms)
{
    f->machine.wall_ms += ms;
    f->machine.boot_ms += ms;
}

static int64_t now(struct fixture *f)
{
    return clock_now_ms(eras_clock(f->eras));
}

/* Store a block, as the committer does; the era it is in. */
static uint32_t append(struct fixture *f)
{
    struct spool_entry entry = {.lane = LANE_NORMAL, .block = slice_text("block")};
    eras_look_at_wall(f->eras);
    assert_true(spool_append(f->spool, &entry, 1, eras_current(f->eras), now(f), &f->err));
    return eras_current(f->eras);
}

static void test_with_a_right_clock_the_logical_one_shows_its_time(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, noon);
    start(f);
    assert_true(now(f) == noon);
    pass(f, MINUTE);
    assert_true(now(f) == noon + MINUTE);
    assert_true(eras_offset_ms(f->eras, append(f), 7) == 7);
    boot(f, noon + HOUR);
    assert_true(now(f) == noon + HOUR);
}

static void test_setting_the_wall_clock_does_not_move_the_logical_one(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    int64_t begin = now(f);
    pass(f, MINUTE);
    f->machine.wall_ms = noon;
    assert_true(now(f) == begin + MINUTE);
    f->machine.wall_ms = 0;
    assert_true(now(f) == begin + MINUTE);
}

static void test_over_boots_in_1970_time_never_goes_back(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    int64_t last = 0;
    for (uint32_t i = 1; i <= 5; i++) {
        assert_true(now(f) >= last);
        pass(f, HOUR);
        assert_int_equal(append(f), i);
        last = now(f);
        boot(f, 5000);
    }
    assert_true(now(f) == last);
}

static void test_a_restart_in_the_same_boot_goes_on_with_the_era(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    pass(f, HOUR);
    append(f);
    int64_t before = now(f);
    stop(f);
    pass(f, MINUTE);
    f->machine.wall_ms = noon; /* set meanwhile */
    start(f);
    assert_true(now(f) == before + MINUTE);
    assert_int_equal(eras_current(f->eras), 1);
}

static void test_where_boots_cannot_be_told_each_start_is_an_era(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, noon);
    f->machine.boot = 0;
    start(f);
    pass(f, HOUR);
    append(f);
    stop(f);
    pass(f, MINUTE);
    start(f);
    assert_int_equal(eras_current(f->eras), 2);
    assert_true(now(f) == noon + HOUR + MINUTE);
}

static void test_an_era_keeps_the_offset_that_it_learnt_over_power_cuts(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    uint32_t first = append(f);
    eras_note_offset(f->eras, 123456789);
    pass(f, HOUR);
    boot(f, 5000);
    uint32_t second = append(f);
    eras_note_offset(f->eras, 200000000);
    eras_note_offset(f->eras, 200000100); /* noise */
    assert_true(eras_offset_ms(f->eras, first, 5) == 123456789);
    assert_true(eras_offset_ms(f->eras, second, 5) == 5);
    boot(f, 5000);
    assert_true(eras_offset_ms(f->eras, first, 5) == 123456789);
    assert_true(eras_offset_ms(f->eras, second, 5) == 200000000);
}

static void test_an_era_without_any_clock_is_placed_directly_before_the_next(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    pass(f, HOUR);
    uint32_t first = append(f);
    int64_t last = now(f);
    boot(f, 5000);
    int64_t begin = now(f);
    pass(f, HOUR);
    append(f);
    int64_t offset = noon - now(f); /* it is noon, says the hub */
    assert_true(last + eras_offset_ms(f->eras, first, offset) == begin + offset);
    assert_true(last + eras_offset_ms(f->eras, first, offset) == noon - HOUR);
}

static void test_an_era_that_never_reached_the_hub_is_placed_by_its_wall_clock(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    pass(f, HOUR);
    uint32_t set_later = append(f);
    f->machine.wall_ms = noon; /* set by hand */
    pass(f, MINUTE);
    append(f);
    int64_t last = now(f);
    boot(f, noon + 3 * HOUR);
    uint32_t right = append(f);
    boot(f, noon + 5 * HOUR);
    append(f);
    assert_true(last + eras_offset_ms(f->eras, set_later, 0) == noon + MINUTE);
    assert_true(eras_offset_ms(f->eras, right, 0) == 0);
}

static void test_a_wall_clock_that_was_ahead_does_not_upset_the_order(void **state)
{
    struct fixture *f = *state;
    clock_machine_fake_init(&f->machine, noon + 48 * HOUR);
    start(f);
    pass(f, MINUTE);
    uint32_t first = append(f);
    int64_t last = now(f);
    boot(f, noon); /* set right while the collector was off */
    assert_true(now(f) == last);
    append(f);
    int64_t offset = noon - now(f);
    assert_true(last + eras_offset_ms(f->eras, first, offset) <= noon);
}

static void test_eras_without_blocks_are_forgotten(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    struct buf block;
    struct buf header;
    bool found;
    buf_init(&block, 100);
    buf_init(&header, 100);
    clock_machine_fake_init(&f->machine, 5000);
    start(f);
    uint32_t first = append(f);
    eras_note_offset(f->eras, 1000);
    boot(f, 5000);
    append(f);
    eras_note_offset(f->eras, 5000);
    boot(f, 5000);
    assert_true(eras_offset_ms(f->eras, first, 9000) == 1000);
    for (int i = 0; i < 2; i++) {
        assert_true(spool_find(f->spool, LANE_NORMAL, 0, &place, &block, &header, &found, &f->err));
        assert_true(found && spool_acknowledge(f->spool, &place, &f->err));
    }
    append(f);
    boot(f, 5000);
    assert_int_equal(eras_current(f->eras), 4);
    int eras = 0;
    struct store_iterator *it = store_iterator_open(f->store, NULL);
    for (store_iterator_seek(it, slice_text("E"));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == 'E';
         store_iterator_next(it)) {
        eras++;
    }
    store_iterator_close(&it);
    assert_int_equal(eras, 2);
    buf_done(&block);
    buf_done(&header);
}

static void test_a_store_that_fails_is_reported(void **state)
{
    struct fixture *f = *state;
    struct spool_options options = {.bytes_max = 1000000};
    clock_machine_fake_init(&f->machine, noon);
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
    store_memory_fail_write(f->store, 1);
    assert_false(eras_open(f->store, f->spool, &f->machine.machine, &f->eras, &f->err));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_with_a_right_clock_the_logical_one_shows_its_time),
        WITH(test_setting_the_wall_clock_does_not_move_the_logical_one),
        WITH(test_over_boots_in_1970_time_never_goes_back),
        WITH(test_a_restart_in_the_same_boot_goes_on_with_the_era),
        WITH(test_where_boots_cannot_be_told_each_start_is_an_era),
        WITH(test_an_era_keeps_the_offset_that_it_learnt_over_power_cuts),
        WITH(test_an_era_without_any_clock_is_placed_directly_before_the_next),
        WITH(test_an_era_that_never_reached_the_hub_is_placed_by_its_wall_clock),
        WITH(test_a_wall_clock_that_was_ahead_does_not_upset_the_order),
        WITH(test_eras_without_blocks_are_forgotten),
        WITH(test_a_store_that_fails_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
