#include "hub/trust/proof_keys.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/trust/proof_vectors.h"
#include "shared/json.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define KEY(alg, key) "{\"keys\":[{\"kid\":\"k\",\"alg\":\"" alg "\",\"key\":" key "}]}"
/* The order of P-256's group is no coordinate of a point; nor are these two together. */
#define OFF_CURVE                                                                                  \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}"
#define SMALL_RSA                                                                                  \
    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":"                                                       \
    "\"u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onLRnrq0_IzW7yWR7QkrmBL7jTKEn5u-"      \
    "qKhbwKfBstIs-bMY2Zkp18gnTxKLxoS2tFczGkPLPgizskuemMghRniWaoLcyehkd3qqGElvW_"                   \
    "VDL5AaWTg0nLVkjQ\"}"

static const struct {
    const char *proof;
    const char *pointer; /* of what is wrong; NULL: nothing is */
    const char *text;    /* in what is said about it */
} cases[] = {
    {KEY("HS256", "\"" SECRET "\""), NULL, NULL},
    {KEY("HS256", "\"base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\""), NULL, NULL},
    {KEY("HS256", "\"base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\""), NULL, NULL},
    {ED_PEM, NULL, NULL},
    {ES_JWK, NULL, NULL},
    {RS_PEM, NULL, NULL},
    {ALL, NULL, NULL},
    {UNBOUND, NULL, NULL},
    {"true", "/proof", "must be an object"},
    {"{}", "/proof/keys", "1 to 8"},
    {"{\"keys\":{}}", "/proof/keys", "1 to 8"},
    {"{\"keys\":[]}", "/proof/keys", "1 to 8"},
    {"{\"keys\":[1,2,3,4,5,6,7,8,9]}", "/proof/keys", "1 to 8"},
    {"{\"keys\":[\"secret\"]}", "/proof/keys/0", "must be an object"},
    {KEY("HS256", "\"(secret)\""), "/proof/keys/0/key", "none was"},
    {"{\"keys\":[{\"alg\":\"HS256\",\"key\":\"" SECRET "\"}]}", "/proof/keys/0/kid", "1 to 64"},
    {"{\"keys\":[{\"kid\":\"\",\"alg\":\"HS256\",\"key\":\"" SECRET "\"}]}", "/proof/keys/0/kid",
     "1 to 64"},
    {"{\"keys\":[{\"kid\":\"k\",\"alg\":\"HS256\",\"key\":\"" SECRET
     "\"},{\"kid\":\"k\",\"alg\":\"HS256\",\"key\":\"" SECRET "\"}]}",
     "/proof/keys/1/kid", "already"},
    {KEY("none", "\"\""), "/proof/keys/0/alg", "must be"},
    {KEY("HS512", "\"" SECRET "\""), "/proof/keys/0/alg", "must be"},
    {KEY("hs256", "\"" SECRET "\""), "/proof/keys/0/alg", "must be"},
    {KEY("HS256", "null"), "/proof/keys/0/key", "must be a text"},
    {KEY("HS256", "17"), "/proof/keys/0/key", "must be a text"},
    {KEY("HS256", "\"short\""), "/proof/keys/0/key", "32 to 512"},
    {KEY("HS256", "\"base64:MDEyMw==\""), "/proof/keys/0/key", "32 to 512"},
    {KEY("HS256", "\"base64:" SECRET "!\""), "/proof/keys/0/key", "in base64"},
    {KEY("HS256", "{\"kty\":\"oct\"}"), "/proof/keys/0/key", "JWK"},
    {KEY("HS256", "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}"), "/proof/keys/0/key", "32 to 512"},
    {KEY("EdDSA", "\"" SECRET "\""), "/proof/keys/0/key", "Ed25519"},
    {KEY("EdDSA", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""), "/proof/keys/0/key",
     "Ed25519"},
    {KEY("EdDSA", "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":"
                  "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
     "/proof/keys/0/key", "Ed25519"},
    {KEY("EdDSA", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":"
                  "\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"x\":"
                  "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
     "/proof/keys/0/key", "private key"},
    {KEY("ES256", "\"-----BEGIN PRIVATE KEY-----\\nAA==\\n-----END PRIVATE KEY-----\\n\""),
     "/proof/keys/0/key", "private key"},
    {KEY("ES256", "\"-----BEGIN PUBLIC KEY-----\\nAA==\\n-----END PUBLIC KEY-----\\n\""),
     "/proof/keys/0/key", "in PEM"},
    {KEY("ES256", OFF_CURVE), "/proof/keys/0/key", ""},
    {ES384_PEM, "/proof/keys/0/key", "P-256"},
    {KEY("RS256", SMALL_RSA), "/proof/keys/0/key", "2,048"},
    {KEY("RS256", "{\"kty\":\"RSA\",\"n\":\"AQAB\"}"), "/proof/keys/0/key", "in PEM"},
    {"{\"keys\":[{\"kid\":\"k\",\"alg\":\"HS256\",\"key\":\"" SECRET "\"}],\"bind\":true}",
     "/proof/bind", "optional"},
    {"{\"keys\":[{\"kid\":\"k\",\"alg\":\"HS256\",\"key\":\"" SECRET "\"}],\"bind\":\"never\"}",
     "/proof/bind", "optional"},
};

static bool read_json(const char *json, struct proof_keys **ret, char *pointer, struct error *err)
{
    msgpack_zone zone;
    msgpack_object proof;
    struct buf bytes;
    buf_init(&bytes, 16384);
    assert_true(msgpack_zone_init(&zone, 4096));
    assert_true(json_read_value(slice_text(json), &bytes, &zone, &proof, err));
    bool fine = proof_keys_read(&proof, ret, pointer, err);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return fine;
}

static void test_the_member_that_is_wrong_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proof_keys *keys;
        struct error err;
        char pointer[PROOF_POINTER_BYTES];
        bool fine = read_json(cases[i].proof, &keys, pointer, &err);
        if (fine != (cases[i].pointer == NULL) ||
            (!fine && (strcmp(pointer, cases[i].pointer) != 0 ||
                       strstr(err.message, cases[i].text) == NULL))) {
            fail_msg("%s: %s at %s", cases[i].proof, fine ? "fine" : err.message, pointer);
        }
        proof_keys_free(&keys);
    }
}

/* A key of one algorithm put in as that of another. */
static void test_a_key_of_another_algorithm_is_refused(void **state)
{
    (void)state;
    static const char *const pems[] = {ED_PEM, ES_PEM, RS_PEM};
    static const char *const names[] = {"EdDSA", "ES256", "RS256"};
    for (size_t pem = 0; pem < 3; pem++) {
        for (size_t name = 0; name < 3; name++) {
            struct proof_keys *keys;
            struct error err;
            char pointer[PROOF_POINTER_BYTES];
            char json[4096];
            snprintf(json, sizeof json, "%s", pems[pem]);
            memcpy(strstr(json, names[pem]), names[name], 5);
            assert_int_equal(read_json(json, &keys, pointer, &err), pem == name);
            proof_keys_free(&keys);
        }
    }
}

static void test_the_digest_tells_keys_apart_and_their_forms_not(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool equal;
    } pairs[] = {
        {ED_PEM, ED_JWK, true},
        {ED_RAW, ED_PADDED, true},
        {ES_PEM, ES_JWK, true},
        {RS_PEM, RS_JWK, true},
        {HS_BASE64, HS_JWK, true},
        {HS_TEXT, HS_JWK, false},
        {ED_PEM, ES_PEM, false},
        {HS_TEXT, ALL, false},
        {HS_TEXT, UNBOUND, true},
        {KEY("HS256", "\"" SECRET "x\""), KEY("HS256", "\"" SECRET "y\""), false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct proof_keys *a;
        struct proof_keys *b;
        struct error err;
        char pointer[PROOF_POINTER_BYTES];
        assert_true(read_json(pairs[i].a, &a, pointer, &err));
        assert_true(read_json(pairs[i].b, &b, pointer, &err));
        bool equal = memcmp(proof_keys_digest(a), proof_keys_digest(b), PROOF_DIGEST_BYTES) == 0;
        if (equal != pairs[i].equal) {
            fail_msg("pair %zu", i);
        }
        proof_keys_free(&a);
        proof_keys_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_member_that_is_wrong_is_named),
        cmocka_unit_test(test_a_key_of_another_algorithm_is_refused),
        cmocka_unit_test(test_the_digest_tells_keys_apart_and_their_forms_not),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
