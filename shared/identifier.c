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

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice trim(struct slice value)
{
    while (value.len > 0 && is_space(value.data[0])) {
        value = slice_skip(value, 1);
    }
    while (value.len > 0 && is_space(value.data[value.len - 1])) {
        value.len--;
    }
    return value;
}

struct slice identifier_normalize(enum identifier_normalizer normalizer, struct slice value,
                                  struct arena *arena)
{
    value = trim(value);
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
