#include "shared/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>

/* The test vectors of FORMATS.md. Sign seed 00…1f, the hub's secret key 20…3f, collector "store-1";
 * the data key and nonces come from rand_seeded_init() with seed 1 (epoch) and 2 (messages). */
static const int64_t vector_ms = 1795292103120;
static const uint64_t vector_epoch = 117656263270128925;
static const char vector_key[] = "1d6579e0a8a6cfab571f73eb8f0dd1b99d011bbba018b44d00a65a4db099610e";
static const char vector_header[] =
    "9601a773746f72652d31cf01a1ffbf81d0dd1dcf000001a1ffbf81d0c4501acf67c65dbc12cb3cff866261c193bf"
    "976c23d9b8fa5d5a11c1be08c9086046c6efc6e68a9309f9be65dc5ae1851ea273672bf29136f577f27c29ad5ea7"
    "3f9eeaa69ba9e82ad27eee52bd0fc20f84fbc44038907bbd13c93c5185c9f644a7333347feb7fa1d15853ac93f5b"
    "1440fbe0ee142536a4bbbb2487657da7ca83138cbdd1aba4397107e049fa2b9a0ffac43d8e04";
static const char vector_block[] =
    "9501cf01a1ffbf81d0dd1d0302c41a2211c5fc8063faa2273f3e81cd3aa2b89ec861f36d0d45ecf7b7";
static const char vector_request[] =
    "9401a773746f72652d31c4183abad912979cc98f3acaf2c0514d9f57cb1b53ecf6354976c4198ec21fda6e4c14bc"
    "bbfed06559480a8dbfa7d97243715e4537";
static const char vector_reply[] =
    "9301c4185798dd31dceda99457e3db90c4465d0e15dca899bf5783a2c419c227de146f206df4b3e4537e90ee66ea"
    "31fc0408a6ab2254d6";

struct fixture {
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    uint8_t hub_public[SEAL_KEY_BYTES];
    uint8_t hub_secret[SEAL_KEY_BYTES];
    struct rand rand;
    struct buf header;
    struct buf sealed;
    struct buf plain;
    struct seal_epoch *epoch;
};

static const struct slice store_1 = {(const uint8_t *)"store-1", 7};

static struct seal_epoch *begin(struct fixture *f, struct slice id, uint64_t previous, int64_t ms)
{
    buf_clear(&f->header);
    return seal_epoch_begin(id, f->sign_secret, f->hub_public, previous, ms, &f->rand, &f->header);
}

static int set_up(void **state)
{
    struct fixture *f = memory_allocate_zeroed(sizeof *f);
    uint8_t seed[crypto_sign_SEEDBYTES];
    seal_start();
    for (uint8_t i = 0; i < 32; i++) {
        seed[i] = i;
        f->hub_secret[i] = (uint8_t)(32 + i);
    }
    crypto_sign_seed_keypair(f->sign_public, f->sign_secret, seed);
    crypto_scalarmult_base(f->hub_public, f->hub_secret);
    rand_seeded_init(&f->rand, 1);
    buf_init(&f->header, 1024);
    buf_init(&f->sealed, 1024 * 1024);
    buf_init(&f->plain, 1024 * 1024);
    f->epoch = begin(f, store_1, 0, vector_ms);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    seal_epoch_end(&f->epoch);
    buf_done(&f->header);
    buf_done(&f->sealed);
    buf_done(&f->plain);
    free(f);
    return 0;
}

static void put_hex(struct buf *out, const char *hex)
{
    uint8_t bytes[512];
    size_t len = 0;
    assert_int_equal(sodium_hex2bin(bytes, sizeof bytes, hex, strlen(hex), NULL, &len, NULL), 0);
    buf_clear(out);
    buf_put(out, bytes, len);
}

static void assert_hex(struct slice bytes, const char *hex)
{
    char text[1025];
    assert_true(bytes.len <= 512);
    sodium_bin2hex(text, sizeof text, bytes.data, bytes.len);
    assert_string_equal(text, hex);
}

static bool open_epoch(struct fixture *f, struct slice header, struct seal_epoch **ret)
{
    struct error err = {.kind = ERROR_NONE};
    bool fine = seal_epoch_open(header, f->sign_public, f->hub_public, f->hub_secret, ret, &err);
    assert_true(fine || err.kind == ERROR_CORRUPT);
    return fine;
}

/* Peek and open, as the hub does. */
static bool open_block(struct fixture *f, const struct seal_epoch *epoch, struct slice sealed)
{
    struct seal_block block;
    struct error err = {.kind = ERROR_NONE};
    bool fine =
        seal_block_peek(sealed, &block, &err) && seal_open_block(epoch, &block, &f->plain, &err);
    assert_true(fine || err.kind == ERROR_CORRUPT);
    return fine;
}

static void test_the_vectors_of_the_formats_page_are_what_is_written(void **state)
{
    struct fixture *f = *state;
    uint8_t nonce[SEAL_NONCE_BYTES];
    assert_true(seal_epoch_number(f->epoch) == vector_epoch);
    seal_write_block(f->epoch, 3, 2, slice_text("two events"), &f->sealed);
    assert_hex(buf_slice(&f->sealed), vector_block);
    struct seal_channel *channel =
        seal_channel_of_collector(store_1, f->sign_secret, f->hub_public);
    rand_seeded_init(&f->rand, 2);
    buf_clear(&f->sealed);
    seal_write_request(channel, slice_text("a request"), &f->rand, &f->sealed, nonce);
    assert_hex(buf_slice(&f->sealed), vector_request);
    buf_clear(&f->sealed);
    seal_write_reply(channel, nonce, slice_text("its reply"), &f->rand, &f->sealed);
    assert_hex(buf_slice(&f->sealed), vector_reply);
    seal_channel_free(&channel);
}

static void test_the_vectors_of_the_formats_page_open(void **state)
{
    struct fixture *f = *state;
    struct seal_header header;
    struct seal_epoch *epoch = NULL;
    struct error err;
    uint8_t nonce[SEAL_NONCE_BYTES];
    put_hex(&f->header, vector_header);
    assert_true(seal_header_peek(buf_slice(&f->header), &header, &err));
    assert_true(slice_is(header.collector_id, "store-1"));
    assert_true(header.epoch == vector_epoch);
    assert_true(header.created_ms == vector_ms);
    assert_true(open_epoch(f, buf_slice(&f->header), &epoch));
    put_hex(&f->sealed, vector_block);
    assert_true(open_block(f, epoch, buf_slice(&f->sealed)));
    assert_true(slice_is(buf_slice(&f->plain), "two events"));
    seal_epoch_end(&epoch);
    struct seal_channel *channel = seal_channel_of_hub(store_1, f->sign_public, f->hub_secret);
    put_hex(&f->sealed, vector_request);
    assert_true(seal_open_request(channel, buf_slice(&f->sealed), &f->plain, nonce, &err));
    assert_true(slice_is(buf_slice(&f->plain), "a request"));
    put_hex(&f->sealed, vector_reply);
    assert_true(seal_open_reply(channel, nonce, buf_slice(&f->sealed), &f->plain, &err));
    assert_true(slice_is(buf_slice(&f->plain), "its reply"));
    seal_channel_free(&channel);
}

/* From the words of FORMATS.md alone, with libsodium and nothing of seal.c. */
static void test_the_vectors_follow_from_the_description(void **state)
{
    static const char data[] = "tributary-block-v1\0" /* the context with its zero */
                               "\x07"
                               "store-1"
                               "\x01\xa1\xff\xbf\x81\xd0\xdd\x1d"
                               "\0\0\0\0\0\0\0\x03"
                               "\0\0\0\x02";
    static const uint8_t nonce[24] = {0x01, 0xa1, 0xff, 0xbf, 0x81, 0xd0, 0xdd, 0x1d,
                                      0,    0,    0,    0,    0,    0,    0,    3};
    struct fixture *f = *state;
    unsigned char plain[64];
    unsigned long long len = 0;
    struct buf key;
    buf_init(&key, SEAL_KEY_BYTES);
    put_hex(&key, vector_key);
    put_hex(&f->sealed, vector_block);
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt(
                         plain, &len, NULL, f->sealed.data + 15, 26, (const uint8_t *)data,
                         sizeof data - 1, nonce, key.data),
                     0);
    assert_int_equal(len, 10);
    assert_memory_equal(plain, "two events", 10);
    put_hex(&f->header, vector_header);
    struct buf input;
    buf_init(&input, 1024);
    buf_put(&input, "tributary-epoch-v1", 19);
    buf_put(&input, f->header.data, f->header.len - 66);
    assert_int_equal(crypto_sign_verify_detached(f->header.data + f->header.len - 64, input.data,
                                                 input.len, f->sign_public),
                     0);
    assert_int_equal(
        crypto_box_seal_open(plain, f->header.data + 30, 80, f->hub_public, f->hub_secret), 0);
    assert_memory_equal(plain, key.data, SEAL_KEY_BYTES);
    buf_done(&key);
    buf_done(&input);
}

static void test_blocks_of_all_sizes_come_out_as_they_went_in(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 255, 256, 65519, 65520, 65535, 65536, 500000};
    struct fixture *f = *state;
    struct seal_epoch *hub = NULL;
    struct seal_block block;
    struct error err;
    uint8_t *bytes = memory_allocate(500000);
    rand_fill(&f->rand, bytes, 500000);
    assert_true(open_epoch(f, buf_slice(&f->header), &hub));
    assert_true(seal_epoch_number(hub) == seal_epoch_number(f->epoch));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        buf_clear(&f->sealed);
        seal_write_block(f->epoch, i, (uint32_t)i * 1000, slice_make(bytes, sizes[i]), &f->sealed);
        assert_true(seal_block_peek(buf_slice(&f->sealed), &block, &err));
        assert_true(block.epoch == vector_epoch && block.sequence == i);
        assert_int_equal(block.event_count, i * 1000);
        assert_true(seal_open_block(hub, &block, &f->plain, &err));
        assert_true(slice_equal(buf_slice(&f->plain), slice_make(bytes, sizes[i])));
    }
    free(bytes);
    seal_epoch_end(&hub);
}

/* Calls `opens` with every single bit of *bytes altered, and with every prefix. */
static void assert_no_alteration_opens(struct fixture *f, const struct buf *bytes,
                                       bool (*opens)(struct fixture *, struct slice, void *),
                                       void *user)
{
    uint8_t *copy = memory_allocate(bytes->len);
    memcpy(copy, bytes->data, bytes->len);
    assert_true(opens(f, slice_make(copy, bytes->len), user));
    for (size_t bit = 0; bit < bytes->len * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (opens(f, slice_make(copy, bytes->len), user)) {
            fail_msg("bit %zu of byte %zu", bit % 8, bit / 8);
        }
        copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    free(copy);
    for (size_t len = 0; len < bytes->len; len++) {
        copy = memory_allocate(len);
        memcpy(copy, bytes->data, len);
        assert_false(opens(f, slice_make(copy, len), user));
        free(copy);
    }
}

static bool opens_header(struct fixture *f, struct slice bytes, void *user)
{
    struct seal_epoch *epoch = NULL;
    (void)user;
    bool fine = open_epoch(f, bytes, &epoch);
    seal_epoch_end(&epoch);
    return fine;
}

static bool opens_block(struct fixture *f, struct slice bytes, void *user)
{
    return open_block(f, user, bytes);
}

static void test_a_header_with_one_bit_altered_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_no_alteration_opens(f, &f->header, opens_header, NULL);
}

static void test_a_block_with_one_bit_altered_is_refused(void **state)
{
    struct fixture *f = *state;
    seal_write_block(f->epoch, 300, 70000, slice_text("some events"), &f->sealed);
    assert_no_alteration_opens(f, &f->sealed, opens_block, f->epoch);
}

static void test_a_block_is_bound_to_its_collector_epoch_place_and_count(void **state)
{
    struct fixture *f = *state;
    struct seal_block block;
    struct error err;
    seal_write_block(f->epoch, 7, 2, slice_text("events"), &f->sealed);
    assert_true(seal_block_peek(buf_slice(&f->sealed), &block, &err));
    assert_true(seal_open_block(f->epoch, &block, &f->plain, &err));
    block.sequence = 8;
    assert_false(seal_open_block(f->epoch, &block, &f->plain, &err));
    block.sequence = 7;
    block.event_count = 3;
    assert_false(seal_open_block(f->epoch, &block, &f->plain, &err));
    block.event_count = 2;
    block.epoch++;
    assert_false(seal_open_block(f->epoch, &block, &f->plain, &err));
    assert_int_equal(f->plain.len, 0);
    block.epoch--;

    /* The same key and number under another name: only the name can tell. */
    rand_seeded_init(&f->rand, 1);
    struct seal_epoch *other = begin(f, slice_text("store-2"), 0, vector_ms);
    assert_true(seal_epoch_number(other) == seal_epoch_number(f->epoch));
    assert_false(seal_open_block(other, &block, &f->plain, &err));
    seal_epoch_end(&other);

    other = begin(f, store_1, seal_epoch_number(f->epoch), vector_ms);
    assert_false(seal_open_block(other, &block, &f->plain, &err));
    seal_epoch_end(&other);
    assert_true(seal_open_block(f->epoch, &block, &f->plain, &err));
}

static void test_equal_blocks_of_two_epochs_or_places_do_not_look_equal(void **state)
{
    struct fixture *f = *state;
    struct buf second;
    struct seal_block a;
    struct seal_block b;
    struct error err;
    buf_init(&second, 1024);
    seal_write_block(f->epoch, 1, 1, slice_text("the same events"), &f->sealed);
    seal_write_block(f->epoch, 2, 1, slice_text("the same events"), &second);
    assert_true(seal_block_peek(buf_slice(&f->sealed), &a, &err));
    assert_true(seal_block_peek(buf_slice(&second), &b, &err));
    assert_false(slice_equal(a.cipher, b.cipher));
    struct seal_epoch *other = begin(f, store_1, vector_epoch, vector_ms);
    buf_clear(&second);
    seal_write_block(other, 1, 1, slice_text("the same events"), &second);
    assert_true(seal_block_peek(buf_slice(&second), &b, &err));
    assert_false(slice_equal(a.cipher, b.cipher));
    seal_epoch_end(&other);
    buf_done(&second);
}

static void test_a_header_of_another_collector_or_for_another_hub_is_refused(void **state)
{
    struct fixture *f = *state;
    struct seal_epoch *epoch = NULL;
    struct error err;
    uint8_t public[SEAL_KEY_BYTES];
    uint8_t secret[SEAL_SIGN_SECRET_BYTES];
    crypto_sign_keypair(public, secret);
    assert_false(
        seal_epoch_open(buf_slice(&f->header), public, f->hub_public, f->hub_secret, &epoch, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
    crypto_box_keypair(public, secret);
    assert_false(
        seal_epoch_open(buf_slice(&f->header), f->sign_public, public, secret, &epoch, &err));
    assert_int_equal(err.kind, ERROR_CORRUPT);
    assert_null(epoch);
}

static void test_epoch_numbers_grow_also_when_the_clock_went_back(void **state)
{
    struct fixture *f = *state;
    const int64_t clock[] = {vector_ms + 1, vector_ms + 1, vector_ms - 100000000, 0, vector_ms + 2};
    uint64_t previous = vector_epoch;
    for (size_t i = 0; i < sizeof clock / sizeof *clock; i++) {
        for (int k = 0; k < 50; k++) {
            struct seal_epoch *epoch = begin(f, store_1, previous, clock[i]);
            struct seal_header header;
            struct error err;
            assert_true(seal_epoch_number(epoch) > previous);
            assert_true(seal_header_peek(buf_slice(&f->header), &header, &err));
            assert_true(header.epoch == seal_epoch_number(epoch));
            assert_true(header.created_ms == clock[i]);
            previous = seal_epoch_number(epoch);
            seal_epoch_end(&epoch);
        }
    }
}

static void test_a_restored_collector_does_not_repeat_an_epoch(void **state)
{
    struct fixture *f = *state;
    int repeated = 0;
    for (int i = 0; i < 200; i++) {
        /* The same clock, the same previous number: only the random bits differ. */
        struct seal_epoch *a = begin(f, store_1, 0, vector_ms);
        struct seal_epoch *b = begin(f, store_1, 0, vector_ms);
        repeated += seal_epoch_number(a) == seal_epoch_number(b);
        seal_epoch_end(&a);
        seal_epoch_end(&b);
    }
    assert_true(repeated < 3);
}

static void test_the_longest_collector_id_works(void **state)
{
    struct fixture *f = *state;
    char id[SEAL_COLLECTOR_ID_MAX];
    struct seal_epoch *hub = NULL;
    memset(id, 'x', sizeof id);
    struct seal_epoch *epoch = begin(f, slice_make(id, sizeof id), 0, vector_ms);
    assert_true(open_epoch(f, buf_slice(&f->header), &hub));
    seal_write_block(epoch, 1, 1, slice_text("events"), &f->sealed);
    assert_true(open_block(f, hub, buf_slice(&f->sealed)));
    seal_epoch_end(&hub);
    seal_epoch_end(&epoch);
}

struct channels {
    struct seal_channel *collector;
    struct seal_channel *hub;
    struct seal_channel *other; /* another collector with the same name */
    uint8_t nonce[SEAL_NONCE_BYTES];
};

static struct channels open_channels(struct fixture *f)
{
    struct channels c;
    uint8_t other_public[SEAL_SIGN_PUBLIC_BYTES];
    uint8_t other_secret[SEAL_SIGN_SECRET_BYTES];
    crypto_sign_keypair(other_public, other_secret);
    c.collector = seal_channel_of_collector(store_1, f->sign_secret, f->hub_public);
    c.hub = seal_channel_of_hub(store_1, f->sign_public, f->hub_secret);
    c.other = seal_channel_of_hub(store_1, other_public, f->hub_secret);
    assert_true(c.collector != NULL && c.hub != NULL && c.other != NULL);
    return c;
}

static void close_channels(struct channels *c)
{
    seal_channel_free(&c->collector);
    seal_channel_free(&c->hub);
    seal_channel_free(&c->other);
}

static bool opens_request(struct fixture *f, struct slice bytes, void *user)
{
    struct error err = {.kind = ERROR_NONE};
    uint8_t nonce[SEAL_NONCE_BYTES];
    bool fine = seal_open_request(user, bytes, &f->plain, nonce, &err);
    assert_true(fine || err.kind == ERROR_CORRUPT);
    return fine;
}

static bool opens_reply(struct fixture *f, struct slice bytes, void *user)
{
    struct error err = {.kind = ERROR_NONE};
    struct channels *c = user;
    bool fine = seal_open_reply(c->collector, c->nonce, bytes, &f->plain, &err);
    assert_true(fine || err.kind == ERROR_CORRUPT);
    return fine;
}

static void test_a_request_reaches_the_hub_and_names_its_sender(void **state)
{
    struct fixture *f = *state;
    struct channels c = open_channels(f);
    struct slice id;
    struct error err;
    uint8_t nonce[SEAL_NONCE_BYTES];
    seal_write_request(c.collector, slice_text("hello"), &f->rand, &f->sealed, c.nonce);
    assert_true(seal_request_peek(buf_slice(&f->sealed), &id, &err));
    assert_true(slice_is(id, "store-1"));
    assert_true(seal_open_request(c.hub, buf_slice(&f->sealed), &f->plain, nonce, &err));
    assert_true(slice_is(buf_slice(&f->plain), "hello"));
    assert_memory_equal(nonce, c.nonce, SEAL_NONCE_BYTES);
    assert_false(opens_request(f, buf_slice(&f->sealed), c.other));
    close_channels(&c);
}

static void test_a_request_with_one_bit_altered_is_refused(void **state)
{
    struct fixture *f = *state;
    struct channels c = open_channels(f);
    seal_write_request(c.collector, slice_text("hello"), &f->rand, &f->sealed, c.nonce);
    assert_no_alteration_opens(f, &f->sealed, opens_request, c.hub);
    close_channels(&c);
}

static void test_a_reply_with_one_bit_altered_is_refused(void **state)
{
    struct fixture *f = *state;
    struct channels c = open_channels(f);
    rand_fill(&f->rand, c.nonce, sizeof c.nonce);
    seal_write_reply(c.hub, c.nonce, slice_text("hello"), &f->rand, &f->sealed);
    assert_no_alteration_opens(f, &f->sealed, opens_reply, &c);
    close_channels(&c);
}

static void test_a_reply_opens_only_as_the_answer_to_its_own_request(void **state)
{
    struct fixture *f = *state;
    struct channels c = open_channels(f);
    uint8_t first[SEAL_NONCE_BYTES];
    struct buf request;
    buf_init(&request, 1024);
    seal_write_request(c.collector, slice_text("first"), &f->rand, &request, first);
    seal_write_request(c.collector, slice_text("second"), &f->rand, &request, c.nonce);
    assert_memory_not_equal(first, c.nonce, SEAL_NONCE_BYTES);
    seal_write_reply(c.hub, first, slice_text("to the first"), &f->rand, &f->sealed);
    assert_false(opens_reply(f, buf_slice(&f->sealed), &c));
    memcpy(c.nonce, first, sizeof first);
    assert_true(opens_reply(f, buf_slice(&f->sealed), &c));
    assert_true(slice_is(buf_slice(&f->plain), "to the first"));
    buf_done(&request);
    close_channels(&c);
}

static void test_messages_cannot_be_sent_back_to_their_sender(void **state)
{
    struct fixture *f = *state;
    struct channels c = open_channels(f);
    struct slice request;
    seal_write_request(c.collector, slice_text("hello"), &f->rand, &f->sealed, c.nonce);
    /* A request turned into a reply: the id is cut out, so that the members fit. */
    request = buf_slice(&f->sealed);
    struct buf turned;
    buf_init(&turned, 1024);
    buf_put(&turned, "\x93\x01", 2);
    buf_put_slice(&turned, slice_skip(request, 10));
    assert_false(opens_reply(f, buf_slice(&turned), &c));
    buf_done(&turned);
    close_channels(&c);
}

static void test_keys_that_are_no_keys_give_no_channel(void **state)
{
    struct fixture *f = *state;
    static const uint8_t zero[SEAL_KEY_BYTES];
    uint8_t garbage[SEAL_KEY_BYTES];
    memset(garbage, 0xff, sizeof garbage);
    assert_null(seal_channel_of_hub(store_1, garbage, f->hub_secret));
    assert_null(seal_channel_of_hub(store_1, zero, f->hub_secret));
    assert_null(seal_channel_of_collector(store_1, f->sign_secret, zero));
}

static void test_ending_nothing_is_allowed(void **state)
{
    struct seal_epoch *epoch = NULL;
    struct seal_channel *channel = NULL;
    (void)state;
    seal_epoch_end(&epoch);
    seal_channel_free(&channel);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_vectors_of_the_formats_page_are_what_is_written),
        TEST(test_the_vectors_of_the_formats_page_open),
        TEST(test_the_vectors_follow_from_the_description),
        TEST(test_blocks_of_all_sizes_come_out_as_they_went_in),
        TEST(test_a_header_with_one_bit_altered_is_refused),
        TEST(test_a_block_with_one_bit_altered_is_refused),
        TEST(test_a_block_is_bound_to_its_collector_epoch_place_and_count),
        TEST(test_equal_blocks_of_two_epochs_or_places_do_not_look_equal),
        TEST(test_a_header_of_another_collector_or_for_another_hub_is_refused),
        TEST(test_epoch_numbers_grow_also_when_the_clock_went_back),
        TEST(test_a_restored_collector_does_not_repeat_an_epoch),
        TEST(test_the_longest_collector_id_works),
        TEST(test_a_request_reaches_the_hub_and_names_its_sender),
        TEST(test_a_request_with_one_bit_altered_is_refused),
        TEST(test_a_reply_with_one_bit_altered_is_refused),
        TEST(test_a_reply_opens_only_as_the_answer_to_its_own_request),
        TEST(test_messages_cannot_be_sent_back_to_their_sender),
        TEST(test_keys_that_are_no_keys_give_no_channel),
        TEST(test_ending_nothing_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
