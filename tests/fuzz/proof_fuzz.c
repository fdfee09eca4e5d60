/* Proofs from outside: the bytes as a token, and as the claims of one that is signed as it should
 * be. No token may stop the hub; one that was seen before is judged as it was; what is valid names
 * somebody, and only in values of the size of identifiers. The same bytes are read as keys. */
#include <sodium.h>
#include "hub/trust/proof.h"
#include "shared/json.h"
#include "shared/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "0123456789abcdef0123456789abcdef";

static struct proof_keys *read_keys(struct slice json)
{
    struct proof_keys *keys = NULL;
    char pointer[PROOF_POINTER_BYTES];
    msgpack_zone zone;
    msgpack_object proof;
    struct buf bytes;
    struct error err;
    buf_init(&bytes, LIMIT_WIRE_BYTES);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    if (json_read_value(json, &bytes, &zone, &proof, &err)) {
        bool fine = proof_keys_read(&proof, &keys, pointer, &err);
        ensure(fine == (keys != NULL));
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    return keys;
}

static void verify(struct proof_verifier *verifier, const struct proof_keys *keys,
                   struct slice token)
{
    struct proof_claims claims;
    struct proof_check check = {token, slice_text("shop"), slice_text("a-1"), 1790000060000,
                                1790000061000};
    enum proof_fault first = proof_verify(verifier, keys, &check, &claims);
    for (size_t i = 0; first == PROOF_VALID && i < claims.count; i++) {
        ensure(claims.named[i].type.len > 0 && claims.named[i].value.len > 0 &&
               claims.named[i].value.len <= LIMIT_IDENTIFIER_BYTES);
    }
    ensure(first != PROOF_VALID || claims.count > 0);
    ensure(proof_verify(verifier, keys, &check, &claims) == first);
}

static void put_base64url(struct buf *out, struct slice bytes)
{
    const int variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    size_t room = sodium_base64_encoded_len(bytes.len, variant);
    bool fits = buf_reserve(out, room);
    ensure(fits);
    sodium_bin2base64((char *)out->data + out->len, room, bytes.data, bytes.len, variant);
    out->len += room - 1;
}

/* The bytes as claims, behind a good header and with a good signature. */
static void sign(struct slice claims, struct buf *out)
{
    crypto_auth_hmacsha256_state state;
    uint8_t signature[crypto_auth_hmacsha256_BYTES];
    put_base64url(out, slice_text("{\"alg\":\"HS256\"}"));
    buf_put_u8(out, '.');
    put_base64url(out, claims);
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)secret, sizeof secret - 1);
    crypto_auth_hmacsha256_update(&state, out->data, out->len);
    crypto_auth_hmacsha256_final(&state, signature);
    buf_put_u8(out, '.');
    put_base64url(out, slice_make(signature, sizeof signature));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct proof_verifier *verifier;
    static struct proof_keys *keys;
    struct buf token;
    if (verifier == NULL) {
        const struct slice types[] = {slice_text("email"), slice_text("phone")};
        int started = sodium_init();
        ensure(started >= 0);
        verifier = proof_verifier_new(&rand_secure, 64);
        proof_verifier_set_types(verifier, types, 2);
        keys = read_keys(slice_text("{\"keys\":[{\"kid\":\"k\",\"alg\":\"HS256\",\"key\":"
                                    "\"0123456789abcdef0123456789abcdef\"}]}"));
        ensure(keys != NULL);
    }
    buf_init(&token, LIMIT_WIRE_BYTES);
    verify(verifier, keys, slice_make(data, size));
    sign(slice_make(data, size), &token);
    verify(verifier, keys, buf_slice(&token));
    buf_done(&token);
    struct proof_keys *others = read_keys(slice_make(data, size));
    proof_keys_free(&others);
    return 0;
}
