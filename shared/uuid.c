#include "shared/uuid.h"

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct slice text, uint8_t ret[UUID_BYTES])
{
    if (text.len != UUID_TEXT_BYTES) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < UUID_TEXT_BYTES; i++) {
        if (is_dash(i)) {
            if (text.data[i] != '-') {
                return false;
            }
            continue;
        }
        int high = hex_value(text.data[i]);
        int low = hex_value(text.data[++i]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret[n++] = (uint8_t)(high << 4 | low);
    }
    return true;
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
