#include "collector/edge/vault.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/limits.h"
#include "shared/rand.h"

/* A record's value (stored: never change): nonce, cipher, authenticator. The key of the record is
 * the associated data. */
enum {
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    HEAD_BYTES = NONCE_BYTES,
};

/* Both keys come of the box's secret. */
struct secrets {
    uint8_t hash_key[32];
    uint8_t value_key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
};

struct vault {
    struct store *store;
    struct secrets *secrets; /* sodium_malloc */
};

struct vault *vault_open(struct store *store, const uint8_t secret[VAULT_SECRET_BYTES])
{
    static const char context[crypto_kdf_CONTEXTBYTES] = "tribedge";
    struct vault *v = memory_allocate_zeroed(sizeof *v);
    v->store = store;
    v->secrets = sodium_malloc(sizeof *v->secrets);
    ensure(v->secrets != NULL);
    crypto_kdf_derive_from_key(v->secrets->hash_key, sizeof v->secrets->hash_key, 1, context,
                               secret);
    crypto_kdf_derive_from_key(v->secrets->value_key, sizeof v->secrets->value_key, 2, context,
                               secret);
    return v;
}

void vault_close(struct vault **vault)
{
    if (*vault != NULL) {
        sodium_free((*vault)->secrets);
        free(*vault);
        *vault = NULL;
    }
}

struct vault_key vault_key_of(const struct vault *v, char kind, struct slice about)
{
    struct vault_key key;
    key.bytes[0] = (uint8_t)kind;
    crypto_generichash(key.bytes + 1, VAULT_HASH_BYTES, about.data, about.len, v->secrets->hash_key,
                       sizeof v->secrets->hash_key);
    return key;
}

/* Decrypt in place. */
static bool open_value(const struct vault *v, struct slice key, struct buf *bytes,
                       struct slice *ret_value, struct error *err)
{
    if (bytes->len < HEAD_BYTES + TAG_BYTES) {
        return error_set(err, ERROR_CORRUPT, "a record of the edge cache is too short");
    }
    uint8_t *cipher = bytes->data + HEAD_BYTES;
    size_t len = bytes->len - HEAD_BYTES - TAG_BYTES;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(cipher, NULL, cipher, len, cipher + len,
                                                            key.data, key.len, bytes->data,
                                                            v->secrets->value_key) != 0) {
        return error_set(err, ERROR_CORRUPT,
                         "a record of the edge cache was altered, or has another key");
    }
    *ret_value = slice_make(cipher, len);
    return true;
}

bool vault_get(const struct vault *v, const struct vault_key *key, struct buf *bytes,
               struct slice *ret_value, bool *ret_found, struct error *err)
{
    *ret_value = slice_make(NULL, 0);
    if (!store_get(v->store, NULL, vault_key_slice(key), bytes, ret_found, err)) {
        return false;
    }
    return !*ret_found || open_value(v, vault_key_slice(key), bytes, ret_value, err);
}

bool vault_open_record(const struct vault *v, struct slice key, struct slice value,
                       struct buf *bytes, struct slice *ret_value, struct error *err)
{
    buf_clear(bytes);
    buf_put_slice(bytes, value);
    return open_value(v, key, bytes, ret_value, err);
}

void vault_put(const struct vault *v, struct store_batch *batch, const struct vault_key *key,
               struct slice value)
{
    struct buf sealed;
    uint8_t nonce[NONCE_BYTES];
    unsigned long long len = 0;
    buf_init(&sealed, SIZE_MAX / 2);
    rand_fill(&rand_secure, nonce, sizeof nonce);
    buf_put(&sealed, nonce, sizeof nonce);
    bool fits = buf_reserve(&sealed, value.len + TAG_BYTES);
    ensure(fits);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data + sealed.len, &len, value.data,
                                               value.len, key->bytes, sizeof key->bytes, NULL,
                                               nonce, v->secrets->value_key);
    sealed.len += (size_t)len;
    store_batch_put(batch, vault_key_slice(key), buf_slice(&sealed));
    buf_done(&sealed);
}
