#include "collector/spool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "shared/seal.h"

/* Keys, big-endian (stored: never change):
 *   'b' sequence   a sealed block          'h' epoch      its header
 *   'n'            next sequence number    'q' sequence   a block set aside
 */
struct spool {
    struct store *store;
    uint64_t bytes_max;
    _Atomic uint64_t epoch;
    _Atomic uint64_t first;
    _Atomic uint64_t next;
    _Atomic uint64_t blocks;
    _Atomic uint64_t bytes;
    _Atomic uint64_t aside;
    struct store_batch batch; /* of the appending thread */
};

enum { KEY_BYTES = 9, FULL_MARGIN = 64 * 1024 };

static struct slice make_key(char kind, uint64_t number, uint8_t ret[KEY_BYTES])
{
    struct buf key = {.data = ret, .capacity = KEY_BYTES, .len_max = KEY_BYTES};
    buf_put_u8(&key, (uint8_t)kind);
    buf_put_u64(&key, number);
    return buf_slice(&key);
}

static bool is_kind(struct store_iterator *it, char kind)
{
    return store_iterator_valid(it) && store_iterator_key(it).len == KEY_BYTES &&
           store_iterator_key(it).data[0] == (uint8_t)kind;
}

static bool scan(struct spool *s, struct error *err)
{
    uint8_t key[KEY_BYTES];
    struct store_iterator *it = store_iterator_open(s->store, NULL);
    uint64_t first = UINT64_MAX;
    uint64_t next = 0;
    for (store_iterator_seek(it, make_key('b', 0, key)); is_kind(it, 'b');
         store_iterator_next(it)) {
        uint64_t sequence = read_u64(store_iterator_key(it).data + 1);
        first = first == UINT64_MAX ? sequence : first;
        next = sequence + 1;
        s->blocks++;
        s->bytes += store_iterator_value(it).len;
    }
    store_iterator_seek_before(it, make_key('h', UINT64_MAX, key));
    s->epoch = is_kind(it, 'h') ? read_u64(store_iterator_key(it).data + 1) : 0;
    store_iterator_seek(it, make_key('n', 0, key));
    if (is_kind(it, 'n') && store_iterator_value(it).len == 8) {
        uint64_t kept = read_u64(store_iterator_value(it).data);
        next = kept > next ? kept : next;
    }
    for (store_iterator_seek(it, make_key('q', 0, key)); is_kind(it, 'q');
         store_iterator_next(it)) {
        s->aside++;
    }
    s->next = next;
    s->first = first == UINT64_MAX ? next : first;
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool spool_open(struct store *store, uint64_t bytes_max, struct spool **ret, struct error *err)
{
    struct spool *s = memory_allocate_zeroed(sizeof *s);
    s->store = store;
    s->bytes_max = bytes_max;
    store_batch_init(&s->batch);
    if (!scan(s, err)) {
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
        free(*spool);
        *spool = NULL;
    }
}

uint64_t spool_epoch(const struct spool *s)
{
    return s->epoch;
}

bool spool_add_epoch(struct spool *s, uint64_t epoch, struct slice header, struct error *err)
{
    uint8_t key[KEY_BYTES];
    store_batch_clear(&s->batch);
    store_batch_put(&s->batch, make_key('h', epoch, key), header);
    if (!store_write(s->store, &s->batch, true, err)) {
        return error_add_context(err, "keeping an epoch");
    }
    s->epoch = epoch;
    return true;
}

uint64_t spool_next_sequence(const struct spool *s)
{
    return s->next;
}

bool spool_append(struct spool *s, struct slice block, struct error *err)
{
    uint8_t key[KEY_BYTES];
    uint8_t next_key[KEY_BYTES];
    uint8_t next_value[8];
    if (s->bytes + block.len > s->bytes_max) {
        return error_set(err, ERROR_FULL, "the spool holds its %llu bytes",
                         (unsigned long long)s->bytes_max);
    }
    struct buf value = {.data = next_value, .capacity = 8, .len_max = 8};
    buf_put_u64(&value, s->next + 1);
    store_batch_clear(&s->batch);
    store_batch_put(&s->batch, make_key('b', s->next, key), block);
    store_batch_put(&s->batch, make_key('n', 0, next_key), buf_slice(&value));
    if (!store_write(s->store, &s->batch, true, err)) {
        return error_add_context(err, "appending to the spool");
    }
    s->blocks++;
    s->bytes += block.len;
    s->next++;
    return true;
}

uint64_t spool_first_sequence(const struct spool *s)
{
    return s->first;
}

bool spool_read(struct spool *s, uint64_t sequence, struct buf *ret_block, struct buf *ret_header,
                bool *ret_found, struct error *err)
{
    uint8_t key[KEY_BYTES];
    struct seal_block open;
    bool has_header;
    if (!store_get(s->store, NULL, make_key('b', sequence, key), ret_block, ret_found, err)) {
        return error_add_context(err, "reading the spool");
    }
    buf_clear(ret_header);
    if (!*ret_found) {
        return true;
    }
    /* A damaged block goes to the hub all the same, under the newest header: it is the hub that
     * refuses and counts it. */
    uint64_t epoch = seal_block_peek(buf_slice(ret_block), &open, err) ? open.epoch : s->epoch;
    return store_get(s->store, NULL, make_key('h', epoch, key), ret_header, &has_header, err);
}

static bool take_out(struct spool *s, uint64_t sequence, bool keep, struct error *err)
{
    uint8_t key[KEY_BYTES];
    uint8_t aside_key[KEY_BYTES];
    struct store_batch batch;
    struct buf block;
    bool found;
    store_batch_init(&batch);
    buf_init(&block, SIZE_MAX / 2);
    bool fine = store_get(s->store, NULL, make_key('b', sequence, key), &block, &found, err);
    if (fine && found) {
        store_batch_delete(&batch, make_key('b', sequence, key));
        if (keep) {
            store_batch_put(&batch, make_key('q', sequence, aside_key), buf_slice(&block));
        }
        /* Not synced: a block that comes back after a power cut is sent again and recognised. */
        fine = store_write(s->store, &batch, false, err);
    }
    if (fine && found) {
        s->blocks--;
        s->bytes -= block.len;
        s->aside += keep;
    }
    if (fine && sequence == s->first) {
        s->first = sequence + 1;
    }
    store_batch_done(&batch);
    buf_done(&block);
    return fine || error_add_context(err, "taking a block out of the spool");
}

bool spool_acknowledge(struct spool *s, uint64_t sequence, struct error *err)
{
    return take_out(s, sequence, false, err);
}

bool spool_set_aside(struct spool *s, uint64_t sequence, struct error *err)
{
    return take_out(s, sequence, true, err);
}

bool spool_is_full(const struct spool *s)
{
    return s->bytes + FULL_MARGIN > s->bytes_max;
}

uint64_t spool_blocks(const struct spool *s)
{
    return s->blocks;
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

uint64_t spool_blocks_aside(const struct spool *s)
{
    return s->aside;
}
