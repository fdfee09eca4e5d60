#include "collector/spool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "collector/spool_state.h"
#include "shared/seal.h"

/* Keys, numbers big-endian (stored: never change):
 *   'a' 'b' 'c' sequence (8) era (4)    a sealed block of the high, the normal, the low lane
 *   'h' epoch (8)                       an epoch's header
 *   'f' epoch (8)                       the number of its first block
 *   'n' 0 (8)                           the spool's figures: spool_state.h
 *   'q' sequence (8) era (4) lane (1)   a block set aside
 * Spools of before have blocks under 'b' sequence and 'q' sequence, of the first era and the normal
 * lane; and under 'n' the next sequence number alone.
 */
enum {
    NUMBER_KEY_BYTES = 9,
    BLOCK_KEY_BYTES = 13,
    ASIDE_KEY_BYTES = 14,
    FULL_MARGIN = 64 * 1024,
    RELEASE_BYTES = 1024 * 1024,
    FIRST_ERA = 1,
};

struct spool {
    struct store *store;
    struct spool_options options;
    _Atomic uint64_t epoch;
    pthread_mutex_t writing;  /* held while the store is written, taken before `lock` */
    struct store_batch batch; /* under `writing` */
    struct buf state_bytes;   /* likewise */
    pthread_mutex_t lock;     /* for a moment; what follows changes under both */
    struct spool_state state;
    uint64_t first[LANES];         /* no block of the lane is below */
    uint64_t end[LANES];           /* nor at this number or above */
    uint64_t dropped_below[LANES]; /* what was below is gone */
};

static struct buf fixed_buf(uint8_t *data, size_t size)
{
    return (struct buf){.data = data, .capacity = size, .len_max = size};
}

static struct slice number_key(char kind, uint64_t number, uint8_t ret[NUMBER_KEY_BYTES])
{
    struct buf key = fixed_buf(ret, NUMBER_KEY_BYTES);
    buf_put_u8(&key, (uint8_t)kind);
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

static char lane_kind(enum lane lane)
{
    return (char)('a' + (int)lane);
}

static struct slice block_key(const struct spool_place *place, bool is_old,
                              uint8_t ret[BLOCK_KEY_BYTES])
{
    struct buf key = fixed_buf(ret, BLOCK_KEY_BYTES);
    buf_put_u8(&key, (uint8_t)lane_kind(place->lane));
    buf_put_u64(&key, place->sequence);
    if (!is_old) {
        buf_put_u32(&key, place->era);
    }
    return buf_slice(&key);
}

static struct slice aside_key(const struct spool_place *place, uint8_t ret[ASIDE_KEY_BYTES])
{
    struct buf key = fixed_buf(ret, ASIDE_KEY_BYTES);
    buf_put_u8(&key, 'q');
    buf_put_u64(&key, place->sequence);
    buf_put_u32(&key, place->era);
    buf_put_u8(&key, (uint8_t)place->lane);
    return buf_slice(&key);
}

static bool is_kind(struct store_iterator *it, char kind)
{
    return store_iterator_valid(it) && store_iterator_key(it).len >= NUMBER_KEY_BYTES &&
           store_iterator_key(it).data[0] == (uint8_t)kind;
}

static uint64_t number_at(struct store_iterator *it)
{
    return read_u64(store_iterator_key(it).data + 1);
}

/* The block that the iterator stands at, in a lane or aside. */
static struct spool_place place_at(struct store_iterator *it, enum lane lane)
{
    struct slice key = store_iterator_key(it);
    bool has_lane = key.len == ASIDE_KEY_BYTES && key.data[BLOCK_KEY_BYTES] < LANES;
    return (struct spool_place){
        .lane = has_lane ? (enum lane)key.data[BLOCK_KEY_BYTES] : lane,
        .era = key.len >= BLOCK_KEY_BYTES ? read_u32(key.data + NUMBER_KEY_BYTES) : FIRST_ERA,
        .sequence = number_at(it),
        .bytes = store_iterator_value(it).len,
    };
}

/* ---- Opening ---- */

/* The spool's figures, counted: where none are kept, or not all of what is there. */
static void count_blocks(struct spool *s, struct store_iterator *it)
{
    uint8_t key[NUMBER_KEY_BYTES];
    for (int lane = 0; lane < LANES; lane++) {
        struct spool_lane_state *figures = &s->state.lanes[lane];
        char kind = lane_kind((enum lane)lane);
        figures->blocks = 0;
        figures->bytes = 0;
        for (store_iterator_seek(it, number_key(kind, 0, key)); is_kind(it, kind);
             store_iterator_next(it)) {
            uint64_t after = number_at(it) + 1;
            s->state.next = after > s->state.next ? after : s->state.next;
            figures->blocks++;
            figures->bytes += store_iterator_value(it).len;
        }
    }
    s->state.aside_blocks = 0;
    s->state.aside_bytes = 0;
    for (store_iterator_seek(it, number_key('q', 0, key)); is_kind(it, 'q');
         store_iterator_next(it)) {
        s->state.aside_blocks++;
        s->state.aside_bytes += store_iterator_value(it).len;
    }
}

/* Set where each lane begins. False: the figures that are kept do not fit what is there. */
static bool find_ends(struct spool *s, struct store_iterator *it)
{
    uint8_t key[NUMBER_KEY_BYTES];
    bool fits = true;
    for (int lane = 0; lane < LANES; lane++) {
        char kind = lane_kind((enum lane)lane);
        store_iterator_seek(it, number_key(kind, 0, key));
        bool has_blocks = is_kind(it, kind);
        fits = fits && has_blocks == (s->state.lanes[lane].blocks > 0);
        s->first[lane] = has_blocks ? number_at(it) : s->state.next;
        s->end[lane] = s->state.next;
    }
    return fits;
}

static bool load(struct spool *s, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    store_iterator_seek_before(it, number_key('h', UINT64_MAX, key));
    s->epoch = is_kind(it, 'h') ? number_at(it) : 0;
    store_iterator_seek(it, number_key('n', 0, key));
    struct slice kept = is_kind(it, 'n') ? store_iterator_value(it) : slice_make(NULL, 0);
    bool is_kept = spool_state_read(kept, &s->state);
    if (!is_kept && kept.len == 8) {
        s->state.next = read_u64(kept.data);
    }
    if (!find_ends(s, it) || !is_kept) {
        count_blocks(s, it);
        (void)find_ends(s, it);
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool spool_open(struct store *store, const struct spool_options *options, struct spool **ret,
                struct error *err)
{
    struct spool *s = memory_allocate_zeroed(sizeof *s);
    s->store = store;
    s->options = *options;
    store_batch_init(&s->batch);
    buf_init(&s->state_bytes, 1024);
    pthread_mutex_init(&s->writing, NULL);
    pthread_mutex_init(&s->lock, NULL);
    if (!load(s, err)) {
        spool_close(&s);
        return error_add_context(err, "opening the spool");
    }
    *ret = s;
    return true;
}

void spool_close(struct spool **spool)
{
    if (*spool != NULL) {
        store_batch_done(&(*spool)->batch);
        buf_done(&(*spool)->state_bytes);
        pthread_mutex_destroy(&(*spool)->writing);
        pthread_mutex_destroy(&(*spool)->lock);
        free(*spool);
        *spool = NULL;
    }
}

/* ---- Epochs ---- */

bool spool_first_sequence(struct spool *s, uint64_t *ret, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    pthread_mutex_lock(&s->lock);
    *ret = s->state.next;
    for (int lane = 0; lane < LANES; lane++) {
        char kind = lane_kind((enum lane)lane);
        if (s->state.lanes[lane].blocks > 0) {
            store_iterator_seek(it, number_key(kind, s->first[lane], key));
            s->first[lane] = is_kind(it, kind) ? number_at(it) : s->first[lane];
            *ret = s->first[lane] < *ret ? s->first[lane] : *ret;
        }
    }
    pthread_mutex_unlock(&s->lock);
    store_iterator_seek(it, number_key('q', 0, key));
    *ret = is_kind(it, 'q') && number_at(it) < *ret ? number_at(it) : *ret;
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine || error_add_context(err, "reading the spool");
}

uint64_t spool_epoch(const struct spool *s)
{
    return s->epoch;
}

/* Delete the headers before the last epoch that begins at or before the first block there is. */
static bool delete_headers(struct spool *s, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    uint64_t first;
    uint64_t oldest_used = 0;
    if (!spool_first_sequence(s, &first, err)) {
        return false;
    }
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    for (store_iterator_seek(it, number_key('f', 0, key));
         is_kind(it, 'f') && store_iterator_value(it).len == 8 &&
         read_u64(store_iterator_value(it).data) <= first;
         store_iterator_next(it)) {
        oldest_used = number_at(it);
    }
    for (const char *kind = "fh"; *kind != 0; kind++) {
        for (store_iterator_seek(it, number_key(*kind, 0, key));
             is_kind(it, *kind) && number_at(it) < oldest_used; store_iterator_next(it)) {
            store_batch_delete(&s->batch, store_iterator_key(it));
        }
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool spool_add_epoch(struct spool *s, uint64_t epoch, struct slice header, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    uint8_t number[8];
    struct buf value = fixed_buf(number, sizeof number);
    pthread_mutex_lock(&s->writing);
    store_batch_clear(&s->batch);
    buf_put_u64(&value, s->state.next);
    bool fine = delete_headers(s, err);
    store_batch_put(&s->batch, number_key('h', epoch, key), header);
    store_batch_put(&s->batch, number_key('f', epoch, key), buf_slice(&value));
    fine = fine && store_write(s->store, &s->batch, true, err);
    pthread_mutex_unlock(&s->writing);
    if (!fine) {
        return error_add_context(err, "keeping an epoch");
    }
    s->epoch = epoch;
    return true;
}

/* ---- Appending ---- */

/* What a change of the spool will have changed, once it is written. */
struct change {
    struct spool_state state;
    uint64_t limit;            /* of bytes */
    uint64_t drop_from[LANES]; /* what is below will be gone */
};

static void begin_change(struct spool *s, struct change *ret)
{
    ret->state = s->state;
    memcpy(ret->drop_from, s->first, sizeof ret->drop_from);
    store_batch_clear(&s->batch);
}

static bool write_change(struct spool *s, const struct change *change, bool sync, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    buf_clear(&s->state_bytes);
    spool_state_write(&change->state, &s->state_bytes);
    store_batch_put(&s->batch, number_key('n', 0, key), buf_slice(&s->state_bytes));
    if (!store_write(s->store, &s->batch, sync, err)) {
        return false;
    }
    pthread_mutex_lock(&s->lock);
    s->state = change->state;
    pthread_mutex_unlock(&s->lock);
    return true;
}

static uint64_t events_of(struct slice block)
{
    struct seal_block open;
    struct error err;
    return seal_block_peek(block, &open, &err) ? open.event_count : 0;
}

static bool has_room(const struct change *change, size_t bytes)
{
    return spool_state_bytes(&change->state) + bytes <= change->limit;
}

static void drop_aside(struct spool *s, struct store_iterator *it, size_t bytes,
                       struct change *change)
{
    uint8_t key[NUMBER_KEY_BYTES];
    if (change->state.aside_blocks == 0) {
        return;
    }
    for (store_iterator_seek(it, number_key('q', 0, key));
         !has_room(change, bytes) && change->state.aside_blocks > 0 && is_kind(it, 'q');
         store_iterator_next(it)) {
        struct spool_place place = place_at(it, LANE_NORMAL);
        store_batch_delete(&s->batch, store_iterator_key(it));
        change->state.aside_blocks--;
        change->state.aside_bytes -= place.bytes;
        change->state.lanes[place.lane].dropped_events += events_of(store_iterator_value(it));
    }
}

static void drop_lane(struct spool *s, struct store_iterator *it, enum lane lane, size_t bytes,
                      struct change *change)
{
    uint8_t key[NUMBER_KEY_BYTES];
    struct spool_lane_state *figures = &change->state.lanes[lane];
    char kind = lane_kind(lane);
    if (figures->blocks == 0 || has_room(change, bytes)) {
        return;
    }
    for (store_iterator_seek(it, number_key(kind, change->drop_from[lane], key));
         !has_room(change, bytes) && is_kind(it, kind); store_iterator_next(it)) {
        struct spool_place place = place_at(it, lane);
        store_batch_delete(&s->batch, store_iterator_key(it));
        figures->blocks--;
        figures->bytes -= place.bytes;
        figures->dropped_events += events_of(store_iterator_value(it));
        change->drop_from[lane] = place.sequence + 1;
    }
}

/* Is there room for the block, or can it be made? */
static bool make_room(struct spool *s, const struct spool_entry *entry, struct change *change)
{
    size_t bytes = entry->block.len;
    if (has_room(change, bytes)) {
        return true;
    }
    if (!s->options.drops_oldest || bytes > change->limit) {
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

static bool is_disk_short(struct spool *s)
{
    return s->options.disk != NULL && disk_space_is_short(s->options.disk);
}

/* Put what there is room for into the batch; how many. */
static size_t add_entries(struct spool *s, struct spool_entry *entries, size_t count, uint32_t era,
                          struct change *change)
{
    uint8_t key[BLOCK_KEY_BYTES];
    size_t stored = 0;
    uint64_t used = spool_state_bytes(&change->state);
    /* On a disk that is nearly full the spool may not grow, but blocks may take others' places. */
    bool may_grow = used < s->options.bytes_max && !is_disk_short(s);
    change->limit = may_grow || used > s->options.bytes_max ? s->options.bytes_max : used;
    for (size_t i = 0; i < count; i++) {
        struct spool_entry *entry = &entries[i];
        struct spool_lane_state *figures = &change->state.lanes[entry->lane];
        entry->is_stored = make_room(s, entry, change);
        if (entry->is_stored) {
            struct spool_place place = {entry->lane, era, s->state.next + i, entry->block.len};
            store_batch_put(&s->batch, block_key(&place, false, key), entry->block);
            figures->blocks++;
            figures->bytes += entry->block.len;
            stored++;
        }
    }
    return stored;
}

/* Under `writing`. */
static bool append(struct spool *s, struct spool_entry *entries, size_t count, uint32_t era,
                   int64_t now_ms, struct error *err)
{
    struct change change;
    begin_change(s, &change);
    if (add_entries(s, entries, count, era, &change) == 0) {
        return error_set(err, ERROR_FULL, "the spool is full: it holds %llu bytes",
                         (unsigned long long)spool_state_bytes(&s->state));
    }
    change.state.next += count;
    change.state.last_ms = now_ms;
    if (!write_change(s, &change, true, err)) {
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
        s->end[entries[i].lane] = entries[i].is_stored ? s->state.next : s->end[entries[i].lane];
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

/* ---- Reading ---- */

static bool read_header(struct spool *s, struct slice block, struct buf *ret, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    struct seal_block open;
    bool has_header;
    /* A damaged block goes to the hub all the same, under the newest header: it is the hub that
     * refuses and counts it. */
    uint64_t epoch = seal_block_peek(block, &open, err) ? open.epoch : s->epoch;
    return store_get(s->store, NULL, number_key('h', epoch, key), ret, &has_header, err);
}

bool spool_find(struct spool *s, enum lane lane, uint64_t from, struct spool_place *ret,
                struct buf *ret_block, struct buf *ret_header, bool *ret_found, struct error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    store_iterator_seek(it, number_key(lane_kind(lane), from, key));
    *ret_found = is_kind(it, lane_kind(lane));
    if (*ret_found) {
        *ret = place_at(it, lane);
        buf_clear(ret_block);
        buf_put_slice(ret_block, store_iterator_value(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    fine = fine && (!*ret_found || read_header(s, buf_slice(ret_block), ret_header, err));
    return fine || error_add_context(err, "reading the spool");
}

/* A block of a spool of before may lie under its old key. */
static bool get_block(struct spool *s, const struct spool_place *place, struct buf *ret_block,
                      bool *ret_is_old, bool *ret_found, struct error *err)
{
    uint8_t key[BLOCK_KEY_BYTES];
    *ret_is_old = false;
    if (!store_get(s->store, NULL, block_key(place, false, key), ret_block, ret_found, err)) {
        return false;
    }
    *ret_is_old = !*ret_found;
    return *ret_found ||
           store_get(s->store, NULL, block_key(place, true, key), ret_block, ret_found, err);
}

bool spool_read(struct spool *s, const struct spool_place *place, struct buf *ret_block,
                struct buf *ret_header, bool *ret_found, struct error *err)
{
    bool is_old;
    if (!get_block(s, place, ret_block, &is_old, ret_found, err)) {
        return error_add_context(err, "reading the spool");
    }
    buf_clear(ret_header);
    return !*ret_found || read_header(s, buf_slice(ret_block), ret_header, err);
}

/* ---- Taking out ---- */

/* Under `writing`: is the block still there, as far as dropping goes? */
static bool is_dropped(struct spool *s, const struct spool_place *place)
{
    return place->sequence < s->dropped_below[place->lane];
}

/* Under `writing`: delete a block, whose figures are known, and write. Not synced: a block that
 * comes back after a power cut is sent again and recognised. */
static bool take_out(struct spool *s, const struct spool_place *place, struct change *change,
                     struct error *err)
{
    uint8_t key[BLOCK_KEY_BYTES];
    struct spool_lane_state *figures = &change->state.lanes[place->lane];
    ensure(figures->blocks > 0 && figures->bytes >= place->bytes);
    figures->blocks--;
    figures->bytes -= place->bytes;
    store_batch_delete(&s->batch, block_key(place, false, key));
    if (place->era == FIRST_ERA) {
        store_batch_delete(&s->batch, block_key(place, true, key));
    }
    if (!write_change(s, change, false, err)) {
        return error_add_context(err, "taking a block out of the spool");
    }
    pthread_mutex_lock(&s->lock);
    uint64_t *first = &s->first[place->lane];
    *first = *first == place->sequence ? place->sequence + 1 : *first;
    pthread_mutex_unlock(&s->lock);
    return true;
}

bool spool_acknowledge(struct spool *s, const struct spool_place *place, struct error *err)
{
    struct change change;
    bool fine = true;
    pthread_mutex_lock(&s->writing);
    if (!is_dropped(s, place)) {
        begin_change(s, &change);
        fine = take_out(s, place, &change, err);
    }
    pthread_mutex_unlock(&s->writing);
    return fine;
}

bool spool_set_aside(struct spool *s, const struct spool_place *place, struct error *err)
{
    uint8_t key[ASIDE_KEY_BYTES];
    struct change change;
    struct buf block;
    bool is_old;
    bool found = false;
    bool fine = true;
    buf_init(&block, SIZE_MAX / 2);
    pthread_mutex_lock(&s->writing);
    if (!is_dropped(s, place)) {
        begin_change(s, &change);
        fine = get_block(s, place, &block, &is_old, &found, err);
    }
    if (fine && found) {
        store_batch_put(&s->batch, aside_key(place, key), buf_slice(&block));
        change.state.aside_blocks++;
        change.state.aside_bytes += block.len;
        fine = take_out(s, place, &change, err);
    }
    pthread_mutex_unlock(&s->writing);
    buf_done(&block);
    return fine;
}

/* One step: up to RELEASE_BYTES of blocks. */
static bool release_some(struct spool *s, bool drops, struct error *err)
{
    uint8_t key[BLOCK_KEY_BYTES];
    struct change change;
    size_t bytes = 0;
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    begin_change(s, &change);
    for (store_iterator_seek(it, number_key('q', 0, key));
         is_kind(it, 'q') && bytes < RELEASE_BYTES; store_iterator_next(it)) {
        struct spool_place place = place_at(it, LANE_NORMAL);
        struct spool_lane_state *figures = &change.state.lanes[place.lane];
        store_batch_delete(&s->batch, store_iterator_key(it));
        if (drops) {
            figures->dropped_events += events_of(store_iterator_value(it));
        } else {
            store_batch_put(&s->batch, block_key(&place, false, key), store_iterator_value(it));
            figures->blocks++;
            figures->bytes += place.bytes;
            uint64_t *first = &s->first[place.lane];
            *first = place.sequence < *first ? place.sequence : *first;
        }
        change.state.aside_blocks -= change.state.aside_blocks > 0;
        change.state.aside_bytes -= place.bytes;
        bytes += place.bytes;
    }
    bool fine = store_iterator_check(it, err) && write_change(s, &change, true, err);
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

/* ---- Figures ---- */

static struct spool_state look(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    struct spool_state state = s->state;
    pthread_mutex_unlock(&s->lock);
    return state;
}

uint64_t spool_next_sequence(struct spool *s)
{
    return look(s).next;
}

int64_t spool_last_ms(struct spool *s)
{
    return look(s).last_ms;
}

uint64_t spool_lane_end(struct spool *s, enum lane lane)
{
    pthread_mutex_lock(&s->lock);
    uint64_t end = s->state.lanes[lane].blocks == 0 ? 0 : s->end[lane];
    pthread_mutex_unlock(&s->lock);
    return end;
}

bool spool_is_full(struct spool *s)
{
    struct spool_state state = look(s);
    bool is_over = spool_state_bytes(&state) + FULL_MARGIN > s->options.bytes_max;
    return !s->options.drops_oldest && (is_over || is_disk_short(s));
}

uint64_t spool_blocks(struct spool *s)
{
    struct spool_state state = look(s);
    return spool_state_blocks(&state);
}

uint64_t spool_bytes(struct spool *s)
{
    struct spool_state state = look(s);
    return spool_state_bytes(&state) - state.aside_bytes;
}

uint64_t spool_blocks_aside(struct spool *s)
{
    return look(s).aside_blocks;
}

uint64_t spool_dropped(struct spool *s, enum lane lane)
{
    return look(s).lanes[lane].dropped_events;
}
