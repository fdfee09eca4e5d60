#include "shared/suppression.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "shared/json.h"
#include "shared/rand.h"

struct fixture {
    struct suppression_set *set;
    struct arena arena;
    struct buf changes;
    struct suppression_types types;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const uint8_t key[SUPPRESSION_KEY_BYTES] = {1, 2, 3};
    f->set = suppression_set_new();
    suppression_set_key(f->set, key);
    arena_init(&f->arena, 4096);
    buf_init(&f->changes, 16 * 1024 * 1024);
    f->types.count = 4;
    f->types.types[0].type = slice_text("user_id");
    f->types.types[1].type = slice_text("email");
    f->types.types[1].normalizer = NORMALIZE_EMAIL;
    f->types.types[2].type = slice_text("loyalty_id");
    f->types.types[3].type = slice_text("anonymous_id");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    suppression_set_free(&f->set);
    arena_done(&f->arena);
    buf_done(&f->changes);
    free(f);
    return 0;
}

static void change(struct fixture *f, bool add, struct suppression_hash hash)
{
    buf_put_u8(&f->changes, add);
    buf_put(&f->changes, hash.bytes, sizeof hash.bytes);
}

static void apply(struct fixture *f)
{
    assert_true(suppression_set_apply(f->set, buf_slice(&f->changes)));
    buf_clear(&f->changes);
}

static void suppress(struct fixture *f, const char *type, const char *value)
{
    change(f, true,
           suppression_hash_of(f->set, (struct identifier){slice_text(type), slice_text(value)}));
    apply(f);
}

/* A number as a hash whose home is shared by many: the set must find its way. */
static struct suppression_hash hash_of_number(uint32_t number)
{
    struct suppression_hash hash = {{0}};
    hash.bytes[7] = (uint8_t)(number % 8);
    hash.bytes[0] = 0xff;
    memcpy(hash.bytes + 8, &number, sizeof number);
    return hash;
}

static void test_a_set_is_what_a_naive_one_would_be_after_any_changes(void **state)
{
    enum { NUMBERS = 300, ROUNDS = 4000 };
    struct fixture *f = *state;
    bool naive[NUMBERS] = {false};
    struct rand rand;
    rand_seeded_init(&rand, 3);
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t n = rand_below(&rand, 4); n > 0; n--) {
            uint32_t number = (uint32_t)rand_below(&rand, NUMBERS);
            naive[number] = rand_below(&rand, 2) == 1;
            change(f, naive[number], hash_of_number(number));
        }
        apply(f);
        size_t count = 0;
        for (uint32_t i = 0; i < NUMBERS; i++) {
            count += naive[i];
            if (suppression_set_has(f->set, hash_of_number(i)) != naive[i]) {
                fail_msg("seed 3, round %d, number %u", round, i);
            }
        }
        assert_int_equal(suppression_set_count(f->set), count);
    }
}

static void test_bytes_that_are_no_changes_change_nothing(void **state)
{
    struct fixture *f = *state;
    suppress(f, "user_id", "u1");
    change(f, true, hash_of_number(1));
    buf_put_u8(&f->changes, 1);
    assert_false(suppression_set_apply(f->set, buf_slice(&f->changes)));
    buf_clear(&f->changes);
    change(f, true, hash_of_number(1));
    f->changes.data[0] = 2;
    assert_false(suppression_set_apply(f->set, buf_slice(&f->changes)));
    assert_int_equal(suppression_set_count(f->set), 1);
}

static void test_the_example_of_the_formats_page_has_this_hash(void **state)
{
    static const uint8_t example[] = {0xb6, 0xce, 0x0d, 0x2b, 0x62, 0x08, 0x10, 0x08,
                                      0x46, 0x47, 0x4f, 0xf2, 0xdc, 0x4f, 0xf9, 0x54};
    struct fixture *f = *state;
    uint8_t key[SUPPRESSION_KEY_BYTES];
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (uint8_t)i;
    }
    suppression_set_key(f->set, key);
    struct suppression_hash hash = suppression_hash_of(
        f->set, (struct identifier){slice_text("email"), slice_text("jane@example.com")});
    assert_memory_equal(hash.bytes, example, sizeof example);
}

static void test_a_hash_depends_on_key_type_and_value_and_on_where_they_part(void **state)
{
    static const uint8_t other[SUPPRESSION_KEY_BYTES] = {9};
    static const struct identifier ids[] = {
        {{(const uint8_t *)"ab", 2}, {(const uint8_t *)"c", 1}},
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"bc", 2}},
        {{(const uint8_t *)"ab", 2}, {(const uint8_t *)"d", 1}}};
    struct fixture *f = *state;
    struct suppression_hash hashes[4];
    for (size_t i = 0; i < 3; i++) {
        hashes[i] = suppression_hash_of(f->set, ids[i]);
    }
    suppression_set_key(f->set, other);
    hashes[3] = suppression_hash_of(f->set, ids[0]);
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = a + 1; b < 4; b++) {
            assert_memory_not_equal(hashes[a].bytes, hashes[b].bytes, SUPPRESSION_HASH_BYTES);
        }
    }
}

static void test_identifiers_are_found_wherever_an_event_has_them(void **state)
{
    static const struct {
        enum event_type type;
        const char *user_id;
        const char *anonymous_id;
        const char *body;
        bool is_refused;
    } rows[] = {
        {EVENT_TRACK, "u1", "", "{}", true},
        {EVENT_TRACK, " u1 ", "", "{}", true},
        {EVENT_TRACK, "u2", "", "{}", false},
        {EVENT_TRACK, "a1", "u1", "{}", false},
        {EVENT_TRACK, "u2", "a1", "{}", true},
        {EVENT_IDENTIFY, "u2", "", "{\"traits\":{\"email\":\" Jane@Example.com\"}}", true},
        {EVENT_TRACK, "u2", "", "{\"traits\":{\"email\":\"jane@example.com\"}}", false},
        {EVENT_IDENTIFY, "u2", "",
         "{\"traits\":{\"user_id\":\"u1\",\"mail\":\"jane@example.com\"}}", false},
        {EVENT_IDENTIFY, "u2", "", "{\"traits\":{\"loyalty_id\":4711}}", true},
        {EVENT_IDENTIFY, "u2", "",
         "{\"traits\":{\"loyalty_id\":4711.5,\"email\":[\"jane@example.com\"]}}", false},
        {EVENT_TRACK, "u2", "",
         "{\"context\":{\"traits\":{\"x\":{},\"email\":\"jane@example.com\"}}}", true},
        {EVENT_TRACK, "u2", "",
         "{\"context\":{\"externalIds\":[{\"type\":\"x\",\"id\":1},{\"id\":\"77\",\"type\":"
         "\"card\"}]}}",
         true},
        {EVENT_TRACK, "u2", "", "{\"context\":{\"externalIds\":[{\"type\":\"card\",\"id\":77}]}}",
         true},
        {EVENT_TRACK, "u2", "",
         "{\"context\":{\"externalIds\":[{\"type\":\"card\",\"id\":78},77,{}]}}", false},
        {EVENT_TRACK, "u2", "",
         "{\"context\":{\"externalIds\":{\"type\":\"card\",\"id\":77}},\"traits\":null}", false},
        {EVENT_ALIAS, "u2", "", "{\"previousId\":\"a1\"}", true},
        {EVENT_TRACK, "u2", "", "{\"previousId\":\"a1\"}", false},
    };
    struct fixture *f = *state;
    struct buf body;
    buf_init(&body, 4096);
    suppress(f, "user_id", "u1");
    suppress(f, "anonymous_id", "a1");
    suppress(f, "email", "jane@example.com");
    suppress(f, "loyalty_id", "4711");
    suppress(f, "card", "77");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&body);
        assert_int_equal(json_read(slice_text(rows[i].body), &body), JSON_FINE);
        struct event event = {.type = rows[i].type,
                              .user_id = slice_text(rows[i].user_id),
                              .anonymous_id = slice_text(rows[i].anonymous_id),
                              .body = buf_slice(&body)};
        if (suppression_set_matches(f->set, &f->types, &event, &f->arena) != rows[i].is_refused) {
            fail_msg("row %zu: %s", i, rows[i].body);
        }
        struct event before = event;
        bool cut = suppression_set_cut(f->set, &f->types, &event, &f->arena);
        if (cut != rows[i].is_refused ||
            suppression_set_matches(f->set, &f->types, &event, &f->arena) ||
            (!cut && memcmp(&event, &before, sizeof event) != 0)) {
            fail_msg("row %zu: %s is not cut as it must be", i, rows[i].body);
        }
    }
    buf_done(&body);
}

/* Heads of maps may be longer than they must. */
static bool is_same(struct slice a, struct slice b)
{
    msgpack_zone zone;
    msgpack_object object_a;
    msgpack_object object_b;
    struct error err;
    assert_true(msgpack_zone_init(&zone, 1024));
    assert_true(value_unpack(a, &zone, &object_a, &err));
    assert_true(value_unpack(b, &zone, &object_b, &err));
    bool same = msgpack_object_equal(object_a, object_b);
    msgpack_zone_destroy(&zone);
    return same;
}

static void test_what_is_cut_out_leaves_the_rest_of_an_event(void **state)
{
    static const struct {
        enum event_type type;
        const char *body;
        const char *left;
    } rows[] = {
        {EVENT_IDENTIFY,
         "{\"traits\":{\"a\":1,\"email\":\"jane@example.com\",\"b\":{\"email\":\"jane@example."
         "com\"}}}",
         "{\"traits\":{\"a\":1,\"b\":{\"email\":\"jane@example.com\"}}}"},
        {EVENT_TRACK,
         "{\"properties\":{\"email\":\"jane@example.com\"},\"context\":{\"proof\":\"x.y.z\","
         "\"page\":{},"
         "\"traits\":{\"email\":\"JANE@example.com\"},\"externalIds\":[{\"type\":\"email\",\"id\":"
         "\"jane@example.com\"},{\"type\":\"card\",\"id\":7}]}}",
         "{\"properties\":{\"email\":\"jane@example.com\"},\"context\":{\"page\":{},\"traits\":{},"
         "\"externalIds\":[{\"type\":\"card\",\"id\":7}]}}"},
        {EVENT_IDENTIFY, /* twice the same name */
         "{\"traits\":{\"email\":\"jane@example.com\"},\"traits\":{\"email\":\"jane@example.com\"}"
         "}",
         "{\"traits\":{},\"traits\":{}}"},
        {EVENT_ALIAS, "{\"previousId\":\"a1\",\"x\":null}", "{\"x\":null}"},
    };
    struct fixture *f = *state;
    struct buf body;
    struct buf left;
    buf_init(&body, 4096);
    buf_init(&left, 4096);
    suppress(f, "anonymous_id", "a1");
    suppress(f, "email", "jane@example.com");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&body);
        buf_clear(&left);
        assert_int_equal(json_read(slice_text(rows[i].body), &body), JSON_FINE);
        assert_int_equal(json_read(slice_text(rows[i].left), &left), JSON_FINE);
        struct event event = {.type = rows[i].type,
                              .user_id = slice_text("u2"),
                              .anonymous_id = slice_text("a2"),
                              .body = buf_slice(&body)};
        assert_true(suppression_set_cut(f->set, &f->types, &event, &f->arena));
        assert_true(slice_is(event.user_id, "u2") && slice_is(event.anonymous_id, "a2"));
        if (!is_same(event.body, buf_slice(&left))) {
            fail_msg("row %zu: %s", i, rows[i].body);
        }
    }
    buf_done(&body);
    buf_done(&left);
}

static void test_damaged_bodies_are_looked_at_as_far_as_they_go(void **state)
{
    struct fixture *f = *state;
    struct buf body;
    buf_init(&body, 4096);
    suppress(f, "user_id", "u1");
    assert_int_equal(
        json_read(slice_text("{\"context\":{\"traits\":{\"email\":\"x\"},\"externalIds\":"
                             "[{\"type\":\"card\",\"id\":77}]}}"),
                  &body),
        JSON_FINE);
    for (size_t len = 0; len < body.len; len++) {
        struct event event = {.type = EVENT_IDENTIFY, .body = slice_make(body.data, len)};
        assert_false(suppression_set_matches(f->set, &f->types, &event, &f->arena));
        event.user_id = slice_text("u1");
        assert_true(suppression_set_matches(f->set, &f->types, &event, &f->arena));
        assert_true(suppression_set_cut(f->set, &f->types, &event, &f->arena));
        assert_int_equal(event.user_id.len, 0);
        assert_int_equal(event.body.len, 1); /* {} */
    }
    buf_done(&body);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_a_set_is_what_a_naive_one_would_be_after_any_changes),
        WITH(test_bytes_that_are_no_changes_change_nothing),
        WITH(test_the_example_of_the_formats_page_has_this_hash),
        WITH(test_a_hash_depends_on_key_type_and_value_and_on_where_they_part),
        WITH(test_identifiers_are_found_wherever_an_event_has_them),
        WITH(test_what_is_cut_out_leaves_the_rest_of_an_event),
        WITH(test_damaged_bodies_are_looked_at_as_far_as_they_go),
    };
    return sodium_init() < 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
