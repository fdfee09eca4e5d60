/* A cursor reads MessagePack in place, value by value, without unpacking it: for checks that run
 * on every event and may not allocate.
 *
 * Safe for any bytes: what is cut off or no MessagePack ends the reading (false), and nothing
 * behind `end` is looked at. Each step is constant work, cursor_skip() is linear in the bytes
 * passed over. A cursor is plain data: copy it to come back to a place. One thread at a time.
 */
#ifndef TRIBUTARY_SHARED_CURSOR_H
#define TRIBUTARY_SHARED_CURSOR_H

#include "shared/attributes.h"
#include "shared/slice.h"

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

enum token_kind {
    TOKEN_NIL,
    TOKEN_BOOL,
    TOKEN_INTEGER,
    TOKEN_DOUBLE, /* also whole numbers beyond int64_t */
    TOKEN_TEXT,
    TOKEN_BYTES, /* bin and ext */
    TOKEN_ARRAY, /* `count` values follow */
    TOKEN_MAP,   /* `count` pairs of values follow */
};

struct token {
    enum token_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct slice text; /* of texts and bytes: borrowed from what is read */
        uint32_t count;
    };
};

static inline struct cursor cursor_of(struct slice bytes)
{
    return (struct cursor){bytes.data, bytes.len == 0 ? bytes.data : bytes.data + bytes.len};
}

/* Read one value, or the head of a container. False at the end, and for what is no MessagePack. */
MUST_CHECK bool cursor_next(struct cursor *cursor, struct token *ret);

/* Pass over one value with all that is in it. */
MUST_CHECK bool cursor_skip(struct cursor *cursor);

/* Stand before the value of a member of the map that `map` stands before; false where that is no
 * map or has no such member. Of a name given twice, the last counts. */
bool cursor_member(struct cursor map, const char *name, struct cursor *ret);

/* The same for several names in one pass: a bit for each that was found, and its place in ret. */
unsigned cursor_members(struct cursor map, const char *const *names, unsigned count,
                        struct cursor *ret);

#endif
