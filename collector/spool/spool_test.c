/* The spool on the memory store, which forgets on demand what was not synced. */
#include "collector/spool/spool_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include "shared/file.h"
#include "shared/rand.h"
#include "shared/seal.h"
#include "shared/test_disk.h"

enum { BYTES_MAX = 1000000 };

struct fixture {
    struct store *store;
    struct spool *spool;
    struct buf block;
    struct buf header;
    struct error err;
};

static void open_spool(struct fixture *f, uint64_t bytes_max)
{
    struct spool_options options = {.bytes_max = bytes_max};
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
}

static void reopen(struct fixture *f)
{
    spool_close(&f->spool);
    open_spool(f, BYTES_MAX);
}

static void cut_power(struct fixture *f)
{
    spool_close(&f->spool);
    store_memory_crash(f->store);
    open_spool(f, BYTES_MAX);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    buf_init(&f->block, BYTES_MAX);
    buf_init(&f->header, 4096);
    open_spool(f, BYTES_MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    spool_close(&f->spool);
    store_close(&f->store);
    buf_done(&f->block);
    buf_done(&f->header);
    free(f);
    return 0;
}

enum { ERA = 3, NOW_MS = 1795292103 };

static bool try_append(struct fixture *f, enum lane lane, struct slice block)
{
    struct spool_entry entry = {.lane = lane, .block = block};
    bool fine = spool_append(f->spool, &entry, 1, ERA, NOW_MS, &f->err);
    assert_true(!fine || entry.is_stored);
    return fine;
}

static void append_to(struct fixture *f, enum lane lane, const char *text)
{
    if (!try_append(f, lane, slice_text(text))) {
        fail_msg("appending %s: %s", text, f->err.message);
    }
}

static void append(struct fixture *f, const char *text)
{
    append_to(f, LANE_NORMAL, text);
}

/* The block with this very number, wherever it is. */
static bool find_block(struct fixture *f, uint64_t sequence, struct spool_place *ret)
{
    bool found = false;
    for (int lane = 0; lane < LANES && !found; lane++) {
        assert_true(spool_find(f->spool, (enum lane)lane, sequence, ret, &f->block, &f->header,
                               &found, &f->err));
        found = found && ret->sequence == sequence;
    }
    return found;
}

static void acknowledge(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    assert_true(find_block(f, sequence, &place));
    assert_true(spool_acknowledge(f->spool, &place, &f->err));
}

static void set_aside(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    assert_true(find_block(f, sequence, &place));
    assert_true(spool_set_aside(f->spool, &place, &f->err));
}

static bool has(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    return find_block(f, sequence, &place);
}

static uint64_t first_sequence(struct fixture *f)
{
    uint64_t first;
    assert_true(spool_first_sequence(f->spool, &first, &f->err));
    return first;
}

static void assert_block(struct fixture *f, uint64_t sequence, const char *text)
{
    if (!has(f, sequence) || !slice_is(buf_slice(&f->block), text)) {
        fail_msg("block %llu is not \"%s\"", (unsigned long long)sequence, text);
    }
}

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

static void test_a_block_set_aside_is_kept_but_not_handed_out(void **state)
{
    struct fixture *f = *state;
    append(f, "bad");
    append(f, "good");
    set_aside(f, 0);
    assert_false(has(f, 0));
    assert_int_equal(spool_blocks_aside(f->spool), 1);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_int_equal(spool_bytes(f->spool), 4);
    reopen(f);
    assert_false(has(f, 0));
    assert_int_equal(spool_blocks_aside(f->spool), 1);
    assert_int_equal(first_sequence(f), 0); /* its header is kept */
}

static void test_blocks_set_aside_can_be_put_back_where_they_were(void **state)
{
    struct fixture *f = *state;
    struct spool_place place;
    append_to(f, LANE_LOW, "bad");
    append_to(f, LANE_HIGH, "worse");
    append(f, "good");
    set_aside(f, 0);
    set_aside(f, 1);
    reopen(f);
    assert_true(spool_release_aside(f->spool, false, &f->err));
    cut_power(f);
    assert_int_equal(spool_blocks_aside(f->spool), 0);
    assert_int_equal(spool_blocks(f->spool), 3);
    assert_int_equal(spool_bytes(f->spool), 12);
    assert_true(find_block(f, 0, &place));
    assert_int_equal(place.lane, LANE_LOW);
    assert_int_equal(place.era, ERA);
    assert_block(f, 1, "worse");
    acknowledge(f, 0);
}

static void test_blocks_set_aside_can_be_dropped_and_take_room_until_then(void **state)
{
    struct fixture *f = *state;
    spool_close(&f->spool);
    open_spool(f, 10);
    append(f, "12345");
    set_aside(f, 0);
    append(f, "67890");
    assert_false(try_append(f, LANE_NORMAL, slice_text("x")));
    assert_true(spool_release_aside(f->spool, true, &f->err));
    append(f, "x");
    assert_int_equal(spool_blocks_aside(f->spool), 0);
    assert_int_equal(spool_blocks(f->spool), 2);
}

/* A real sealed block, so that the spool can tell whose epoch it is of. */
static void seal(uint64_t *ret_epoch, uint64_t previous, uint64_t sequence, struct buf *header,
                 struct buf *block)
{
    struct rand rand;
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    uint8_t hub_public[SEAL_KEY_BYTES] = {9};
    rand_seeded_init(&rand, 11 + previous);
    memset(sign_secret, 7, sizeof sign_secret);
    struct seal_epoch *epoch = seal_epoch_begin(slice_text("till-1"), sign_secret, hub_public,
                                                previous, 1795292103120, &rand, header);
    *ret_epoch = seal_epoch_number(epoch);
    seal_write_block(epoch, sequence, 1, slice_text("plain"), block);
    seal_epoch_end(&epoch);
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

static void assert_holds(struct fixture *f, uint64_t blocks, uint64_t bytes, uint64_t aside)
{
    assert_int_equal(spool_blocks(f->spool), blocks);
    assert_int_equal(spool_bytes(f->spool), bytes);
    assert_int_equal(spool_blocks_aside(f->spool), aside);
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

static void put(struct fixture *f, char kind, uint64_t number, struct slice value)
{
    uint8_t bytes[9];
    struct buf key = {.data = bytes, .capacity = 9, .len_max = 9};
    struct store_batch batch;
    buf_put_u8(&key, (uint8_t)kind);
    buf_put_u64(&key, number);
    store_batch_init(&batch);
    store_batch_put(&batch, buf_slice(&key), value);
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

/* The figures that stand with a block of the normal lane. */
static void put_figures(struct fixture *f, uint64_t sequence, struct slice value)
{
    struct spool_place place = {.lane = LANE_NORMAL, .era = ERA, .sequence = sequence};
    uint8_t key[SPOOL_FIGURES_KEY_BYTES];
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, spool_figures_key(&place, key), value);
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

static void test_a_spool_of_an_earlier_version_is_read_on(void **state)
{
    static const uint8_t next[8] = {0, 0, 0, 0, 0, 0, 0, 9};
    struct fixture *f = *state;
    struct spool_place place;
    put(f, 'b', 5, slice_text("five"));
    put(f, 'b', 6, slice_text("six"));
    put(f, 'q', 4, slice_text("four"));
    put(f, 'h', 77, slice_text("header"));
    put(f, 'n', 0, slice_make(next, sizeof next));
    reopen(f);
    assert_int_equal(spool_epoch(f->spool), 77);
    assert_int_equal(spool_next_sequence(f->spool), 9);
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_bytes(f->spool), 7);
    assert_int_equal(spool_blocks_aside(f->spool), 1);
    assert_int_equal(first_sequence(f), 4);
    assert_true(find_block(f, 5, &place));
    assert_int_equal(place.era, 1);
    assert_int_equal(place.lane, LANE_NORMAL);
    bool found;
    assert_true(spool_read(f->spool, &place, &f->block, &f->header, &found, &f->err));
    assert_true(found && slice_is(buf_slice(&f->block), "five"));
    assert_true(slice_is(buf_slice(&f->header), "header"));
    acknowledge(f, 5);
    set_aside(f, 6);
    append(f, "nine");
    cut_power(f);
    assert_false(has(f, 5));
    assert_false(has(f, 6));
    assert_block(f, 9, "nine");
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_int_equal(spool_blocks_aside(f->spool), 2);
    assert_true(spool_release_aside(f->spool, false, &f->err));
    assert_block(f, 4, "four");
    assert_block(f, 6, "six");
}

static bool keeps(struct fixture *f, char kind, uint64_t number, struct slice value)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    bool found;
    assert_true(
        store_get(f->store, NULL, spool_number_key(kind, number, key), &f->block, &found, &f->err));
    return found && slice_equal(buf_slice(&f->block), value);
}

static void
test_every_kind_of_key_of_an_earlier_version_is_changed_also_when_that_fails(void **state)
{
    static void (*const fail[])(struct store *, unsigned) = {NULL, store_memory_fail_write,
                                                             store_memory_fail_late};
    static const char kinds[] = "efhn";
    struct spool_options options = {.bytes_max = BYTES_MAX};
    for (uint8_t i = 0; i < 3; i++) {
        const uint8_t next[8] = {0, 0, 0, 0, 0, 0, 0, i};
        struct slice value = slice_make(next, sizeof next);
        tear_down(state);
        set_up(state);
        struct fixture *f = *state;
        spool_close(&f->spool);
        for (uint64_t n = 0; kinds[n] != 0; n++) {
            put(f, kinds[n], 3 - n, value);
        }
        if (fail[i] != NULL) {
            fail[i](f->store, 1);
            assert_false(spool_open(f->store, &options, &f->spool, &f->err));
            assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
        }
        open_spool(f, BYTES_MAX);
        cut_power(f);
        for (uint64_t n = 0; kinds[n] != 0; n++) {
            assert_true(keeps(f, (char)(kinds[n] - 'a' + 'A'), 3 - n, value));
            assert_false(keeps(f, kinds[n], 3 - n, value));
        }
        assert_int_equal(spool_next_sequence(f->spool), i);
        assert_int_equal(spool_epoch(f->spool), 1);
    }
}

static void test_figures_that_do_not_fit_are_counted_anew(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    spool_close(&f->spool);
    put(f, 'N', 0, slice_text("no state at all"));
    put_figures(f, 1, slice_text("nor here"));
    open_spool(f, BYTES_MAX);
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_bytes(f->spool), 6);
    assert_int_equal(spool_next_sequence(f->spool), 2);
}

static void test_figures_that_do_not_know_of_all_blocks_are_counted_anew(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    append(f, "three");
    acknowledge(f, 0);
    put(f, 'b', 7, slice_text("unknown"));
    reopen(f);
    assert_holds(f, 3, 3 + 5 + 7, 0);
    assert_int_equal(spool_next_sequence(f->spool), 8);
}

static bool has_header(struct fixture *f, uint64_t epoch)
{
    uint8_t bytes[9];
    struct buf key = {.data = bytes, .capacity = 9, .len_max = 9};
    bool found;
    buf_put_u8(&key, 'H');
    buf_put_u64(&key, epoch);
    assert_true(store_get(f->store, NULL, buf_slice(&key), &f->header, &found, &f->err));
    return found;
}

static void test_headers_that_no_block_needs_are_deleted(void **state)
{
    struct fixture *f = *state;
    put(f, 'h', 3, slice_text("of an earlier version"));
    reopen(f);
    for (uint64_t epoch = 5; epoch <= 7; epoch++) {
        assert_true(spool_add_epoch(f->spool, epoch, slice_text("header"), &f->err));
        append_to(f, epoch == 6 ? LANE_LOW : LANE_HIGH, "block");
    }
    acknowledge(f, 0);
    acknowledge(f, 2);
    assert_true(spool_add_epoch(f->spool, 8, slice_text("header"), &f->err));
    assert_false(has_header(f, 3));
    assert_false(has_header(f, 5));
    assert_true(has_header(f, 6)); /* of block 1, which is still here */
    assert_true(has_header(f, 7));
    acknowledge(f, 1);
    assert_true(spool_add_epoch(f->spool, 9, slice_text("header"), &f->err));
    assert_false(has_header(f, 6));
    assert_false(has_header(f, 7));
    assert_true(has_header(f, 9));
    cut_power(f);
    assert_int_equal(spool_epoch(f->spool), 9);
}

static void test_a_block_comes_with_the_header_of_its_own_epoch(void **state)
{
    struct fixture *f = *state;
    struct buf headers[2];
    struct buf blocks[2];
    uint64_t epochs[2] = {0};
    for (int i = 0; i < 2; i++) {
        buf_init(&headers[i], 4096);
        buf_init(&blocks[i], 4096);
        seal(&epochs[i], i == 0 ? 0 : epochs[0], (uint64_t)i, &headers[i], &blocks[i]);
        assert_true(spool_add_epoch(f->spool, epochs[i], buf_slice(&headers[i]), &f->err));
        assert_true(try_append(f, LANE_NORMAL, buf_slice(&blocks[i])));
    }
    reopen(f);
    assert_int_equal(spool_epoch(f->spool), epochs[1]);
    for (uint64_t i = 0; i < 2; i++) {
        assert_true(has(f, i));
        assert_true(slice_equal(buf_slice(&f->block), buf_slice(&blocks[i])));
        assert_true(slice_equal(buf_slice(&f->header), buf_slice(&headers[i])));
    }
    for (int i = 0; i < 2; i++) {
        buf_done(&headers[i]);
        buf_done(&blocks[i]);
    }
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

/* ---- Against a model ---- */

enum { STEPS = 200, MODEL_MAX = 300 };

struct model {
    uint64_t next;
    uint64_t kept;     /* the next number, as a power cut leaves it */
    bool is_unsettled; /* the last write failed */
    bool is_here[MODEL_MAX];
    bool is_settled[MODEL_MAX]; /* taken out, and durably so */
};

/* After a power cut, what was taken out since the last synced write may be back, nothing else. */
static void check_model(struct fixture *f, struct model *m, bool was_cut, uint64_t seed)
{
    uint64_t blocks = 0;
    uint64_t bytes = 0;
    uint64_t next = spool_next_sequence(f->spool);
    if (next > m->next || next < m->kept) {
        fail_msg("seed=%llu: next is %llu, not %llu", (unsigned long long)seed,
                 (unsigned long long)next, (unsigned long long)m->next);
    }
    m->is_unsettled = false;
    m->next = next; /* numbers under which nothing was stored are free again */
    for (uint64_t i = 0; i < m->next; i++) {
        char text[32];
        bool found = has(f, i);
        snprintf(text, sizeof text, "block %llu", (unsigned long long)i);
        bool may_be_back = was_cut && !m->is_settled[i];
        if (found ? !m->is_here[i] && !may_be_back : m->is_here[i]) {
            fail_msg("seed=%llu sequence=%llu: %s", (unsigned long long)seed, (unsigned long long)i,
                     found ? "came back" : "is lost");
        }
        if (found && (!slice_is(buf_slice(&f->block), text) || i < first_sequence(f))) {
            fail_msg("seed=%llu sequence=%llu: wrong", (unsigned long long)seed,
                     (unsigned long long)i);
        }
        m->is_here[i] = found;
        blocks += found;
        bytes += found ? f->block.len : 0;
    }
    assert_int_equal(spool_blocks(f->spool), blocks);
    assert_int_equal(spool_bytes(f->spool), bytes);
}

static void settle(struct model *m)
{
    for (uint64_t i = 0; i < m->next; i++) {
        m->is_settled[i] = !m->is_here[i];
    }
    m->kept = m->next;
}

static void step(struct fixture *f, struct model *m, struct rand *rand, uint64_t seed)
{
    char text[32];
    bool fails_late;
    uint64_t which = m->next == 0 ? 0 : rand_below(rand, m->next);
    switch (rand_below(rand, 10)) {
    case 0:
        cut_power(f);
        check_model(f, m, true, seed);
        settle(m);
        break;
    case 1:
        reopen(f);
        check_model(f, m, false, seed);
        break;
    case 2:
        fails_late = which % 2 == 1;
        snprintf(text, sizeof text, "block %llu", (unsigned long long)m->next);
        (fails_late ? store_memory_fail_late : store_memory_fail_write)(f->store, 1);
        assert_false(try_append(f, LANE_NORMAL, slice_text(text)));
        if (m->is_unsettled) {
            break; /* it did not come as far as the block */
        }
        m->is_unsettled = true;
        m->is_here[m->next++] = fails_late;
        if (fails_late) {
            settle(m);
        }
        break;
    case 3:
    case 4:
    case 5:
        if (m->next > 0 && m->is_here[which]) {
            (rand_below(rand, 2) == 0 ? set_aside : acknowledge)(f, which);
            m->is_here[which] = false;
            m->is_unsettled = false;
        }
        break;
    default:
        snprintf(text, sizeof text, "block %llu", (unsigned long long)m->next);
        append_to(f, (enum lane)rand_below(rand, LANES), text);
        m->is_here[m->next++] = true;
        m->is_unsettled = false;
        settle(m);
        break;
    }
}

static void test_random_work_and_power_cuts_lose_nothing_and_repeat_no_number(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rand rand;
        struct model *m = calloc(1, sizeof *m);
        rand_seeded_init(&rand, seed);
        tear_down(state);
        set_up(state);
        for (int i = 0; i < STEPS; i++) {
            step(*state, m, &rand, seed);
        }
        reopen(*state);
        check_model(*state, m, false, seed);
        free(m);
    }
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

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        WITH(test_a_block_set_aside_is_kept_but_not_handed_out),
        WITH(test_blocks_set_aside_can_be_put_back_where_they_were),
        WITH(test_blocks_set_aside_can_be_dropped_and_take_room_until_then),
        WITH(test_each_lane_is_read_by_itself),
        WITH(test_blocks_of_one_write_are_stored_together),
        WITH(test_the_oldest_of_the_lowest_lane_is_dropped_first),
        WITH(test_a_block_never_drops_one_of_a_higher_lane),
        WITH(test_a_drop_is_counted_also_after_a_power_cut),
        WITH(test_an_answer_for_a_dropped_block_changes_nothing),
        WITH(test_one_append_drops_as_many_blocks_as_it_takes),
        WITH(test_blocks_aside_that_one_append_drops_are_counted_once_each),
        WITH(test_on_a_short_disk_the_spool_does_not_grow),
        WITH(test_a_spool_of_an_earlier_version_is_read_on),
        WITH(test_every_kind_of_key_of_an_earlier_version_is_changed_also_when_that_fails),
        WITH(test_figures_that_do_not_fit_are_counted_anew),
        WITH(test_figures_that_do_not_know_of_all_blocks_are_counted_anew),
        WITH(test_headers_that_no_block_needs_are_deleted),
        WITH(test_a_block_comes_with_the_header_of_its_own_epoch),
        WITH(test_blocks_are_appended_and_taken_out_at_the_same_time),
        WITH(test_what_waits_is_never_merged_with_what_comes),
        WITH(test_random_work_and_power_cuts_lose_nothing_and_repeat_no_number),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
