/* The vault on the memory store: what can be read, and what cannot. */
#include "collector/edge/vault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>

struct fixture {
    struct store *store;
    struct vault *vault;
    struct buf bytes;
    struct error err;
};

static int set_up(void **state)
{
    static const uint8_t secret[VAULT_SECRET_BYTES] = {1, 2, 3};
    struct fixture *f = calloc(1, sizeof *f);
    f->store = store_memory_open();
    f->vault = vault_open(f->store, secret);
    buf_init(&f->bytes, 1024 * 1024);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    vault_close(&f->vault);
    store_close(&f->store);
    buf_done(&f->bytes);
    free(f);
    return 0;
}

static void put(struct fixture *f, const struct vault_key *key, struct slice value)
{
    struct store_batch batch;
    store_batch_init(&batch);
    vault_put(f->vault, &batch, key, value);
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

static void put_raw(struct fixture *f, const struct vault_key *key, struct slice value)
{
    struct store_batch batch;
    store_batch_init(&batch);
    store_batch_put(&batch, vault_key_slice(key), value);
    assert_true(store_write(f->store, &batch, true, &f->err));
    store_batch_done(&batch);
}

static void test_values_of_any_length_read_back(void **state)
{
    struct fixture *f = *state;
    static uint8_t value[3000];
    for (size_t len = 0; len <= sizeof value; len = len * 2 + 1) {
        struct vault_key key = vault_key_of(f->vault, 'p', slice_make(&len, sizeof len));
        struct slice got;
        bool found;
        randombytes_buf(value, len);
        put(f, &key, slice_make(value, len));
        assert_true(vault_get(f->vault, &key, &f->bytes, &got, &found, &f->err));
        assert_true(found && slice_equal(got, slice_make(value, len)));
    }
}

static void test_a_record_that_is_not_there_is_a_result(void **state)
{
    struct fixture *f = *state;
    struct vault_key key = vault_key_of(f->vault, 'p', slice_text("nobody"));
    struct slice got;
    bool found = true;
    assert_true(vault_get(f->vault, &key, &f->bytes, &got, &found, &f->err));
    assert_false(found);
    assert_int_equal(got.len, 0);
}

static void test_the_same_value_is_written_differently_each_time(void **state)
{
    struct fixture *f = *state;
    struct vault_key key = vault_key_of(f->vault, 'p', slice_text("somebody"));
    struct buf first;
    bool found;
    buf_init(&first, 1024);
    put(f, &key, slice_text("value"));
    assert_true(store_get(f->store, NULL, vault_key_slice(&key), &first, &found, &f->err));
    put(f, &key, slice_text("value"));
    assert_true(store_get(f->store, NULL, vault_key_slice(&key), &f->bytes, &found, &f->err));
    assert_int_equal(first.len, f->bytes.len);
    assert_false(slice_equal(buf_slice(&first), buf_slice(&f->bytes)));
    buf_done(&first);
}

static void test_every_altered_byte_and_every_missing_one_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct vault_key key = vault_key_of(f->vault, 'p', slice_text("somebody"));
    struct buf raw;
    struct slice got;
    bool found;
    buf_init(&raw, 1024);
    put(f, &key, slice_text("value"));
    assert_true(store_get(f->store, NULL, vault_key_slice(&key), &raw, &found, &f->err));
    for (size_t i = 0; i < raw.len; i++) {
        raw.data[i] ^= 1;
        put_raw(f, &key, buf_slice(&raw));
        raw.data[i] ^= 1;
        assert_false(vault_get(f->vault, &key, &f->bytes, &got, &found, &f->err));
        assert_int_equal(f->err.kind, ERROR_CORRUPT);
        assert_int_equal(got.len, 0);
        put_raw(f, &key, slice_make(raw.data, i));
        assert_false(vault_get(f->vault, &key, &f->bytes, &got, &found, &f->err));
    }
    buf_done(&raw);
}

static void test_a_value_under_another_key_and_with_another_secret_is_refused(void **state)
{
    struct fixture *f = *state;
    static const uint8_t other_secret[VAULT_SECRET_BYTES] = {9};
    struct vault_key key = vault_key_of(f->vault, 'p', slice_text("somebody"));
    struct vault_key other = vault_key_of(f->vault, 'p', slice_text("somebody else"));
    struct slice got;
    bool found;
    put(f, &key, slice_text("value"));
    assert_true(store_get(f->store, NULL, vault_key_slice(&key), &f->bytes, &found, &f->err));
    put_raw(f, &other, buf_slice(&f->bytes));
    assert_false(vault_get(f->vault, &other, &f->bytes, &got, &found, &f->err));
    struct vault *stranger = vault_open(f->store, other_secret);
    assert_false(vault_get(stranger, &key, &f->bytes, &got, &found, &f->err));
    struct vault_key strange = vault_key_of(stranger, 'p', slice_text("somebody"));
    assert_memory_not_equal(strange.bytes + 1, key.bytes + 1, VAULT_HASH_BYTES);
    vault_close(&stranger);
}

static void test_the_example_of_the_formats_page_opens(void **state)
{
    static const char key_hex[] = "707d5825067a85dcc1498f3d884700b519";
    static const char value_hex[] =
        "8cf0af66a0259815ab7dad77df83092b84952983108e764d410a042d3223756e3cdc8753b4f54e256c3d00490d"
        "8db0";
    struct fixture *f = *state;
    uint8_t secret[VAULT_SECRET_BYTES];
    uint8_t id[16];
    uint8_t value[64];
    char hex[64];
    size_t len = 0;
    struct slice got;
    bool found;
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof id; i++) {
        id[i] = (uint8_t)(0x20 + i);
    }
    vault_close(&f->vault);
    f->vault = vault_open(f->store, secret);
    struct vault_key key = vault_key_of(f->vault, 'p', slice_make(id, sizeof id));
    sodium_bin2hex(hex, sizeof hex, key.bytes, sizeof key.bytes);
    assert_string_equal(hex, key_hex);
    assert_int_equal(
        sodium_hex2bin(value, sizeof value, value_hex, strlen(value_hex), NULL, &len, NULL), 0);
    put_raw(f, &key, slice_make(value, len));
    assert_true(vault_get(f->vault, &key, &f->bytes, &got, &found, &f->err));
    assert_true(slice_is(got, "a value"));
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_the_example_of_the_formats_page_opens),
        WITH(test_values_of_any_length_read_back),
        WITH(test_a_record_that_is_not_there_is_a_result),
        WITH(test_the_same_value_is_written_differently_each_time),
        WITH(test_every_altered_byte_and_every_missing_one_is_noticed),
        WITH(test_a_value_under_another_key_and_with_another_secret_is_refused),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
