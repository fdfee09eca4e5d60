#include "shared/write_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

static void test_the_example_of_the_formats_page_holds(void **state)
{
    uint8_t salt[WRITE_KEY_SALT_BYTES];
    char hex[2 * WRITE_KEY_HASH_BYTES + 1];
    (void)state;
    for (uint8_t i = 0; i < sizeof salt; i++) {
        salt[i] = i;
    }
    struct write_key_hash hash = write_key_hash(salt, slice_text("pos-secret"));
    sodium_bin2hex(hex, sizeof hex, hash.bytes, sizeof hash.bytes);
    assert_string_equal(hex, "88b553555a2caadd19a1b8191d4d4fa9");
}

static void test_another_hub_or_key_has_another_hash(void **state)
{
    uint8_t secret[SEAL_KEY_BYTES] = {1};
    uint8_t salts[2][WRITE_KEY_SALT_BYTES];
    (void)state;
    write_key_salt(secret, salts[0]);
    secret[0] = 2;
    write_key_salt(secret, salts[1]);
    struct write_key_hash a = write_key_hash(salts[0], slice_text("pos"));
    struct write_key_hash b = write_key_hash(salts[1], slice_text("pos"));
    struct write_key_hash c = write_key_hash(salts[0], slice_text("pos2"));
    assert_memory_not_equal(a.bytes, b.bytes, sizeof a.bytes);
    assert_memory_not_equal(a.bytes, c.bytes, sizeof a.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_of_the_formats_page_holds),
        cmocka_unit_test(test_another_hub_or_key_has_another_hash),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
