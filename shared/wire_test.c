#include "shared/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

struct fixture {
    struct buf bytes;
    msgpack_zone zone;
    enum wire_type type;
    msgpack_object members;
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    buf_init(&f->bytes, LIMIT_WIRE_BYTES);
    *state = f;
    return msgpack_zone_init(&f->zone, 8192) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buf_done(&f->bytes);
    msgpack_zone_destroy(&f->zone);
    free(f);
    return 0;
}

static bool read_message(struct fixture *f)
{
    struct error err = {.kind = ERROR_NONE};
    msgpack_zone_clear(&f->zone);
    bool fine = wire_read(buf_slice(&f->bytes), &f->zone, &f->type, &f->members, &err);
    assert_true(fine || err.kind == ERROR_CORRUPT);
    return fine;
}

static void put_card(struct buf *out)
{
    static const uint8_t id[PROFILE_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                 9, 10, 11, 12, 13, 14, 15, 16};
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_array(&p, CARD_MEMBERS);
    value_pack_bin(&p, slice_make(id, sizeof id));
    msgpack_pack_uint64(&p, 9);
    msgpack_pack_int64(&p, 1795292103120);
    msgpack_pack_array(&p, 1);
    msgpack_pack_array(&p, 2);
    value_pack_cstr(&p, "email");
    value_pack_cstr(&p, "jane@example.com");
    msgpack_pack_array(&p, 0);
    msgpack_pack_map(&p, 0);
    msgpack_pack_map(&p, 0);
    msgpack_pack_array(&p, 0);
    msgpack_pack_true(&p);
    msgpack_pack_array(&p, 1);
    msgpack_pack_array(&p, CARD_PURCHASE_MEMBERS);
    msgpack_pack_int64(&p, 1795292100000);
    value_pack_cstr(&p, "Order Completed");
    msgpack_pack_double(&p, 80.5);
    value_pack_cstr(&p, "EUR");
    msgpack_pack_nil(&p);
    value_pack_cstr(&p, "pos");
    msgpack_pack_array(&p, 1);
    msgpack_pack_array(&p, 2);
    value_pack_cstr(&p, "a-1");
    msgpack_pack_int64(&p, 1795292100001);
}

static void test_a_block_and_its_reply_read_back(void **state)
{
    struct fixture *f = *state;
    struct wire_block block = {.clock_offset_ms = 1795292103120,
                               .header = slice_text("header"),
                               .block = slice_text("block"),
                               .spool_blocks = 12,
                               .spool_bytes = INT64_MAX};
    struct wire_block back;
    wire_write_block(&block, &f->bytes);
    assert_true(read_message(f) && f->type == WIRE_BLOCK);
    assert_true(wire_read_block(&f->members, &back));
    assert_int_equal(back.clock_offset_ms, block.clock_offset_ms);
    assert_true(slice_is(back.header, "header") && slice_is(back.block, "block"));
    assert_int_equal(back.spool_blocks, 12);
    assert_true(back.spool_bytes == INT64_MAX);

    for (int status = WIRE_STORED; status <= WIRE_REPLACED; status++) {
        struct wire_block_reply reply = {(enum wire_status)status, 1795292103999, 3, 41};
        struct wire_block_reply reply_back;
        buf_clear(&f->bytes);
        wire_write_block_reply(&reply, &f->bytes);
        assert_true(read_message(f) && f->type == WIRE_BLOCK);
        assert_true(wire_read_block_reply(&f->members, &reply_back));
        assert_int_equal(reply_back.status, status);
        assert_int_equal(reply_back.hub_ms, reply.hub_ms);
        assert_int_equal(reply_back.from, 3);
        assert_int_equal(reply_back.to, 41);
    }
}

static void test_the_example_of_the_formats_page_holds(void **state)
{
    static const uint8_t example[] = {0x95, 0x01, 0x00, 0xcf, 0x00, 0x00, 0x01,
                                      0xa1, 0xff, 0xbf, 0x81, 0xd0, 0x03, 0x29};
    struct fixture *f = *state;
    struct wire_block_reply reply = {WIRE_STORED, 1795292103120, 3, 41};
    wire_write_block_reply(&reply, &f->bytes);
    assert_int_equal(f->bytes.len, sizeof example);
    assert_memory_equal(f->bytes.data, example, sizeof example);
}

static void test_the_example_of_a_poll_with_its_cache_holds(void **state)
{
    static const uint8_t example[] = {0x9a, 0x02, 0x05, 0xcd, 0x61, 0xa8, 0x07, 0x01, 0x64, 0x92,
                                      0x01, 0x02, 0x0c, 0xc4, 0x01, 0x80, 0x93, 0xc4, 0x10, 0x00,
                                      0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
                                      0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x09, 0xc4, 0x02, 0x04, 0x05};
    struct fixture *f = *state;
    static struct wire_poll poll;
    poll = (struct wire_poll){.clock_offset_ms = 5,
                              .wait_ms = 25000,
                              .gate_version = 7,
                              .spool_blocks = 1,
                              .spool_bytes = 100,
                              .cursor_count = 2,
                              .cursors = {1, 2},
                              .suppression_version = 12,
                              .report = slice_text("\x80")};
    poll.cache = (struct wire_cache){.is_told = true, .scope_version = 9, .place = {2, {4, 5}}};
    for (uint8_t i = 0; i < WIRE_CACHE_ID_BYTES; i++) {
        poll.cache.id[i] = i;
    }
    wire_write_poll(&poll, &f->bytes);
    assert_int_equal(f->bytes.len, sizeof example);
    assert_memory_equal(f->bytes.data, example, sizeof example);
}

static void test_a_poll_and_its_reply_read_back_with_all_partitions(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    static struct wire_poll back;
    static struct wire_poll_reply reply;
    static struct wire_poll_reply reply_back;
    struct wire_card card;
    struct buf cards;
    poll = (struct wire_poll){.clock_offset_ms = 5,
                              .wait_ms = 30000,
                              .gate_version = 7,
                              .cursor_count = LIMIT_PARTITIONS,
                              .suppression_version = 11,
                              .report = slice_text("report")};
    for (uint32_t i = 0; i < LIMIT_PARTITIONS; i++) {
        poll.cursors[i] = (uint64_t)i << 40;
    }
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f) && f->type == WIRE_POLL);
    assert_true(wire_read_poll(&f->members, &back));
    assert_int_equal(back.wait_ms, 30000);
    assert_int_equal(back.gate_version, 7);
    assert_int_equal(back.cursor_count, LIMIT_PARTITIONS);
    assert_memory_equal(back.cursors, poll.cursors, sizeof poll.cursors);
    assert_int_equal(back.suppression_version, 11);
    assert_true(slice_is(back.report, "report") && !back.is_short);

    buf_init(&cards, 4096);
    put_card(&cards);
    put_card(&cards);
    reply = (struct wire_poll_reply){.hub_ms = 6,
                                     .gate_version = 8,
                                     .gate = slice_text("gate"),
                                     .cursor_count = 2,
                                     .cursors = {1, 2},
                                     .suppression_version = 12,
                                     .suppressions = slice_text("changes")};
    buf_clear(&f->bytes);
    wire_write_poll_reply(&reply, (struct wire_list){2, buf_slice(&cards)}, (struct wire_list){0},
                          &f->bytes);
    buf_done(&cards);
    assert_true(read_message(f) && f->type == WIRE_POLL);
    assert_true(wire_read_poll_reply(&f->members, &reply_back));
    assert_true(slice_is(reply_back.gate, "gate"));
    assert_int_equal(reply_back.cursor_count, 2);
    assert_int_equal(reply_back.cursors[1], 2);
    assert_int_equal(reply_back.suppression_version, 12);
    assert_true(slice_is(reply_back.suppressions, "changes") && !reply_back.is_short);
    assert_int_equal(reply_back.cards->via.array.size, 2);
    assert_true(wire_read_card(&reply_back.cards->via.array.ptr[1], &card));
    assert_int_equal(card.version, 9);
    assert_int_equal(card.profile_id.data[15], 16);
    assert_int_equal(card.identifiers->via.array.size, 1);
    assert_true(card.is_known);
    assert_int_equal(card.purchases->via.array.size, 1);
    assert_null(reply_back.removals);
    assert_false(reply_back.refill.is_told);
}

static void test_a_poll_tells_of_its_cache_and_the_reply_of_its_refill(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    static struct wire_poll back;
    static struct wire_poll_reply reply;
    static struct wire_poll_reply reply_back;
    static const uint8_t id[PROFILE_ID_BYTES] = {7};
    struct slice removed;
    uint64_t version;
    struct buf removals;
    poll = (struct wire_poll){
        .cache = {.is_told = true, .id = {1, 2, 3}, .scope_version = 9, .place = {2, {4, 5}}}};
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f) && wire_read_poll(&f->members, &back));
    assert_true(back.cache.is_told);
    assert_memory_equal(back.cache.id, poll.cache.id, sizeof poll.cache.id);
    assert_int_equal(back.cache.scope_version, 9);
    assert_int_equal(back.cache.place.len, 2);
    assert_int_equal(back.cache.place.bytes[1], 5);

    buf_init(&removals, 4096);
    wire_write_removal(slice_make(id, sizeof id), 12, &removals);
    reply = (struct wire_poll_reply){
        .refill = {.is_told = true, .begins = true, .scope_version = 9, .place = {1, {6}}}};
    buf_clear(&f->bytes);
    wire_write_poll_reply(&reply, (struct wire_list){0},
                          (struct wire_list){1, buf_slice(&removals)}, &f->bytes);
    buf_done(&removals);
    assert_true(read_message(f) && wire_read_poll_reply(&f->members, &reply_back));
    assert_int_equal(reply_back.removals->via.array.size, 1);
    assert_true(wire_read_removal(&reply_back.removals->via.array.ptr[0], &removed, &version));
    assert_int_equal(removed.data[0], 7);
    assert_int_equal(version, 12);
    assert_true(reply_back.refill.is_told && reply_back.refill.begins);
    assert_int_equal(reply_back.refill.place.bytes[0], 6);
}

static void test_a_poll_whose_cache_is_damaged_is_refused(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    poll = (struct wire_poll){.cache = {.is_told = true, .place = {WIRE_PLACE_BYTES_MAX, {0}}}};
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f) && wire_read_poll(&f->members, &poll));
    msgpack_object *cache = &f->members.via.array.ptr[9];
    cache->via.array.ptr[2].via.bin.size++; /* longer than a place can be */
    assert_false(wire_read_poll(&f->members, &poll));
    cache->via.array.ptr[2].via.bin.size--;
    cache->via.array.ptr[0].via.bin.size--; /* not an id */
    assert_false(wire_read_poll(&f->members, &poll));
    cache->via.array.ptr[0].via.bin.size++;
    cache->via.array.size--;
    assert_false(wire_read_poll(&f->members, &poll));
}

static void test_a_poll_and_its_reply_tell_of_which_moment_they_are(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    static struct wire_poll back;
    static struct wire_poll_reply reply;
    static struct wire_poll_reply reply_back;
    poll = (struct wire_poll){.cache = {.is_told = true}, .moment = {true, {1, 2}, 77}};
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f) && wire_read_poll(&f->members, &back));
    assert_true(back.moment.is_told && back.moment.number == 77);
    assert_memory_equal(back.moment.incarnation, poll.moment.incarnation, WIRE_INCARNATION_BYTES);

    reply = (struct wire_poll_reply){
        .refill = {.is_told = true}, .moment = {true, {3}, 78}, .starts_over = true};
    buf_clear(&f->bytes);
    wire_write_poll_reply(&reply, (struct wire_list){0}, (struct wire_list){0}, &f->bytes);
    assert_true(read_message(f) && wire_read_poll_reply(&f->members, &reply_back));
    assert_true(reply_back.starts_over && reply_back.moment.is_told);
    assert_int_equal(reply_back.moment.number, 78);
    assert_int_equal(reply_back.moment.incarnation[0], 3);

    reply.moment.is_told = false;
    buf_clear(&f->bytes);
    wire_write_poll_reply(&reply, (struct wire_list){0}, (struct wire_list){0}, &f->bytes);
    assert_true(read_message(f) && wire_read_poll_reply(&f->members, &reply_back));
    assert_false(reply_back.starts_over || reply_back.moment.is_told);
}

static void test_a_poll_of_an_older_collector_and_its_reply_have_fewer_members(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    static struct wire_poll back;
    static struct wire_poll_reply reply;
    static struct wire_poll_reply reply_back;
    poll = (struct wire_poll){.gate_version = 7, .is_short = true, .report = slice_text("report")};
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f));
    assert_int_equal(f->members.via.array.size, 7);
    assert_true(wire_read_poll(&f->members, &back));
    assert_true(back.is_short);
    assert_int_equal(back.suppression_version, 0);
    assert_int_equal(back.report.len, 0);
    reply = (struct wire_poll_reply){.gate_version = 8, .is_short = true};
    buf_clear(&f->bytes);
    wire_write_poll_reply(&reply, (struct wire_list){0}, (struct wire_list){0}, &f->bytes);
    assert_true(read_message(f));
    assert_int_equal(f->members.via.array.size, 6);
    assert_true(wire_read_poll_reply(&f->members, &reply_back));
    assert_true(reply_back.is_short && reply_back.suppressions.len == 0);
}

static void test_a_report_over_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[WIRE_REPORT_BYTES + 1];
    static struct wire_poll poll;
    static struct wire_poll back;
    poll = (struct wire_poll){.report = slice_make(bytes, WIRE_REPORT_BYTES)};
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f) && wire_read_poll(&f->members, &back));
    poll.report.len++;
    buf_clear(&f->bytes);
    wire_write_poll(&poll, &f->bytes);
    assert_true(read_message(f));
    assert_false(wire_read_poll(&f->members, &back));
}

static void test_a_poll_with_more_cursors_than_partitions_can_be_is_refused(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    msgpack_packer p;
    value_packer_init(&p, &f->bytes);
    msgpack_pack_array(&p, 5);
    msgpack_pack_int(&p, WIRE_POLL);
    msgpack_pack_int(&p, 0);
    msgpack_pack_int(&p, 0);
    msgpack_pack_int(&p, 0);
    msgpack_pack_array(&p, LIMIT_PARTITIONS + 1);
    for (int i = 0; i <= LIMIT_PARTITIONS; i++) {
        msgpack_pack_int(&p, 1);
    }
    assert_true(read_message(f));
    assert_false(wire_read_poll(&f->members, &poll));
}

static void test_a_lookup_and_its_reply_read_back(void **state)
{
    struct fixture *f = *state;
    struct wire_lookup lookup = {slice_text("email"), slice_text("jane@example.com")};
    struct wire_lookup back;
    struct wire_card card;
    struct wire_lookup_reply reply = {.moment = {true, {9}, 12}};
    struct wire_lookup_reply reply_back;
    struct buf bytes;
    wire_write_lookup(&lookup, &f->bytes);
    assert_true(read_message(f) && f->type == WIRE_LOOKUP);
    assert_true(wire_read_lookup(&f->members, &back));
    assert_true(slice_is(back.type, "email") && slice_is(back.value, "jane@example.com"));

    buf_init(&bytes, 4096);
    put_card(&bytes);
    buf_clear(&f->bytes);
    wire_write_lookup_reply(&reply, buf_slice(&bytes), &f->bytes);
    assert_true(read_message(f) && f->type == WIRE_LOOKUP);
    assert_true(wire_read_lookup_reply(&f->members, &reply_back));
    assert_false(reply_back.keeps);
    assert_true(reply_back.moment.is_told && reply_back.moment.number == 12);
    assert_memory_equal(reply_back.moment.incarnation, reply.moment.incarnation,
                        WIRE_INCARNATION_BYTES);

    reply.moment.is_told = false; /* for an earlier version */
    buf_clear(&f->bytes);
    wire_write_lookup_reply(&reply, buf_slice(&bytes), &f->bytes);
    assert_true(read_message(f) && wire_read_lookup_reply(&f->members, &reply_back));
    assert_int_equal(f->members.via.array.size, 3);
    assert_false(reply_back.keeps || reply_back.moment.is_told);

    reply.is_short = true; /* for one that is earlier still */
    buf_clear(&f->bytes);
    wire_write_lookup_reply(&reply, buf_slice(&bytes), &f->bytes);
    buf_done(&bytes);
    assert_true(read_message(f) && f->type == WIRE_LOOKUP);
    assert_int_equal(f->members.via.array.size, 2);
    assert_true(wire_read_lookup_reply(&f->members, &reply_back));
    assert_true(reply_back.keeps);
    assert_non_null(reply_back.card);
    assert_true(wire_read_card(reply_back.card, &card));

    buf_clear(&f->bytes);
    wire_write_lookup_reply(&(struct wire_lookup_reply){0}, slice_make(NULL, 0), &f->bytes);
    assert_true(read_message(f));
    assert_true(wire_read_lookup_reply(&f->members, &reply_back));
    assert_null(reply_back.card);
}

static void test_a_lookup_over_the_limits_is_refused(void **state)
{
    struct fixture *f = *state;
    static char text[LIMIT_IDENTIFIER_BYTES + 1];
    struct wire_lookup back;
    memset(text, 'x', sizeof text);
    for (size_t over = 0; over <= 2; over++) {
        struct wire_lookup lookup = {slice_make(text, LIMIT_NAME_BYTES + (over == 1)),
                                     slice_make(text, LIMIT_IDENTIFIER_BYTES + (over == 2))};
        buf_clear(&f->bytes);
        wire_write_lookup(&lookup, &f->bytes);
        assert_true(read_message(f));
        assert_int_equal(wire_read_lookup(&f->members, &back), over == 0);
    }
}

static void test_a_refusal_reads_back_and_an_unknown_status_is_refused(void **state)
{
    struct fixture *f = *state;
    enum wire_status status;
    wire_write_refusal(WIRE_REVOKED, &f->bytes);
    assert_true(read_message(f) && f->type == WIRE_REFUSAL);
    assert_true(wire_read_refusal(&f->members, &status));
    assert_int_equal(status, WIRE_REVOKED);
    f->bytes.data[f->bytes.len - 1] = WIRE_REPLACED + 1;
    assert_true(read_message(f));
    assert_false(wire_read_refusal(&f->members, &status));
    f->bytes.data[f->bytes.len - 1] = 0xff; /* -1 */
    assert_true(read_message(f));
    assert_false(wire_read_refusal(&f->members, &status));
}

static void test_what_is_no_message_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {"\x90", 1},
        {"\x91\x04", 2},
        {"\x91\xff", 2},
        {"\x80", 1},
        {"\x01", 1},
        {"\x91\xa1"
         "1",
         3},
        {"\x92\x01", 2},
        {"\xc1", 1},
        {"\x91\xc0", 2},
        {"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 10},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&f->bytes);
        buf_put(&f->bytes, rows[i].bytes, rows[i].len);
        if (read_message(f)) {
            fail_msg("row %zu", i);
        }
    }
}

/* All readers, on whatever the members are. */
static int readers_that_take(const struct fixture *f)
{
    static struct wire_poll poll;
    static struct wire_poll_reply poll_reply;
    struct wire_block block;
    struct wire_block_reply block_reply;
    struct wire_lookup lookup;
    enum wire_status status;
    struct wire_lookup_reply lookup_reply;
    return wire_read_block(&f->members, &block) + wire_read_block_reply(&f->members, &block_reply) +
           wire_read_poll(&f->members, &poll) + wire_read_poll_reply(&f->members, &poll_reply) +
           wire_read_lookup(&f->members, &lookup) + wire_read_refusal(&f->members, &status) +
           wire_read_lookup_reply(&f->members, &lookup_reply);
}

static void test_members_that_are_missing_or_too_many_are_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t count = 7; count < 20; count++) {
        msgpack_packer p;
        buf_clear(&f->bytes);
        value_packer_init(&p, &f->bytes);
        msgpack_pack_array(&p, count);
        for (size_t i = 0; i < count; i++) {
            msgpack_pack_int(&p, 1);
        }
        assert_true(read_message(f));
        assert_int_equal(readers_that_take(f), 0);
    }
    buf_clear(&f->bytes);
    buf_put(&f->bytes, "\x91\x01", 2);
    assert_true(read_message(f));
    assert_int_equal(readers_that_take(f), 0);
}

static void test_negative_counts_and_cursors_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wire_block_reply reply = {WIRE_STORED, 1, 2, 3};
    struct wire_block_reply back;
    static struct wire_poll poll;
    static struct wire_poll poll_back;
    wire_write_block_reply(&reply, &f->bytes);
    f->bytes.data[f->bytes.len - 1] = 0xff;
    assert_true(read_message(f));
    assert_false(wire_read_block_reply(&f->members, &back));
    poll = (struct wire_poll){.cursor_count = 1, .cursors = {1}, .is_short = true};
    buf_clear(&f->bytes);
    wire_write_poll(&poll, &f->bytes);
    f->bytes.data[f->bytes.len - 1] = 0xff;
    assert_true(read_message(f));
    assert_false(wire_read_poll(&f->members, &poll_back));
}

static void test_cards_with_a_member_of_the_wrong_type_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wire_card card;
    struct error err;
    msgpack_object object;
    put_card(&f->bytes);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &object, &err));
    assert_true(wire_read_card(&object, &card));
    for (uint32_t i = 0; i < CARD_MEMBERS; i++) {
        msgpack_object kept = object.via.array.ptr[i];
        object.via.array.ptr[i] = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
        assert_false(wire_read_card(&object, &card));
        object.via.array.ptr[i] = kept;
    }
    object.via.array.ptr[0].via.bin.size = PROFILE_ID_BYTES - 1;
    assert_false(wire_read_card(&object, &card));
    object.via.array.ptr[0].via.bin.size = PROFILE_ID_BYTES;
    object.via.array.size--; /* of an earlier version: without browsers */
    assert_true(wire_read_card(&object, &card));
    assert_non_null(card.purchases);
    assert_null(card.browsers);
    object.via.array.size--; /* of the first: without purchases */
    assert_true(wire_read_card(&object, &card));
    assert_null(card.purchases);
    object.via.array.size--;
    assert_false(wire_read_card(&object, &card));
    object = (msgpack_object){.type = MSGPACK_OBJECT_MAP};
    assert_false(wire_read_card(&object, &card));
}

static void test_a_card_is_found_by_its_identifiers_and_then_by_its_browsers(void **state)
{
    struct fixture *f = *state;
    struct wire_card card;
    struct error err;
    struct identifier id;
    msgpack_object object;
    int64_t ms = 0;
    put_card(&f->bytes);
    assert_true(value_unpack(buf_slice(&f->bytes), &f->zone, &object, &err));
    assert_true(wire_read_card(&object, &card));
    assert_true(wire_card_identifier(&card, 0, &id));
    assert_true(slice_is(id.type, "email") && slice_is(id.value, "jane@example.com"));
    assert_true(wire_card_identifier(&card, 1, &id));
    assert_true(slice_is(id.type, "anonymous_id") && slice_is(id.value, "a-1"));
    assert_false(wire_card_identifier(&card, 2, &id));
    assert_true(wire_card_evidence(&card, slice_text("a-1"), &ms));
    assert_int_equal(ms, 1795292100001);
    assert_false(wire_card_evidence(&card, slice_text("a-2"), &ms));
    assert_false(wire_card_evidence(&card, slice_text("jane@example.com"), &ms));

    /* What cannot be read is nobody, and not the end. */
    card.browsers->via.array.ptr[0].via.array.ptr[0].type = MSGPACK_OBJECT_NIL;
    card.identifiers->via.array.ptr[0].type = MSGPACK_OBJECT_NIL;
    for (size_t at = 0; at < 2; at++) {
        assert_true(wire_card_identifier(&card, at, &id));
        assert_int_equal(id.type.len, 0);
    }
    assert_false(wire_card_evidence(&card, slice_text("a-1"), &ms));
    card.browsers = NULL;
    assert_false(wire_card_identifier(&card, 1, &id));
    assert_false(wire_card_evidence(&card, slice_text("a-1"), &ms));
}

static void test_a_poll_tells_the_cards_that_it_takes(void **state)
{
    struct fixture *f = *state;
    static struct wire_poll poll;
    static struct wire_poll back;
    const struct {
        bool is_told;
        enum card_shape told;
        enum card_shape read;
    } rows[] = {
        {false, CARD_FIRST, CARD_FIRST},
        {true, CARD_FIRST, CARD_NAMED}, /* an earlier version, which does not say */
        {true, CARD_BROWSERS, CARD_BROWSERS},
        {true, (enum card_shape)7, CARD_BROWSERS}, /* a later one */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        poll = (struct wire_poll){.cursor_count = 1};
        poll.cache.is_told = rows[i].is_told;
        poll.cache.shape = rows[i].told;
        buf_clear(&f->bytes);
        wire_write_poll(&poll, &f->bytes);
        assert_true(read_message(f));
        assert_true(wire_read_poll(&f->members, &back));
        assert_int_equal(back.cache.shape, rows[i].read);
    }
    f->bytes.data[f->bytes.len - 1] = CARD_NAMED; /* nobody says so */
    assert_true(read_message(f));
    assert_false(wire_read_poll(&f->members, &back));
}

static void test_each_prefix_of_a_message_is_refused(void **state)
{
    struct fixture *f = *state;
    struct wire_block block = {.header = slice_text("header"), .block = slice_text("block")};
    wire_write_block(&block, &f->bytes);
    for (size_t whole = f->bytes.len; whole > 0; whole--) {
        f->bytes.len = whole - 1;
        assert_false(read_message(f));
    }
}

static void test_statuses_have_names(void **state)
{
    static const char *const names[] = {"stored",      "replayed", "damaged",
                                        "unavailable", "revoked",  "replaced"};
    (void)state;
    for (int i = 0; i <= WIRE_REPLACED; i++) {
        assert_string_equal(wire_status_name((enum wire_status)i), names[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_block_and_its_reply_read_back),
        TEST(test_the_example_of_the_formats_page_holds),
        TEST(test_the_example_of_a_poll_with_its_cache_holds),
        TEST(test_a_poll_and_its_reply_read_back_with_all_partitions),
        TEST(test_a_poll_and_its_reply_tell_of_which_moment_they_are),
        TEST(test_a_poll_of_an_older_collector_and_its_reply_have_fewer_members),
        TEST(test_a_report_over_its_limit_is_refused),
        TEST(test_a_poll_tells_of_its_cache_and_the_reply_of_its_refill),
        TEST(test_a_poll_whose_cache_is_damaged_is_refused),
        TEST(test_a_poll_with_more_cursors_than_partitions_can_be_is_refused),
        TEST(test_a_lookup_and_its_reply_read_back),
        TEST(test_a_lookup_over_the_limits_is_refused),
        TEST(test_a_refusal_reads_back_and_an_unknown_status_is_refused),
        TEST(test_what_is_no_message_is_refused),
        TEST(test_members_that_are_missing_or_too_many_are_refused),
        TEST(test_negative_counts_and_cursors_are_refused),
        TEST(test_cards_with_a_member_of_the_wrong_type_are_refused),
        TEST(test_a_card_is_found_by_its_identifiers_and_then_by_its_browsers),
        TEST(test_a_poll_tells_the_cards_that_it_takes),
        TEST(test_each_prefix_of_a_message_is_refused),
        TEST(test_statuses_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
