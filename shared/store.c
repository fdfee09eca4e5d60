#include "shared/store.h"

#include <stdint.h>

void store_batch_init(struct store_batch *batch)
{
    *batch = (struct store_batch){0};
    buf_init(&batch->ops, SIZE_MAX / 2);
}

void store_batch_done(struct store_batch *batch)
{
    buf_done(&batch->ops);
    batch->count = 0;
}

void store_batch_clear(struct store_batch *batch)
{
    buf_clear(&batch->ops);
    batch->count = 0;
}

static void put_op(struct store_batch *batch, bool is_delete, struct slice key, struct slice value)
{
    buf_put_u8(&batch->ops, is_delete);
    buf_put_u32(&batch->ops, (uint32_t)key.len);
    buf_put_u32(&batch->ops, (uint32_t)value.len);
    buf_put_slice(&batch->ops, key);
    buf_put_slice(&batch->ops, value);
    batch->count++;
}

void store_batch_put(struct store_batch *batch, struct slice key, struct slice value)
{
    put_op(batch, false, key, value);
}

void store_batch_delete(struct store_batch *batch, struct slice key)
{
    put_op(batch, true, key, slice_make(NULL, 0));
}

bool store_batch_next(const struct store_batch *batch, size_t *at, struct store_op *ret)
{
    if (*at >= batch->ops.len) {
        return false;
    }
    const uint8_t *op = batch->ops.data + *at;
    size_t key_len = read_u32(op + 1);
    size_t value_len = read_u32(op + 5);
    ret->is_delete = op[0] != 0;
    ret->key = slice_make(op + 9, key_len);
    ret->value = slice_make(op + 9 + key_len, value_len);
    *at += 9 + key_len + value_len;
    return true;
}

bool store_write(struct store *store, const struct store_batch *batch, bool sync, struct error *err)
{
    return store->methods->write(store, batch, sync, err);
}

bool store_get(struct store *store, const struct store_snapshot *snapshot, struct slice key,
               struct buf *ret, bool *ret_found, struct error *err)
{
    buf_clear(ret);
    return store->methods->get(store, snapshot, key, ret, ret_found, err);
}

struct store_snapshot *store_snapshot_open(struct store *store)
{
    return store->methods->snapshot_open(store);
}

void store_snapshot_close(struct store *store, struct store_snapshot **snapshot)
{
    if (*snapshot != NULL) {
        store->methods->snapshot_close(store, *snapshot);
        *snapshot = NULL;
    }
}

struct store_iterator *store_iterator_open(struct store *store,
                                           const struct store_snapshot *snapshot)
{
    return store->methods->iterator_open(store, snapshot);
}

void store_iterator_close(struct store_iterator **iterator)
{
    if (*iterator != NULL) {
        (*iterator)->methods->close(*iterator);
        *iterator = NULL;
    }
}

void store_iterator_seek(struct store_iterator *iterator, struct slice key)
{
    iterator->methods->seek(iterator, key);
}

void store_iterator_seek_before(struct store_iterator *iterator, struct slice key)
{
    iterator->methods->seek_before(iterator, key);
}

void store_iterator_next(struct store_iterator *iterator)
{
    iterator->methods->next(iterator);
}

void store_iterator_prev(struct store_iterator *iterator)
{
    iterator->methods->prev(iterator);
}

bool store_iterator_valid(const struct store_iterator *iterator)
{
    return iterator->methods->valid(iterator);
}

struct slice store_iterator_key(const struct store_iterator *iterator)
{
    return iterator->methods->key(iterator);
}

struct slice store_iterator_value(const struct store_iterator *iterator)
{
    return iterator->methods->value(iterator);
}

bool store_iterator_check(const struct store_iterator *iterator, struct error *err)
{
    return iterator->methods->check(iterator, err);
}

uint64_t store_size(struct store *store, struct slice from, struct slice to)
{
    return store->methods->size(store, from, to);
}

void store_close(struct store **store)
{
    if (*store != NULL) {
        (*store)->methods->close(*store);
        *store = NULL;
    }
}
