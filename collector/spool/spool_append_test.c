/* A spool that is full, or whose disk is: what is dropped, and what is refused. */
#include "collector/spool/spool_test.h"

#include "shared/seal.h"

static void open_dropping(struct fixture *f, uint64_t bytes_max, struct disk_space *disk)
{
    struct spool_options options = {.bytes_max = bytes_max, .disk = disk, .drops_oldest = true};
    spool_close(&f->spool);
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
}

/* A sealed block of `events` events and exactly `bytes` bytes, as far as the spool can tell. */
static struct slice block_of(uint8_t *bytes, size_t len, uint8_t events)
{
    const uint8_t head[] = {0x95, 1, 1, 1, events, 0xc4, (uint8_t)(len - 7)};
    memset(bytes, 'x', len);
    memcpy(bytes, head, sizeof head);
    return slice_make(bytes, len);
}

static bool append_events(struct fixture *f, enum lane lane, uint8_t events)
{
    uint8_t bytes[10];
    return try_append(f, lane, block_of(bytes, sizeof bytes, events));
}

static void assert_dropped(struct fixture *f, uint64_t high, uint64_t normal, uint64_t low)
{
    assert_int_equal(spool_dropped(f->spool, LANE_HIGH), high);
    assert_int_equal(spool_dropped(f->spool, LANE_NORMAL), normal);
    assert_int_equal(spool_dropped(f->spool, LANE_LOW), low);
}

static void test_the_oldest_of_the_lowest_lane_is_dropped_first(void **state)
{
    struct fixture *f = *state;
    open_dropping(f, 40, NULL);
    assert_true(append_events(f, LANE_NORMAL, 1));
    assert_true(append_events(f, LANE_LOW, 2));
    assert_true(append_events(f, LANE_LOW, 4));
    assert_true(append_events(f, LANE_HIGH, 8));
    assert_true(append_events(f, LANE_HIGH, 16));
    assert_dropped(f, 0, 0, 2);
    assert_false(has(f, 1));
    assert_true(has(f, 2));
    assert_true(append_events(f, LANE_LOW, 32)); /* in the place of its own lane's oldest */
    assert_dropped(f, 0, 0, 6);
    assert_true(append_events(f, LANE_HIGH, 64));
    assert_true(append_events(f, LANE_HIGH, 64));
    assert_dropped(f, 0, 1, 38);
    assert_true(append_events(f, LANE_HIGH, 64)); /* of purchases alone the oldest */
    assert_dropped(f, 8, 1, 38);
    assert_int_equal(spool_blocks(f->spool), 4);
    assert_int_equal(spool_bytes(f->spool), 40);
    assert_false(spool_is_full(f->spool));
}

static void test_a_block_never_drops_one_of_a_higher_lane(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[2][10];
    open_dropping(f, 20, NULL);
    assert_true(append_events(f, LANE_HIGH, 1));
    assert_true(append_events(f, LANE_NORMAL, 1));
    assert_false(append_events(f, LANE_LOW, 1));
    assert_int_equal(f->err.kind, ERROR_FULL);
    /* In one write with a purchase, the purchase alone is stored. */
    struct spool_entry entries[] = {{.lane = LANE_HIGH, .block = block_of(bytes[0], 10, 1)},
                                    {.lane = LANE_LOW, .block = block_of(bytes[1], 10, 1)}};
    assert_true(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err));
    assert_true(entries[0].is_stored);
    assert_false(entries[1].is_stored);
    assert_dropped(f, 0, 1, 0);
    assert_int_equal(spool_next_sequence(f->spool), 4);
    uint8_t large[30];
    assert_false(try_append(f, LANE_HIGH, block_of(large, sizeof large, 1)));
    assert_int_equal(spool_blocks(f->spool), 2);
}

static void test_a_drop_is_counted_also_after_a_power_cut(void **state)
{
    struct fixture *f = *state;
    open_dropping(f, 20, NULL);
    assert_true(append_events(f, LANE_LOW, 3));
    assert_true(append_events(f, LANE_LOW, 5));
    store_memory_fail_write(f->store, 1);
    assert_false(append_events(f, LANE_HIGH, 1));
    assert_dropped(f, 0, 0, 0);
    assert_true(append_events(f, LANE_HIGH, 1));
    assert_dropped(f, 0, 0, 3);
    cut_power(f);
    assert_dropped(f, 0, 0, 3);
    assert_false(has(f, 0));
    assert_true(has(f, 1));
}

static void test_an_answer_for_a_dropped_block_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    open_dropping(f, 20, NULL);
    assert_true(append_events(f, LANE_LOW, 3));
    assert_true(append_events(f, LANE_LOW, 5));
    assert_true(find_block(f, 0, &place));
    assert_true(append_events(f, LANE_HIGH, 1));
    bool found;
    assert_true(spool_read(f->spool, &place, &f->block, &f->header, &found, &f->err));
    assert_false(found);
    assert_true(spool_acknowledge(f->spool, &place, &f->err));
    assert_true(spool_set_aside(f->spool, &place, &f->err));
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_bytes(f->spool), 20);
    assert_int_equal(spool_blocks_aside(f->spool), 0);
}

static void test_one_append_drops_as_many_blocks_as_it_takes(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[2][15];
    open_dropping(f, 40, NULL);
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(append_events(f, LANE_LOW, (uint8_t)(1U << i)));
    }
    struct spool_entry entries[] = {{.lane = LANE_HIGH, .block = block_of(bytes[0], 15, 1)},
                                    {.lane = LANE_LOW, .block = block_of(bytes[1], 15, 1)}};
    assert_true(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err)); /* two, and one more */
    assert_true(entries[0].is_stored && entries[1].is_stored);
    for (int i = 0; i < 2; i++) {
        assert_dropped(f, 0, 0, 1 + 2 + 4);
        assert_holds(f, 3, 40, 0);
        assert_int_equal(first_sequence(f), 3);
        assert_true(has(f, 3) && has(f, 4) && has(f, 5));
        cut_power(f);
    }
}

static void test_blocks_aside_that_one_append_drops_are_counted_once_each(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[2][10];
    open_dropping(f, 40, NULL);
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(append_events(f, LANE_NORMAL, (uint8_t)(1U << i)));
    }
    set_aside(f, 0);
    set_aside(f, 1);
    struct spool_entry entries[] = {{.lane = LANE_HIGH, .block = block_of(bytes[0], 10, 1)},
                                    {.lane = LANE_LOW, .block = block_of(bytes[1], 10, 1)}};
    assert_true(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err));
    assert_true(entries[0].is_stored && entries[1].is_stored);
    for (int i = 0; i < 2; i++) {
        assert_dropped(f, 0, 1 + 2, 0);
        assert_holds(f, 4, 40, 0);
        assert_int_equal(first_sequence(f), 2);
        cut_power(f);
    }
}

static uint64_t disk_bytes_free;

static bool measure_disk(const char *path, struct disk_figures *ret)
{
    (void)path;
    *ret = (struct disk_figures){1000, disk_bytes_free};
    return true;
}

static void test_on_a_short_disk_the_spool_does_not_grow(void **state)
{
    struct fixture *f = *state;
    struct clock_fake clock;
    clock_fake_init(&clock, 0);
    struct disk_space *disk = disk_space_new("/", 100, measure_disk, &clock.clock);
    struct spool_options options = {.bytes_max = BYTES_MAX, .disk = disk};
    disk_bytes_free = 100;
    spool_close(&f->spool);
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
    assert_true(append_events(f, LANE_LOW, 1));
    assert_false(spool_is_full(f->spool));
    disk_bytes_free = 99;
    clock.ms += 1000;
    assert_true(spool_is_full(f->spool));
    assert_false(append_events(f, LANE_HIGH, 1));
    assert_int_equal(f->err.kind, ERROR_FULL);
    open_dropping(f, BYTES_MAX, disk);
    assert_true(append_events(f, LANE_HIGH, 1)); /* in the place of another */
    assert_dropped(f, 0, 0, 1);
    assert_int_equal(spool_bytes(f->spool), 10);
    disk_bytes_free = 100;
    clock.ms += 1000;
    assert_true(append_events(f, LANE_LOW, 1));
    assert_int_equal(spool_bytes(f->spool), 20);
    spool_close(&f->spool);
    disk_space_free(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_the_oldest_of_the_lowest_lane_is_dropped_first),
        WITH(test_a_block_never_drops_one_of_a_higher_lane),
        WITH(test_a_drop_is_counted_also_after_a_power_cut),
        WITH(test_an_answer_for_a_dropped_block_changes_nothing),
        WITH(test_one_append_drops_as_many_blocks_as_it_takes),
        WITH(test_blocks_aside_that_one_append_drops_are_counted_once_each),
        WITH(test_on_a_short_disk_the_spool_does_not_grow),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
