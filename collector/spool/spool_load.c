#include "collector/spool/spool_internal.h"

/* The spool's figures, counted: where none are kept, or not all of what is there. */
static void count_blocks(struct spool *s, struct store_iterator *it)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    for (int lane = 0; lane < LANES; lane++) {
        struct spool_lane_state *figures = &s->state.lanes[lane];
        char kind = spool_lane_kind((enum lane)lane);
        figures->blocks = 0;
        figures->bytes = 0;
        for (store_iterator_seek(it, spool_number_key(kind, 0, key)); spool_is_kind(it, kind);
             store_iterator_next(it)) {
            if (spool_is_figures(it)) {
                continue;
            }
            uint64_t after = spool_number_at(it) + 1;
            s->state.next = after > s->state.next ? after : s->state.next;
            figures->blocks++;
            figures->bytes += store_iterator_value(it).len;
        }
    }
    s->state.aside_blocks = 0;
    s->state.aside_bytes = 0;
    for (store_iterator_seek(it, spool_number_key('q', 0, key)); spool_is_kind(it, 'q');
         store_iterator_next(it)) {
        uint64_t after = spool_number_at(it) + 1;
        s->state.next = after > s->state.next ? after : s->state.next;
        s->state.aside_blocks++;
        s->state.aside_bytes += store_iterator_value(it).len;
    }
}

/* Set where each lane begins. False: the figures that are kept do not fit what is there. */
static bool find_ends(struct spool *s, struct store_iterator *it)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    bool fits = true;
    for (int lane = 0; lane < LANES; lane++) {
        char kind = spool_lane_kind((enum lane)lane);
        store_iterator_seek(it, spool_number_key(kind, 0, key));
        bool has_blocks = spool_is_kind(it, kind);
        fits = fits && has_blocks == (s->state.lanes[lane].blocks > 0);
        s->first[lane] = has_blocks ? spool_number_at(it) : s->state.next;
        s->end[lane] = s->state.next;
    }
    return fits;
}

/* The figures of the last change: of an append they stand with its last block, which is the last of
 * its lane, until another change writes them elsewhere. False: there are none, or none that know of
 * all blocks; what is known all the same is in *ret. */
static bool find_state(struct store_iterator *it, struct spool_state *ret)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    uint64_t after_last = 0;
    store_iterator_seek(it, spool_number_key('N', 0, key));
    struct slice kept = spool_is_kind(it, 'N') ? store_iterator_value(it) : slice_make(NULL, 0);
    bool is_found = spool_state_read(kept, ret);
    if (!is_found && kept.len == 8) {
        ret->next = read_u64(kept.data);
    }
    for (int lane = 0; lane < LANES; lane++) {
        struct spool_state state;
        char kind = spool_lane_kind((enum lane)lane);
        store_iterator_seek_before(it, spool_number_key(kind, UINT64_MAX, key));
        if (!spool_is_kind(it, kind)) {
            continue;
        }
        uint64_t after = spool_number_at(it) + 1;
        after_last = after > after_last ? after : after_last;
        if (spool_is_figures(it) && spool_state_read(store_iterator_value(it), &state) &&
            (!is_found || state.changes > ret->changes)) {
            *ret = state;
            is_found = true;
        }
    }
    return is_found && ret->next >= after_last;
}

bool spool_load(struct spool *s, struct error *err)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    store_iterator_seek_before(it, spool_number_key('H', UINT64_MAX, key));
    s->epoch = spool_is_kind(it, 'H') ? spool_number_at(it) : 0;
    bool is_kept = find_state(it, &s->state);
    if (!find_ends(s, it) || !is_kept) {
        count_blocks(s, it);
        (void)find_ends(s, it);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

/* Under both locks; what is there stays where reading fails. */
static bool load_again(struct spool *s, struct error *err)
{
    struct spool_state state = s->state;
    uint64_t epoch = s->epoch;
    uint64_t first[LANES];
    uint64_t end[LANES];
    memcpy(first, s->first, sizeof first);
    memcpy(end, s->end, sizeof end);
    bool fine = spool_load(s, err);
    if (!fine) {
        s->state = state;
        memcpy(s->first, first, sizeof first);
        memcpy(s->end, end, sizeof end);
    }
    s->epoch = epoch > s->epoch ? epoch : s->epoch;
    /* The numbers of a failed append are never given again. */
    s->state.next = state.next > s->state.next ? state.next : s->state.next;
    return fine;
}

bool spool_settle(struct spool *s, struct error *err)
{
    if (!s->is_unsettled) {
        return true;
    }
    /* Only after a write that succeeded does the store show what became of the others. */
    store_batch_clear(&s->batch);
    if (!store_write(s->store, &s->batch, true, err)) {
        return false;
    }
    pthread_mutex_lock(&s->lock);
    bool fine = load_again(s, err);
    s->is_unsettled = !fine;
    s->doubtful_below = s->state.next;
    pthread_mutex_unlock(&s->lock);
    return fine || error_add_context(err, "reading the spool after a failed write");
}
