/* What the spool keeps, gives its number and hands out. */
#include "collector/spool/spool_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include "shared/file.h"
#include "shared/seal.h"
#include "shared/test_disk.h"

static void test_an_empty_spool_has_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first_sequence(f), spool_next_sequence(f->spool));
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(spool_bytes(f->spool), 0);
    assert_int_equal(spool_epoch(f->spool), 0);
    assert_false(has(f, 0));
}

static void test_a_power_cut_after_an_append_loses_nothing(void **state)
{
    struct fixture *f = *state;
    assert_true(spool_add_epoch(f->spool, 5, slice_text("header 5"), &f->err));
    append(f, "one");
    append(f, "two");
    cut_power(f);
    assert_int_equal(spool_epoch(f->spool), 5);
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_bytes(f->spool), 6);
    assert_block(f, first_sequence(f), "one");
    assert_block(f, first_sequence(f) + 1, "two");
}

static void test_an_acknowledged_block_is_gone_also_after_a_restart(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    uint64_t first = first_sequence(f);
    acknowledge(f, first);
    assert_false(has(f, first));
    assert_int_equal(first_sequence(f), first + 1);
    reopen(f);
    assert_false(has(f, first));
    assert_int_equal(first_sequence(f), first + 1);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_block(f, first + 1, "two");
}

static void test_an_acknowledgement_is_durable_with_the_next_append(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    acknowledge(f, 0);
    append(f, "two");
    cut_power(f);
    assert_false(has(f, 0));
    assert_block(f, 1, "two");
}

static void test_a_sequence_number_is_never_given_twice(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    uint64_t next = spool_next_sequence(f->spool);
    acknowledge(f, 0);
    acknowledge(f, 1);
    reopen(f);
    assert_int_equal(spool_next_sequence(f->spool), next);
    assert_int_equal(first_sequence(f), next);
    append(f, "three");
    assert_block(f, next, "three");
    acknowledge(f, next);
    cut_power(f);
    assert_true(spool_next_sequence(f->spool) == next + 1);
}

static void test_a_full_spool_refuses_until_something_leaves(void **state)
{
    struct fixture *f = *state;
    spool_close(&f->spool);
    open_spool(f, 10);
    append(f, "12345");
    append(f, "67890");
    assert_false(try_append(f, LANE_NORMAL, slice_text("x")));
    assert_int_equal(f->err.kind, ERROR_FULL);
    assert_int_equal(spool_next_sequence(f->spool), 2);
    assert_int_equal(spool_blocks(f->spool), 2);
    acknowledge(f, 0);
    assert_false(try_append(f, LANE_NORMAL, slice_text("123456")));
    append(f, "abcde");
    assert_block(f, 2, "abcde");
    assert_int_equal(spool_bytes(f->spool), 10);
}

static void test_where_nothing_may_be_dropped_all_blocks_of_a_write_are_stored_or_none(void **state)
{
    struct fixture *f = *state;
    struct spool_entry entries[] = {{.lane = LANE_HIGH, .block = slice_text("12345")},
                                    {.lane = LANE_LOW, .block = slice_text("67890")}};
    spool_close(&f->spool);
    open_spool(f, 9);
    assert_false(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err));
    assert_int_equal(f->err.kind, ERROR_FULL);
    assert_int_equal(spool_blocks(f->spool), 0);
    cut_power(f);
    assert_false(has(f, 0));
    assert_true(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err));
    assert_int_equal(spool_blocks(f->spool), 2);
}

static void test_the_bound_counts_what_was_there_before_the_restart(void **state)
{
    struct fixture *f = *state;
    append(f, "1234567890");
    spool_close(&f->spool);
    open_spool(f, 10);
    assert_false(try_append(f, LANE_NORMAL, slice_text("x")));
    assert_int_equal(f->err.kind, ERROR_FULL);
}

static void test_a_failed_write_is_reported_and_its_number_never_given_again(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    store_memory_fail_write(f->store, 1);
    assert_false(try_append(f, LANE_NORMAL, slice_text("lost")));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_int_equal(spool_next_sequence(f->spool), 2);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_false(has(f, 1));
    append(f, "two");
    assert_block(f, 2, "two");
    store_memory_fail_write(f->store, 1);
    assert_false(spool_add_epoch(f->spool, 9, slice_text("header"), &f->err));
    assert_int_equal(spool_epoch(f->spool), 0);
    struct spool_place place;
    assert_true(find_block(f, 0, &place));
    store_memory_fail_write(f->store, 1);
    assert_false(spool_acknowledge(f->spool, &place, &f->err));
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(first_sequence(f), 0);
    assert_block(f, 0, "one");
    acknowledge(f, 0);
    assert_int_equal(first_sequence(f), 2);
}

/* The number that the next block begins with is that of its epoch too: the hub needs the header of
 * what the failed write left. */
static void test_a_block_whose_write_failed_late_is_counted_and_handed_out(void **state)
{
    struct fixture *f = *state;
    assert_true(spool_add_epoch(f->spool, 5, slice_text("header 5"), &f->err));
    append(f, "one");
    store_memory_fail_late(f->store, 1);
    assert_false(try_append(f, LANE_NORMAL, slice_text("late")));
    assert_true(spool_add_epoch(f->spool, 6, slice_text("header 6"), &f->err));
    assert_int_equal(spool_next_sequence(f->spool), 2);
    assert_int_equal(spool_lane_end(f->spool, LANE_NORMAL), 2);
    append(f, "three");
    assert_block(f, 1, "late");
    assert_block(f, 2, "three");
    assert_int_equal(spool_blocks(f->spool), 3);
    assert_int_equal(spool_bytes(f->spool), 12);
    for (uint64_t i = 0; i < 3; i++) {
        acknowledge(f, i);
    }
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(spool_bytes(f->spool), 0);
    cut_power(f);
    assert_int_equal(spool_next_sequence(f->spool), 3);
}

static void test_what_failed_late_is_settled_by_an_acknowledgement_too(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    append(f, "one");
    append(f, "two");
    assert_true(find_block(f, 0, &place));
    store_memory_fail_late(f->store, 1);
    assert_false(try_append(f, LANE_HIGH, slice_text("late")));
    acknowledge(f, 0);
    assert_int_equal(spool_blocks(f->spool), 2);
    reopen(f);
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_bytes(f->spool), 7);
    assert_block(f, 2, "late");
}

static void test_a_block_whose_acknowledgement_failed_late_is_taken_out_once(void **state)
{
    struct fixture *f = *state;
    struct spool_place places[2];
    append(f, "one");
    append(f, "two");
    append(f, "three");
    assert_true(find_block(f, 1, &places[0]));
    assert_true(find_block(f, 2, &places[1]));
    for (int i = 0; i < 2; i++) {
        store_memory_fail_late(f->store, 1);
        assert_false(spool_acknowledge(f->spool, &places[i], &f->err));
        assert_true((i == 0 ? spool_acknowledge : spool_set_aside)(f->spool, &places[i], &f->err));
    }
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_int_equal(spool_bytes(f->spool), 3);
    assert_int_equal(spool_blocks_aside(f->spool), 0);
    assert_block(f, 0, "one");
    append(f, "four");
    acknowledge(f, 0);
    acknowledge(f, 3);
    assert_int_equal(spool_blocks(f->spool), 0);
}

static void test_each_lane_is_read_by_itself(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    bool found;
    append_to(f, LANE_LOW, "view");
    append_to(f, LANE_HIGH, "order");
    append_to(f, LANE_LOW, "view 2");
    reopen(f);
    assert_int_equal(spool_lane_end(f->spool, LANE_NORMAL), 0);
    assert_true(spool_lane_end(f->spool, LANE_HIGH) >= 2);
    assert_true(spool_find(f->spool, LANE_LOW, 1, &place, &f->block, &f->header, &found, &f->err));
    assert_true(found && slice_is(buf_slice(&f->block), "view 2"));
    assert_int_equal(place.sequence, 2);
    assert_int_equal(place.bytes, 6);
    assert_int_equal(place.era, ERA);
    assert_int_equal(place.lane, LANE_LOW);
    assert_true(spool_read(f->spool, &place, &f->block, &f->header, &found, &f->err));
    assert_true(found && slice_is(buf_slice(&f->block), "view 2"));
    assert_true(spool_find(f->spool, LANE_HIGH, 2, &place, &f->block, &f->header, &found, &f->err));
    assert_false(found);
    assert_int_equal(spool_last_ms(f->spool), NOW_MS);
}

static void test_blocks_of_one_write_are_stored_together(void **state)
{
    struct fixture *f = *state;
    struct spool_entry entries[] = {{.lane = LANE_HIGH, .block = slice_text("order")},
                                    {.lane = LANE_LOW, .block = slice_text("view")}};
    assert_true(spool_append(f->spool, entries, 2, ERA, NOW_MS, &f->err));
    assert_true(entries[0].is_stored && entries[1].is_stored);
    assert_int_equal(spool_next_sequence(f->spool), 2);
    cut_power(f);
    assert_block(f, 0, "order");
    assert_block(f, 1, "view");
}

/* ---- Threads ---- */

enum { THREAD_BLOCKS = 300 };

/* The hub's answers: find each block of a lane and take it out, until all have come. */
static void *take_out_all(void *arg)
{
    struct fixture *f = arg;
    struct buf block;
    struct buf header;
    uint64_t next[LANES] = {0};
    int taken = 0;
    buf_init(&block, BYTES_MAX);
    buf_init(&header, 4096);
    for (int lane = 0; taken < THREAD_BLOCKS; lane = (lane + 1) % LANES) {
        struct spool_place place;
        struct error err;
        bool found = false;
        if (next[lane] < spool_lane_end(f->spool, (enum lane)lane)) {
            bool fine = spool_find(f->spool, (enum lane)lane, next[lane], &place, &block, &header,
                                   &found, &err);
            assert_true(fine && found);
            next[lane] = place.sequence + 1;
            assert_true(spool_acknowledge(f->spool, &place, &err));
            taken++;
        }
    }
    buf_done(&block);
    buf_done(&header);
    return NULL;
}

static void test_blocks_are_appended_and_taken_out_at_the_same_time(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_out_all, f), 0);
    for (int i = 0; i < THREAD_BLOCKS; i++) {
        append_to(f, (enum lane)(i * 7 % LANES), "block");
        if (i % 50 == 0) {
            uint64_t epoch = spool_epoch(f->spool) + 1;
            assert_true(spool_add_epoch(f->spool, epoch, slice_text("header"), &f->err));
        }
    }
    pthread_join(thread, NULL);
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(spool_bytes(f->spool), 0);
    reopen(f);
    assert_int_equal(spool_blocks(f->spool), 0);
    assert_int_equal(spool_next_sequence(f->spool), THREAD_BLOCKS);
}

/* LevelDB says in its LOG what it does; a table that only moves to another level is not written. */
static void test_what_waits_is_never_merged_with_what_comes(void **state)
{
    enum { BLOCKS = 600, BLOCK_BYTES = 32 * 1024 };
    struct fixture *f = *state;
    char folder[TEST_FOLDER_BYTES];
    bool found;
    struct store_options options = {.write_buffer_bytes = 512 * 1024,
                                    .cache_bytes = 64 * 1024,
                                    .table_bytes = 2 * 1024 * 1024,
                                    .open_files_max = 100};
    struct buf log;
    uint8_t *block = memory_allocate_zeroed(BLOCK_BYTES);
    test_folder_make(folder);
    spool_close(&f->spool);
    store_close(&f->store);
    assert_true(store_leveldb_open(folder, &options, &f->store, &f->err));
    open_spool(f, 1LL << 30);
    assert_true(spool_add_epoch(f->spool, 5, slice_text("header"), &f->err));
    for (int i = 0; i < BLOCKS; i++) {
        assert_true(try_append(f, LANE_NORMAL, slice_make(block, BLOCK_BYTES)));
    }
    buf_init(&log, 1024 * 1024);
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(file_load(fd, "LOG", &log, &found, &f->err) && found);
    close(fd);
    buf_put_u8(&log, 0);
    assert_non_null(strstr((const char *)log.data, "Level-0 table"));
    assert_null(strstr((const char *)log.data, "Compacting"));
    spool_close(&f->spool);
    open_spool(f, 1LL << 30);
    assert_int_equal(spool_blocks(f->spool), BLOCKS);
    assert_int_equal(spool_bytes(f->spool), BLOCKS * BLOCK_BYTES);
    buf_done(&log);
    free(block);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_an_empty_spool_has_nothing),
        WITH(test_a_power_cut_after_an_append_loses_nothing),
        WITH(test_an_acknowledged_block_is_gone_also_after_a_restart),
        WITH(test_an_acknowledgement_is_durable_with_the_next_append),
        WITH(test_a_sequence_number_is_never_given_twice),
        WITH(test_a_full_spool_refuses_until_something_leaves),
        WITH(test_where_nothing_may_be_dropped_all_blocks_of_a_write_are_stored_or_none),
        WITH(test_the_bound_counts_what_was_there_before_the_restart),
        WITH(test_a_failed_write_is_reported_and_its_number_never_given_again),
        WITH(test_a_block_whose_write_failed_late_is_counted_and_handed_out),
        WITH(test_what_failed_late_is_settled_by_an_acknowledgement_too),
        WITH(test_a_block_whose_acknowledgement_failed_late_is_taken_out_once),
        WITH(test_each_lane_is_read_by_itself),
        WITH(test_blocks_of_one_write_are_stored_together),
        WITH(test_blocks_are_appended_and_taken_out_at_the_same_time),
        WITH(test_what_waits_is_never_merged_with_what_comes),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
