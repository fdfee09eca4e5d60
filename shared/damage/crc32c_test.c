#include "shared/damage/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "shared/rand.h"

/* RFC 3720, B.4. */
static void test_the_checksum_is_that_of_the_rfc(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c_extend(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c_extend(0, bytes, sizeof bytes), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_int_equal(crc32c_extend(0, bytes, sizeof bytes), 0x46dd794e);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = crc32c_extend(0, bytes, cut);
        assert_int_equal(crc32c_extend(first, bytes + cut, sizeof bytes - cut), 0x46dd794e);
        assert_int_equal(crc32c_extend_by_tables(0, bytes, cut), first);
    }
    assert_int_equal(crc32c_mask(0), 0xa282ead8);
}

static void test_the_bit_that_was_turned_is_found(void **state)
{
    (void)state;
    enum { LEN = 100 };
    uint8_t bytes[LEN + 4];
    struct rand rand;
    size_t found;
    rand_seeded_init(&rand, 7);
    rand_fill(&rand, bytes, LEN);
    uint32_t stored = crc32c_mask(crc32c_extend(0, bytes, LEN));
    for (size_t bit = 0; bit < (size_t)LEN * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(crc32c_find_flip(bytes, LEN, stored, &found));
        assert_int_equal(found, bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 32; bit++) {
        assert_true(crc32c_find_flip(bytes, LEN, stored ^ 1u << bit, &found));
        assert_int_equal(found, (size_t)LEN * 8 + bit);
    }
}

/* Two bits are never taken for one. */
static void test_other_damage_is_not_taken_for_one_bit(void **state)
{
    (void)state;
    enum { LEN = 64 };
    uint8_t bytes[LEN] = {0};
    size_t found;
    uint32_t stored = crc32c_mask(crc32c_extend(0, bytes, LEN));
    for (size_t a = 0; a < (size_t)LEN * 8; a += 3) {
        for (size_t b = a + 1; b < (size_t)LEN * 8; b += 5) {
            bytes[a / 8] ^= (uint8_t)(1 << a % 8);
            bytes[b / 8] ^= (uint8_t)(1 << b % 8);
            assert_false(crc32c_find_flip(bytes, LEN, stored, &found));
            memset(bytes, 0, sizeof bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_checksum_is_that_of_the_rfc),
        cmocka_unit_test(test_the_bit_that_was_turned_is_found),
        cmocka_unit_test(test_other_damage_is_not_taken_for_one_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
