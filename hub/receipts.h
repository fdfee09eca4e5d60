/* Receipts: which blocks of an epoch the hub has, as ascending ranges. A gap is a block that has
 * not come, or never will. Pure.
 */
#ifndef TRIBUTARY_HUB_RECEIPTS_H
#define TRIBUTARY_HUB_RECEIPTS_H

#include "shared/buf.h"

struct receipt_range {
    uint64_t from;
    uint64_t to; /* included */
};

struct receipts {
    size_t count;
    size_t capacity;
    struct receipt_range *ranges;
};

void receipts_init(struct receipts *receipts);
void receipts_done(struct receipts *receipts);

/* The range that holds the number, or NULL. */
const struct receipt_range *receipts_find(const struct receipts *receipts, uint64_t number);
/* Add a number, joining ranges that touch. */
void receipts_add(struct receipts *receipts, uint64_t number);

void receipts_write(const struct receipts *receipts, struct buf *out);
/* False where the bytes are no receipts. */
MUST_CHECK bool receipts_read(struct slice bytes, struct receipts *ret);

#endif
