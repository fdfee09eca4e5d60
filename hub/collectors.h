/* The enrolled collectors as the hub talks to them: whose message this is, its channel, and what
 * was last seen of it. Definitions are in the registry; this keeps the keys ready and the figures
 * in memory. Any thread.
 */
#ifndef TRIBUTARY_HUB_COLLECTORS_H
#define TRIBUTARY_HUB_COLLECTORS_H

#include "hub/admission.h"
#include "hub/lookups.h"
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

/* So many keys that were replaced are remembered of each. */
enum { COLLECTORS_FORMER_KEYS = 4 };

struct collector_keys {
    uint32_t number;
    bool is_revoked;
    int64_t enrolled_ms; /* 0: not known */
    uint8_t sign_public[SEAL_SIGN_PUBLIC_BYTES];
    const struct seal_channel *channel; /* lives as long as `collectors` */
};
/* False where nobody is enrolled under this id. */
bool collectors_find(struct collectors *collectors, struct slice id, struct collector_keys *ret);
/* The channel to whoever has the nth last key under which this id was enrolled before: good for
 * telling it so. NULL: there is none. */
const struct seal_channel *collectors_former(struct collectors *collectors, struct slice id,
                                             unsigned nth);

/* Why a message under an enrolled name is not taken. */
enum collector_refusal {
    COLLECTOR_REVOKED,
    COLLECTOR_REPLACED,  /* it has a key that was replaced */
    COLLECTOR_WRONG_KEY, /* it has a key that this name never had */
    COLLECTOR_REFUSALS,
};
const char *collector_refusal_name(enum collector_refusal refusal);
/* Count it, and log it once a minute for each collector. Nothing where nobody has this id. */
void collectors_refuse(struct collectors *collectors, struct slice id,
                       enum collector_refusal refusal, int64_t now_ms);

/* Blocks of a collector that are verified or wait for their commit. */
struct collector_pending {
    uint64_t blocks;
    uint64_t bytes;
};

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
    uint64_t messages_refused[COLLECTOR_REFUSALS];
    struct lookups lookups;
    struct collector_pending pending;
    uint64_t events_refused[ADMISSION_VERDICTS]; /* since the hub's start, by the router */
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
/* `each` must not call back. */
void collectors_each(struct collectors *collectors,
                     void (*each)(void *user, struct slice id,
                                  const struct collector_figures *figures),
                     void *user);
struct collector_figures collectors_figures(struct collectors *collectors, struct slice id);

#endif
