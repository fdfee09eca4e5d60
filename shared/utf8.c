#include "shared/utf8.h"

#include <stdlib.h>
#include <utf8proc.h>
#include "shared/error.h"

static bool is_tail(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return false;
        }
    }
    return true;
}

/* The length of the well-formed sequence at `at`, or 0. */
static size_t sequence_length(const uint8_t *at, size_t room)
{
    uint8_t lead = at[0];
    if (lead >= 0xC2 && lead <= 0xDF) {
        return room >= 2 && is_tail(at + 1, 1) ? 2 : 0;
    }
    if (lead >= 0xE0 && lead <= 0xEF) {
        bool fine = room >= 3 && is_tail(at + 1, 2) && !(lead == 0xE0 && at[1] < 0xA0) &&
                    !(lead == 0xED && at[1] > 0x9F);
        return fine ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        bool fine = room >= 4 && is_tail(at + 1, 3) && !(lead == 0xF0 && at[1] < 0x90) &&
                    !(lead == 0xF4 && at[1] > 0x8F);
        return fine ? 4 : 0;
    }
    return 0;
}

bool utf8_is_valid(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        uint64_t eight;
        if (text.len - i >= sizeof eight) {
            memcpy(&eight, text.data + i, sizeof eight);
            if ((eight & 0x8080808080808080ULL) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        if (text.data[i] < 0x80) {
            i++;
            continue;
        }
        size_t len = sequence_length(text.data + i, text.len - i);
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

struct slice utf8_normalize(struct slice text, struct arena *arena)
{
    if (is_ascii(text)) {
        return text;
    }
    utf8proc_uint8_t *normal = NULL;
    utf8proc_ssize_t len = utf8proc_map(text.data, (utf8proc_ssize_t)text.len, &normal,
                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    ensure(len >= 0);
    struct slice copy = arena_copy(arena, slice_make(normal, (size_t)len));
    free(normal);
    return slice_equal(copy, text) ? text : copy;
}

size_t utf8_cut(struct slice text, size_t max)
{
    size_t len = text.len < max ? text.len : max;
    while (len > 0 && len < text.len && (text.data[len] & 0xc0) == 0x80) {
        len--;
    }
    return len;
}
