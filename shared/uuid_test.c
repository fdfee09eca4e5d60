#include "shared/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_the_text_of_a_uuid_gives_its_bytes_and_back(void **state)
{
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    static const uint8_t bytes[UUID_BYTES] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                              0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    uint8_t parsed[UUID_BYTES];
    char back[UUID_TEXT_BYTES];
    (void)state;
    assert_true(uuid_parse(slice_text(text), parsed));
    assert_memory_equal(parsed, bytes, sizeof bytes);
    uuid_format(bytes, back);
    assert_memory_equal(back, text, UUID_TEXT_BYTES);
}

static void test_only_the_canonical_form_is_a_uuid(void **state)
{
    static const char *const rows[] = {
        "",
        "01234567-89AB-cdef-0123-456789abcdef",
        "0123456789abcdef0123456789abcdef",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "{1234567-89ab-cdef-0123-456789abcde}",
        "01234567089ab-cdef-0123-456789abcdef",
        "0123456-789ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "01234567-89ab-cdef-0123--56789abcdef",
        "01234567_89ab_cdef_0123_456789abcdef",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t uuid[UUID_BYTES];
        if (uuid_parse(slice_text(rows[i]), uuid)) {
            fail_msg("\"%s\" was taken", rows[i]);
        }
    }
}

static void test_every_single_changed_character_is_noticed_or_changes_the_bytes(void **state)
{
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    uint8_t uuid[UUID_BYTES];
    (void)state;
    for (size_t at = 0; at < UUID_TEXT_BYTES; at++) {
        for (int c = 0; c < 256; c++) {
            char changed[UUID_TEXT_BYTES];
            char back[UUID_TEXT_BYTES];
            memcpy(changed, text, UUID_TEXT_BYTES);
            changed[at] = (char)c;
            if (uuid_parse(slice_make(changed, UUID_TEXT_BYTES), uuid)) {
                uuid_format(uuid, back);
                assert_memory_equal(back, changed, UUID_TEXT_BYTES);
            }
        }
    }
}

static void test_random_uuids_are_of_version_4_and_round_trip(void **state)
{
    struct rand rand;
    (void)state;
    rand_seeded_init(&rand, 4);
    for (int i = 0; i < 10000; i++) {
        uint8_t uuid[UUID_BYTES];
        uint8_t back[UUID_BYTES];
        char text[UUID_TEXT_BYTES];
        uuid_random(&rand, uuid);
        uuid_format(uuid, text);
        assert_int_equal(text[14], '4');
        assert_non_null(memchr("89ab", text[19], 4));
        assert_true(uuid_parse(slice_make(text, UUID_TEXT_BYTES), back));
        assert_memory_equal(uuid, back, UUID_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_text_of_a_uuid_gives_its_bytes_and_back),
        cmocka_unit_test(test_only_the_canonical_form_is_a_uuid),
        cmocka_unit_test(test_every_single_changed_character_is_noticed_or_changes_the_bytes),
        cmocka_unit_test(test_random_uuids_are_of_version_4_and_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
