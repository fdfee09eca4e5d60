/* Blocks that the hub refused as damaged. */
#include "collector/spool/spool_test.h"

#include "shared/seal.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_block_set_aside_is_kept_but_not_handed_out),
        WITH(test_blocks_set_aside_can_be_put_back_where_they_were),
        WITH(test_blocks_set_aside_can_be_dropped_and_take_room_until_then),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
