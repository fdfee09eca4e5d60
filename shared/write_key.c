#include "shared/write_key.h"

#include <sodium.h>

void write_key_salt(const uint8_t hub_secret[SEAL_KEY_BYTES], uint8_t ret[WRITE_KEY_SALT_BYTES])
{
    static const uint8_t purpose[] = "tributary-write-key-v1"; /* stored: never change */
    crypto_generichash(ret, WRITE_KEY_SALT_BYTES, purpose, sizeof purpose, hub_secret,
                       SEAL_KEY_BYTES);
}

struct write_key_hash write_key_hash(const uint8_t salt[WRITE_KEY_SALT_BYTES],
                                     struct slice write_key)
{
    struct write_key_hash hash;
    crypto_generichash(hash.bytes, sizeof hash.bytes, write_key.data, write_key.len, salt,
                       WRITE_KEY_SALT_BYTES);
    return hash;
}
