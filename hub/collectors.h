/* The enrolled collectors as the hub talks to them: whose message this is, its channel, and what
 * was last seen of it. Definitions are in the registry; this keeps the keys ready and the figures
 * in memory. Any thread.
 */
#ifndef TRIBUTARY_HUB_COLLECTORS_H
#define TRIBUTARY_HUB_COLLECTORS_H

#include "hub/registry.h"
#include "shared/wire.h"

struct collectors;

/* `hub_secret` and the registry are borrowed. */
struct collectors *collectors_new(struct registry *registry,
                                  const uint8_t hub_secret[SEAL_KEY_BYTES]);
void collectors_free(struct collectors **collectors);
/* Read the registry again after a change. */
void collectors_reload(struct collectors *collectors);

/* How many there are that were not revoked. */
size_t collectors_enrolled(struct collectors *collectors);

struct collector_keys {
    uint32_t number;
    bool is_revoked;
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    const struct seal_channel *channel; /* lives as long as `collectors` */
};
/* False where nobody is enrolled under this id. */
bool collectors_find(struct collectors *collectors, struct slice id, struct collector_keys *ret);

struct collector_figures {
    int64_t last_seen_ms;
    int64_t clock_offset_ms; /* hub minus collector */
    uint64_t spool_blocks;
    uint64_t spool_bytes;
    uint64_t gate_version;
    uint64_t blocks;
    uint64_t events;
    uint64_t replayed;
    uint64_t refused;
    /* Its edge cache, as of its last poll. One of the first version polls without telling of it. */
    enum card_shape card_shape;
    bool tells_moment; /* it is of a version that does */
    bool cache_is_told;
    uint8_t cache_id[WIRE_CACHE_ID_BYTES];
    uint64_t cache_scope_version; /* of the scope that it is filled for */
    bool cache_is_refilling;
    uint64_t cache_profiles; /* that the refill has looked at */
};
void collectors_note(struct collectors *collectors, struct slice id,
                     void (*change)(struct collector_figures *figures, void *user), void *user);
struct collector_figures collectors_figures(struct collectors *collectors, struct slice id);

#endif
