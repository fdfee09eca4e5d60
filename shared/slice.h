/* A slice is a borrowed run of bytes: it owns nothing and is valid as long as its owner says.
 * Text in Tributary is a slice of UTF-8 without a terminating zero.
 */
#ifndef TRIBUTARY_SHARED_SLICE_H
#define TRIBUTARY_SHARED_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

/* The pieces of a slice as arguments of printf's "%.*s". */
#define SLICE_ARGS(s) (int)(s).len, (const char *)(s).data

static inline struct slice slice_make(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_text(const char *text)
{
    return slice_make(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

static inline bool slice_starts_with(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

/* Byte order; a prefix sorts before what it begins. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The slice without its first n bytes; n may not exceed its length. */
static inline struct slice slice_skip(struct slice a, size_t n)
{
    return slice_make(a.data + n, a.len - n);
}

#endif
