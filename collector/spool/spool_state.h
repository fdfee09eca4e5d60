/* The spool's figures, which it keeps beside its blocks and writes in the same batch as every
 * change of them, so that opening a spool costs the same whatever it holds. They stand in several
 * places (spool_internal.h), of which the one with the most changes counts. Pure.
 */
#ifndef TRIBUTARY_COLLECTOR_SPOOL_STATE_H
#define TRIBUTARY_COLLECTOR_SPOOL_STATE_H

#include "collector/spool/lane.h"

struct spool_lane_state {
    uint64_t blocks;
    uint64_t bytes;
    uint64_t dropped_events; /* to make room, ever */
};

struct spool_state {
    uint64_t changes; /* ever */
    uint64_t next;    /* the number of the next block */
    int64_t last_ms;  /* the time of the last append, by the logical clock; 0: never */
    struct spool_lane_state lanes[LANES];
    uint64_t aside_blocks;
    uint64_t aside_bytes;
};

/* All lanes and what was set aside. */
uint64_t spool_state_blocks(const struct spool_state *state); /* without those aside */
uint64_t spool_state_bytes(const struct spool_state *state);

void spool_state_write(const struct spool_state *state, struct buf *out);
/* False where the bytes are no state. */
MUST_CHECK bool spool_state_read(struct slice bytes, struct spool_state *ret);

#endif
