/* The hub's key pair and its data belong together: blocks are sealed to the key, and the keys of
 * the suppression list and of the channels to the collectors are derived from it. A hub that went
 * on with another key would pass over every block of its log and be a stranger to every collector.
 *
 * The data remembers the public key since its first start. Called once, before anything is read.
 */
#ifndef TRIBUTARY_HUB_OWN_KEY_H
#define TRIBUTARY_HUB_OWN_KEY_H

#include "shared/seal.h"
#include "shared/store.h"

/* How an operator tells one key from another: the first digits of hub.pub. */
enum { OWN_KEY_FINGERPRINT_BYTES = 8 };

/* Does this key belong to the data in the log's store? New data takes it for good, and so does data
 * of an earlier version, if the key opens what is there. ERROR_INVALID names both fingerprints. */
MUST_CHECK bool own_key_check(struct store *log_store, const uint8_t hub_public[SEAL_KEY_BYTES],
                              const uint8_t hub_secret[SEAL_KEY_BYTES], struct error *err);

#endif
