#include "hub/own_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sodium.h>
#include "hub/eventlog.h"

struct key {
    uint8_t public[SEAL_KEY_BYTES];
    uint8_t secret[SEAL_KEY_BYTES];
    char hex[2 * OWN_KEY_FINGERPRINT_BYTES + 1];
};

static struct key make_key(void)
{
    struct key key;
    crypto_box_keypair(key.public, key.secret);
    sodium_bin2hex(key.hex, sizeof key.hex, key.public, OWN_KEY_FINGERPRINT_BYTES);
    return key;
}

static bool check(struct store *store, const struct key *key, struct error *err)
{
    return own_key_check(store, key->public, key->secret, err);
}

static void test_data_keeps_the_key_that_it_began_with(void **state)
{
    struct key own = make_key();
    struct key other = make_key();
    struct store *store = store_memory_open();
    struct error err;
    (void)state;
    assert_true(check(store, &own, &err));
    store_memory_crash(store); /* it was durable */
    assert_false(check(store, &other, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_non_null(strstr(err.message, own.hex));
    assert_non_null(strstr(err.message, other.hex));
    assert_null(strchr(err.message, '\n'));
    assert_true(check(store, &own, &err));
    store_close(&store);
}

/* The header of an epoch, as an earlier version has left it. */
static void put_epoch(struct store *store, const struct key *sealed_to)
{
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    uint8_t sign_secret[SEAL_SIGN_SECRET_BYTES];
    struct buf header;
    struct buf name;
    struct store_batch batch;
    struct error err;
    crypto_sign_keypair(sign_public, sign_secret);
    buf_init(&header, 4096);
    buf_init(&name, 4096);
    struct seal_epoch *epoch = seal_epoch_begin(slice_text("till"), sign_secret, sealed_to->public,
                                                0, 1795292000000, &rand_secure, &header);
    eventlog_header_key(slice_text("till"), seal_epoch_number(epoch), &name);
    seal_epoch_end(&epoch);
    store_batch_init(&batch);
    store_batch_put(&batch, buf_slice(&name), buf_slice(&header));
    assert_true(store_write(store, &batch, true, &err));
    store_batch_done(&batch);
    buf_done(&header);
    buf_done(&name);
}

static void test_data_of_an_earlier_version_takes_the_key_that_opens_it_alone(void **state)
{
    struct key own = make_key();
    struct key other = make_key();
    struct store *store = store_memory_open();
    struct error err;
    (void)state;
    put_epoch(store, &own);
    assert_false(check(store, &other, &err));
    assert_int_equal(err.kind, ERROR_INVALID);
    assert_non_null(strstr(err.message, other.hex));
    assert_true(check(store, &own, &err));
    assert_false(check(store, &other, &err));
    assert_non_null(strstr(err.message, own.hex));
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_keeps_the_key_that_it_began_with),
        cmocka_unit_test(test_data_of_an_earlier_version_takes_the_key_that_opens_it_alone),
    };
    seal_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
