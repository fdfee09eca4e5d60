/* A vault keeps records in a store so that the store's files tell nothing without the key: the keys
 * of records are keyed hashes, their values are encrypted and bound to their keys. What can still
 * be seen is how many records of each kind there are, and how long each is.
 *
 * Guarantee: a value that was altered, or put under another key, is not returned.
 *
 * Threads are those of the store: any may read beside one that writes.
 */
#ifndef TRIBUTARY_COLLECTOR_VAULT_H
#define TRIBUTARY_COLLECTOR_VAULT_H

#include "shared/store.h"

struct vault;

enum { VAULT_SECRET_BYTES = 32, VAULT_HASH_BYTES = 16 };

/* The key of a record in the store: its kind, then the hash of what it is about. */
struct vault_key {
    uint8_t bytes[1 + VAULT_HASH_BYTES];
};
static inline struct slice vault_key_slice(const struct vault_key *key)
{
    return slice_make(key->bytes, sizeof key->bytes);
}

/* The store is borrowed; the secret is copied into guarded memory. */
struct vault *vault_open(struct store *store, const uint8_t secret[VAULT_SECRET_BYTES]);
void vault_close(struct vault **vault);

struct vault_key vault_key_of(const struct vault *vault, char kind, struct slice about);

/* Read a record into *bytes, where *ret_value then lies. ERROR_CORRUPT where it cannot be opened:
 * it was altered, or written with another secret. */
MUST_CHECK bool vault_get(const struct vault *vault, const struct vault_key *key, struct buf *bytes,
                          struct slice *ret_value, bool *ret_found, struct error *err);
/* Open a record that an iterator of the store stands at; as vault_get(). */
MUST_CHECK bool vault_open_record(const struct vault *vault, struct slice key, struct slice value,
                                  struct buf *bytes, struct slice *ret_value, struct error *err);

/* Add a change to a batch for the store; the value is copied. */
void vault_put(const struct vault *vault, struct store_batch *batch, const struct vault_key *key,
               struct slice value);

#endif
