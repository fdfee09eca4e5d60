/* What the spool finds when it is opened: figures, headers, and what earlier versions left. */
#include "collector/spool/spool_test.h"

#include "shared/rand.h"
#include "shared/seal.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_spool_of_an_earlier_version_is_read_on),
        WITH(test_every_kind_of_key_of_an_earlier_version_is_changed_also_when_that_fails),
        WITH(test_figures_that_do_not_fit_are_counted_anew),
        WITH(test_figures_that_do_not_know_of_all_blocks_are_counted_anew),
        WITH(test_headers_that_no_block_needs_are_deleted),
        WITH(test_a_block_comes_with_the_header_of_its_own_epoch),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
