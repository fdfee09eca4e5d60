#include "shared/identifier.h"

#include "shared/limits.h"

static const char *const names[] = {"trim", "email", "phone"};

bool identifier_normalizer_from(struct slice name, enum identifier_normalizer *ret)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_is(name, names[i])) {
            *ret = (enum identifier_normalizer)i;
            return true;
        }
    }
    return false;
}

const char *identifier_normalizer_name(enum identifier_normalizer normalizer)
{
    return names[normalizer];
}

enum identifier_normalizer identifier_normalizer_default(struct slice type)
{
    if (slice_is(type, "email")) {
        return NORMALIZE_EMAIL;
    }
    return slice_is(type, "phone") ? NORMALIZE_PHONE : NORMALIZE_TRIM;
}

/* How many bytes of white space the text begins with: ASCII's, the no-break space, those from
 * U+2000 to U+200F (zero-width ones among them), the narrow and the ideographic one, a byte-order
 * mark. */
static size_t space_at(const uint8_t *at, size_t room)
{
    if (*at == ' ' || (*at >= '\t' && *at <= '\r')) {
        return 1;
    }
    if (*at == 0xC2 && room >= 2 && at[1] == 0xA0) {
        return 2;
    }
    bool is_space =
        room >= 3 &&
        ((at[0] == 0xE2 && at[1] == 0x80 && ((at[2] >= 0x80 && at[2] <= 0x8F) || at[2] == 0xAF)) ||
         (at[0] == 0xE3 && at[1] == 0x80 && at[2] == 0x80) ||
         (at[0] == 0xEF && at[1] == 0xBB && at[2] == 0xBF));
    return is_space ? 3 : 0;
}

/* The same at its end. */
static size_t space_before(struct slice text)
{
    for (size_t len = 1; len <= 3 && len <= text.len; len++) {
        if (space_at(text.data + text.len - len, len) == len) {
            return len;
        }
    }
    return 0;
}

struct slice identifier_trim(struct slice value)
{
    size_t space = 0;
    while (value.len > 0 && (space = space_at(value.data, value.len)) > 0) {
        value = slice_skip(value, space);
    }
    while (value.len > 0 && (space = space_before(value)) > 0) {
        value.len -= space;
    }
    return value;
}

struct slice identifier_normalize(enum identifier_normalizer normalizer, struct slice value,
                                  struct arena *arena)
{
    value = identifier_trim(value);
    if (value.len > LIMIT_IDENTIFIER_BYTES) {
        return slice_make(NULL, 0);
    }
    if (normalizer == NORMALIZE_TRIM) {
        return value;
    }
    uint8_t *out = arena_allocate(arena, value.len);
    size_t len = 0;
    size_t digits = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (normalizer == NORMALIZE_EMAIL) {
            out[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
        } else if ((c >= '0' && c <= '9') || (c == '+' && len == 0)) {
            out[len++] = c;
            digits += c != '+';
        }
    }
    /* "+" alone is nobody's number, and must not make one person of all who gave it. */
    return slice_make(out, normalizer == NORMALIZE_PHONE && digits == 0 ? 0 : len);
}
