#include "shared/uuid.h"

/* One more than the value of a lower-case hex digit, 0 for any other byte. */
static const uint8_t digits_from_one[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static bool is_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct slice text, uint8_t ret[UUID_BYTES])
{
    static const uint8_t places[UUID_BYTES] = {0,  2,  4,  6,  9,  11, 14, 16,
                                               19, 21, 24, 26, 28, 30, 32, 34};
    const uint8_t *at = text.data;
    if (text.len != UUID_TEXT_BYTES || at[8] != '-' || at[13] != '-' || at[18] != '-' ||
        at[23] != '-') {
        return false;
    }
    bool fine = true;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        uint8_t high = digits_from_one[at[places[i]]];
        uint8_t low = digits_from_one[at[places[i] + 1]];
        fine &= high > 0 && low > 0;
        ret[i] = (uint8_t)((high - 1U) << 4 | (low - 1U));
    }
    return fine;
}

void uuid_format(const uint8_t uuid[UUID_BYTES], char ret[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_dash(at)) {
            ret[at++] = '-';
        }
        ret[at++] = digits[uuid[i] >> 4];
        ret[at++] = digits[uuid[i] & 15];
    }
}

void uuid_random(struct rand *rand, uint8_t ret[UUID_BYTES])
{
    rand_fill(rand, ret, UUID_BYTES);
    ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
    ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
}
