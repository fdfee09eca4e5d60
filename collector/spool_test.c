/* The spool on the memory store, which forgets on demand what was not synced. */
#include "collector/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"
#include "shared/seal.h"

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
    assert_true(spool_open(f->store, bytes_max, &f->spool, &f->err));
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

static void append(struct fixture *f, const char *text)
{
    if (!spool_append(f->spool, slice_text(text), &f->err)) {
        fail_msg("appending %s: %s", text, f->err.message);
    }
}

static void acknowledge(struct fixture *f, uint64_t sequence)
{
    assert_true(spool_acknowledge(f->spool, sequence, &f->err));
}

static bool has(struct fixture *f, uint64_t sequence)
{
    bool found;
    assert_true(spool_read(f->spool, sequence, &f->block, &f->header, &found, &f->err));
    return found;
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
    assert_int_equal(spool_first_sequence(f->spool), spool_next_sequence(f->spool));
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
    assert_block(f, spool_first_sequence(f->spool), "one");
    assert_block(f, spool_first_sequence(f->spool) + 1, "two");
}

static void test_an_acknowledged_block_is_gone_also_after_a_restart(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    uint64_t first = spool_first_sequence(f->spool);
    acknowledge(f, first);
    assert_false(has(f, first));
    assert_int_equal(spool_first_sequence(f->spool), first + 1);
    reopen(f);
    assert_false(has(f, first));
    assert_int_equal(spool_first_sequence(f->spool), first + 1);
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

static void test_acknowledging_twice_or_what_never_was_changes_nothing(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    append(f, "two");
    acknowledge(f, 1);
    acknowledge(f, 1);
    acknowledge(f, 77);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_int_equal(spool_bytes(f->spool), 3);
    assert_block(f, 0, "one");
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
    assert_int_equal(spool_first_sequence(f->spool), next);
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
    assert_false(spool_append(f->spool, slice_text("x"), &f->err));
    assert_int_equal(f->err.kind, ERROR_FULL);
    assert_int_equal(spool_next_sequence(f->spool), 2);
    assert_int_equal(spool_blocks(f->spool), 2);
    acknowledge(f, 0);
    assert_false(spool_append(f->spool, slice_text("123456"), &f->err));
    append(f, "abcde");
    assert_block(f, 2, "abcde");
    assert_int_equal(spool_bytes(f->spool), 10);
}

static void test_the_bound_counts_what_was_there_before_the_restart(void **state)
{
    struct fixture *f = *state;
    append(f, "1234567890");
    spool_close(&f->spool);
    open_spool(f, 10);
    assert_false(spool_append(f->spool, slice_text("x"), &f->err));
    assert_int_equal(f->err.kind, ERROR_FULL);
}

static void test_a_failed_write_is_reported_and_takes_no_number(void **state)
{
    struct fixture *f = *state;
    append(f, "one");
    store_memory_fail_write(f->store, 1);
    assert_false(spool_append(f->spool, slice_text("lost"), &f->err));
    assert_int_equal(f->err.kind, ERROR_UNAVAILABLE);
    assert_int_equal(spool_next_sequence(f->spool), 1);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_false(has(f, 1));
    append(f, "two");
    assert_block(f, 1, "two");
    store_memory_fail_write(f->store, 1);
    assert_false(spool_add_epoch(f->spool, 9, slice_text("header"), &f->err));
    assert_int_equal(spool_epoch(f->spool), 0);
    store_memory_fail_write(f->store, 1);
    assert_false(spool_acknowledge(f->spool, 0, &f->err));
    assert_int_equal(spool_blocks(f->spool), 2);
    assert_int_equal(spool_first_sequence(f->spool), 0);
    assert_block(f, 0, "one");
    acknowledge(f, 0);
    assert_int_equal(spool_first_sequence(f->spool), 1);
}

static void test_a_block_set_aside_is_kept_but_not_handed_out(void **state)
{
    struct fixture *f = *state;
    append(f, "bad");
    append(f, "good");
    assert_true(spool_set_aside(f->spool, 0, &f->err));
    assert_false(has(f, 0));
    assert_int_equal(spool_blocks_aside(f->spool), 1);
    assert_int_equal(spool_blocks(f->spool), 1);
    assert_int_equal(spool_bytes(f->spool), 4);
    assert_int_equal(spool_first_sequence(f->spool), 1);
    reopen(f);
    assert_false(has(f, 0));
    assert_int_equal(spool_blocks_aside(f->spool), 1);
    assert_int_equal(spool_first_sequence(f->spool), 1);
    /* The bytes are there for the operator. */
    uint8_t key[9] = {'q'};
    bool found;
    assert_true(store_get(f->store, NULL, slice_make(key, sizeof key), &f->block, &found, &f->err));
    assert_true(found && slice_is(buf_slice(&f->block), "bad"));
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
        assert_true(spool_append(f->spool, buf_slice(&blocks[i]), &f->err));
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

/* ---- Against a model ---- */

enum { STEPS = 600, MODEL_MAX = 700 };

struct model {
    uint64_t next;
    bool is_here[MODEL_MAX];
    bool is_settled[MODEL_MAX]; /* taken out, and durably so */
};

/* After a power cut, what was taken out since the last synced write may be back, nothing else. */
static void check_model(struct fixture *f, struct model *m, bool was_cut, uint64_t seed)
{
    uint64_t blocks = 0;
    if (spool_next_sequence(f->spool) != m->next) {
        fail_msg("seed=%llu: next is %llu, not %llu", (unsigned long long)seed,
                 (unsigned long long)spool_next_sequence(f->spool), (unsigned long long)m->next);
    }
    for (uint64_t i = 0; i < m->next; i++) {
        char text[32];
        bool found = has(f, i);
        snprintf(text, sizeof text, "block %llu", (unsigned long long)i);
        bool may_be_back = was_cut && !m->is_settled[i];
        if (found ? !m->is_here[i] && !may_be_back : m->is_here[i]) {
            fail_msg("seed=%llu sequence=%llu: %s", (unsigned long long)seed, (unsigned long long)i,
                     found ? "came back" : "is lost");
        }
        if (found &&
            (!slice_is(buf_slice(&f->block), text) || i < spool_first_sequence(f->spool))) {
            fail_msg("seed=%llu sequence=%llu: wrong", (unsigned long long)seed,
                     (unsigned long long)i);
        }
        m->is_here[i] = found;
        blocks += found;
    }
    assert_int_equal(spool_blocks(f->spool), blocks);
}

static void settle(struct model *m)
{
    for (uint64_t i = 0; i < m->next; i++) {
        m->is_settled[i] = !m->is_here[i];
    }
}

static void step(struct fixture *f, struct model *m, struct rand *rand, uint64_t seed)
{
    char text[32];
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
        store_memory_fail_write(f->store, 1);
        assert_false(spool_append(f->spool, slice_text("lost"), &f->err));
        break;
    case 3:
    case 4:
    case 5:
        assert_true(rand_below(rand, 2) == 0 ? spool_set_aside(f->spool, which, &f->err)
                                             : spool_acknowledge(f->spool, which, &f->err));
        m->is_here[which] = false;
        break;
    default:
        snprintf(text, sizeof text, "block %llu", (unsigned long long)m->next);
        append(f, text);
        m->is_here[m->next++] = true;
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
        check_model(*state, m, false, seed);
        free(m);
    }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_an_empty_spool_has_nothing),
        WITH(test_a_power_cut_after_an_append_loses_nothing),
        WITH(test_an_acknowledged_block_is_gone_also_after_a_restart),
        WITH(test_an_acknowledgement_is_durable_with_the_next_append),
        WITH(test_acknowledging_twice_or_what_never_was_changes_nothing),
        WITH(test_a_sequence_number_is_never_given_twice),
        WITH(test_a_full_spool_refuses_until_something_leaves),
        WITH(test_the_bound_counts_what_was_there_before_the_restart),
        WITH(test_a_failed_write_is_reported_and_takes_no_number),
        WITH(test_a_block_set_aside_is_kept_but_not_handed_out),
        WITH(test_a_block_comes_with_the_header_of_its_own_epoch),
        WITH(test_random_work_and_power_cuts_lose_nothing_and_repeat_no_number),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
