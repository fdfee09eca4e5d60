/* The first-party cookie: what may be in it, and how it is written. */
#include "collector/api/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void test_only_what_needs_no_quoting_is_an_id(void **state)
{
    char longest[COOKIE_ID_BYTES_MAX + 1];
    static const char *const bad[] = {
        "", "a b", "a;b", "a=b", "a\"", "\xc3\xa9", "a\r\nSet-Cookie: x=y"};
    (void)state;
    memset(longest, 'a', sizeof longest);
    assert_true(cookie_is_id(slice_text("Az09-_.~")));
    assert_true(cookie_is_id(slice_make(longest, COOKIE_ID_BYTES_MAX)));
    assert_false(cookie_is_id(slice_make(longest, COOKIE_ID_BYTES_MAX + 1)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(cookie_is_id(slice_text(bad[i])));
    }
}

static void assert_cookie(const struct settings *settings, bool is_secure, const char *wanted)
{
    char cookie[COOKIE_BYTES];
    cookie_format(settings, "trb_aid", slice_text("a1"), is_secure, cookie);
    assert_string_equal(cookie, wanted);
}

static void test_its_attributes_are_those_of_the_settings(void **state)
{
    struct settings settings = {.cookie_lifetime_ms = 7000, .cookie_same_site = "lax"};
    (void)state;
    assert_cookie(&settings, false, "trb_aid=a1; Path=/; Max-Age=7; SameSite=Lax");
    assert_cookie(&settings, true, "trb_aid=a1; Path=/; Max-Age=7; SameSite=Lax; Secure");
    strcpy(settings.cookie_domain, "example.com");
    strcpy(settings.cookie_same_site, "strict");
    settings.cookie_http_only = 1;
    assert_cookie(&settings, false,
                  "trb_aid=a1; Path=/; Max-Age=7; SameSite=Strict; Domain=example.com; HttpOnly");
}

static void test_a_cookie_for_other_sites_is_always_secure(void **state)
{
    struct settings settings = {.cookie_lifetime_ms = 7000, .cookie_same_site = "none"};
    (void)state;
    assert_cookie(&settings, false, "trb_aid=a1; Path=/; Max-Age=7; SameSite=None; Secure");
}

static void test_the_longest_settings_fit(void **state)
{
    struct settings settings = {.cookie_lifetime_ms = 400LL * 86400000,
                                .cookie_same_site = "strict",
                                .cookie_http_only = 1};
    char cookie[COOKIE_BYTES];
    char id[COOKIE_ID_BYTES_MAX];
    (void)state;
    memset(settings.cookie_name, 'n', sizeof settings.cookie_name - 1);
    memset(settings.cookie_domain, 'd', sizeof settings.cookie_domain - 1);
    memset(id, 'a', sizeof id);
    cookie_format(&settings, settings.cookie_name, slice_make(id, sizeof id), true, cookie);
    assert_string_equal(cookie + strlen(cookie) - strlen("; Secure; HttpOnly"),
                        "; Secure; HttpOnly");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_needs_no_quoting_is_an_id),
        cmocka_unit_test(test_its_attributes_are_those_of_the_settings),
        cmocka_unit_test(test_a_cookie_for_other_sites_is_always_secure),
        cmocka_unit_test(test_the_longest_settings_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
