/* The hash under which a gate knows the write key of a server's source. Such a key is a secret: who
 * has it speaks as the till or the shop's server, so a collector gets no more than what it needs to
 * recognise it. FORMATS.md describes the bytes. Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_WRITE_KEY_H
#define TRIBUTARY_SHARED_WRITE_KEY_H

#include "shared/seal.h"

enum { WRITE_KEY_SALT_BYTES = 32, WRITE_KEY_HASH_BYTES = 16 };

/* The salt of a hub, derived from its secret key, so that nobody can prepare hashes. */
void write_key_salt(const uint8_t hub_secret[SEAL_KEY_BYTES], uint8_t ret[WRITE_KEY_SALT_BYTES]);

struct write_key_hash {
    uint8_t bytes[WRITE_KEY_HASH_BYTES];
};
struct write_key_hash write_key_hash(const uint8_t salt[WRITE_KEY_SALT_BYTES],
                                     struct slice write_key);

#endif
