#include "shared/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include <zstd.h>
#include "shared/arena.h"
#include "shared/dictionary.h"
#include "shared/limits.h"
#include "shared/rand.h"
#include "shared/uuid.h"

/* The example of FORMATS.md: a block of two events before compression. */
static const char example_hex[] = "dc00100202cf000001a1ffbf84f0c402000192000592cd04600092a3776562a3"
                                  "77656292a6566965776564c092a36d2d31c392c3c092c0a3752d31921309c410"
                                  "101112131415161718191a1b1c1d1e1fc410202122232425262728292a2b2c2d"
                                  "2e2fc400c41c81aa70726f7065727469657381a3736b75a14181a67472616974"
                                  "7380";
enum { EXAMPLE_BYTES = 130 };

struct fixture {
    struct block_compressor *compressor;
    struct block_builder *builder;
    struct block_reader *reader;
    struct buf block;
    struct arena arena;
    struct rand rand;
    uint8_t example[EXAMPLE_BYTES];
};

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    size_t len = 0;
    f->compressor = block_compressor_new();
    f->builder = block_builder_new(f->compressor);
    f->reader = block_reader_new();
    buf_init(&f->block, 64 * 1024 * 1024);
    arena_init(&f->arena, 64 * 1024);
    rand_seeded_init(&f->rand, 31);
    *state = f;
    return sodium_hex2bin(f->example, sizeof f->example, example_hex, strlen(example_hex), NULL,
                          &len, NULL) == 0 &&
                   len == EXAMPLE_BYTES
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    block_builder_free(&f->builder);
    block_compressor_free(&f->compressor);
    block_reader_free(&f->reader);
    buf_done(&f->block);
    arena_done(&f->arena);
    free(f);
    return 0;
}

static bool same_event(const struct event *a, const struct event *b)
{
    return a->type == b->type && a->is_quarantined == b->is_quarantined &&
           a->timestamp_ms == b->timestamp_ms && a->received_ms == b->received_ms &&
           slice_equal(a->source, b->source) && slice_equal(a->message_id, b->message_id) &&
           slice_equal(a->anonymous_id, b->anonymous_id) && slice_equal(a->user_id, b->user_id) &&
           slice_equal(a->name, b->name) && slice_equal(a->body, b->body);
}

static void open_block(struct fixture *f)
{
    struct error err;
    if (!block_reader_open(f->reader, buf_slice(&f->block), &err)) {
        fail_msg("%s", err.message);
    }
}

/* A frame as zstd makes it, without the dictionary, from any bytes. */
static void compress_plain(struct fixture *f, struct slice plain)
{
    buf_clear(&f->block);
    assert_true(buf_reserve(&f->block, ZSTD_compressBound(plain.len)));
    f->block.len =
        ZSTD_compress(f->block.data, ZSTD_compressBound(plain.len), plain.data, plain.len, 1);
    assert_false(ZSTD_isError(f->block.len));
}

static void example_events(struct event events[2])
{
    static const char body_a[] = "\x81\xaaproperties\x81\xa3sku\xa1"
                                 "A";
    static const char body_b[] = "\x81\xa6traits\x80";
    events[0] = (struct event){
        .type = EVENT_TRACK,
        .timestamp_ms = 1795292102800,
        .received_ms = 1795292103920,
        .source = slice_text("web"),
        .message_id = slice_text("m-1"),
        .anonymous_id = slice_text("20212223-2425-2627-2829-2a2b2c2d2e2f"),
        .name = slice_text("Viewed"),
        .body = slice_text(body_a),
    };
    events[1] = (struct event){
        .type = EVENT_IDENTIFY,
        .timestamp_ms = 1795292103925,
        .received_ms = 1795292103925,
        .source = slice_text("web"),
        .message_id = slice_text("10111213-1415-1617-1819-1a1b1c1d1e1f"),
        .user_id = slice_text("u-1"),
        .body = slice_text(body_b),
    };
}

static void test_quarantine_travels_with_each_event(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    struct event back;
    example_events(events);
    events[1].is_quarantined = true;
    for (int i = 0; i < 2; i++) {
        assert_true(block_builder_add(f->builder, &events[i]));
    }
    block_builder_finish(f->builder, &f->block);
    open_block(f);
    for (int i = 0; i < 2; i++) {
        assert_true(block_reader_next(f->reader, &back));
        assert_true(same_event(&back, &events[i]));
    }
}

static void test_the_example_of_the_formats_page_is_what_the_builder_writes(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    uint8_t plain[4 * EXAMPLE_BYTES];
    struct slice dictionary = dictionary_bytes();
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    example_events(events);
    assert_true(block_builder_add(f->builder, &events[0]));
    assert_true(block_builder_add(f->builder, &events[1]));
    block_builder_finish(f->builder, &f->block);
    size_t len = ZSTD_decompress_usingDict(zstd, plain, sizeof plain, f->block.data, f->block.len,
                                           dictionary.data, dictionary.len);
    ZSTD_freeDCtx(zstd);
    assert_int_equal(len, EXAMPLE_BYTES);
    assert_memory_equal(plain, f->example, EXAMPLE_BYTES);
}

static void test_the_example_of_the_formats_page_reads_as_its_two_events(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    struct event read;
    example_events(events);
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    open_block(f);
    assert_int_equal(block_reader_count(f->reader), 2);
    for (int i = 0; i < 2; i++) {
        assert_true(block_reader_next(f->reader, &read));
        assert_true(same_event(&read, &events[i]));
    }
    assert_false(block_reader_next(f->reader, &read));
    assert_false(block_reader_next(f->reader, &read));
}

/* Mostly as events are, with every edge now and then. */
static struct slice random_id(struct fixture *f, size_t least)
{
    char *text = arena_allocate(&f->arena, 300);
    uint64_t kind = rand_below(&f->rand, 10);
    if (kind < 5) {
        uint8_t uuid[UUID_BYTES];
        uuid_random(&f->rand, uuid);
        uuid_format(uuid, text);
        if (kind == 4) {
            text[rand_below(&f->rand, UUID_TEXT_BYTES)] = 'A'; /* no longer canonical */
        }
        return slice_make(text, UUID_TEXT_BYTES);
    }
    size_t len = kind < 7 ? least : least + rand_below(&f->rand, 128);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)rand_below(&f->rand, 128);
    }
    return slice_make(text, len);
}

static struct event random_event(struct fixture *f)
{
    struct buf body;
    msgpack_packer p;
    size_t extra =
        rand_below(&f->rand, 20) == 0 ? rand_below(&f->rand, 20000) : rand_below(&f->rand, 200);
    char *text = arena_allocate(&f->arena, extra);
    memset(text, 'x', extra);
    buf_init(&body, 64 * 1024);
    value_packer_init(&p, &body);
    msgpack_pack_map(&p, 1);
    value_pack_cstr(&p, "n");
    value_pack_text(&p, slice_make(text, extra));
    bool odd_time = rand_below(&f->rand, 50) == 0;
    uint64_t odd = (uint64_t)LIMIT_TIME_MS + 1;
    int64_t now = 1795292103920 + (int64_t)rand_below(&f->rand, 100);
    struct event event = {
        .type = (enum event_type)rand_below(&f->rand, EVENT_TYPES),
        .received_ms = odd_time ? (int64_t)rand_below(&f->rand, odd) : now,
        .timestamp_ms = odd_time ? (int64_t)rand_below(&f->rand, odd)
                                 : now - (int64_t)rand_below(&f->rand, 100000),
        .has_client_time = rand_below(&f->rand, 4) == 0,
        .source = slice_text(rand_below(&f->rand, 2) == 0 ? "web" : ""),
        .message_id = random_id(f, 1),
        .anonymous_id = random_id(f, 0),
        .user_id = random_id(f, 0),
        .name = random_id(f, 0),
        .body = arena_copy(&f->arena, buf_slice(&body)),
    };
    buf_done(&body);
    return event;
}

static void test_seeded_random_events_come_out_as_they_went_in(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 60; round++) {
        static struct event events[600];
        struct event read;
        size_t count = rand_below(&f->rand, sizeof events / sizeof *events);
        arena_clear(&f->arena);
        buf_clear(&f->block);
        for (size_t i = 0; i < count; i++) {
            events[i] = random_event(f);
            assert_true(block_builder_add(f->builder, &events[i]));
        }
        assert_int_equal(block_builder_count(f->builder), count);
        block_builder_finish(f->builder, &f->block);
        assert_int_equal(block_builder_count(f->builder), 0);
        open_block(f);
        assert_int_equal(block_reader_count(f->reader), count);
        for (size_t i = 0; i < count; i++) {
            if (!block_reader_next(f->reader, &read) || !same_event(&read, &events[i])) {
                fail_msg("seed 31, round %d, event %zu", round, i);
            }
        }
        assert_false(block_reader_next(f->reader, &read));
    }
}

static void test_events_stay_valid_until_the_next_block_is_opened(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    struct event read[2];
    example_events(events);
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    open_block(f);
    assert_true(block_reader_next(f->reader, &read[0]));
    assert_true(block_reader_next(f->reader, &read[1]));
    memset(f->block.data, 0, f->block.len); /* the block itself is not needed any more */
    assert_true(same_event(&read[0], &events[0]));
    assert_true(same_event(&read[1], &events[1]));
}

static void test_a_full_block_takes_no_more_events_and_reads_back(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    struct event read;
    size_t count = 0;
    example_events(events);
    while (block_builder_add(f->builder, &events[1])) {
        count++;
    }
    assert_int_equal(count, LIMIT_BLOCK_EVENTS);
    block_builder_finish(f->builder, &f->block);
    open_block(f);
    assert_int_equal(block_reader_count(f->reader), LIMIT_BLOCK_EVENTS);
    while (block_reader_next(f->reader, &read)) {
        assert_true(same_event(&read, &events[1]));
        count--;
    }
    assert_int_equal(count, 0);
    assert_true(block_builder_add(f->builder, &events[0]));
}

static void test_a_block_is_full_by_bytes_before_it_outgrows_a_message(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    size_t count = 0;
    uint8_t *noise = memory_allocate(LIMIT_EVENT_BYTES);
    example_events(events);
    rand_fill(&f->rand, noise, LIMIT_EVENT_BYTES);
    events[0].body = slice_make(noise, LIMIT_EVENT_BYTES);
    while (block_builder_add(f->builder, &events[0])) {
        rand_fill(&f->rand, noise, LIMIT_EVENT_BYTES); /* bodies are copied, and never compress */
        count++;
    }
    assert_true(count * LIMIT_EVENT_BYTES > LIMIT_BLOCK_BYTES * 9 / 10);
    block_builder_finish(f->builder, &f->block);
    assert_true(f->block.len < LIMIT_WIRE_BYTES - 1024);
    open_block(f);
    assert_int_equal(block_reader_count(f->reader), count);
    free(noise);
}

static void test_what_was_given_up_is_not_in_the_next_block(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct event events[2];
    struct event read;
    example_events(events);
    assert_true(block_builder_add(f->builder, &events[0]));
    block_builder_clear(f->builder);
    assert_int_equal(block_builder_count(f->builder), 0);
    assert_true(block_builder_add(f->builder, &events[1]));
    block_builder_finish(f->builder, &f->block);
    assert_true(block_reader_open(f->reader, buf_slice(&f->block), &err));
    assert_int_equal(block_reader_count(f->reader), 1);
    assert_true(block_reader_next(f->reader, &read));
    assert_int_equal(read.type, EVENT_IDENTIFY);
    assert_true(slice_equal(read.user_id, events[1].user_id));
}

static void test_a_block_without_events_is_a_block(void **state)
{
    struct fixture *f = *state;
    struct event read;
    block_builder_finish(f->builder, &f->block);
    open_block(f);
    assert_int_equal(block_reader_count(f->reader), 0);
    assert_false(block_reader_next(f->reader, &read));
}

static void assert_refused(struct fixture *f, struct slice block)
{
    struct error err = {.kind = ERROR_NONE};
    struct event read;
    assert_false(block_reader_open(f->reader, block, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
    assert_int_equal(block_reader_count(f->reader), 0);
    assert_false(block_reader_next(f->reader, &read));
}

static void test_each_prefix_of_a_block_is_refused_and_so_is_more_behind_it(void **state)
{
    struct fixture *f = *state;
    struct event events[2];
    example_events(events);
    assert_true(block_builder_add(f->builder, &events[0]));
    block_builder_finish(f->builder, &f->block);
    for (size_t len = 0; len < f->block.len; len++) {
        uint8_t *exact = memory_allocate(len);
        memcpy(exact, f->block.data, len);
        assert_refused(f, slice_make(exact, len));
        free(exact);
    }
    assert_refused(f, slice_make(NULL, 0));
    size_t whole = f->block.len;
    buf_put(&f->block, "x", 1);
    assert_refused(f, buf_slice(&f->block));
    f->block.len = whole;
    buf_put(&f->block, "\x50\x2a\x4d\x18\x01\x00\x00\x00x", 9); /* a frame that zstd skips */
    assert_refused(f, buf_slice(&f->block));
    f->block.len = whole;
    open_block(f);
}

static void test_each_prefix_of_the_content_is_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 0; len < EXAMPLE_BYTES; len++) {
        compress_plain(f, slice_make(f->example, len));
        assert_refused(f, buf_slice(&f->block));
    }
    memset(f->example, 0, EXAMPLE_BYTES);
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    assert_refused(f, buf_slice(&f->block));
}

/* Blocks have no checksum of their own, sealing has: some changes only give another event. */
static void test_a_changed_byte_is_refused_or_gives_events_within_their_bounds(void **state)
{
    struct fixture *f = *state;
    size_t refused = 0;
    for (size_t at = 0; at < EXAMPLE_BYTES; at++) {
        for (int change = 1; change < 256; change++) {
            struct error err = {.kind = ERROR_NONE};
            struct event read;
            size_t bodies = 0;
            f->example[at] ^= (uint8_t)change;
            compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
            f->example[at] ^= (uint8_t)change;
            if (!block_reader_open(f->reader, buf_slice(&f->block), &err)) {
                assert_int_equal(err.kind, ERROR_CORRUPT);
                refused++;
                continue;
            }
            while (block_reader_next(f->reader, &read)) {
                assert_true(read.type < EVENT_TYPES && read.message_id.len > 0);
                assert_in_range(read.timestamp_ms, 0, LIMIT_TIME_MS);
                assert_in_range(read.received_ms, 0, LIMIT_TIME_MS);
                bodies += read.body.len;
            }
            assert_int_equal(bodies, 28);
        }
    }
    /* More than half of the example is the inside of texts, ids and bodies, where all goes. */
    assert_in_range(refused, 255 * EXAMPLE_BYTES / 4, 255 * EXAMPLE_BYTES / 2);
}

static void test_members_that_contradict_each_other_are_refused(void **state)
{
    /* One byte of the example each, found by its offset in FORMATS.md. */
    static const struct {
        size_t at;
        uint8_t was;
        uint8_t is;
    } rows[] = {
        {3, 0x02, 0x03},  /* a later version */
        {4, 0x02, 0x03},  /* more events than there are */
        {4, 0x02, 0x01},  /* fewer */
        {17, 0x01, 0x06}, /* no such type */
        {49, 0xc3, 0xc0}, /* a message without an id */
        {51, 0xc3, 0xc2}, /* neither a UUID nor none */
        {52, 0xc0, 0xc3}, /* a UUID that is not there */
        {60, 0x13, 0x12}, /* bodies shorter than what is there */
        {61, 0x09, 0x0a}, /* longer */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(f->example[rows[i].at], rows[i].was);
        f->example[rows[i].at] = rows[i].is;
        compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
        f->example[rows[i].at] = rows[i].was;
        assert_refused(f, buf_slice(&f->block));
    }
}

static void test_a_block_of_version_1_has_no_client_times(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct event read;
    f->example[3] = 1;
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    assert_true(block_reader_open(f->reader, buf_slice(&f->block), &err));
    assert_true(block_reader_next(f->reader, &read));
    assert_true(!read.has_client_time && read.type == EVENT_TRACK);
    f->example[16] |= 0x80;
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    assert_refused(f, buf_slice(&f->block));
    f->example[3] = 2;
    compress_plain(f, slice_make(f->example, EXAMPLE_BYTES));
    assert_true(block_reader_open(f->reader, buf_slice(&f->block), &err));
    assert_true(block_reader_next(f->reader, &read));
    assert_true(read.has_client_time && read.type == EVENT_TRACK);
}

static void test_a_frame_that_announces_more_than_a_block_can_hold_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t len = 4 * LIMIT_BLOCK_BYTES + 1;
    uint8_t *zeros = memory_allocate_zeroed(len);
    compress_plain(f, slice_make(zeros, len));
    free(zeros);
    assert_true(f->block.len < 4096);
    assert_refused(f, buf_slice(&f->block));
}

static void test_freeing_nothing_is_allowed(void **state)
{
    struct block_builder *builder = NULL;
    struct block_reader *reader = NULL;
    (void)state;
    block_builder_free(&builder);
    block_reader_free(&reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_example_of_the_formats_page_is_what_the_builder_writes),
        TEST(test_quarantine_travels_with_each_event),
        TEST(test_the_example_of_the_formats_page_reads_as_its_two_events),
        TEST(test_seeded_random_events_come_out_as_they_went_in),
        TEST(test_events_stay_valid_until_the_next_block_is_opened),
        TEST(test_a_full_block_takes_no_more_events_and_reads_back),
        TEST(test_a_block_is_full_by_bytes_before_it_outgrows_a_message),
        TEST(test_what_was_given_up_is_not_in_the_next_block),
        TEST(test_a_block_without_events_is_a_block),
        TEST(test_each_prefix_of_a_block_is_refused_and_so_is_more_behind_it),
        TEST(test_each_prefix_of_the_content_is_refused),
        TEST(test_a_changed_byte_is_refused_or_gives_events_within_their_bounds),
        TEST(test_members_that_contradict_each_other_are_refused),
        TEST(test_a_block_of_version_1_has_no_client_times),
        TEST(test_a_frame_that_announces_more_than_a_block_can_hold_is_refused),
        TEST(test_freeing_nothing_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
