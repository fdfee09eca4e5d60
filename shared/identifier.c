#include "shared/identifier.h"

#include "shared/limits.h"
#include "shared/phone.h"

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

static struct slice lower_case(struct slice value, struct arena *arena)
{
    uint8_t *out = arena_allocate(arena, value.len);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        out[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    return slice_make(out, value.len);
}

struct slice identifier_normalize_in(enum identifier_normalizer normalizer, uint16_t country,
                                     struct slice value, struct arena *arena)
{
    value = identifier_trim(value);
    if (value.len > LIMIT_IDENTIFIER_BYTES) {
        return slice_make(NULL, 0);
    }
    switch (normalizer) {
    case NORMALIZE_EMAIL:
        return lower_case(value, arena);
    case NORMALIZE_PHONE:
        return phone_normalize(value, country, arena);
    case NORMALIZE_TRIM:
        break;
    }
    return value;
}

struct slice identifier_normalize(enum identifier_normalizer normalizer, struct slice value,
                                  struct arena *arena)
{
    return identifier_normalize_in(normalizer, 0, value, arena);
}
