#include "shared/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/limits.h"
#include "shared/rand.h"

/* The example of FORMATS.md. */
static const uint8_t example[] = {
    0x99, 0x00, 0xcf, 0x00, 0x00, 0x01, 0xa1, 0xff, 0xbf, 0x80, 0x90, 0xcf, 0x00, 0x00, 0x01,
    0xa1, 0xff, 0xbf, 0x84, 0xf0, 0xa3, 'w',  'e',  'b',  0xa3, 'm',  '-',  '1',  0xa3, 'a',
    '-',  '1',  0xc0, 0xa6, 'V',  'i',  'e',  'w',  'e',  'd',  0x81, 0xaa, 'p',  'r',  'o',
    'p',  'e',  'r',  't',  'i',  'e',  's',  0x81, 0xa3, 's',  'k',  'u',  0xa1, 'A',
};

static const uint8_t example_body[] = {0x81, 0xaa, 'p',  'r',  'o', 'p', 'e', 'r',  't', 'i',
                                       'e',  's',  0x81, 0xa3, 's', 'k', 'u', 0xa1, 'A'};

static struct event example_event(void)
{
    return (struct event){
        .type = EVENT_TRACK,
        .timestamp_ms = 1795292102800,
        .received_ms = 1795292103920,
        .source = slice_text("web"),
        .message_id = slice_text("m-1"),
        .anonymous_id = slice_text("a-1"),
        .name = slice_text("Viewed"),
        .body = slice_make(example_body, sizeof example_body),
    };
}

static void test_the_example_of_the_formats_page_holds(void **state)
{
    struct event event = example_event();
    struct buf bytes;
    struct slice text;
    msgpack_zone zone;
    struct error err;
    struct event back;
    (void)state;
    buf_init(&bytes, 1024);
    assert_true(msgpack_zone_init(&zone, 1024));
    event_pack(&event, &bytes);
    assert_int_equal(bytes.len, sizeof example);
    assert_memory_equal(bytes.data, example, sizeof example);
    assert_true(event_unpack(slice_make(example, sizeof example), &zone, &back, &err));
    assert_int_equal(back.timestamp_ms, event.timestamp_ms);
    assert_int_equal(back.user_id.len, 0);
    assert_true(value_text(value_member_c(event_properties(&back), "sku"), &text));
    assert_true(slice_is(text, "A"));
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
}

static struct slice random_text(struct rand *rand, char *memory, size_t least, size_t most)
{
    size_t len = least + rand_below(rand, most - least + 1);
    for (size_t i = 0; i < len; i++) {
        memory[i] = (char)('a' + rand_below(rand, 26));
    }
    return slice_make(memory, len);
}

static void test_seeded_random_events_round_trip(void **state)
{
    struct rand rand;
    struct buf bytes;
    struct buf body;
    msgpack_zone zone;
    msgpack_packer p;
    char memory[5][LIMIT_IDENTIFIER_BYTES];
    (void)state;
    rand_seeded_init(&rand, 21);
    buf_init(&bytes, 1024 * 1024);
    buf_init(&body, 1024 * 1024);
    assert_true(msgpack_zone_init(&zone, 8192));
    for (int i = 0; i < 10000; i++) {
        struct event back;
        struct error err;
        buf_clear(&body);
        buf_clear(&bytes);
        value_packer_init(&p, &body);
        msgpack_pack_map(&p, 1);
        value_pack_cstr(&p, "n");
        msgpack_pack_int(&p, i);
        struct event event = {
            .type = (enum event_type)rand_below(&rand, EVENT_TYPES),
            .timestamp_ms = (int64_t)rand_below(&rand, (uint64_t)LIMIT_TIME_MS + 1),
            .received_ms = (int64_t)rand_below(&rand, (uint64_t)LIMIT_TIME_MS + 1),
            .source = random_text(&rand, memory[0], 0, LIMIT_NAME_BYTES),
            .message_id = random_text(&rand, memory[1], 1, LIMIT_MESSAGE_ID_BYTES),
            .anonymous_id = random_text(&rand, memory[2], 0, 2),
            .user_id = random_text(&rand, memory[3], 0, LIMIT_IDENTIFIER_BYTES),
            .name = random_text(&rand, memory[4], 0, LIMIT_NAME_BYTES),
            .place = (uint16_t)(i % 3 == 0 ? 0 : rand_below(&rand, UINT16_MAX + 1)),
            .body = buf_slice(&body),
        };
        event_pack(&event, &bytes);
        int64_t n = -1;
        if (!event_unpack(buf_slice(&bytes), &zone, &back, &err) || back.type != event.type ||
            back.place != event.place || back.timestamp_ms != event.timestamp_ms ||
            back.received_ms != event.received_ms || !slice_equal(back.source, event.source) ||
            !slice_equal(back.message_id, event.message_id) ||
            !slice_equal(back.anonymous_id, event.anonymous_id) ||
            !slice_equal(back.user_id, event.user_id) || !slice_equal(back.name, event.name) ||
            !value_int(value_member_c(&back.body_map, "n"), &n) || n != i) {
            fail_msg("seed 21, round %d", i);
        }
        msgpack_zone_clear(&zone);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    buf_done(&body);
}

static void test_what_is_no_event_is_refused(void **state)
{
    static const struct {
        int members; /* of the array */
        int type;
        int64_t timestamp;
        int64_t received;
        const char *message_id;
        bool body_is_map;
        bool valid;
    } rows[] = {
        {9, 0, 0, 0, "m", true, true},
        {9, EVENT_TYPES - 1, LIMIT_TIME_MS, LIMIT_TIME_MS, "m", true, true},
        {8, 0, 0, 0, "m", true, false},
        {9, EVENT_TYPES, 0, 0, "m", true, false},
        {9, EVENT_TYPES | 1 << 8, 0, 0, "m", true, false},
        {9, 1 | 0xffff << 8, 0, 0, "m", true, true},
        {9, 1 << 24, 0, 0, "m", true, false},
        {9, -1, 0, 0, "m", true, false},
        {9, 0, -1, 0, "m", true, false},
        {9, 0, LIMIT_TIME_MS + 1, 0, "m", true, false},
        {9, 0, 0, -1, "m", true, false},
        {9, 0, 0, LIMIT_TIME_MS + 1, "m", true, false},
        {9, 0, 0, 0, "", true, false},
        {9, 0, 0, 0, "m", false, false},
    };
    msgpack_zone zone;
    (void)state;
    assert_true(msgpack_zone_init(&zone, 8192));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf bytes;
        msgpack_packer p;
        struct event event;
        struct error err;
        buf_init(&bytes, 1024);
        value_packer_init(&p, &bytes);
        msgpack_pack_array(&p, (size_t)rows[i].members);
        msgpack_pack_int(&p, rows[i].type);
        msgpack_pack_int64(&p, rows[i].timestamp);
        msgpack_pack_int64(&p, rows[i].received);
        value_pack_cstr(&p, "web");
        value_pack_cstr(&p, rows[i].message_id);
        for (int k = 5; k < rows[i].members - 1; k++) {
            msgpack_pack_nil(&p);
        }
        if (rows[i].body_is_map) {
            msgpack_pack_map(&p, 0);
        } else {
            msgpack_pack_array(&p, 0);
        }
        if (event_unpack(buf_slice(&bytes), &zone, &event, &err) != rows[i].valid) {
            fail_msg("row %zu", i);
        }
        buf_done(&bytes);
    }
    msgpack_zone_destroy(&zone);
}

static void test_each_prefix_of_an_event_is_refused_and_each_member_of_the_wrong_type(void **state)
{
    msgpack_zone zone;
    struct event event;
    struct error err;
    (void)state;
    assert_true(msgpack_zone_init(&zone, 8192));
    for (size_t len = 0; len < sizeof example; len++) {
        assert_false(event_unpack(slice_make(example, len), &zone, &event, &err));
        assert_int_equal(err.kind, ERROR_CORRUPT);
    }
    for (int wrong = 0; wrong < 9; wrong++) {
        struct buf bytes;
        msgpack_packer p;
        buf_init(&bytes, 1024);
        value_packer_init(&p, &bytes);
        msgpack_pack_array(&p, 9);
        for (int i = 0; i < 9; i++) {
            if (i == wrong) {
                msgpack_pack_true(&p);
            } else if (i < 3) {
                msgpack_pack_int(&p, 1);
            } else if (i < 8) {
                value_pack_cstr(&p, "x");
            } else {
                msgpack_pack_map(&p, 0);
            }
        }
        assert_false(event_unpack(buf_slice(&bytes), &zone, &event, &err));
        assert_int_equal(err.kind, ERROR_CORRUPT);
        buf_done(&bytes);
    }
    msgpack_zone_destroy(&zone);
}

static void test_events_of_one_millisecond_rank_by_their_place(void **state)
{
    struct event first = {.place = 1};
    struct event second = {.place = 2};
    struct event old = {0};
    (void)state;
    assert_true(event_rank(&first, UINT64_MAX) < event_rank(&second, 0));
    assert_true(event_rank(&old, UINT64_MAX) < event_rank(&first, 0));
    assert_true(event_rank(&first, 1ULL << 16) < event_rank(&first, 1ULL << 17));
}

static void test_types_are_known_by_their_names_and_numbers(void **state)
{
    static const char *const names[] = {"track", "identify", "page", "screen", "group", "alias"};
    (void)state;
    assert_int_equal(EVENT_TYPES, 6);
    for (int i = 0; i < EVENT_TYPES; i++) {
        assert_string_equal(event_type_name((enum event_type)i), names[i]);
        assert_int_equal(event_type_from(slice_text(names[i])), i); /* stored: never change */
    }
    assert_int_equal(event_type_from(slice_text("Track")), EVENT_TYPES);
    assert_int_equal(event_type_from(slice_make(NULL, 0)), EVENT_TYPES);
}

static void test_identify_and_group_have_traits_and_the_others_properties(void **state)
{
    msgpack_object_kv kvs[] = {
        {.key = {.type = MSGPACK_OBJECT_STR, .via.str = {6, "traits"}},
         .val = {.type = MSGPACK_OBJECT_MAP}},
        {.key = {.type = MSGPACK_OBJECT_STR, .via.str = {10, "properties"}},
         .val = {.type = MSGPACK_OBJECT_MAP}},
    };
    (void)state;
    for (int type = 0; type < EVENT_TYPES; type++) {
        struct event event = {.type = (enum event_type)type,
                              .body_map = {.type = MSGPACK_OBJECT_MAP, .via.map = {2, kvs}}};
        bool has_traits = type == EVENT_IDENTIFY || type == EVENT_GROUP;
        assert_ptr_equal(event_properties(&event), &kvs[has_traits ? 0 : 1].val);
        kvs[0].val.type = MSGPACK_OBJECT_ARRAY;
        kvs[1].val.type = MSGPACK_OBJECT_ARRAY;
        assert_null(event_properties(&event));
        kvs[0].val.type = MSGPACK_OBJECT_MAP;
        kvs[1].val.type = MSGPACK_OBJECT_MAP;
    }
}

static void test_an_identify_without_traits_has_those_of_its_context(void **state)
{
    msgpack_object_kv traits = {.key = {.type = MSGPACK_OBJECT_STR, .via.str = {6, "traits"}},
                                .val = {.type = MSGPACK_OBJECT_MAP}};
    msgpack_object_kv context = {.key = {.type = MSGPACK_OBJECT_STR, .via.str = {7, "context"}},
                                 .val = {.type = MSGPACK_OBJECT_MAP, .via.map = {1, &traits}}};
    (void)state;
    for (int type = 0; type < EVENT_TYPES; type++) {
        struct event event = {.type = (enum event_type)type,
                              .body_map = {.type = MSGPACK_OBJECT_MAP, .via.map = {1, &context}}};
        if (type == EVENT_IDENTIFY) {
            assert_ptr_equal(event_properties(&event), &context.val.via.map.ptr[0].val);
        } else {
            assert_null(event_properties(&event));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_of_the_formats_page_holds),
        cmocka_unit_test(test_seeded_random_events_round_trip),
        cmocka_unit_test(test_what_is_no_event_is_refused),
        cmocka_unit_test(test_each_prefix_of_an_event_is_refused_and_each_member_of_the_wrong_type),
        cmocka_unit_test(test_events_of_one_millisecond_rank_by_their_place),
        cmocka_unit_test(test_types_are_known_by_their_names_and_numbers),
        cmocka_unit_test(test_identify_and_group_have_traits_and_the_others_properties),
        cmocka_unit_test(test_an_identify_without_traits_has_those_of_its_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
