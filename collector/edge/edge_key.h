/* The key of the box, with which its edge cache is encrypted: 32 bytes in hex, in a file of its
 * own. For the start; one thread.
 */
#ifndef TRIBUTARY_COLLECTOR_EDGE_KEY_H
#define TRIBUTARY_COLLECTOR_EDGE_KEY_H

#include "collector/edge/vault.h"

/* Read the key, or make one where there is no such file: of random bytes, readable by this user
 * alone, and synced before anything is encrypted with it. *ret is sodium_malloc memory. */
MUST_CHECK bool edge_key_read(const char *path, uint8_t **ret, struct error *err);

#endif
