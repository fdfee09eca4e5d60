#include "collector/spool/spool_internal.h"

enum { RELEASE_BYTES = 1024 * 1024 };

bool spool_set_aside(struct spool *s, const struct spool_place *place, struct error *err)
{
    uint8_t key[SPOOL_ASIDE_KEY_BYTES];
    struct spool_change change;
    struct buf block;
    bool is_gone = false;
    bool found = false;
    buf_init(&block, SIZE_MAX / 2);
    pthread_mutex_lock(&s->writing);
    bool fine = spool_begin_take_out(s, place, &change, &is_gone, err) &&
                (is_gone || spool_get_block(s, place, &block, &found, err));
    if (fine && found) {
        store_batch_put(&s->batch, spool_aside_key(place, key), buf_slice(&block));
        change.state.aside_blocks++;
        change.state.aside_bytes += block.len;
        fine = spool_take_out(s, place, &change, err);
    }
    pthread_mutex_unlock(&s->writing);
    buf_done(&block);
    return fine;
}

/* One step: up to RELEASE_BYTES of blocks. */
static bool release_some(struct spool *s, bool drops, struct error *err)
{
    uint8_t key[SPOOL_BLOCK_KEY_BYTES];
    struct spool_change change;
    size_t bytes = 0;
    if (!spool_begin_change(s, &change, err)) {
        return false;
    }
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    store_iterator_seek(it, spool_number_key('q', 0, key));
    if (!spool_is_kind(it, 'q')) {
        change.state.aside_blocks = 0;
        change.state.aside_bytes = 0;
    }
    for (; spool_is_kind(it, 'q') && bytes < RELEASE_BYTES; store_iterator_next(it)) {
        struct spool_place place = spool_place_at(it, LANE_NORMAL);
        struct spool_lane_state *figures = &change.state.lanes[place.lane];
        store_batch_delete(&s->batch, store_iterator_key(it));
        if (drops) {
            figures->dropped_events += spool_events_of(store_iterator_value(it));
        } else {
            store_batch_put(&s->batch, spool_block_key(&place, false, key),
                            store_iterator_value(it));
            figures->blocks++;
            figures->bytes += place.bytes;
            uint64_t *first = &s->first[place.lane];
            *first = place.sequence < *first ? place.sequence : *first;
        }
        bytes += place.bytes;
        change.state.aside_blocks--;
        change.state.aside_bytes -= place.bytes;
        if (change.state.aside_blocks == 0) {
            break;
        }
    }
    bool fine = store_iterator_check(it, err) && spool_write_change(s, &change, true, err);
    store_iterator_close(&it);
    return fine;
}

bool spool_release_aside(struct spool *s, bool drops, struct error *err)
{
    bool fine = true;
    pthread_mutex_lock(&s->writing);
    while (fine && s->state.aside_blocks > 0) {
        fine = release_some(s, drops, err);
    }
    pthread_mutex_unlock(&s->writing);
    return fine || error_add_context(err, "releasing blocks that were set aside");
}
