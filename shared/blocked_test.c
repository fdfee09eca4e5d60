#include "shared/blocked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct row {
    const char *type;
    const char *value;
};

static bool is_blocked(const char *type, struct slice value)
{
    return blocked_value(slice_text(type), identifier_normalizer_default(slice_text(type)), value);
}

static void test_what_is_written_for_no_value_names_nobody(void **state)
{
    static const struct row rows[] = {
        {"user_id", "None"},
        {"user_id", "<nil>"},
        {"user_id", "NULL"},
        {"user_id", "\"null\""},
        {"user_id", "'None'"},
        {"user_id", "(null)"},
        {"user_id", "[null]"},
        {"user_id", " \t\"'Undefined'\" "},
        {"user_id", "\xc2\xa0NULL\xe2\x80\xaf"},
        {"user_id", "\xe2\x80\x9cnull\xe2\x80\x9d"},
        {"user_id", "\xc2\xabnull\xc2\xbb"},
        {"user_id", "nAn"},
        {"user_id", "N/A"},
        {"user_id", "#N/A"},
        {"user_id", "\\N"},
        {"user_id", "anonymous"},
        {"user_id", "Guest"},
        {"user_id", "UNKNOWN"},
        {"user_id", "(not set)"},
        {"user_id", "<no value>"},
        {"user_id", "[object Object]"},
        {"user_id", "[object Undefined]"},
        {"user_id", "true"},
        {"user_id", "False"},
        {"user_id", "-"},
        {"user_id", "--"},
        {"user_id", "."},
        {"user_id", "?"},
        {"user_id", "{}"},
        {"user_id", "\"\""},
        {"user_id", "0"},
        {"user_id", "000"},
        {"user_id", "0.0"},
        {"anonymous_id", "00000000-0000-0000-0000-000000000000"},
        {"anonymous_id", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"},
        {"loyalty_id", "0000000000000"},
        {"loyalty_id", "9999999999999"},
        {"loyalty_id", "9999 9999 9999"},
        {"loyalty_id", "1111111"},
        {"loyalty_id", "9,78202E+12"},
        {"loyalty_id", "9.78202e12"},
        {"loyalty_id", "3E+12"},
        {"phone", "0000000000"},
        {"phone", "9,78202E+12"},
        {"user_id", "{{user.id}}"},
        {"user_id", "${userId}"},
        {"user_id", "<%= id %>"},
        {"user_id", "%%ID%%"},
        {"email", "*|EMAIL|*"},
        {"email", "none"},
        {"email", "jane"},
        {"email", "jane.example.com"},
        {"email", "@example.com"},
        {"email", "jane@"},
        {"email", "jane@a@b.fr"},
        {"email", "jane doe@example.com"},
        {"email", "test@test.com"},
        {"email", "Test2@TEST.com"},
        {"email", "noemail@noemail.com"},
        {"email", "none@none.fr"},
        {"email", "null@example.com"},
        {"email", "no-reply@example.com"},
        {"email", " N/A "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!is_blocked(rows[i].type, slice_text(rows[i].value))) {
            fail_msg("%s \"%s\" names somebody", rows[i].type, rows[i].value);
        }
    }
    assert_true(is_blocked("user_id", slice_make("u1\0x", 4)));
    assert_true(is_blocked("user_id", slice_text("u\x01")));
    assert_true(is_blocked("user_id", slice_make("", 0)));
}

static void test_people_with_odd_names_are_people(void **state)
{
    static const struct row rows[] = {
        {"user_id", "u1"},
        {"user_id", "1"},
        {"user_id", "10"},
        {"user_id", "00417"},
        {"user_id", "999999"}, /* an id that counts up gets there */
        {"user_id", "12e34"},
        {"user_id", "507e1977"},
        {"user_id", "nullify"},
        {"user_id", "Noneman"},
        {"user_id", "guest-1"},
        {"user_id", "{4f1c2d3e-0000-0000-0000-000000000001}"},
        {"user_id", "\xe5\xbc\xa0"},
        {"user_id", "jane doe"},
        {"anonymous_id", "00000000-0000-0000-0000-000000000001"},
        {"loyalty_id", "99999"},
        {"loyalty_id", "9999999999998"},
        {"loyalty_id", "C-000000"},
        {"phone", "+33612345678"},
        {"email", "jane@example.com"},
        {"email", "test@gmail.com"},
        {"email", "test@example.com"},
        {"email", "guest@example.com"},
        {"email", "jane@test.com"},
        {"email", "j@localhost"},
        {"email", "\xc3\xa9@\xc3\xa9.fr"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (is_blocked(rows[i].type, slice_text(rows[i].value))) {
            fail_msg("%s \"%s\" names nobody", rows[i].type, rows[i].value);
        }
    }
}

static void test_every_shipped_word_is_blocked_in_any_case(void **state)
{
    (void)state;
    for (size_t i = 0; blocked_words[i] != NULL; i++) {
        char upper[64];
        snprintf(upper, sizeof upper, " '%s' ", blocked_words[i]);
        for (char *c = upper; *c != 0; c++) {
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        }
        if (!is_blocked("user_id", slice_text(upper))) {
            fail_msg("%s names somebody", upper);
        }
    }
}

static void test_patterns_match_whole_values_in_any_case(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } rows[] = {
        {"*@shop.example", "Boutique@Shop.Example", true},
        {"*@shop.example", "boutique@shop.example.com", false},
        {"TEMP-???", "temp-123", true},
        {"TEMP-???", "temp-1234", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"a*b*c", "aXbXbXc", true},
        {"a*b*c", "aXbXbX", false},
        {"**a", "bba", true},
        {"a?", "a", false},
        {"*aaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (blocked_matches(slice_text(rows[i].pattern), slice_text(rows[i].text)) !=
            rows[i].matches) {
            fail_msg("%s and %s", rows[i].pattern, rows[i].text);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_for_no_value_names_nobody),
        cmocka_unit_test(test_people_with_odd_names_are_people),
        cmocka_unit_test(test_every_shipped_word_is_blocked_in_any_case),
        cmocka_unit_test(test_patterns_match_whole_values_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
