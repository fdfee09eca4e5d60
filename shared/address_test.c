#include "shared/address.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct {
    const char *text;
    const char *written; /* NULL: it is no address */
    const char *truncated;
} addresses[] = {
    {"192.0.2.77", "192.0.2.77", "192.0.2.0"},
    {" 192.0.2.77\t", "192.0.2.77", "192.0.2.0"},
    {"192.0.2.77:8080", "192.0.2.77", "192.0.2.0"},
    {"::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0"},
    {"0.0.0.0", "0.0.0.0", "0.0.0.0"},
    {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
    {"[2001:DB8::1]:443", "2001:db8::1", "2001:db8::"},
    {"[2001:db8::1]", "2001:db8::1", "2001:db8::"},
    {"::1", "::1", "::"},
    {"64:ff9b::192.0.2.77", "64:ff9b::c000:24d", "64:ff9b::"},
    {"", NULL, NULL},
    {" ", NULL, NULL},
    {"[", NULL, NULL},
    {"[]", NULL, NULL},
    {"unknown", NULL, NULL},
    {"192.0.2", NULL, NULL},
    {"192.0.2.256", NULL, NULL},
    {"192.0.2.7.7", NULL, NULL},
    {"1:2:3:4:5:6:7:8:9", NULL, NULL},
    {"fe80::1%eth0", NULL, NULL},
    {"2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0001", NULL, NULL},
};

static struct address address_of(const char *text)
{
    struct address address;
    if (!address_parse(slice_text(text), &address)) {
        fail_msg("%s is no address", text);
    }
    return address;
}

static void assert_written(struct address address, const char *expected)
{
    char text[ADDRESS_TEXT_BYTES];
    size_t len = address_format(address, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, expected);
}

static void test_addresses_are_read_written_and_cut_to_their_network(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct address address;
        bool is_one = address_parse(slice_text(addresses[i].text), &address);
        if (is_one != (addresses[i].written != NULL)) {
            fail_msg("\"%s\" was taken for %s", addresses[i].text, is_one ? "one" : "none");
        }
        if (is_one) {
            assert_written(address, addresses[i].written);
            assert_written(address_truncate(address), addresses[i].truncated);
        }
    }
    struct address none;
    assert_false(address_parse(slice_make("1.2.3.4\0.5", 10), &none));
}

static void test_the_bytes_of_an_address_are_those_of_its_family(void **state)
{
    struct address ipv4 = address_of("198.51.100.7");
    struct address ipv6 = address_of("2001:db8::7");
    (void)state;
    assert_int_equal(address_bytes(&ipv4).len, 4);
    assert_memory_equal(address_bytes(&ipv4).data, "\xc6\x33\x64\x07", 4);
    assert_int_equal(address_bytes(&ipv6).len, 16);
    assert_ptr_equal(address_bytes(&ipv6).data, ipv6.bytes);
}

static void test_the_peers_of_sockets_have_the_same_form(void **state)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_addr = {htonl(0xc000024d)}};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct address address;
    (void)state;
    assert_true(address_from_socket((const struct sockaddr *)&ipv4, &address));
    assert_written(address, "192.0.2.77");
    assert_true(address_from_socket((const struct sockaddr *)&ipv6, &address));
    assert_written(address, "::1");
    assert_false(address_from_socket(&other, &address));
    assert_false(address_from_socket(NULL, &address));
}

static const struct {
    const char *networks;
    const char *address;
    bool is_inside;
} insides[] = {
    {"", "10.1.2.3", false},
    {"10.0.0.0/8", "10.255.0.1", true},
    {"10.0.0.0/8", "11.0.0.1", false},
    {"10.9.9.9/8", "10.1.1.1", true},
    {"192.0.2.7", "192.0.2.7", true},
    {"192.0.2.7", "192.0.2.8", false},
    {"192.0.2.128/25", "192.0.2.127", false},
    {"192.0.2.128/25", "192.0.2.200", true},
    {"0.0.0.0/0", "203.0.113.1", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "203.0.113.1", true},
    {"::1, fd00::/8  10.0.0.0/8,", "fdff::1", true},
    {"::1, fd00::/8  10.0.0.0/8,", "10.0.0.1", true},
    {"::1, fd00::/8  10.0.0.0/8,", "::2", false},
    {"::ffff:10.0.0.0/8", "10.7.0.1", true},
};

static void test_networks_contain_what_begins_as_they_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof insides / sizeof *insides; i++) {
        struct networks networks;
        struct error err;
        if (!networks_parse(slice_text(insides[i].networks), &networks, &err)) {
            fail_msg("%s", err.message);
        }
        if (networks_contain(&networks, address_of(insides[i].address)) != insides[i].is_inside) {
            fail_msg("%s in %s: not %d", insides[i].address, insides[i].networks,
                     insides[i].is_inside);
        }
    }
}

static void test_a_network_that_is_none_is_named(void **state)
{
    static const char *const wrong[] = {"10.0.0.0/33",  "::/129",   "10.0.0.0/", "10.0.0.0/8/8",
                                        "10.0.0.0/-1",  "10.0.0/8", "proxy",     "/8",
                                        "10.0.0.1:80",  "[::1]",    "::/1 x",    "10.0.0.0/0x8",
                                        "10.0.0.0/0008"};
    struct networks networks;
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (networks_parse(slice_text(wrong[i]), &networks, &err)) {
            fail_msg("%s was taken", wrong[i]);
        }
        assert_int_equal(err.kind, ERROR_INVALID);
    }
    assert_false(networks_parse(slice_text("::1, 10.0.0.0/33"), &networks, &err));
    assert_non_null(strstr(err.message, "\"10.0.0.0/33\""));
    char many[NETWORKS_MAX * 4 + 8] = "";
    for (int i = 0; i <= NETWORKS_MAX; i++) {
        strcat(many, "::1 ");
    }
    assert_false(networks_parse(slice_text(many), &networks, &err));
}

static const struct {
    const char *what;
    const char *peer;
    const char *forwarded;
    const char *client; /* NULL: unknown */
} clients[] = {
    {"a peer that is no proxy", "203.0.113.9", "", "203.0.113.9"},
    {"who is no proxy may claim what it likes", "203.0.113.9", "198.51.100.1", "203.0.113.9"},
    {"what a proxy tells", "10.0.0.1", "198.51.100.1", "198.51.100.1"},
    {"what the client wrote before is not believed", "10.0.0.1", "1.1.1.1, 198.51.100.1",
     "198.51.100.1"},
    {"a proxy behind a proxy", "10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
    {"with a port", "10.0.0.1", "198.51.100.1:51234", "198.51.100.1"},
    {"IPv6", "fd00::1", "[2001:db8::9]:51234,10.0.0.3", "2001:db8::9"},
    {"nothing but proxies", "10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"},
    {"a proxy that tells nothing", "10.0.0.1", "", NULL},
    {"a proxy that tells nonsense", "10.0.0.1", "198.51.100.1, unknown", NULL},
    {"an empty entry", "10.0.0.1", "198.51.100.1,,10.0.0.2", NULL},
};

static void test_the_client_is_the_right_most_that_is_no_proxy(void **state)
{
    struct networks trusted;
    struct error err;
    (void)state;
    assert_true(networks_parse(slice_text("10.0.0.0/8 fd00::/8"), &trusted, &err));
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        struct address client;
        bool known = address_of_client(address_of(clients[i].peer),
                                       slice_text(clients[i].forwarded), &trusted, &client);
        if (known != (clients[i].client != NULL)) {
            fail_msg("%s: %s", clients[i].what, known ? "known" : "unknown");
        }
        if (known) {
            assert_written(client, clients[i].client);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read_written_and_cut_to_their_network),
        cmocka_unit_test(test_the_bytes_of_an_address_are_those_of_its_family),
        cmocka_unit_test(test_the_peers_of_sockets_have_the_same_form),
        cmocka_unit_test(test_networks_contain_what_begins_as_they_do),
        cmocka_unit_test(test_a_network_that_is_none_is_named),
        cmocka_unit_test(test_the_client_is_the_right_most_that_is_no_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
