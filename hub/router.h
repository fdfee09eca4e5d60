/* The router reads the log in order, opens the blocks, and hands each event to the partition
 * where its routing identifier is at home; definitions go to all partitions.
 *
 * It keeps no state of its own: after a restart it begins where the slowest partition is, and
 * partitions ignore what they have seen. A block that cannot be opened any more is counted,
 * logged and passed over.
 */
#ifndef TRIBUTARY_HUB_ROUTER_H
#define TRIBUTARY_HUB_ROUTER_H

#include "hub/eventlog.h"
#include "hub/partition/workers.h"

struct router;

/* `catalog` holds the definitions in force where reading begins; it is copied. All other arguments
 * are borrowed. */
struct router *router_open(struct eventlog *log, struct workers *workers, uint32_t partitions,
                           struct slice catalog, const uint8_t hub_public[SEAL_KEY_BYTES],
                           const uint8_t hub_secret[SEAL_KEY_BYTES]);
/* Stop reading. Call before workers_close(). */
void router_close(struct router **router);

/* The number of the record that is read next; blocks that were passed over. */
uint64_t router_next(struct router *router);
/* Events, since the start, without any identifier that counts. */
uint64_t router_unidentified(struct router *router);
uint64_t router_failed_blocks(struct router *router);

#endif
