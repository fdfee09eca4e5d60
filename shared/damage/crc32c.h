/* CRC-32C (Castagnoli), as LevelDB's files have it, and finding the one bit that was turned.
 *
 * LevelDB keeps its own to itself, and Debian 12 has no library of it. Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_CRC32C_H
#define TRIBUTARY_SHARED_DAMAGE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of what `crc` is the checksum of, followed by these bytes; begin with 0. */
uint32_t crc32c_extend(uint32_t crc, const uint8_t *data, size_t len);

/* The same on processors that have no instruction for it. */
uint32_t crc32c_extend_by_tables(uint32_t crc, const uint8_t *data, size_t len);

/* The form in which LevelDB stores it. */
uint32_t crc32c_mask(uint32_t crc);

/* LevelDB's byte order: little-endian. */
static inline uint32_t crc32c_read_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

/* Where the stored, masked checksum is not that of the bytes: is there one bit that makes it so
 * when it is turned? *ret_bit counts from the first byte's lowest bit; from len * 8 on it is one of
 * the checksum. Other damage looks like one bit with a chance of 8 * len in 2^32. */
bool crc32c_find_flip(const uint8_t *data, size_t len, uint32_t stored, size_t *ret_bit);

#ifdef __cplusplus
}
#endif

#endif
