#include "collector/spool/spool_internal.h"

#include "shared/seal.h"

uint64_t spool_events_of(struct slice block)
{
    struct seal_block open;
    struct error err;
    return seal_block_peek(block, &open, &err) ? open.event_count : 0;
}

static bool has_room(const struct spool_change *change, size_t bytes)
{
    return spool_state_bytes(&change->state) + bytes <= change->limit;
}

static void drop_aside(struct spool *s, struct store_iterator *it, size_t bytes,
                       struct spool_change *change)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    if (change->state.aside_blocks == 0) {
        return;
    }
    for (store_iterator_seek(it, spool_number_key('q', change->aside_from, key));
         !has_room(change, bytes) && change->state.aside_blocks > 0 && spool_is_kind(it, 'q');
         store_iterator_next(it)) {
        struct spool_place place = spool_place_at(it, LANE_NORMAL);
        store_batch_delete(&s->batch, store_iterator_key(it));
        change->state.aside_blocks--;
        change->state.aside_bytes -= place.bytes;
        change->aside_from = place.sequence + 1;
        change->state.lanes[place.lane].dropped_events += spool_events_of(store_iterator_value(it));
    }
}

static void drop_lane(struct spool *s, struct store_iterator *it, enum lane lane, size_t bytes,
                      struct spool_change *change)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct spool_lane_state *figures = &change->state.lanes[lane];
    char kind = spool_lane_kind(lane);
    if (figures->blocks == 0 || has_room(change, bytes)) {
        return;
    }
    for (store_iterator_seek(it, spool_number_key(kind, change->drop_from[lane], key));
         !has_room(change, bytes) && spool_is_kind(it, kind); store_iterator_next(it)) {
        if (spool_is_figures(it)) {
            continue;
        }
        struct spool_place place = spool_place_at(it, lane);
        spool_delete_block(s, &place);
        figures->blocks--;
        figures->bytes -= place.bytes;
        figures->dropped_events += spool_events_of(store_iterator_value(it));
        change->drop_from[lane] = place.sequence + 1;
    }
}

/* Would there be room if all that may be dropped for the block were? */
static bool can_make_room(const struct spool_entry *entry, const struct spool_change *change)
{
    uint64_t stays = 0;
    for (int lane = 0; lane < LANES; lane++) {
        stays += lane < (int)entry->lane ? change->state.lanes[lane].bytes : change->appended[lane];
    }
    return stays + entry->block.len <= change->limit;
}

/* Is there room for the block, or can it be made? Nothing is dropped in vain. */
static bool make_room(struct spool *s, const struct spool_entry *entry, struct spool_change *change)
{
    size_t bytes = entry->block.len;
    if (has_room(change, bytes)) {
        return true;
    }
    if (!s->options.drops_oldest || !can_make_room(entry, change)) {
        return false;
    }
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    drop_aside(s, it, bytes, change);
    for (int lane = LANES - 1; lane >= (int)entry->lane; lane--) {
        drop_lane(s, it, (enum lane)lane, bytes, change);
    }
    store_iterator_close(&it);
    return has_room(change, bytes);
}

bool spool_disk_is_short(const struct spool *s)
{
    return s->options.disk != NULL && disk_space_is_short(s->options.disk);
}

static size_t bytes_of(const struct spool_entry *entries, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += entries[i].block.len;
    }
    return bytes;
}

/* Put what there is room for into the batch; how many. Where nothing may be dropped it is all or
 * none: half of a request is stored for nothing if it comes again whole. */
static size_t add_entries(struct spool *s, struct spool_entry *entries, size_t count, uint32_t era,
                          struct spool_change *change)
{
    uint8_t key[SPOOL_BLOCK_KEY_BYTES];
    size_t stored = 0;
    uint64_t used = spool_state_bytes(&change->state);
    /* On a disk that is nearly full the spool may not grow, but blocks may take others' places. */
    bool may_grow = used < s->options.bytes_max && !spool_disk_is_short(s);
    change->limit = may_grow || used > s->options.bytes_max ? s->options.bytes_max : used;
    if (!s->options.drops_oldest && !has_room(change, bytes_of(entries, count))) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct spool_entry *entry = &entries[i];
        struct spool_lane_state *figures = &change->state.lanes[entry->lane];
        entry->is_stored = make_room(s, entry, change);
        if (entry->is_stored) {
            struct spool_place place = {entry->lane, era, s->state.next + i, entry->block.len};
            store_batch_put(&s->batch, spool_block_key(&place, false, key), entry->block);
            change->last = place;
            change->is_append = true;
            figures->blocks++;
            figures->bytes += entry->block.len;
            change->appended[entry->lane] += entry->block.len;
            stored++;
        }
    }
    return stored;
}

/* Under `writing`. */
static bool append(struct spool *s, struct spool_entry *entries, size_t count, uint32_t era,
                   int64_t now_ms, struct error *err)
{
    struct spool_change change;
    if (!spool_begin_change(s, &change, err)) {
        return error_add_context(err, "appending to the spool");
    }
    if (add_entries(s, entries, count, era, &change) == 0) {
        return error_set(err, ERROR_FULL, "the spool is full: it holds %llu bytes",
                         (unsigned long long)spool_state_bytes(&s->state));
    }
    change.state.next += count;
    change.state.last_ms = now_ms;
    if (!spool_write_change(s, &change, true, err)) {
        return error_add_context(err, "appending to the spool");
    }
    pthread_mutex_lock(&s->lock);
    for (int lane = 0; lane < LANES; lane++) {
        if (change.drop_from[lane] > s->first[lane]) {
            s->first[lane] = change.drop_from[lane];
            s->dropped_below[lane] = change.drop_from[lane];
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (entries[i].is_stored) {
            s->end[entries[i].lane] = s->state.next - count + i + 1;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return true;
}

bool spool_append(struct spool *s, struct spool_entry *entries, size_t count, uint32_t era,
                  int64_t now_ms, struct error *err)
{
    pthread_mutex_lock(&s->writing);
    bool fine = append(s, entries, count, era, now_ms, err);
    pthread_mutex_unlock(&s->writing);
    return fine;
}
