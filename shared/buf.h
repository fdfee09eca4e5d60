/* A buf is an owned run of bytes that grows up to a maximum given at birth.
 *
 * Guarantee: an append either happens whole or leaves the buf as it was. Running out of memory
 * stops the process; reaching the maximum is a result (false), because sizes come from outside.
 * One thread owns a buf.
 */
#ifndef TRIBUTARY_SHARED_BUF_H
#define TRIBUTARY_SHARED_BUF_H

#include "shared/attributes.h"
#include "shared/error.h"
#include "shared/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t len_max;
};

/* Start empty, allocating nothing yet. */
void buf_init(struct buf *buf, size_t len_max);

/* Free the bytes; the buf is as after buf_init() with the same maximum. */
void buf_done(struct buf *buf);

/* Make room for `more` bytes behind the end. False when that would pass the maximum. */
MUST_CHECK bool buf_reserve(struct buf *buf, size_t more);

/* For buf_append() where the bytes do not fit into what was allocated. */
MUST_CHECK bool buf_append_growing(struct buf *buf, const void *data, size_t len);

/* Append; false (and nothing appended) when that would pass the maximum. */
MUST_CHECK static inline bool buf_append(struct buf *buf, const void *data, size_t len)
{
    if (len > buf->capacity - buf->len) {
        return buf_append_growing(buf, data, len);
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
    }
    buf->len += len;
    return true;
}

/* Append where the caller knows that it fits: passing the maximum stops the process. */
static inline void buf_put(struct buf *buf, const void *data, size_t len)
{
    bool fits = buf_append(buf, data, len);
    ensure(fits);
}

void buf_put_slice(struct buf *buf, struct slice slice);
void buf_put_u8(struct buf *buf, uint8_t value);
/* Big-endian, so that keys sort by value. */
void buf_put_u16(struct buf *buf, uint16_t value);
void buf_put_u32(struct buf *buf, uint32_t value);
void buf_put_u64(struct buf *buf, uint64_t value);
/* Append formatted text without a terminating zero. */
void buf_put_format(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

static inline void buf_clear(struct buf *buf)
{
    buf->len = 0;
}

static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_make(buf->data, buf->len);
}

/* Reading big-endian values back; the caller has checked that the bytes are there. */
uint16_t read_u16(const uint8_t *data);
uint32_t read_u32(const uint8_t *data);
uint64_t read_u64(const uint8_t *data);

/* Allocation that stops the process instead of failing; for sizes already checked. */
void *memory_allocate(size_t size);
void *memory_allocate_zeroed(size_t size);
void *memory_resize(void *old, size_t size);

#endif
