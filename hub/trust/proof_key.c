#include "hub/trust/proof_key.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdlib.h>
#include "hub/trust/proof_secrets.h"

enum {
    ED25519_BYTES = crypto_sign_PUBLICKEYBYTES,
    P256_BYTES = 32,
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 4096,
    SECRET_BYTES_MIN = 32,
    SECRET_BYTES_MAX = 512,
    MATERIAL_BYTES_MAX = 4096,
};

struct proof_key {
    enum proof_algorithm algorithm;
    gnutls_pubkey_t public_key; /* of ES256 and RS256 */
    uint8_t
        ed25519[ED25519_BYTES]; /* of EdDSA: libsodium is stricter with signatures, and faster */
    uint8_t *secret;            /* of HS256, from sodium_malloc() */
    size_t secret_len;
};

static const char *const names[PROOF_ALGORITHMS] = {
    [PROOF_EDDSA] = "EdDSA",
    [PROOF_ES256] = "ES256",
    [PROOF_RS256] = "RS256",
    [PROOF_HS256] = "HS256",
};

const char *proof_algorithm_name(enum proof_algorithm algorithm)
{
    return algorithm < PROOF_ALGORITHMS ? names[algorithm] : "";
}

enum proof_algorithm proof_algorithm_from(struct slice name)
{
    unsigned found = 0;
    while (found < PROOF_ALGORITHMS && !slice_is(name, names[found])) {
        found++;
    }
    return (enum proof_algorithm)found;
}

/* ---- Texts in base64 ---- */

/* In either alphabet, with padding or without. */
static bool decode_base64(struct slice text, uint8_t *out, size_t out_max, size_t *ret_len)
{
    static const int variants[] = {
        sodium_base64_VARIANT_URLSAFE_NO_PADDING, sodium_base64_VARIANT_URLSAFE,
        sodium_base64_VARIANT_ORIGINAL_NO_PADDING, sodium_base64_VARIANT_ORIGINAL};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        if (sodium_base642bin(out, out_max, (const char *)text.data, text.len, NULL, ret_len, NULL,
                              variants[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A member of a JWK that has bytes. The number of bytes is at most `out_max`. */
static bool jwk_bytes(const msgpack_object *jwk, const char *name, uint8_t *out, size_t out_max,
                      size_t *ret_len)
{
    struct slice text;
    *ret_len = 0;
    return value_text(value_member_c(jwk, name), &text) &&
           decode_base64(text, out, out_max, ret_len) && *ret_len > 0;
}

static bool jwk_is(const msgpack_object *jwk, const char *name, const char *value)
{
    struct slice text;
    return value_text(value_member_c(jwk, name), &text) && slice_is(text, value);
}

/* ---- Secrets ---- */

static bool take_secret(struct proof_key *key, struct slice secret, struct error *err)
{
    if (secret.len < SECRET_BYTES_MIN || secret.len > SECRET_BYTES_MAX) {
        return error_set(err, ERROR_INVALID,
                         "The secret must have %d to %d bytes; `openssl rand -hex 32` makes one.",
                         SECRET_BYTES_MIN, SECRET_BYTES_MAX);
    }
    key->secret = sodium_malloc(secret.len);
    ensure(key->secret != NULL);
    memcpy(key->secret, secret.data, secret.len);
    key->secret_len = secret.len;
    (void)sodium_mprotect_readonly(key->secret);
    return true;
}

static bool read_secret(const msgpack_object *material, struct proof_key *key, struct error *err)
{
    const struct slice prefix = slice_text("base64:");
    uint8_t bytes[SECRET_BYTES_MAX];
    struct slice secret;
    bool fine;
    if (value_text(material, &secret) && slice_is(secret, proof_secret_word)) {
        return error_set(err, ERROR_INVALID,
                         "\"%s\" keeps the secret that was there under this \"kid\", and none was.",
                         proof_secret_word);
    }
    if (value_text(material, &secret) && !slice_starts_with(secret, prefix)) {
        return take_secret(key, secret, err);
    }
    if (value_text(material, &secret)) {
        size_t len = 0;
        fine = decode_base64(slice_skip(secret, prefix.len), bytes, sizeof bytes, &len);
        secret = slice_make(bytes, len);
    } else {
        fine = jwk_is(material, "kty", "oct") &&
               jwk_bytes(material, "k", bytes, sizeof bytes, &secret.len);
        secret.data = bytes;
    }
    fine = fine ? take_secret(key, secret, err)
                : error_set(err, ERROR_INVALID,
                            "The key of HS256 is a text of at least %d bytes, such bytes in base64 "
                            "behind \"base64:\", or a JWK with \"kty\": \"oct\".",
                            SECRET_BYTES_MIN);
    sodium_memzero(bytes, sizeof bytes);
    return fine;
}

/* ---- Public keys ---- */

static bool is_private(const msgpack_object *material, struct slice text)
{
    static const char mark[] = "PRIVATE KEY";
    return value_member_c(material, "d") != NULL ||
           (text.len > 0 && memmem(text.data, text.len, mark, sizeof mark - 1) != NULL);
}

static bool import_pem(struct slice pem, gnutls_pubkey_t key)
{
    uint8_t copy[MATERIAL_BYTES_MAX];
    gnutls_datum_t datum = {copy, (unsigned)pem.len};
    if (pem.len > sizeof copy) {
        return false;
    }
    memcpy(copy, pem.data, pem.len);
    return gnutls_pubkey_import(key, &datum, GNUTLS_X509_FMT_PEM) == 0;
}

static bool import_p256_jwk(const msgpack_object *jwk, gnutls_pubkey_t key)
{
    uint8_t coordinates[2][P256_BYTES];
    gnutls_datum_t x = {coordinates[0], P256_BYTES};
    gnutls_datum_t y = {coordinates[1], P256_BYTES};
    size_t len[2];
    return jwk_is(jwk, "crv", "P-256") &&
           jwk_bytes(jwk, "x", coordinates[0], P256_BYTES, &len[0]) &&
           jwk_bytes(jwk, "y", coordinates[1], P256_BYTES, &len[1]) && len[0] == P256_BYTES &&
           len[1] == P256_BYTES &&
           gnutls_pubkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_SECP256R1, &x, &y) == 0;
}

static bool import_rsa_jwk(const msgpack_object *jwk, gnutls_pubkey_t key)
{
    uint8_t modulus[RSA_BITS_MAX / 8];
    uint8_t exponent[8];
    size_t modulus_len;
    size_t exponent_len;
    if (!jwk_bytes(jwk, "n", modulus, sizeof modulus, &modulus_len) ||
        !jwk_bytes(jwk, "e", exponent, sizeof exponent, &exponent_len)) {
        return false;
    }
    gnutls_datum_t n = {modulus, (unsigned)modulus_len};
    gnutls_datum_t e = {exponent, (unsigned)exponent_len};
    return gnutls_pubkey_import_rsa_raw(key, &n, &e) == 0;
}

static bool import_jwk(const msgpack_object *jwk, gnutls_pubkey_t key)
{
    return jwk_is(jwk, "kty", "RSA")  ? import_rsa_jwk(jwk, key)
           : jwk_is(jwk, "kty", "EC") ? import_p256_jwk(jwk, key)
                                      : false;
}

static bool has_curve(gnutls_pubkey_t key, gnutls_ecc_curve_t wanted)
{
    gnutls_ecc_curve_t curve;
    return gnutls_pubkey_export_ecc_raw2(key, &curve, NULL, NULL, 0) == 0 && curve == wanted;
}

/* Is it a key for this algorithm, and a point of its curve? */
static bool check_public(enum proof_algorithm algorithm, gnutls_pubkey_t key, struct error *err)
{
    unsigned bits = 0;
    int kind = gnutls_pubkey_get_pk_algorithm(key, &bits);
    if (algorithm == PROOF_ES256 &&
        (kind != GNUTLS_PK_ECDSA || !has_curve(key, GNUTLS_ECC_CURVE_SECP256R1))) {
        return error_set(err, ERROR_INVALID, "The key of ES256 must be one of the curve P-256.");
    }
    if (algorithm == PROOF_RS256 &&
        (kind != GNUTLS_PK_RSA || bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)) {
        return error_set(err, ERROR_INVALID,
                         "The key of RS256 must be an RSA key of 2,048 to 4,096 bits.");
    }
    return gnutls_pubkey_verify_params(key) == 0 ||
           error_set(err, ERROR_INVALID, "This is no valid public key: its numbers do not fit.");
}

static bool read_public(const msgpack_object *material, struct proof_key *key, struct error *err)
{
    struct slice text;
    bool fine = gnutls_pubkey_init(&key->public_key) == 0;
    ensure(fine);
    fine = value_text(material, &text) ? import_pem(text, key->public_key)
                                       : import_jwk(material, key->public_key);
    if (!fine) {
        return error_set(err, ERROR_INVALID,
                         "The key of %s is a public key in PEM (-----BEGIN PUBLIC KEY-----) or "
                         "a JWK object.",
                         names[key->algorithm]);
    }
    return check_public(key->algorithm, key->public_key, err);
}

/* The 32 bytes of an Ed25519 key that is there as PEM. */
static bool ed25519_from_pem(struct slice pem, uint8_t *ret)
{
    gnutls_pubkey_t key;
    gnutls_datum_t x = {NULL, 0};
    gnutls_ecc_curve_t curve;
    if (gnutls_pubkey_init(&key) != 0) {
        return false;
    }
    bool fine = import_pem(pem, key) &&
                gnutls_pubkey_export_ecc_raw2(key, &curve, &x, NULL, 0) == 0 &&
                curve == GNUTLS_ECC_CURVE_ED25519 && x.size == ED25519_BYTES;
    if (fine) {
        memcpy(ret, x.data, ED25519_BYTES);
    }
    gnutls_free(x.data);
    gnutls_pubkey_deinit(key);
    return fine;
}

static bool read_ed25519(const msgpack_object *material, struct proof_key *key, struct error *err)
{
    struct slice text;
    size_t len = ED25519_BYTES;
    bool fine;
    if (!value_text(material, &text)) {
        fine = jwk_is(material, "kty", "OKP") && jwk_is(material, "crv", "Ed25519") &&
               jwk_bytes(material, "x", key->ed25519, ED25519_BYTES, &len);
    } else if (slice_starts_with(text, slice_text("-----BEGIN"))) {
        fine = ed25519_from_pem(text, key->ed25519);
    } else {
        fine = decode_base64(text, key->ed25519, ED25519_BYTES, &len);
    }
    return (fine && len == ED25519_BYTES &&
            crypto_core_ed25519_is_valid_point(key->ed25519) == 1) ||
           error_set(err, ERROR_INVALID,
                     "The key of EdDSA is an Ed25519 public key in PEM (-----BEGIN PUBLIC "
                     "KEY-----), as a JWK object, or its 32 bytes in base64.");
}

bool proof_key_read(enum proof_algorithm algorithm, const msgpack_object *material,
                    struct proof_key **ret, struct error *err)
{
    struct slice text = slice_make(NULL, 0);
    bool fine = false;
    struct proof_key *key = memory_allocate_zeroed(sizeof *key);
    key->algorithm = algorithm;
    if (algorithm != PROOF_HS256 && material != NULL) {
        (void)value_text(material, &text);
    }
    if (material == NULL || (material->type != MSGPACK_OBJECT_STR && //
                             material->type != MSGPACK_OBJECT_MAP)) {
        (void)error_set(err, ERROR_INVALID, "\"key\" must be a text or a JWK object.");
    } else if (algorithm != PROOF_HS256 && is_private(material, text)) {
        (void)error_set(err, ERROR_INVALID,
                        "This is a private key, which must not leave the site's server: replace it "
                        "there, and give the public one here.");
    } else if (algorithm == PROOF_HS256) {
        fine = read_secret(material, key, err);
    } else if (algorithm == PROOF_EDDSA) {
        fine = read_ed25519(material, key, err);
    } else {
        fine = read_public(material, key, err);
    }
    if (!fine) {
        proof_key_free(&key);
    }
    *ret = key;
    return fine;
}

void proof_key_free(struct proof_key **key)
{
    if (*key != NULL) {
        if ((*key)->public_key != NULL) {
            gnutls_pubkey_deinit((*key)->public_key);
        }
        sodium_free((*key)->secret);
        free(*key);
        *key = NULL;
    }
}

enum proof_algorithm proof_key_algorithm(const struct proof_key *key)
{
    return key->algorithm;
}

/* ---- Signatures ---- */

static bool verify_hmac(const struct proof_key *key, struct slice bytes, struct slice signature)
{
    crypto_auth_hmacsha256_state state;
    uint8_t expected[crypto_auth_hmacsha256_BYTES];
    if (signature.len != sizeof expected) {
        return false;
    }
    crypto_auth_hmacsha256_init(&state, key->secret, key->secret_len);
    crypto_auth_hmacsha256_update(&state, bytes.data, bytes.len);
    crypto_auth_hmacsha256_final(&state, expected);
    return sodium_memcmp(expected, signature.data, sizeof expected) == 0;
}

static gnutls_datum_t datum_of(struct slice bytes)
{
    /* GnuTLS reads what it is given, though its type does not say so. */
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)bytes.data, (unsigned)bytes.len};
}

static bool verify_public(const struct proof_key *key, gnutls_sign_algorithm_t how,
                          struct slice bytes, const gnutls_datum_t *signature)
{
    gnutls_datum_t data = datum_of(bytes);
    return gnutls_pubkey_verify_data2(key->public_key, how, 0, &data, signature) >= 0;
}

/* A JWT has both numbers of the signature as they are, GnuTLS wants them in DER. */
static bool verify_p256(const struct proof_key *key, struct slice bytes, struct slice signature)
{
    gnutls_datum_t der = {NULL, 0};
    if (signature.len != 2 * (size_t)P256_BYTES) {
        return false;
    }
    gnutls_datum_t r = datum_of(slice_make(signature.data, P256_BYTES));
    gnutls_datum_t s = datum_of(slice_skip(signature, P256_BYTES));
    bool fine = gnutls_encode_rs_value(&der, &r, &s) == 0 &&
                verify_public(key, GNUTLS_SIGN_ECDSA_SHA256, bytes, &der);
    gnutls_free(der.data);
    return fine;
}

bool proof_key_verify(const struct proof_key *key, struct slice bytes, struct slice signature)
{
    gnutls_datum_t plain = datum_of(signature);
    switch (key->algorithm) {
    case PROOF_EDDSA:
        return signature.len == crypto_sign_BYTES &&
               crypto_sign_verify_detached(signature.data, bytes.data, bytes.len, key->ed25519) ==
                   0;
    case PROOF_ES256:
        return verify_p256(key, bytes, signature);
    case PROOF_RS256:
        return verify_public(key, GNUTLS_SIGN_RSA_SHA256, bytes, &plain);
    case PROOF_HS256:
        return verify_hmac(key, bytes, signature);
    case PROOF_ALGORITHMS:
        break;
    }
    return false;
}

void proof_key_digest(const struct proof_key *key, uint8_t ret[PROOF_DIGEST_BYTES])
{
    crypto_generichash_state state;
    const char *name = names[key->algorithm];
    crypto_generichash_init(&state, NULL, 0, PROOF_DIGEST_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)name, strlen(name));
    if (key->algorithm == PROOF_EDDSA) {
        crypto_generichash_update(&state, key->ed25519, sizeof key->ed25519);
    } else if (key->algorithm == PROOF_HS256) {
        crypto_generichash_update(&state, key->secret, key->secret_len);
    } else {
        gnutls_datum_t der = {NULL, 0};
        int result = gnutls_pubkey_export2(key->public_key, GNUTLS_X509_FMT_DER, &der);
        ensure(result == 0);
        crypto_generichash_update(&state, der.data, der.size);
        gnutls_free(der.data);
    }
    crypto_generichash_final(&state, ret, PROOF_DIGEST_BYTES);
}
