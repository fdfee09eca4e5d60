/* Histories of the spool against a model: appends of several blocks, drops, answers that come late,
 * writes that fail, power cuts, blocks aside, and spools of before. After each step the store, the
 * figures and what is read must be what the model says.
 */
#include "collector/spool/spool_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"
#include "shared/seal.h"

enum {
    SEEDS = 300,
    STEPS = 150,
    ENTRIES_MAX = 4,
    BLOCKS_MAX = STEPS * ENTRIES_MAX,
    BLOCK_BYTES_MIN = 20,
    BLOCK_BYTES_MAX = 140,
    ERAS_MAX = 4,
    EPOCHS_MAX = 2 + 2 * STEPS,
    ASIDE_FIGURES = LANES, /* beside those of the lanes */
};

enum where { NOWHERE, IN_LANE, ASIDE };

enum fate { FINE, FAILS, FAILS_LATE, SETTLING_FAILS, SETTLING_FAILS_LATE };

struct block {
    enum lane lane;
    uint32_t era;
    uint64_t epoch;
    size_t len;
    uint8_t events;
    bool was_stored;
};

/* What the store should keep. */
struct contents {
    uint8_t where[BLOCKS_MAX];
    uint64_t next;
    int64_t last_ms;
    uint64_t dropped[LANES];
    uint64_t epoch;
};

struct history {
    uint64_t seed;
    int step;
    struct rand rand;
    struct store *store;
    struct spool *spool;
    struct spool_options options;
    struct error err;
    struct buf bytes;
    struct buf header;
    struct block blocks[BLOCKS_MAX];
    struct contents now;
    struct contents durable; /* what a power cut leaves */
    uint64_t next;           /* with the numbers of appends that failed */
    uint32_t era;
    uint64_t epoch;    /* of the blocks to come */
    bool is_epoch_due; /* before the next append */
    int64_t now_ms;
    enum fate fate; /* of the write under way */
    bool was_unsettled;
    bool has_found;
    struct spool_place found; /* under way to the hub */
};

/* What the store does keep. */
struct kept {
    uint8_t where[BLOCKS_MAX];
    uint64_t blocks[LANES + 1];
    uint64_t bytes[LANES + 1];
    uint64_t last; /* the block that was met last */
    uint64_t eras;
    uint64_t headers;
    uint64_t firsts;
    bool has_header[EPOCHS_MAX];
};

#define CHECK(history, condition, sequence)                                                        \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s: seed=%llu step=%d sequence=%llu", #condition,                            \
                     (unsigned long long)(history)->seed, (history)->step,                         \
                     (unsigned long long)(sequence));                                              \
        }                                                                                          \
    } while (0)

static uint64_t below(struct history *h, uint64_t bound)
{
    return rand_below(&h->rand, bound);
}

static bool one_in(struct history *h, uint64_t n)
{
    return below(h, n) == 0;
}

/* ---- The store against the model ---- */

/* A sealed block, as far as the spool can tell. */
static struct slice block_bytes(const struct history *h, uint64_t sequence,
                                uint8_t ret[BLOCK_BYTES_MAX])
{
    const struct block *b = &h->blocks[sequence];
    const uint8_t head[] = {0x95, 1, 1, 1, b->events, 0xc4, (uint8_t)(b->len - 7)};
    memset(ret, (int)(sequence % 251), b->len);
    memcpy(ret, head, sizeof head);
    return slice_make(ret, b->len);
}

static void look_at_block(struct history *h, struct store_iterator *it, bool is_aside,
                          struct kept *ret)
{
    uint8_t bytes[BLOCK_BYTES_MAX];
    enum lane lane = (enum lane)(is_aside ? LANE_NORMAL : store_iterator_key(it).data[0] - 'a');
    struct spool_place place = spool_place_at(it, lane);
    uint64_t n = place.sequence;
    size_t at = is_aside ? ASIDE_FIGURES : (size_t)place.lane;
    CHECK(h, n < h->next && ret->where[n] == NOWHERE, n);
    CHECK(h, place.lane == h->blocks[n].lane && place.era == h->blocks[n].era, n);
    CHECK(h, slice_equal(store_iterator_value(it), block_bytes(h, n, bytes)), n);
    CHECK(h, ret->has_header[h->blocks[n].epoch], n);
    ret->where[n] = is_aside ? ASIDE : IN_LANE;
    ret->blocks[at]++;
    ret->bytes[at] += place.bytes;
    ret->last = n;
}

static void look_at(struct history *h, struct store_iterator *it, struct kept *ret)
{
    switch (store_iterator_key(it).data[0]) {
    case 'E':
        ret->eras++;
        break;
    case 'F':
        ret->firsts++;
        break;
    case 'H':
        ret->headers++;
        ret->has_header[spool_number_at(it)] = true;
        break;
    case 'N':
        break;
    case 'q':
        look_at_block(h, it, true, ret);
        break;
    default:
        if (spool_is_figures(it)) { /* they stand behind their block, and go with it */
            CHECK(h, ret->last == spool_number_at(it), spool_number_at(it));
        } else {
            look_at_block(h, it, false, ret);
        }
    }
}

static uint64_t first_of_all(const struct history *h)
{
    uint64_t n = 0;
    while (n < h->next && h->now.where[n] == NOWHERE) {
        n++;
    }
    return n;
}

static void check_store(struct history *h, struct kept *ret)
{
    *ret = (struct kept){.last = UINT64_MAX};
    struct store_iterator *it = store_iterator_open(h->store, NULL);
    for (store_iterator_seek(it, slice_text("")); store_iterator_valid(it);
         store_iterator_next(it)) {
        look_at(h, it, ret);
    }
    store_iterator_close(&it);
    for (uint64_t n = 0; n < h->next; n++) {
        CHECK(h, ret->where[n] == h->now.where[n], n);
    }
    CHECK(h, ret->eras == h->era, ret->eras);
    CHECK(h, ret->headers == ret->firsts, ret->headers);
}

static void check_figures(const struct history *h, const struct kept *kept)
{
    const struct spool_state *state = &h->spool->state;
    for (int i = 0; i < LANES; i++) {
        CHECK(h, state->lanes[i].blocks == kept->blocks[i], i);
        CHECK(h, state->lanes[i].bytes == kept->bytes[i], i);
        CHECK(h, state->lanes[i].dropped_events == h->now.dropped[i], i);
    }
    CHECK(h, state->aside_blocks == kept->blocks[ASIDE_FIGURES], 0);
    CHECK(h, state->aside_bytes == kept->bytes[ASIDE_FIGURES], 0);
    CHECK(h, state->next == h->next, h->next);
    CHECK(h, state->last_ms == h->now.last_ms, 0);
}

/* Find the first block of a lane from a number on; false: the model has none. */
static bool find(struct history *h, enum lane lane, uint64_t from, struct spool_place *ret)
{
    bool found;
    uint64_t n = from;
    while (n < h->next && (h->now.where[n] != IN_LANE || h->blocks[n].lane != lane)) {
        n++;
    }
    CHECK(h, spool_find(h->spool, lane, from, ret, &h->bytes, &h->header, &found, &h->err), from);
    CHECK(h, found == (n < h->next), n);
    CHECK(h, !found || (ret->sequence == n && ret->lane == lane), n);
    CHECK(h, !found || (ret->bytes == h->blocks[n].len && ret->era == h->blocks[n].era), n);
    return found;
}

static void check(struct history *h)
{
    struct kept kept;
    struct spool_place place;
    check_store(h, &kept);
    if (h->spool->is_unsettled) {
        return; /* the figures are those of before */
    }
    check_figures(h, &kept);
    enum lane lane = (enum lane)below(h, LANES);
    if (find(h, lane, below(h, h->next + 1), &place)) {
        CHECK(h, place.sequence < spool_lane_end(h->spool, lane), place.sequence);
    }
}

static void check_all_reading(struct history *h)
{
    struct spool_place place;
    uint64_t first;
    for (int lane = 0; lane < LANES; lane++) {
        for (uint64_t from = 0; find(h, (enum lane)lane, from, &place);) {
            from = place.sequence + 1;
        }
    }
    CHECK(h, spool_first_sequence(h->spool, &first, &h->err), 0);
    CHECK(h, first == first_of_all(h), first);
}

/* ---- Writes that fail ---- */

static void fail_next(struct history *h, bool is_late, unsigned nth)
{
    (is_late ? store_memory_fail_late : store_memory_fail_write)(h->store, nth);
}

/* Before what writes: choose its fate. */
static void choose_fate(struct history *h)
{
    bool is_late = one_in(h, 2);
    h->was_unsettled = h->spool->is_unsettled;
    h->fate = FINE;
    if (one_in(h, 6)) {
        bool is_settling = h->was_unsettled && one_in(h, 2);
        fail_next(h, is_late, h->was_unsettled && !is_settling ? 2 : 1);
        h->fate = (is_settling ? SETTLING_FAILS : FAILS) + (is_late ? 1 : 0);
    }
}

/* After it: did it come to its own write? To settle the spool syncs what was written before. */
static bool has_settled(struct history *h)
{
    store_memory_fail_write(h->store, 0);
    if (h->was_unsettled && h->fate != SETTLING_FAILS) {
        h->durable = h->now;
    }
    return h->fate < SETTLING_FAILS;
}

static void sync_store(struct history *h)
{
    struct store_batch batch;
    store_batch_init(&batch);
    CHECK(h, store_write(h->store, &batch, true, &h->err), 0);
    store_batch_done(&batch);
    h->durable = h->now;
}

/* ---- Appending ---- */

static uint64_t bytes_of(const struct history *h, const struct contents *c)
{
    uint64_t bytes = 0;
    for (uint64_t n = 0; n < h->next + ENTRIES_MAX && n < BLOCKS_MAX; n++) {
        bytes += c->where[n] == NOWHERE ? 0 : h->blocks[n].len;
    }
    return bytes;
}

static bool drop_first(const struct history *h, struct contents *c, enum where where, int lane)
{
    for (uint64_t n = 0; n < h->next; n++) {
        const struct block *b = &h->blocks[n];
        if (c->where[n] == where && (where == ASIDE || (int)b->lane == lane)) {
            c->where[n] = NOWHERE;
            c->dropped[b->lane] += b->events;
            return true;
        }
    }
    return false;
}

static bool drop_oldest(const struct history *h, struct contents *c, enum lane lowest)
{
    bool is_dropped = drop_first(h, c, ASIDE, 0);
    for (int lane = LANES - 1; !is_dropped && lane >= (int)lowest; lane--) {
        is_dropped = drop_first(h, c, IN_LANE, lane);
    }
    return is_dropped;
}

static bool has_room(const struct history *h, const struct contents *c, size_t bytes)
{
    return bytes_of(h, c) + bytes <= h->options.bytes_max;
}

static bool make_room(const struct history *h, struct contents *c, const struct spool_entry *entry)
{
    struct contents before = *c;
    bool is_dropping = h->options.drops_oldest;
    while (is_dropping && !has_room(h, c, entry->block.len)) {
        is_dropping = drop_oldest(h, c, entry->lane);
    }
    bool has_made_it = has_room(h, c, entry->block.len);
    *c = has_made_it ? *c : before; /* nothing is dropped in vain */
    return has_made_it;
}

/* What the append makes of the contents; how many blocks are stored. */
static size_t foresee(struct history *h, const struct spool_entry *entries, size_t count,
                      struct contents *ret)
{
    size_t stored = 0;
    *ret = h->now;
    for (size_t i = 0; i < count; i++) {
        if (make_room(h, ret, &entries[i])) {
            ret->where[h->next + i] = IN_LANE;
            stored++;
        }
    }
    ret->next = h->next + count;
    ret->last_ms = h->now_ms;
    return h->options.drops_oldest || stored == count ? stored : 0;
}

static void make_entries(struct history *h, size_t count, struct spool_entry ret[ENTRIES_MAX],
                         uint8_t ret_bytes[ENTRIES_MAX][BLOCK_BYTES_MAX])
{
    enum lane lane = (enum lane)below(h, LANES);
    bool is_mixed = one_in(h, 2);
    for (size_t i = 0; i < count; i++) {
        struct block *b = &h->blocks[h->next + i];
        CHECK(h, !b->was_stored, h->next + i); /* its number is given twice */
        *b = (struct block){
            .lane = is_mixed ? (enum lane)below(h, LANES) : lane,
            .era = h->era,
            .epoch = h->epoch,
            .len = BLOCK_BYTES_MIN + below(h, one_in(h, 2) ? 20 : BLOCK_BYTES_MAX - 20),
            .events = (uint8_t)(1 + below(h, 100)),
        };
        ret[i] = (struct spool_entry){.lane = b->lane,
                                      .block = block_bytes(h, h->next + i, ret_bytes[i])};
    }
}

static bool add_epoch(struct history *h)
{
    uint64_t epoch = spool_epoch(h->spool) + 1;
    choose_fate(h);
    bool fine = spool_add_epoch(h->spool, epoch, slice_text("header"), &h->err);
    bool is_written = has_settled(h) && h->fate != FAILS;
    CHECK(h, fine == (h->fate == FINE), epoch);
    if (is_written) {
        h->now.epoch = epoch;
        h->durable = h->now;
    }
    h->epoch = fine ? epoch : h->epoch;
    h->is_epoch_due = !fine;
    return fine;
}

static void append(struct history *h)
{
    uint8_t bytes[ENTRIES_MAX][BLOCK_BYTES_MAX];
    struct spool_entry entries[ENTRIES_MAX];
    struct contents after;
    size_t count = 1 + below(h, ENTRIES_MAX);
    if (h->is_epoch_due && !add_epoch(h)) {
        return;
    }
    h->now_ms++;
    make_entries(h, count, entries, bytes);
    size_t stored = foresee(h, entries, count, &after);
    choose_fate(h);
    bool fine = spool_append(h->spool, entries, count, h->era, h->now_ms, &h->err);
    h->is_epoch_due = !fine && h->err.kind != ERROR_FULL;
    if (!has_settled(h) || stored == 0) {
        CHECK(h, !fine && (h->err.kind == ERROR_FULL) == (h->fate < SETTLING_FAILS), h->next);
        return;
    }
    CHECK(h, fine == (h->fate == FINE), h->next);
    for (size_t i = 0; fine && i < count; i++) {
        CHECK(h, entries[i].is_stored == (after.where[h->next + i] == IN_LANE), h->next + i);
    }
    h->next += count;
    if (h->fate == FAILS) {
        return;
    }
    for (uint64_t n = after.next - count; n < after.next; n++) {
        h->blocks[n].was_stored = after.where[n] == IN_LANE;
    }
    h->now = after;
    h->durable = after;
}

/* ---- Answers ---- */

static void answer(struct history *h, const struct spool_place *place)
{
    uint64_t n = place->sequence;
    bool is_here = h->now.where[n] == IN_LANE;
    bool is_aside = one_in(h, 3);
    bool (*take)(struct spool *, const struct spool_place *, struct error *) =
        is_aside ? spool_set_aside : spool_acknowledge;
    choose_fate(h);
    bool fine = take(h->spool, place, &h->err);
    if (!has_settled(h) || !is_here) {
        CHECK(h, fine == (h->fate < SETTLING_FAILS), n); /* one that was dropped is ignored */
        return;
    }
    CHECK(h, fine == (h->fate == FINE), n);
    if (h->fate != FAILS) {
        h->now.where[n] = is_aside ? ASIDE : NOWHERE;
        h->now.next = h->next;
    }
    if (h->fate == FAILS_LATE && one_in(h, 2)) {
        CHECK(h, take(h->spool, place, &h->err), n);
        h->durable = h->now;
    }
}

static void find_or_answer(struct history *h)
{
    struct spool_place place;
    if (h->has_found && one_in(h, 4)) {
        h->has_found = false;
        answer(h, &h->found); /* it may have been dropped meanwhile */
    } else if (find(h, (enum lane)below(h, LANES), below(h, h->next + 1), &place) &&
               !(h->has_found && place.sequence == h->found.sequence)) {
        if (h->has_found || one_in(h, 2)) {
            answer(h, &place);
        } else {
            h->has_found = true;
            h->found = place;
        }
    }
}

/* ---- Opening ---- */

/* The figures as they were before changes were counted. */
static void put_old_figures(const struct history *h, struct store_batch *batch)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    const struct spool_state *state = &h->spool->state;
    struct buf value;
    msgpack_packer p;
    buf_init(&value, 1024);
    value_packer_init(&p, &value);
    msgpack_pack_array(&p, 5 + 3 * LANES);
    msgpack_pack_int(&p, 1);
    msgpack_pack_uint64(&p, state->next);
    msgpack_pack_int64(&p, state->last_ms);
    for (int i = 0; i < LANES; i++) {
        msgpack_pack_uint64(&p, state->lanes[i].blocks);
        msgpack_pack_uint64(&p, state->lanes[i].bytes);
        msgpack_pack_uint64(&p, state->lanes[i].dropped_events);
    }
    msgpack_pack_uint64(&p, state->aside_blocks);
    msgpack_pack_uint64(&p, state->aside_bytes);
    store_batch_put(batch, spool_number_key('n', 0, key), buf_slice(&value));
    buf_done(&value);
}

/* Of the first era's blocks of the normal lane some are of before there were lanes. */
static void put_old(struct history *h, struct store_iterator *it, struct store_batch *batch)
{
    uint8_t old[SPOOL_NUMBER_KEY_BYTES];
    struct slice key = store_iterator_key(it);
    struct slice value = store_iterator_value(it);
    char kind = (char)key.data[0];
    bool is_letter = strchr("EFHN", kind) != NULL;
    struct spool_place place = spool_place_at(it, LANE_NORMAL);
    bool has_old_key = (kind == 'b' || kind == 'q') && place.lane == LANE_NORMAL &&
                       place.era == SPOOL_FIRST_ERA && one_in(h, 2);
    if (is_letter || has_old_key || spool_is_figures(it)) {
        store_batch_delete(batch, key);
    }
    if (is_letter && kind != 'N') {
        kind = (char)(kind - 'A' + 'a');
        store_batch_put(batch, spool_number_key(kind, spool_number_at(it), old), value);
    } else if (has_old_key && !spool_is_figures(it)) {
        store_batch_put(batch, slice_make(key.data, SPOOL_NUMBER_KEY_BYTES), value);
    }
}

/* Make the spool one of before. */
static void age(struct history *h)
{
    struct store_batch batch;
    store_batch_init(&batch);
    struct store_iterator *it = store_iterator_open(h->store, NULL);
    for (store_iterator_seek(it, slice_text("")); store_iterator_valid(it);
         store_iterator_next(it)) {
        put_old(h, it, &batch);
    }
    store_iterator_close(&it);
    put_old_figures(h, &batch);
    CHECK(h, store_write(h->store, &batch, true, &h->err), 0);
    store_batch_done(&batch);
    h->now.next = h->next;
    h->durable = h->now;
}

/* As eras.c does. */
static void enter_era(struct history *h)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, spool_number_key('E', ++h->era, key), slice_text("era"));
    CHECK(h, store_write(h->store, &batch, true, &h->err), 0);
    store_batch_done(&batch);
    h->durable = h->now;
}

static void release(struct history *h)
{
    bool drops = one_in(h, 3);
    struct contents after = h->now;
    if (h->spool->state.aside_blocks == 0) {
        return;
    }
    for (uint64_t n = 0; n < h->next; n++) {
        if (after.where[n] == ASIDE) {
            after.where[n] = drops ? NOWHERE : IN_LANE;
            after.dropped[h->blocks[n].lane] += drops ? h->blocks[n].events : 0;
        }
    }
    choose_fate(h);
    bool fine = spool_release_aside(h->spool, drops, &h->err);
    (void)has_settled(h);
    CHECK(h, fine == (h->fate == FINE), 0);
    if (h->fate != FAILS) {
        after.next = h->next;
        h->now = after;
        h->durable = after;
    }
}

static void open_spool(struct history *h)
{
    bool fine = spool_open(h->store, &h->options, &h->spool, &h->err);
    if (!fine) { /* the write of the upgrade failed */
        if (one_in(h, 2)) {
            store_memory_crash(h->store);
        }
        fine = spool_open(h->store, &h->options, &h->spool, &h->err);
    }
    CHECK(h, fine, 0);
    store_memory_fail_write(h->store, 0);
    h->has_found = false;
    h->is_epoch_due = true;
}

static void reopen(struct history *h)
{
    bool is_cut = one_in(h, 2);
    bool is_old = !is_cut && !h->spool->is_unsettled && one_in(h, 4);
    if (is_old) {
        age(h);
    }
    spool_close(&h->spool);
    if (is_cut) {
        store_memory_crash(h->store);
        h->now = h->durable;
    } else if (is_old && one_in(h, 2)) {
        fail_next(h, one_in(h, 2), 1);
    }
    open_spool(h);
    h->next = h->now.next; /* numbers under which nothing was stored are free again */
    CHECK(h, spool_epoch(h->spool) == h->now.epoch, h->now.epoch);
    check(h);
    check_all_reading(h);
    if (h->era < ERAS_MAX && one_in(h, 4)) {
        enter_era(h);
    }
    if (one_in(h, 3)) {
        release(h);
    }
}

static void begin(struct history *h, uint64_t seed)
{
    h->seed = seed;
    rand_seeded_init(&h->rand, seed);
    bool drops = !one_in(h, 3);
    h->options = (struct spool_options){.bytes_max = drops ? 900 : 2500, .drops_oldest = drops};
    h->store = store_memory_open();
    buf_init(&h->bytes, BLOCK_BYTES_MAX);
    buf_init(&h->header, 64);
    open_spool(h);
    enter_era(h);
}

static void end(struct history *h)
{
    spool_close(&h->spool);
    store_close(&h->store);
    buf_done(&h->bytes);
    buf_done(&h->header);
}

static void step(struct history *h)
{
    uint64_t which = below(h, 100);
    if (which < 45) {
        append(h);
    } else if (which < 80) {
        find_or_answer(h);
    } else if (which < 84) {
        (void)add_epoch(h);
    } else if (which < 88) {
        sync_store(h);
    } else {
        reopen(h);
    }
    check(h);
}

static void test_whatever_happens_the_figures_and_the_blocks_are_those_of_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history *h = calloc(1, sizeof *h);
        assert_non_null(h);
        begin(h, seed);
        for (h->step = 0; h->step < STEPS; h->step++) {
            step(h);
        }
        end(h);
        free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_happens_the_figures_and_the_blocks_are_those_of_the_model),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
