#include "shared/damage/crc32c.h"

#include <pthread.h>
#include <string.h>

enum { SLICES = 8, BITS = 8 };
#define POLYNOMIAL 0x82f63b78u
#define MASK_DELTA 0xa282ead8u

static uint32_t tables[SLICES][256];
static bool is_fast;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static bool can_processor(void);

static void make_tables(void)
{
    is_fast = can_processor();
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < BITS; bit++) {
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        }
        tables[0][i] = crc;
    }
    for (int s = 1; s < SLICES; s++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t before = tables[s - 1][i];
            tables[s][i] = before >> 8 ^ tables[0][before & 0xff];
        }
    }
}

static uint32_t step(uint32_t crc, uint8_t byte)
{
    return crc >> 8 ^ tables[0][(crc ^ byte) & 0xff];
}

/* Eight bytes at a time ("slicing by eight"). */
static uint32_t step_eight(uint32_t crc, const uint8_t *data)
{
    uint32_t low = crc ^ crc32c_read_u32(data);
    uint32_t high = crc32c_read_u32(data + 4);
    return tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
           tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
           tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
}

static uint32_t extend_by_tables(uint32_t crc, const uint8_t *data, size_t len)
{
    for (; len >= SLICES; data += SLICES, len -= SLICES) {
        crc = step_eight(crc, data);
    }
    for (; len > 0; data++, len--) {
        crc = step(crc, *data);
    }
    return crc;
}

#ifdef __x86_64__
/* The processor has it since 2008; ten times as fast. */
__attribute__((target("sse4.2"))) static uint32_t
extend_by_processor(uint32_t crc, const uint8_t *data, size_t len)
{
    uint64_t wide = crc;
    for (; len >= sizeof wide; data += sizeof wide, len -= sizeof wide) {
        uint64_t eight;
        memcpy(&eight, data, sizeof eight);
        wide = __builtin_ia32_crc32di(wide, eight);
    }
    crc = (uint32_t)wide;
    for (; len > 0; data++, len--) {
        crc = __builtin_ia32_crc32qi(crc, *data);
    }
    return crc;
}

static bool can_processor(void)
{
    return __builtin_cpu_supports("sse4.2") != 0;
}
#else
static uint32_t extend_by_processor(uint32_t crc, const uint8_t *data, size_t len)
{
    return extend_by_tables(crc, data, len);
}

static bool can_processor(void)
{
    return false;
}
#endif

uint32_t crc32c_extend(uint32_t crc, const uint8_t *data, size_t len)
{
    pthread_once(&made, make_tables);
    return ~(is_fast ? extend_by_processor(~crc, data, len) : extend_by_tables(~crc, data, len));
}

uint32_t crc32c_extend_by_tables(uint32_t crc, const uint8_t *data, size_t len)
{
    pthread_once(&made, make_tables);
    return ~extend_by_tables(~crc, data, len);
}

uint32_t crc32c_mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + MASK_DELTA;
}

static uint32_t unmask(uint32_t masked)
{
    uint32_t rotated = masked - MASK_DELTA;
    return rotated >> 17 | rotated << 15;
}

/* Turning a bit changes the checksum by what that bit alone, followed by as many zeros, is
 * divided to. So the difference is looked for among the bits, from the last byte to the first. */
bool crc32c_find_flip(const uint8_t *data, size_t len, uint32_t stored, size_t *ret_bit)
{
    uint32_t crc = crc32c_extend(0, data, len);
    uint32_t in_stored = stored ^ crc32c_mask(crc);
    uint32_t wanted = unmask(stored) ^ crc;
    uint32_t changes[BITS];
    if (__builtin_popcount(in_stored) == 1) {
        *ret_bit = len * BITS + (size_t)__builtin_ctz(in_stored);
        return true;
    }
    for (int bit = 0; bit < BITS; bit++) {
        changes[bit] = tables[0][1 << bit];
    }
    for (size_t at = len; at > 0; at--) {
        for (size_t bit = 0; bit < BITS; bit++) {
            if (changes[bit] == wanted) {
                *ret_bit = (at - 1) * BITS + bit;
                return true;
            }
            changes[bit] = step(changes[bit], 0);
        }
    }
    return false;
}
