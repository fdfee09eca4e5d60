#include "shared/cursor.h"

#include "shared/buf.h"

static bool take(struct cursor *c, size_t len, const uint8_t **ret)
{
    if ((size_t)(c->end - c->at) < len) {
        return false;
    }
    *ret = c->at;
    c->at += len;
    return true;
}

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static bool take_number(struct cursor *c, size_t width, uint64_t *ret)
{
    const uint8_t *bytes;
    if (!take(c, width, &bytes)) {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < width; i++) {
        *ret = *ret << 8 | bytes[i];
    }
    return true;
}

static bool take_run(struct cursor *c, enum token_kind kind, uint64_t len, struct token *ret)
{
    const uint8_t *bytes;
    ret->kind = kind;
    if (!take(c, (size_t)len, &bytes)) {
        return false;
    }
    ret->text = slice_make(bytes, (size_t)len);
    return true;
}

/* Heads 0xc4…0xc9 and 0xd9…0xdb: a length, for ext a type, and that many bytes. */
static bool take_sized(struct cursor *c, enum token_kind kind, size_t width, size_t more,
                       struct token *ret)
{
    uint64_t len;
    return take_number(c, width, &len) && take_run(c, kind, len + more, ret);
}

static bool take_container(struct cursor *c, enum token_kind kind, size_t width, struct token *ret)
{
    uint64_t count;
    if (!take_number(c, width, &count)) {
        return false;
    }
    ret->kind = kind;
    ret->count = (uint32_t)count;
    return true;
}

static bool take_unsigned(struct cursor *c, size_t width, struct token *ret)
{
    uint64_t value;
    if (!take_number(c, width, &value)) {
        return false;
    }
    if (value > INT64_MAX) {
        ret->kind = TOKEN_DOUBLE;
        ret->number = (double)value;
    } else {
        ret->kind = TOKEN_INTEGER;
        ret->integer = (int64_t)value;
    }
    return true;
}

static bool take_signed(struct cursor *c, size_t width, struct token *ret)
{
    uint64_t value;
    if (!take_number(c, width, &value)) {
        return false;
    }
    unsigned unused = 64 - (unsigned)width * 8;
    ret->kind = TOKEN_INTEGER;
    ret->integer = (int64_t)(value << unused) >> unused;
    return true;
}

static bool take_float(struct cursor *c, size_t width, struct token *ret)
{
    uint64_t bits;
    float single;
    if (!take_number(c, width, &bits)) {
        return false;
    }
    ret->kind = TOKEN_DOUBLE;
    if (width == 8) {
        memcpy(&ret->number, &bits, sizeof ret->number);
    } else {
        uint32_t half = (uint32_t)bits;
        memcpy(&single, &half, sizeof single);
        ret->number = (double)single;
    }
    return true;
}

static bool take_bool(bool value, struct token *ret)
{
    ret->kind = TOKEN_BOOL;
    ret->boolean = value;
    return true;
}

/* Heads 0xc0…0xdf: the type, and the width of what follows. */
static bool take_headed(struct cursor *c, uint8_t head, struct token *ret)
{
    switch (head) {
    case 0xc0:
        ret->kind = TOKEN_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        return take_bool(head == 0xc3, ret);
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_sized(c, TOKEN_BYTES, (size_t)1 << (head - 0xc4), 0, ret);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_sized(c, TOKEN_BYTES, (size_t)1 << (head - 0xc7), 1, ret);
    case 0xca:
    case 0xcb:
        return take_float(c, head == 0xca ? 4 : 8, ret);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take_unsigned(c, (size_t)1 << (head - 0xcc), ret);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_signed(c, (size_t)1 << (head - 0xd0), ret);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_run(c, TOKEN_BYTES, 1 + ((uint64_t)1 << (head - 0xd4)), ret);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_sized(c, TOKEN_TEXT, (size_t)1 << (head - 0xd9), 0, ret);
    case 0xdc:
    case 0xdd:
        return take_container(c, TOKEN_ARRAY, head == 0xdc ? 2 : 4, ret);
    case 0xde:
    case 0xdf:
        return take_container(c, TOKEN_MAP, head == 0xde ? 2 : 4, ret);
    default:
        return false;
    }
}

bool cursor_next(struct cursor *c, struct token *ret)
{
    const uint8_t *at;
    if (!take(c, 1, &at)) {
        return false;
    }
    uint8_t head = *at;
    if (head < 0x80 || head >= 0xe0) {
        ret->kind = TOKEN_INTEGER;
        ret->integer = head < 0x80 ? head : head - 0x100;
        return true;
    }
    if (head < 0xa0) {
        ret->kind = head < 0x90 ? TOKEN_MAP : TOKEN_ARRAY;
        ret->count = head & 0x0f;
        return true;
    }
    return head < 0xc0 ? take_run(c, TOKEN_TEXT, head & 0x1f, ret) : take_headed(c, head, ret);
}

bool cursor_skip(struct cursor *c)
{
    struct token token;
    uint64_t left = 1;
    for (; left > 0; left--) {
        if (!cursor_next(c, &token)) {
            return false;
        }
        if (token.kind == TOKEN_ARRAY || token.kind == TOKEN_MAP) {
            left += token.kind == TOKEN_MAP ? 2 * (uint64_t)token.count : token.count;
        }
    }
    return true;
}

unsigned cursor_members(struct cursor map, const char *const *names, unsigned count,
                        struct cursor *ret)
{
    struct token head;
    struct token key;
    unsigned found = 0;
    if (!cursor_next(&map, &head) || head.kind != TOKEN_MAP) {
        return 0;
    }
    for (uint32_t i = 0; i < head.count && cursor_next(&map, &key); i++) {
        for (unsigned n = 0; key.kind == TOKEN_TEXT && n < count; n++) {
            if (slice_is(key.text, names[n])) {
                ret[n] = map;
                found |= 1u << n;
            }
        }
        if (key.kind == TOKEN_ARRAY || key.kind == TOKEN_MAP || !cursor_skip(&map)) {
            break; /* JSON has no such keys */
        }
    }
    return found;
}

bool cursor_member(struct cursor map, const char *name, struct cursor *ret)
{
    return cursor_members(map, &name, 1, ret) == 1;
}
