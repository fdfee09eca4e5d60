/* Keys are stored for ever: their order, and vectors that notice any change of their bytes. */
#include "hub/keyspace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/rand.h"

static struct profile_id id_of(uint8_t first, uint8_t last)
{
    struct profile_id id = {{0}};
    id.bytes[0] = first;
    id.bytes[15] = last;
    return id;
}

static void hex(struct slice bytes, char ret[2 * KEY_BYTES_MAX + 1])
{
    for (size_t i = 0; i < bytes.len; i++) {
        snprintf(ret + 2 * i, 3, "%02x", bytes.data[i]);
    }
    ret[2 * bytes.len] = 0;
}

static void assert_key(struct key key, const char *expected)
{
    char text[2 * KEY_BYTES_MAX + 1];
    hex(key_slice(&key), text);
    assert_string_equal(text, expected);
}

static void test_the_bytes_of_each_kind_of_key_stay_as_they_are(void **state)
{
    static const uint8_t hash[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    struct profile_id id = id_of(0xab, 0xcd);
    (void)state;
    assert_key(key_fact("stats"), "617374617473");
    assert_key(key_dedup(hash), "640102030405060708090a0b0c0d0e0f10");
    assert_key(key_edge(7, 258), "65000000070000000000000102");
    assert_key(key_deferred(id, 3), "66ab0000000000000000000000000000cd0000000000000003");
    assert_key(key_identifier((struct identifier){slice_text("email"), slice_text("a@b")}),
               "69656d61696c00614062");
    assert_key(key_journal(id, 4), "6aab0000000000000000000000000000cd0000000000000004");
    assert_key(key_member(9, id), "6d00000009ab0000000000000000000000000000cd");
    assert_key(key_outbox(2, 1), "6f000000020000000000000001");
    assert_key(key_profile(id), "70ab0000000000000000000000000000cd");
    assert_key(key_position(16), "7300000010");
    assert_key(key_timeline(id, 1795292103120, 255),
               "74ab0000000000000000000000000000cd000001a1ffbf81d000000000000000ff");
    assert_key(key_timer(1795292103120, id), "77000001a1ffbf81d0ab0000000000000000000000000000cd");
    assert_key(key_redirect(id), "78ab0000000000000000000000000000cd");
}

static int order(struct key a, struct key b)
{
    int result = slice_compare(key_slice(&a), key_slice(&b));
    return (result > 0) - (result < 0);
}

static int order_of(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static uint64_t random_number(struct rand *rand)
{
    return rand_u64(rand) >> (1 + rand_below(rand, 62)); /* below INT64_MAX, of every length */
}

static void test_keys_sort_as_the_numbers_in_them(void **state)
{
    struct rand rand;
    (void)state;
    rand_seeded_init(&rand, 5);
    for (int i = 0; i < 20000; i++) {
        uint64_t a = random_number(&rand);
        uint64_t b = rand_below(&rand, 10) == 0 ? a : random_number(&rand);
        struct profile_id x = id_of((uint8_t)rand_below(&rand, 3), (uint8_t)rand_below(&rand, 3));
        struct profile_id y = id_of((uint8_t)rand_below(&rand, 3), (uint8_t)rand_below(&rand, 3));
        int ids = profile_id_compare(x, y);
        ids = (ids > 0) - (ids < 0);
        int numbers = order_of(a, b);
        bool fine = order(key_timer((int64_t)a, x), key_timer((int64_t)b, y)) ==
                        (numbers != 0 ? numbers : ids) &&
                    order(key_timeline(x, (int64_t)a, 1), key_timeline(y, (int64_t)b, 1)) ==
                        (ids != 0 ? ids : numbers) &&
                    order(key_journal(x, a), key_journal(y, b)) == (ids != 0 ? ids : numbers) &&
                    order(key_outbox(3, a), key_outbox(3, b)) == numbers &&
                    order(key_edge((uint32_t)(a >> 32), 1), key_edge((uint32_t)(b >> 32), 1)) ==
                        order_of(a >> 32, b >> 32) &&
                    order(key_profile(x), key_profile(y)) == ids;
        if (!fine) {
            fail_msg("seed=5 i=%d a=%llu b=%llu", i, (unsigned long long)a, (unsigned long long)b);
        }
    }
}

static void test_a_prefix_covers_its_own_keys_alone(void **state)
{
    struct profile_id id = id_of(1, 2);
    struct key timeline = key_timeline(id, 5, 6);
    struct key other = key_timeline(id_of(1, 3), 0, 0);
    struct key member = key_member(7, id);
    struct key other_member = key_member(8, id);
    (void)state;
    struct slice prefix = key_prefix(&timeline, KEY_PREFIX_PROFILE);
    struct key first = key_timeline(id, 0, 0);
    assert_true(slice_starts_with(key_slice(&first), prefix));
    assert_false(slice_starts_with(key_slice(&other), prefix));
    prefix = key_prefix(&member, KEY_PREFIX_NUMBER);
    assert_true(slice_starts_with(key_slice(&member), prefix));
    assert_false(slice_starts_with(key_slice(&other_member), prefix));
    assert_true(profile_id_equal(key_profile_at(key_slice(&member), KEY_PREFIX_NUMBER), id));
    assert_true(profile_id_equal(key_profile_at(key_slice(&timeline), 1), id));
    struct key timer = key_timer(99, id);
    assert_true(profile_id_equal(key_profile_at(key_slice(&timer), 9), id));
}

static void test_the_longest_identifier_has_a_key(void **state)
{
    static uint8_t type[LIMIT_NAME_BYTES];
    static uint8_t value[LIMIT_IDENTIFIER_BYTES];
    (void)state;
    memset(type, 't', sizeof type);
    memset(value, 'v', sizeof value);
    struct key key = key_identifier(
        (struct identifier){slice_make(type, sizeof type), slice_make(value, sizeof value)});
    assert_true(key.len < KEY_BYTES_MAX);
    key = key_claim(
        (struct identifier){slice_make(type, sizeof type), slice_make(value, sizeof value)},
        (struct profile_id){0});
    assert_int_equal(key.len, KEY_BYTES_MAX);
}

static void test_type_and_value_do_not_run_into_each_other(void **state)
{
    (void)state;
    assert_true(order(key_identifier((struct identifier){slice_text("a"), slice_text("bc")}),
                      key_identifier((struct identifier){slice_text("ab"), slice_text("c")})) != 0);
}

/* Stored data depends on these: were one to change, people would be looked for in the wrong
 * partition, and messages counted again. */
static const struct {
    const char *type;
    const char *value;
    uint64_t hash;     /* of the key */
    uint32_t homes[3]; /* of 1, 16 and 1000 partitions */
} homes[] = {
    {"anonymous_id", "a-1", 0x87802a6400097b0d, {0, 13, 845}},
    {"user_id", "507f191e81", 0x815cb732c5386d6e, {0, 14, 486}},
    {"email", "jane@example.com", 0x83a309601c2211d9, {0, 9, 785}},
    {"phone", "+33612345678", 0x89d1cf496f54324e, {0, 14, 454}},
    {"loyalty_id", "7", 0x88349b22cc367230, {0, 0, 992}},
};

static void test_homes_and_hashes_stay_where_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++) {
        static const uint32_t counts[] = {1, 16, 1000};
        struct identifier id = {slice_text(homes[i].type), slice_text(homes[i].value)};
        struct key key = key_identifier(id);
        if (hash_of(key_slice(&key)) != homes[i].hash) {
            fail_msg("%s: 0x%016llx", homes[i].value, (unsigned long long)hash_of(key_slice(&key)));
        }
        for (int n = 0; n < 3; n++) {
            assert_int_equal(home_of(id, counts[n]), homes[i].homes[n]);
        }
    }
    uint8_t hash[16];
    struct key text;
    char got[2 * KEY_BYTES_MAX + 1];
    hash128_of(slice_text("m-1"), hash);
    memcpy(text.bytes, hash, sizeof hash);
    text.len = sizeof hash;
    hex(key_slice(&text), got);
    assert_string_equal(got, "499b09f7d4bb39965a51274dd09505a7");
    assert_true(hash_of(slice_make(NULL, 0)) == 0x3bf1819186ce8b75);
}

static void test_homes_are_spread_evenly(void **state)
{
    unsigned counts[16] = {0};
    (void)state;
    for (int i = 0; i < 16000; i++) {
        char value[32];
        snprintf(value, sizeof value, "user-%d", i);
        counts[home_of((struct identifier){slice_text("user_id"), slice_text(value)}, 16)]++;
    }
    for (int i = 0; i < 16; i++) {
        assert_in_range(counts[i], 850, 1150);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_bytes_of_each_kind_of_key_stay_as_they_are),
        cmocka_unit_test(test_keys_sort_as_the_numbers_in_them),
        cmocka_unit_test(test_a_prefix_covers_its_own_keys_alone),
        cmocka_unit_test(test_the_longest_identifier_has_a_key),
        cmocka_unit_test(test_type_and_value_do_not_run_into_each_other),
        cmocka_unit_test(test_homes_and_hashes_stay_where_they_are),
        cmocka_unit_test(test_homes_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
