/* The uplink carries the spool's blocks to the hub over a link, as the shipper decides.
 *
 * It has one thread that reads and sends; replies come on threads of the link. uplink_wake() may
 * be called by any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_UPLINK_H
#define TRIBUTARY_COLLECTOR_UPLINK_H

#include "collector/spool/clock_offset.h"
#include "collector/edge/standing.h"
#include "collector/spool/eras.h"
#include "collector/spool/spool.h"
#include "shared/clock.h"
#include "shared/link.h"
#include "shared/seal.h"

struct uplink;

/* All are borrowed and must outlive it. */
struct uplink_parts {
    struct spool *spool;
    struct eras *eras;
    struct link_client *link;
    const struct seal_channel *channel;
    struct clock_offset *offset;
    struct standing *standing;
    unsigned window;
    uint64_t bytes_per_second_max; /* 0: none */
};

/* Nothing is sent before the clock's offset is known: the hub corrects the times of a block by that
 * of its era. Wake it when the offset becomes known. */
struct uplink *uplink_open(const struct uplink_parts *parts);
/* Send nothing more. The link may be closed then, which ends what is in flight. */
void uplink_stop(struct uplink *uplink);
/* Wait for what is in flight, and free. */
void uplink_close(struct uplink **uplink);

/* There is a new block in the spool, or the clock's offset is known. */
void uplink_wake(struct uplink *uplink);

/* The hub answers again: what waits for its retry is sent now. */
void uplink_hub_is_back(struct uplink *uplink);

struct uplink_stats {
    uint64_t blocks_stored;
    uint64_t blocks_replayed;
    uint64_t blocks_refused;
    uint64_t blocks_unanswered;
    int64_t last_answer_ms; /* 0: never */
};
struct uplink_stats uplink_stats(struct uplink *uplink);

#endif
