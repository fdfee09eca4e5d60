/* The router reads the log in order, opens the blocks, and hands each event to the partition
 * where its routing identifier is at home; definitions go to all partitions.
 *
 * Events of suppressed people stop here, and those that their collector may not send (admission.h);
 * those in quarantine are kept there.
 *
 * It keeps no state of its own: after a restart it begins where the slowest of the partitions and
 * the quarantine is, and these ignore what they have seen. A block that cannot be opened any more
 * is counted, logged and passed over.
 */
#ifndef TRIBUTARY_HUB_ROUTER_H
#define TRIBUTARY_HUB_ROUTER_H

#include "hub/admission.h"
#include "hub/eventlog.h"
#include "hub/partition/workers.h"
#include "hub/clock_guard.h"
#include "hub/quarantine.h"
#include "hub/suppressions.h"
#include "hub/trust/trust_counts.h"

struct router;

struct router_parts {
    struct eventlog *log;
    struct workers *workers;
    uint32_t partitions;
    const uint8_t *hub_public; /* SEAL_KEY_BYTES each */
    const uint8_t *hub_secret;
    struct suppressions *suppressions; /* whose events are refused */
    struct trust_counts *trust_counts; /* what became of proofs and claims, by source */
    struct quarantine *quarantine;     /* where events go that may not count yet */
    struct clock_guard *clock_guard;   /* while it is held nothing is routed; may be NULL */
    /* Called on the router's thread: so many events of this collector were not admitted. */
    void (*refused)(void *user, struct slice collector_id, enum admission_verdict why,
                    uint64_t events);
    void *user;
};

/* `catalog` holds the definitions in force where reading begins; it is copied. All parts are
 * borrowed. */
MUST_CHECK bool router_open(const struct router_parts *parts, struct slice catalog,
                            struct router **ret, struct error *err);
/* Stop reading. Call before workers_close(). */
void router_close(struct router **router);

/* The number of the record that is read next; blocks that were passed over. */
uint64_t router_next(struct router *router);
/* Events, since the start, without any identifier that counts. */
uint64_t router_unidentified(struct router *router);
uint64_t router_failed_blocks(struct router *router);
/* Events, since the start, of people on the suppression list; and those put into quarantine. */
uint64_t router_suppressed(struct router *router);
uint64_t router_quarantined(struct router *router);

#endif
