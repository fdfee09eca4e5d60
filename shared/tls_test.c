#include "shared/tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/test_disk.h"

enum { PAIRS = 3, DAY_S = 86400 };

/* Pairs of certificate and key; the nth ends in n + 1 days. */
static struct pair {
    gnutls_datum_t certificate;
    gnutls_datum_t key;
} pairs[PAIRS];

struct fixture {
    char folder[TEST_FOLDER_BYTES];
    char certificate[80];
    char key[80];
    unsigned written;
};

static void make_pair(struct pair *pair, int n)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    assert_int_equal(gnutls_x509_crt_init(&crt), 0);
    assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(crt, "\1", 1), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + DAY_S * (n + 1)), 0);
    assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pair->certificate), 0);
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pair->key), 0);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static int make_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        make_pair(&pairs[i], i);
    }
    return 0;
}

static int free_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < PAIRS; i++) {
        gnutls_free(pairs[i].certificate.data);
        gnutls_free(pairs[i].key.data);
    }
    return 0;
}

/* A new file in the place of the old, as renewals make it. */
static void put(struct fixture *f, const char *path, const void *bytes, size_t len)
{
    char fresh[128];
    snprintf(fresh, sizeof fresh, "%s/new-%u", f->folder, f->written++);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0);
}

static void put_pair(struct fixture *f, int certificate, int key)
{
    put(f, f->key, pairs[key].key.data, pairs[key].key.size);
    put(f, f->certificate, pairs[certificate].certificate.data,
        pairs[certificate].certificate.size);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_folder_make(f->folder);
    snprintf(f->certificate, sizeof f->certificate, "%s/c.pem", f->folder);
    snprintf(f->key, sizeof f->key, "%s/k.pem", f->folder);
    put_pair(f, 0, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_folder_remove(f->folder);
    free(f);
    return 0;
}

static struct tls *open_tls(struct fixture *f)
{
    struct tls *tls = NULL;
    struct error err;
    if (!tls_open(f->certificate, f->key, &tls, &err)) {
        fail_msg("%s", err.message);
    }
    return tls;
}

static int days_left(struct tls *tls)
{
    return (int)((tls_expires_ms(tls) / 1000 - time(NULL) + DAY_S / 2) / DAY_S);
}

static void test_a_new_pair_is_noticed_and_taken(void **state)
{
    struct fixture *f = *state;
    struct tls *tls = open_tls(f);
    struct error err;
    assert_int_equal(days_left(tls), 1);
    assert_false(tls_files_changed(tls));
    put_pair(f, 1, 1);
    assert_true(tls_files_changed(tls));
    assert_int_equal(days_left(tls), 1);
    assert_true(tls_reload(tls, &err));
    assert_int_equal(days_left(tls), 2);
    assert_false(tls_files_changed(tls));
    tls_close(&tls);
    assert_null(tls);
    tls_close(&tls);
}

static void test_what_is_no_pair_is_refused_once_and_the_one_before_stays(void **state)
{
    struct fixture *f = *state;
    struct tls *tls = open_tls(f);
    struct error err;
    /* (Of PEM that holds no certificate GnuTLS 3.7 loses a few bytes, which the sanitizer tells.)
     */
    static const char text[] = "no PEM at all";
    for (int i = 0; i < 4; i++) {
        if (i == 0) {
            put_pair(f, 1, 2);
        } else if (i == 1) {
            put(f, f->certificate, text, sizeof text - 1);
        } else if (i == 2) {
            put(f, f->certificate, "", 0);
        } else {
            unlink(f->key);
        }
        assert_true(tls_files_changed(tls));
        assert_false(tls_reload(tls, &err));
        assert_int_equal(err.kind, ERROR_INVALID);
        assert_non_null(strstr(err.message, f->folder));
        assert_false(tls_files_changed(tls));
        assert_int_equal(days_left(tls), 1);
    }
    put_pair(f, 2, 2);
    assert_true(tls_files_changed(tls));
    assert_true(tls_reload(tls, &err));
    assert_int_equal(days_left(tls), 3);
    tls_close(&tls);
}

static void test_a_certificate_lives_until_its_last_connection_has_ended(void **state)
{
    struct fixture *f = *state;
    struct tls *tls = open_tls(f);
    struct tls_certificate *held[20];
    gnutls_session_t sessions[20];
    struct error err;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(gnutls_init(&sessions[i], GNUTLS_SERVER), 0);
        held[i] = tls_hold(tls, sessions[i]);
        if (i % 5 == 4) {
            put_pair(f, i / 5 % PAIRS, i / 5 % PAIRS);
            assert_true(tls_reload(tls, &err));
        }
    }
    assert_ptr_equal(held[0], held[4]);
    assert_ptr_not_equal(held[4], held[5]);
    for (int i = 19; i >= 0; i--) {
        gnutls_deinit(sessions[i]);
        tls_release(tls, held[i]);
    }
    tls_close(&tls);
}

static void test_files_that_are_missing_or_too_long_are_errors(void **state)
{
    struct fixture *f = *state;
    struct tls *tls = NULL;
    struct error err;
    char *much = calloc(1, 300 * 1024);
    assert_non_null(much);
    put(f, f->key, much, 300 * 1024);
    assert_false(tls_open(f->certificate, f->key, &tls, &err));
    assert_non_null(strstr(err.message, f->key));
    free(much);
    unlink(f->key);
    assert_false(tls_open(f->certificate, f->key, &tls, &err));
    assert_non_null(strstr(err.message, f->key));
    assert_false(tls_open(f->folder, f->key, &tls, &err));
    assert_non_null(strstr(err.message, f->folder));
    assert_null(tls);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_pair_is_noticed_and_taken),
        TEST(test_what_is_no_pair_is_refused_once_and_the_one_before_stays),
        TEST(test_a_certificate_lives_until_its_last_connection_has_ended),
        TEST(test_files_that_are_missing_or_too_long_are_errors),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
