/* What an edge cache knows about itself: its id, its cursors, and how far it is filled. Pure.
 */
#ifndef TRIBUTARY_COLLECTOR_EDGE_STATE_H
#define TRIBUTARY_COLLECTOR_EDGE_STATE_H

#include "shared/rand.h"
#include "shared/wire.h"

/* Each entry of the cache is of the generation in which it came; a refill that begins starts a new
 * one, and when it is complete older ones are swept out. */
struct edge_state {
    uint8_t id[WIRE_CACHE_ID_BYTES];
    uint64_t generation;
    uint64_t scope_version; /* 0: no refill has begun yet */
    bool is_sweeping;       /* entries of older generations are to be removed */
    struct wire_place place;
    struct wire_moment moment; /* nothing that the cache holds is of a later one; always told */
    uint32_t cursor_count;
    uint64_t cursors[LIMIT_PARTITIONS];
};
enum { EDGE_STATE_BYTES_MAX = 160 + 8 * LIMIT_PARTITIONS };

/* That of a new cache. */
void edge_state_init(struct edge_state *state, struct rand *rand);

/* FORMATS.md of shared/ describes the bytes. */
void edge_state_pack(const struct edge_state *state, struct buf *out);
MUST_CHECK bool edge_state_unpack(struct slice bytes, struct edge_state *ret);

/* As it is after this reply. */
void edge_state_take(struct edge_state *state, const struct wire_poll_reply *reply);
/* What the next poll says. */
void edge_state_describe(const struct edge_state *state, struct wire_poll *poll);

#endif
