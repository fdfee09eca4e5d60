#include "shared/identifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "shared/limits.h"

static void test_values_are_normalised_by_their_rule(void **state)
{
    static const struct {
        enum identifier_normalizer normalizer;
        const char *value;
        const char *normal;
    } rows[] = {
        {NORMALIZE_TRIM, "u-1", "u-1"},
        {NORMALIZE_TRIM, " \t\r\n\v\fU-1 \n", "U-1"},
        {NORMALIZE_TRIM, "a b", "a b"},
        {NORMALIZE_TRIM, "   ", ""},
        {NORMALIZE_TRIM, "", ""},
        {NORMALIZE_EMAIL, " Jane.Doe@Example.COM ", "jane.doe@example.com"},
        {NORMALIZE_EMAIL, "J\xc3\x89@x.org", "j\xc3\x89@x.org"}, /* only ASCII letters change */
        {NORMALIZE_EMAIL, " ", ""},
        {NORMALIZE_PHONE, "+33 (0)6 12-34.56", "+336123456"},
        {NORMALIZE_PHONE, "(+33) 612", "+33612"},
        {NORMALIZE_PHONE, "06 12+34", "061234"},
        {NORMALIZE_PHONE, "unknown", ""},
        {NORMALIZE_PHONE, "+", ""},
        {NORMALIZE_PHONE, "++", ""},
        {NORMALIZE_PHONE, "(+) -", ""},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, 256);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct slice once =
            identifier_normalize(rows[i].normalizer, slice_text(rows[i].value), &arena);
        if (!slice_is(once, rows[i].normal)) {
            fail_msg("\"%s\" became \"%.*s\"", rows[i].value, SLICE_ARGS(once));
        }
        struct slice twice = identifier_normalize(rows[i].normalizer, once, &arena);
        assert_true(slice_equal(once, twice));
    }
    arena_done(&arena);
}

static void test_a_value_over_the_limit_is_not_usable(void **state)
{
    char text[LIMIT_IDENTIFIER_BYTES + 3];
    struct arena arena;
    (void)state;
    arena_init(&arena, 1024);
    memset(text, '7', sizeof text);
    for (int n = NORMALIZE_TRIM; n <= NORMALIZE_PHONE; n++) {
        enum identifier_normalizer normalizer = (enum identifier_normalizer)n;
        struct slice longest = slice_make(text, LIMIT_IDENTIFIER_BYTES);
        size_t len = identifier_normalize(normalizer, longest, &arena).len;
        /* Nobody has a telephone number of 256 digits. */
        assert_int_equal(len, normalizer == NORMALIZE_PHONE ? 0 : LIMIT_IDENTIFIER_BYTES);
        struct slice longer = slice_make(text, LIMIT_IDENTIFIER_BYTES + 1);
        assert_int_equal(identifier_normalize(normalizer, longer, &arena).len, 0);
    }
    memset(text, ' ', 3);
    assert_int_equal(
        identifier_normalize(NORMALIZE_TRIM, slice_make(text, sizeof text), &arena).len,
        LIMIT_IDENTIFIER_BYTES);
    arena_done(&arena);
}

static void test_normalisers_are_known_by_their_names(void **state)
{
    static const char *const names[] = {"trim", "email", "phone"};
    enum identifier_normalizer found;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(identifier_normalizer_from(slice_text(names[i]), &found));
        assert_int_equal(found, i); /* stored: these numbers never change */
        assert_string_equal(identifier_normalizer_name(found), names[i]);
    }
    assert_false(identifier_normalizer_from(slice_text("Email"), &found));
    assert_false(identifier_normalizer_from(slice_make(NULL, 0), &found));
}

static void test_types_have_the_default_that_their_name_suggests(void **state)
{
    (void)state;
    assert_int_equal(identifier_normalizer_default(slice_text("email")), NORMALIZE_EMAIL);
    assert_int_equal(identifier_normalizer_default(slice_text("phone")), NORMALIZE_PHONE);
    assert_int_equal(identifier_normalizer_default(slice_text("user_id")), NORMALIZE_TRIM);
    assert_int_equal(identifier_normalizer_default(slice_make(NULL, 0)), NORMALIZE_TRIM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_normalised_by_their_rule),
        cmocka_unit_test(test_a_value_over_the_limit_is_not_usable),
        cmocka_unit_test(test_normalisers_are_known_by_their_names),
        cmocka_unit_test(test_types_have_the_default_that_their_name_suggests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
