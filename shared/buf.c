#include "shared/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/error.h"

void *memory_allocate(size_t size)
{
    void *memory = malloc(size == 0 ? 1 : size);
    ensure(memory != NULL);
    return memory;
}

void *memory_allocate_zeroed(size_t size)
{
    void *memory = calloc(1, size == 0 ? 1 : size);
    ensure(memory != NULL);
    return memory;
}

void *memory_resize(void *old, size_t size)
{
    void *memory = realloc(old, size == 0 ? 1 : size);
    ensure(memory != NULL);
    return memory;
}

void buf_init(struct buf *buf, size_t len_max)
{
    *buf = (struct buf){.len_max = len_max};
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    buf_init(buf, buf->len_max);
}

bool buf_reserve(struct buf *buf, size_t more)
{
    if (more > buf->len_max || buf->len > buf->len_max - more) {
        return false;
    }
    size_t need = buf->len + more;
    if (need <= buf->capacity) {
        return true;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity * 2;
    capacity = capacity < need ? need : capacity;
    capacity = capacity > buf->len_max ? buf->len_max : capacity;
    buf->data = memory_resize(buf->data, capacity);
    buf->capacity = capacity;
    return true;
}

bool buf_append_growing(struct buf *buf, const void *data, size_t len)
{
    if (!buf_reserve(buf, len)) {
        return false;
    }
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
    }
    buf->len += len;
    return true;
}

void buf_put_slice(struct buf *buf, struct slice slice)
{
    buf_put(buf, slice.data, slice.len);
}

void buf_put_u8(struct buf *buf, uint8_t value)
{
    buf_put(buf, &value, 1);
}

void buf_put_u16(struct buf *buf, uint16_t value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    buf_put(buf, bytes, sizeof bytes);
}

void buf_put_u32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    buf_put(buf, bytes, sizeof bytes);
}

void buf_put_u64(struct buf *buf, uint64_t value)
{
    buf_put_u32(buf, (uint32_t)(value >> 32));
    buf_put_u32(buf, (uint32_t)value);
}

void buf_put_format(struct buf *buf, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ensure(len >= 0 && (size_t)len < sizeof text);
    buf_put(buf, text, (size_t)len);
}

uint16_t read_u16(const uint8_t *data)
{
    return (uint16_t)((uint16_t)data[0] << 8 | data[1]);
}

uint32_t read_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

uint64_t read_u64(const uint8_t *data)
{
    return (uint64_t)read_u32(data) << 32 | read_u32(data + 4);
}
