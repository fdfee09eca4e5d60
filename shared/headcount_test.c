#include "shared/headcount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <sodium.h>

static struct address parse(const char *text)
{
    struct address address;
    assert_true(address_parse(slice_text(text), &address));
    return address;
}

static void test_what_a_party_adds_is_counted_until_it_is_removed(void **state)
{
    struct headcount *h = headcount_new(1000);
    (void)state;
    uint32_t seat = headcount_seat(h, parse("192.0.2.7"));
    for (size_t i = 1; i <= 1000; i++) {
        headcount_add(h, seat);
        assert_int_equal(headcount_of(h, seat), i);
    }
    for (size_t i = 1000; i > 0; i--) {
        headcount_remove(h, seat);
        assert_int_equal(headcount_of(h, seat), i - 1);
    }
    headcount_free(&h);
    assert_null(h);
}

static void test_a_network_of_ipv6_is_one_party_and_addresses_of_ipv4_are_many(void **state)
{
    struct headcount *h = headcount_new(100000);
    (void)state;
    assert_int_equal(headcount_seat(h, parse("2001:db8:1:2:3::4")),
                     headcount_seat(h, parse("2001:db8:1:2:ffff::9")));
    /* Seats are shared by a hash whose key is random: of 200 pairs hardly one. */
    unsigned shared = 0;
    for (int i = 0; i < 200; i++) {
        char a[32];
        char b[32];
        snprintf(a, sizeof a, "192.0.2.%d", i);
        snprintf(b, sizeof b, "198.51.100.%d", i);
        shared += headcount_seat(h, parse(a)) == headcount_seat(h, parse(b));
    }
    assert_in_range(shared, 0, 3);
    headcount_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_party_adds_is_counted_until_it_is_removed),
        cmocka_unit_test(test_a_network_of_ipv6_is_one_party_and_addresses_of_ipv4_are_many),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
