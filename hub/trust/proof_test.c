#include "hub/trust/proof.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "hub/trust/jwt.h"
#include "hub/trust/proof_vectors.h"
#include "shared/json.h"

enum { VECTORS = sizeof proof_vectors / sizeof *proof_vectors };

static struct proof_keys *read_keys(const char *json)
{
    struct proof_keys *keys;
    char pointer[PROOF_POINTER_BYTES];
    msgpack_zone zone;
    msgpack_object proof;
    struct buf bytes;
    struct error err;
    buf_init(&bytes, 16384);
    assert_true(msgpack_zone_init(&zone, 4096));
    assert_true(json_read_value(slice_text(json), &bytes, &zone, &proof, &err));
    if (!proof_keys_read(&proof, &keys, pointer, &err)) {
        fail_msg("%s at %s: %s", err.message, pointer, json);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return keys;
}

static struct proof_verifier *new_verifier(void)
{
    const struct slice types[] = {slice_text("user_id"), slice_text("email"), slice_text("phone"),
                                  slice_text("loyalty_id")};
    struct proof_verifier *verifier = proof_verifier_new(&rand_secure, 64);
    proof_verifier_set_types(verifier, types, sizeof types / sizeof *types);
    return verifier;
}

static struct proof_check check_of(size_t vector)
{
    return (struct proof_check){.token = slice_text(proof_vectors[vector].token),
                                .source_id = slice_text("shop"),
                                .anonymous_id = slice_text(proof_vectors[vector].anonymous_id),
                                .event_ms = proof_vectors[vector].event_s * 1000,
                                .received_ms = proof_vectors[vector].received_s * 1000};
}

/* "type=value,type=value" */
static void describe(const struct proof_claims *claims, char text[8192])
{
    size_t len = 0;
    text[0] = 0;
    for (size_t i = 0; i < claims->count; i++) {
        len +=
            (size_t)snprintf(text + len, 8192 - len, "%s%.*s=%.*s", i > 0 ? "," : "",
                             SLICE_ARGS(claims->named[i].type), SLICE_ARGS(claims->named[i].value));
    }
}

static void expect_vector(struct proof_verifier *verifier, const struct proof_keys *keys, size_t v)
{
    char named[8192];
    struct proof_claims claims = {.count = 0};
    struct proof_check check = check_of(v);
    enum proof_fault fault = proof_verify(verifier, keys, &check, &claims);
    describe(&claims, named);
    if (strcmp(proof_fault_name(fault), proof_vectors[v].fault) != 0 ||
        strcmp(named, proof_vectors[v].named) != 0) {
        fail_msg("%s: %s %s, not %s %s", proof_vectors[v].name, proof_fault_name(fault), named,
                 proof_vectors[v].fault, proof_vectors[v].named);
    }
}

static void test_tokens_of_another_implementation_are_judged_as_they_should(void **state)
{
    (void)state;
    for (size_t v = 0; v < VECTORS; v++) {
        struct proof_keys *keys = read_keys(proof_vectors[v].keys);
        struct proof_verifier *verifier = new_verifier();
        expect_vector(verifier, keys, v);
        proof_verifier_free(&verifier);
        proof_keys_free(&keys);
    }
}

static void test_a_remembered_token_is_judged_as_a_new_one(void **state)
{
    (void)state;
    struct proof_verifier *verifier = new_verifier();
    for (size_t v = 0; v < VECTORS; v++) {
        struct proof_keys *keys = read_keys(proof_vectors[v].keys);
        expect_vector(verifier, keys, v);
        uint64_t verified = proof_verifier_verified(verifier);
        expect_vector(verifier, keys, v);
        bool is_valid = strcmp(proof_vectors[v].fault, "valid") == 0;
        assert_true(!is_valid || proof_verifier_verified(verifier) == verified);
        proof_keys_free(&keys);
    }
    assert_true(proof_verifier_remembered(verifier) > VECTORS / 2);
    proof_verifier_free(&verifier);
}

static size_t vector_named(const char *name)
{
    for (size_t v = 0; v < VECTORS; v++) {
        if (strcmp(proof_vectors[v].name, name) == 0) {
            return v;
        }
    }
    fail_msg("there is no vector %s", name);
    return 0;
}

static enum proof_fault verify(struct proof_verifier *verifier, const struct proof_keys *keys,
                               const struct proof_check *check)
{
    struct proof_claims claims;
    return proof_verify(verifier, keys, check, &claims);
}

static void test_what_was_remembered_is_for_that_source_and_those_keys_alone(void **state)
{
    (void)state;
    struct proof_verifier *verifier = new_verifier();
    struct proof_keys *keys = read_keys(HS_TEXT);
    struct proof_keys *others = read_keys(HS_BASE64);
    struct proof_check check = check_of(vector_named("HS256, the text"));
    assert_int_equal(verify(verifier, keys, &check), PROOF_VALID);
    assert_int_equal(verify(verifier, others, &check), PROOF_BAD_SIGNATURE);
    assert_int_equal(verify(verifier, NULL, &check), PROOF_NO_KEYS);
    check.source_id = slice_text("blog");
    assert_int_equal(verify(verifier, keys, &check), PROOF_WRONG_AUDIENCE);
    check.source_id = slice_text("shop");
    check.anonymous_id = slice_text("a-2");
    assert_int_equal(verify(verifier, keys, &check), PROOF_OTHER_BROWSER);
    check.anonymous_id = slice_text("a-1");
    check.event_ms += (int64_t)24 * 3600 * 1000;
    assert_int_equal(verify(verifier, keys, &check), PROOF_EXPIRED);
    check.event_ms -= (int64_t)24 * 3600 * 1000;
    assert_int_equal(verify(verifier, keys, &check), PROOF_VALID);
    proof_keys_free(&keys);
    proof_keys_free(&others);
    proof_verifier_free(&verifier);
}

static void test_names_follow_the_types_of_the_moment(void **state)
{
    (void)state;
    struct proof_verifier *verifier = new_verifier();
    struct proof_keys *keys = read_keys(HS_TEXT);
    struct proof_check check = check_of(vector_named("all names"));
    struct proof_claims claims;
    const struct slice types[] = {slice_text("phone")};
    assert_int_equal(proof_verify(verifier, keys, &check, &claims), PROOF_VALID);
    assert_int_equal(claims.count, 4);
    proof_verifier_set_types(verifier, types, 1);
    assert_int_equal(proof_verify(verifier, keys, &check, &claims), PROOF_VALID);
    assert_int_equal(claims.count, 2);
    assert_true(slice_is(claims.named[1].type, "phone"));
    proof_keys_free(&keys);
    proof_verifier_free(&verifier);
}

static void test_the_claims_say_when_and_by_which_key(void **state)
{
    (void)state;
    struct proof_verifier *verifier = new_verifier();
    struct proof_keys *keys = read_keys(ALL);
    struct proof_check check = check_of(vector_named("the second of two keys, without kid"));
    for (int i = 0; i < 2; i++) {
        struct proof_claims claims;
        assert_int_equal(proof_verify(verifier, keys, &check, &claims), PROOF_VALID);
        assert_true(slice_is(claims.kid, "ed"));
        assert_int_equal(claims.issued_ms, 1790000000000);
        assert_int_equal(claims.expires_ms, 1790003600000);
    }
    proof_keys_free(&keys);
    proof_verifier_free(&verifier);
}

static void test_bad_tokens_do_not_push_out_good_ones(void **state)
{
    (void)state;
    struct proof_verifier *verifier = new_verifier();
    struct proof_keys *keys = read_keys(HS_TEXT);
    struct proof_check good = check_of(vector_named("HS256, the text"));
    assert_int_equal(verify(verifier, keys, &good), PROOF_VALID);
    for (int i = 0; i < 10000; i++) {
        char text[16];
        snprintf(text, sizeof text, "a.b.%d", i);
        struct proof_check bad = good;
        bad.token = slice_text(text);
        assert_int_equal(verify(verifier, keys, &bad), PROOF_MALFORMED);
    }
    uint64_t verified = proof_verifier_verified(verifier);
    assert_int_equal(verify(verifier, keys, &good), PROOF_VALID);
    assert_int_equal(proof_verifier_verified(verifier), verified);
    proof_keys_free(&keys);
    proof_verifier_free(&verifier);
}

static void test_every_fault_has_a_name_an_advice_and_a_vector(void **state)
{
    (void)state;
    for (unsigned fault = PROOF_VALID; fault < PROOF_FAULTS; fault++) {
        const char *name = proof_fault_name((enum proof_fault)fault);
        bool found = fault == PROOF_NO_KEYS;
        assert_true(strlen(name) > 0);
        assert_true(strlen(proof_fault_advice((enum proof_fault)fault)) > 20);
        for (size_t v = 0; v < VECTORS; v++) {
            found = found || strcmp(name, proof_vectors[v].fault) == 0;
        }
        if (!found) {
            fail_msg("no vector has the fault %s", name);
        }
    }
}

/* ---- The examples of RFC 7515, appendix A, and RFC 8037, appendix A.4 ---- */

#define JOE                                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl" \
    "fQ"

static const struct {
    enum proof_algorithm algorithm;
    const char *key;
    const char *signed_bytes;
    const char *signature;
} examples[] = {
    {PROOF_HS256,
     "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4"
     "hcgUuTwjAzZr1Z9CAow\"}",
     "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE,
     "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
    {PROOF_RS256,
     "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Va"
     "w-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg"
     "0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Z"
     "wKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
     "\",\"e\":\"AQAB\"}",
     "eyJhbGciOiJSUzI1NiJ9." JOE,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5j"
     "ujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1"
     "L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOY"
     "EUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
    {PROOF_ES256,
     "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
     "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
     "eyJhbGciOiJFUzI1NiJ9." JOE,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
    {PROOF_EDDSA,
     "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
};

static struct slice decode(const char *text, uint8_t *out, size_t out_max)
{
    size_t len;
    assert_int_equal(sodium_base642bin(out, out_max, text, strlen(text), NULL, &len, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    return slice_make(out, len);
}

static void expect_example(size_t e, const msgpack_object *material)
{
    struct proof_key *key;
    struct error err;
    uint8_t bytes[512];
    struct slice signature = decode(examples[e].signature, bytes, sizeof bytes);
    struct slice text = slice_text(examples[e].signed_bytes);
    if (!proof_key_read(examples[e].algorithm, material, &key, &err)) {
        fail_msg("%s: %s", examples[e].key, err.message);
    }
    assert_true(proof_key_verify(key, text, signature));
    assert_false(proof_key_verify(key, slice_make(text.data, text.len - 1), signature));
    for (size_t bit = 0; bit < signature.len * 8; bit += 5) {
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1U << bit % 8);
        assert_false(proof_key_verify(key, text, signature));
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1U << bit % 8);
    }
    proof_key_free(&key);
}

static void test_the_examples_of_the_standards_verify_and_no_flipped_bit_does(void **state)
{
    (void)state;
    for (size_t e = 0; e < sizeof examples / sizeof *examples; e++) {
        msgpack_zone zone;
        msgpack_object material;
        struct buf bytes;
        struct error err;
        buf_init(&bytes, 4096);
        assert_true(msgpack_zone_init(&zone, 4096));
        assert_true(json_read_value(slice_text(examples[e].key), &bytes, &zone, &material, &err));
        expect_example(e, &material);
        msgpack_zone_destroy(&zone);
        buf_done(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_of_another_implementation_are_judged_as_they_should),
        cmocka_unit_test(test_a_remembered_token_is_judged_as_a_new_one),
        cmocka_unit_test(test_what_was_remembered_is_for_that_source_and_those_keys_alone),
        cmocka_unit_test(test_names_follow_the_types_of_the_moment),
        cmocka_unit_test(test_the_claims_say_when_and_by_which_key),
        cmocka_unit_test(test_bad_tokens_do_not_push_out_good_ones),
        cmocka_unit_test(test_every_fault_has_a_name_an_advice_and_a_vector),
        cmocka_unit_test(test_the_examples_of_the_standards_verify_and_no_flipped_bit_does),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
