#include "hub/receipts.h"

#include <stdlib.h>

void receipts_init(struct receipts *r)
{
    *r = (struct receipts){0};
}

void receipts_done(struct receipts *r)
{
    free(r->ranges);
    receipts_init(r);
}

/* The first range that ends at or after the number. */
static size_t place_of(const struct receipts *r, uint64_t number)
{
    size_t at = r->count;
    while (at > 0 && r->ranges[at - 1].to >= number) {
        at--;
    }
    return at;
}

const struct receipt_range *receipts_find(const struct receipts *r, uint64_t number)
{
    size_t at = place_of(r, number);
    return at < r->count && r->ranges[at].from <= number ? &r->ranges[at] : NULL;
}

static void insert(struct receipts *r, size_t at, struct receipt_range range)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? 4 : r->capacity * 2;
        r->ranges = memory_resize(r->ranges, r->capacity * sizeof *r->ranges);
    }
    memmove(&r->ranges[at + 1], &r->ranges[at], (r->count - at) * sizeof *r->ranges);
    r->ranges[at] = range;
    r->count++;
}

void receipts_add(struct receipts *r, uint64_t number)
{
    size_t at = place_of(r, number);
    if (at < r->count && r->ranges[at].from <= number) {
        return;
    }
    bool joins_before = at > 0 && r->ranges[at - 1].to + 1 == number;
    bool joins_after = at < r->count && r->ranges[at].from == number + 1;
    if (joins_before && joins_after) {
        r->ranges[at - 1].to = r->ranges[at].to;
        r->count--;
        memmove(&r->ranges[at], &r->ranges[at + 1], (r->count - at) * sizeof *r->ranges);
    } else if (joins_before) {
        r->ranges[at - 1].to = number;
    } else if (joins_after) {
        r->ranges[at].from = number;
    } else {
        insert(r, at, (struct receipt_range){number, number});
    }
}

void receipts_write(const struct receipts *r, struct buf *out)
{
    for (size_t i = 0; i < r->count; i++) {
        buf_put_u64(out, r->ranges[i].from);
        buf_put_u64(out, r->ranges[i].to);
    }
}

bool receipts_read(struct slice bytes, struct receipts *ret)
{
    receipts_init(ret);
    if (bytes.len % 16 != 0) {
        return false;
    }
    for (size_t at = 0; at < bytes.len; at += 16) {
        struct receipt_range range = {read_u64(bytes.data + at), read_u64(bytes.data + at + 8)};
        bool ascends = range.from <= range.to &&
                       (ret->count == 0 || range.from > ret->ranges[ret->count - 1].to);
        if (!ascends) {
            receipts_done(ret);
            return false;
        }
        insert(ret, ret->count, range);
    }
    return true;
}
