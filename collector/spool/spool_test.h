/* What the tests of the spool share: a spool on the memory store, which forgets on demand what was
 * not synced. For tests alone. */
#ifndef TRIBUTARY_COLLECTOR_SPOOL_TEST_H
#define TRIBUTARY_COLLECTOR_SPOOL_TEST_H

#include "collector/spool/spool_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { BYTES_MAX = 1000000, ERA = 3, NOW_MS = 1795292103 };

struct fixture {
    struct store *store;
    struct spool *spool;
    struct buf block;
    struct buf header;
    struct error err;
};

static inline void open_spool(struct fixture *f, uint64_t bytes_max)
{
    struct spool_options options = {.bytes_max = bytes_max};
    assert_true(spool_open(f->store, &options, &f->spool, &f->err));
}

static inline void reopen(struct fixture *f)
{
    spool_close(&f->spool);
    open_spool(f, BYTES_MAX);
}

static inline void cut_power(struct fixture *f)
{
    spool_close(&f->spool);
    store_memory_crash(f->store);
    open_spool(f, BYTES_MAX);
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    buf_init(&f->block, BYTES_MAX);
    buf_init(&f->header, 4096);
    open_spool(f, BYTES_MAX);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    spool_close(&f->spool);
    store_close(&f->store);
    buf_done(&f->block);
    buf_done(&f->header);
    free(f);
    return 0;
}

static inline bool try_append(struct fixture *f, enum lane lane, struct slice block)
{
    struct spool_entry entry = {.lane = lane, .block = block};
    bool fine = spool_append(f->spool, &entry, 1, ERA, NOW_MS, &f->err);
    assert_true(!fine || entry.is_stored);
    return fine;
}

static inline void append_to(struct fixture *f, enum lane lane, const char *text)
{
    if (!try_append(f, lane, slice_text(text))) {
        fail_msg("appending %s: %s", text, f->err.message);
    }
}

static inline void append(struct fixture *f, const char *text)
{
    append_to(f, LANE_NORMAL, text);
}

/* The block with this very number, wherever it is. */
static inline bool find_block(struct fixture *f, uint64_t sequence, struct spool_place *ret)
{
    bool found = false;
    for (int lane = 0; lane < LANES && !found; lane++) {
        assert_true(spool_find(f->spool, (enum lane)lane, sequence, ret, &f->block, &f->header,
                               &found, &f->err));
        found = found && ret->sequence == sequence;
    }
    return found;
}

static inline void acknowledge(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    assert_true(find_block(f, sequence, &place));
    assert_true(spool_acknowledge(f->spool, &place, &f->err));
}

static inline void set_aside(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    assert_true(find_block(f, sequence, &place));
    assert_true(spool_set_aside(f->spool, &place, &f->err));
}

static inline bool has(struct fixture *f, uint64_t sequence)
{
    struct spool_place place;
    return find_block(f, sequence, &place);
}

static inline uint64_t first_sequence(struct fixture *f)
{
    uint64_t first;
    assert_true(spool_first_sequence(f->spool, &first, &f->err));
    return first;
}

static inline void assert_block(struct fixture *f, uint64_t sequence, const char *text)
{
    if (!has(f, sequence) || !slice_is(buf_slice(&f->block), text)) {
        fail_msg("block %llu is not \"%s\"", (unsigned long long)sequence, text);
    }
}

static inline void assert_holds(struct fixture *f, uint64_t blocks, uint64_t bytes, uint64_t aside)
{
    assert_int_equal(spool_blocks(f->spool), blocks);
    assert_int_equal(spool_bytes(f->spool), bytes);
    assert_int_equal(spool_blocks_aside(f->spool), aside);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
