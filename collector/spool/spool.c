#include "collector/spool/spool_internal.h"

#include <stdlib.h>
#include "shared/seal.h"

enum { FULL_MARGIN = 64 * 1024 };

/* ---- Keys ---- */

struct buf spool_fixed_buf(uint8_t *data, size_t size)
{
    return (struct buf){.data = data, .capacity = size, .len_max = size};
}

struct slice spool_number_key(char kind, uint64_t number, uint8_t ret[SPOOL_NUMBER_KEY_BYTES])
{
    struct buf key = spool_fixed_buf(ret, SPOOL_NUMBER_KEY_BYTES);
    buf_put_u8(&key, (uint8_t)kind);
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

char spool_lane_kind(enum lane lane)
{
    return (char)('a' + (int)lane);
}

struct slice spool_block_key(const struct spool_place *place, bool is_old,
                             uint8_t ret[SPOOL_BLOCK_KEY_BYTES])
{
    struct buf key = spool_fixed_buf(ret, SPOOL_BLOCK_KEY_BYTES);
    buf_put_u8(&key, (uint8_t)spool_lane_kind(place->lane));
    buf_put_u64(&key, place->sequence);
    if (!is_old) {
        buf_put_u32(&key, place->era);
    }
    return buf_slice(&key);
}

struct slice spool_figures_key(const struct spool_place *place,
                               uint8_t ret[SPOOL_FIGURES_KEY_BYTES])
{
    size_t len = spool_block_key(place, false, ret).len;
    ret[len] = 'N';
    return slice_make(ret, len + 1);
}

struct slice spool_aside_key(const struct spool_place *place, uint8_t ret[SPOOL_ASIDE_KEY_BYTES])
{
    struct buf key = spool_fixed_buf(ret, SPOOL_ASIDE_KEY_BYTES);
    buf_put_u8(&key, 'q');
    buf_put_u64(&key, place->sequence);
    buf_put_u32(&key, place->era);
    buf_put_u8(&key, (uint8_t)place->lane);
    return buf_slice(&key);
}

bool spool_is_kind(struct store_iterator *it, char kind)
{
    return store_iterator_valid(it) && store_iterator_key(it).len >= SPOOL_NUMBER_KEY_BYTES &&
           store_iterator_key(it).data[0] == (uint8_t)kind;
}

bool spool_is_figures(struct store_iterator *it)
{
    struct slice key = store_iterator_key(it);
    return key.len == SPOOL_FIGURES_KEY_BYTES && key.data[0] < spool_lane_kind(LANES) &&
           key.data[SPOOL_BLOCK_KEY_BYTES] == 'N';
}

uint64_t spool_number_at(struct store_iterator *it)
{
    return read_u64(store_iterator_key(it).data + 1);
}

/* The block that the iterator stands at, in a lane or aside. */
struct spool_place spool_place_at(struct store_iterator *it, enum lane lane)
{
    struct slice key = store_iterator_key(it);
    bool has_lane = key.len == SPOOL_ASIDE_KEY_BYTES && key.data[SPOOL_BLOCK_KEY_BYTES] < LANES;
    return (struct spool_place){
        .lane = has_lane ? (enum lane)key.data[SPOOL_BLOCK_KEY_BYTES] : lane,
        .era = key.len >= SPOOL_BLOCK_KEY_BYTES ? read_u32(key.data + SPOOL_NUMBER_KEY_BYTES)
                                                : SPOOL_FIRST_ERA,
        .sequence = spool_number_at(it),
        .bytes = store_iterator_value(it).len,
    };
}

/* ---- Opening ---- */

/* Small letters of a spool of before, which stood behind the blocks. */
static bool change_to_capitals(struct spool *s, struct error *err)
{
    bool changes = false;
    store_batch_clear(&s->batch);
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    for (const char *kind = "efhn"; *kind != 0; kind++) {
        uint8_t key[SPOOL_NUMBER_KEY_BYTES];
        for (store_iterator_seek(it, spool_number_key(*kind, 0, key)); spool_is_kind(it, *kind);
             store_iterator_next(it)) {
            char capital = (char)(*kind - 'a' + 'A');
            store_batch_delete(&s->batch, store_iterator_key(it));
            store_batch_put(&s->batch, spool_number_key(capital, spool_number_at(it), key),
                            store_iterator_value(it));
            changes = true;
        }
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine && (!changes || store_write(s->store, &s->batch, true, err));
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
    if (!change_to_capitals(s, err) || !spool_load(s, err)) {
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

/* In the lanes; what the iterator meets is checked by the caller. */
static uint64_t first_waiting(struct spool *s, struct store_iterator *it)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    pthread_mutex_lock(&s->lock);
    uint64_t first = s->state.next;
    for (int lane = 0; lane < LANES; lane++) {
        char kind = spool_lane_kind((enum lane)lane);
        if (s->state.lanes[lane].blocks > 0) {
            store_iterator_seek(it, spool_number_key(kind, s->first[lane], key));
            s->first[lane] = spool_is_kind(it, kind) ? spool_number_at(it) : s->first[lane];
            first = s->first[lane] < first ? s->first[lane] : first;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return first;
}

bool spool_first_waiting(struct spool *s, uint64_t *ret, struct error *err)
{
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    *ret = first_waiting(s, it);
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine || error_add_context(err, "reading the spool");
}

bool spool_first_sequence(struct spool *s, uint64_t *ret, struct error *err)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    *ret = first_waiting(s, it);
    store_iterator_seek(it, spool_number_key('q', 0, key));
    *ret = spool_is_kind(it, 'q') && spool_number_at(it) < *ret ? spool_number_at(it) : *ret;
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine || error_add_context(err, "reading the spool");
}

uint64_t spool_epoch(const struct spool *s)
{
    return s->epoch;
}

/* Delete the headers before the last epoch that begins at or before the first block there is. Where
 * that cannot be read they stay: new events do not wait for it. */
static void delete_headers(struct spool *s)
{
    struct error err;
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    uint64_t first;
    uint64_t oldest_used = 0;
    if (!spool_first_sequence(s, &first, &err)) {
        return;
    }
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    for (store_iterator_seek(it, spool_number_key('F', 0, key));
         spool_is_kind(it, 'F') && store_iterator_value(it).len == 8 &&
         read_u64(store_iterator_value(it).data) <= first;
         store_iterator_next(it)) {
        oldest_used = spool_number_at(it);
    }
    for (const char *kind = "FH"; *kind != 0; kind++) {
        for (store_iterator_seek(it, spool_number_key(*kind, 0, key));
             spool_is_kind(it, *kind) && spool_number_at(it) < oldest_used;
             store_iterator_next(it)) {
            store_batch_delete(&s->batch, store_iterator_key(it));
        }
    }
    store_iterator_close(&it);
}

bool spool_add_epoch(struct spool *s, uint64_t epoch, struct slice header, struct error *err)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    uint8_t number[8];
    struct buf value = spool_fixed_buf(number, sizeof number);
    pthread_mutex_lock(&s->writing);
    bool fine = spool_settle(s, err);
    if (fine) {
        store_batch_clear(&s->batch);
        buf_put_u64(&value, s->state.next);
        delete_headers(s);
        store_batch_put(&s->batch, spool_number_key('H', epoch, key), header);
        store_batch_put(&s->batch, spool_number_key('F', epoch, key), buf_slice(&value));
        fine = store_write(s->store, &s->batch, true, err);
    }
    pthread_mutex_unlock(&s->writing);
    if (!fine) {
        return error_add_context(err, "keeping an epoch");
    }
    s->epoch = epoch;
    return true;
}

/* ---- Changing ---- */

bool spool_begin_change(struct spool *s, struct spool_change *ret, struct error *err)
{
    if (!spool_settle(s, err)) {
        return false;
    }
    ret->state = s->state;
    ret->state.changes++;
    ret->is_append = false;
    ret->aside_from = 0;
    memset(ret->appended, 0, sizeof ret->appended);
    memcpy(ret->drop_from, s->first, sizeof ret->drop_from);
    store_batch_clear(&s->batch);
    return true;
}

bool spool_write_change(struct spool *s, const struct spool_change *change, bool sync,
                        struct error *err)
{
    uint8_t key[SPOOL_FIGURES_KEY_BYTES];
    buf_clear(&s->state_bytes);
    spool_state_write(&change->state, &s->state_bytes);
    store_batch_put(&s->batch,
                    change->is_append ? spool_figures_key(&change->last, key)
                                      : spool_number_key('N', 0, key),
                    buf_slice(&s->state_bytes));
    bool fine = store_write(s->store, &s->batch, sync, err);
    pthread_mutex_lock(&s->lock);
    if (fine) {
        s->state = change->state;
    } else {
        s->is_unsettled = true;
        s->state.next = change->state.next;
    }
    pthread_mutex_unlock(&s->lock);
    return fine;
}

/* ---- Reading ---- */

static bool read_header(struct spool *s, struct slice block, struct buf *ret, struct error *err)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct seal_block open;
    bool has_header;
    /* A damaged block goes to the hub all the same, under the newest header: it is the hub that
     * refuses and counts it. */
    uint64_t epoch = seal_block_peek(block, &open, err) ? open.epoch : s->epoch;
    return store_get(s->store, NULL, spool_number_key('H', epoch, key), ret, &has_header, err);
}

bool spool_find(struct spool *s, enum lane lane, uint64_t from, struct spool_place *ret,
                struct buf *ret_block, struct buf *ret_header, bool *ret_found, struct error *err)
{
    uint8_t key[SPOOL_NUMBER_KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    store_iterator_seek(it, spool_number_key(spool_lane_kind(lane), from, key));
    *ret_found = spool_is_kind(it, spool_lane_kind(lane));
    if (*ret_found) {
        *ret = spool_place_at(it, lane);
        buf_clear(ret_block);
        buf_put_slice(ret_block, store_iterator_value(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    fine = fine && (!*ret_found || read_header(s, buf_slice(ret_block), ret_header, err));
    return fine || error_add_context(err, "reading the spool");
}

bool spool_get_block(struct spool *s, const struct spool_place *place, struct buf *ret_block,
                     bool *ret_found, struct error *err)
{
    uint8_t key[SPOOL_BLOCK_KEY_BYTES];
    if (!store_get(s->store, NULL, spool_block_key(place, false, key), ret_block, ret_found, err)) {
        return false;
    }
    return *ret_found ||
           store_get(s->store, NULL, spool_block_key(place, true, key), ret_block, ret_found, err);
}

bool spool_read(struct spool *s, const struct spool_place *place, struct buf *ret_block,
                struct buf *ret_header, bool *ret_found, struct error *err)
{
    if (!spool_get_block(s, place, ret_block, ret_found, err)) {
        return error_add_context(err, "reading the spool");
    }
    buf_clear(ret_header);
    return !*ret_found || read_header(s, buf_slice(ret_block), ret_header, err);
}

/* ---- Taking out ---- */

void spool_delete_block(struct spool *s, const struct spool_place *place)
{
    uint8_t key[SPOOL_FIGURES_KEY_BYTES];
    store_batch_delete(&s->batch, spool_block_key(place, false, key));
    store_batch_delete(&s->batch, spool_figures_key(place, key));
    if (place->era == SPOOL_FIRST_ERA) {
        store_batch_delete(&s->batch, spool_block_key(place, true, key));
    }
}

/* Is it out of its lane already: dropped, or by a write that was said to have failed? */
static bool look_if_gone(struct spool *s, const struct spool_place *place, bool *ret,
                         struct error *err)
{
    struct buf block;
    *ret = place->sequence < s->dropped_below[place->lane];
    if (*ret || place->sequence >= s->doubtful_below) {
        return true;
    }
    bool found = false;
    buf_init(&block, SIZE_MAX / 2);
    bool fine = spool_get_block(s, place, &block, &found, err);
    buf_done(&block);
    *ret = !found;
    return fine;
}

bool spool_begin_take_out(struct spool *s, const struct spool_place *place,
                          struct spool_change *change, bool *ret_gone, struct error *err)
{
    return spool_begin_change(s, change, err) && look_if_gone(s, place, ret_gone, err);
}

bool spool_take_out(struct spool *s, const struct spool_place *place, struct spool_change *change,
                    struct error *err)
{
    struct spool_lane_state *figures = &change->state.lanes[place->lane];
    ensure(figures->blocks > 0 && figures->bytes >= place->bytes);
    figures->blocks--;
    figures->bytes -= place->bytes;
    spool_delete_block(s, place);
    if (!spool_write_change(s, change, false, err)) {
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
    struct spool_change change;
    bool is_gone;
    pthread_mutex_lock(&s->writing);
    bool fine = spool_begin_take_out(s, place, &change, &is_gone, err) &&
                (is_gone || spool_take_out(s, place, &change, err));
    pthread_mutex_unlock(&s->writing);
    return fine;
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
    return !s->options.drops_oldest && (is_over || spool_disk_is_short(s));
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
