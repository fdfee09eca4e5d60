/* The edge cache: the cards of the people whom this collector sees, for answers without the hub,
 * and the gate's definitions for a start without it.
 *
 * Guarantee: edge_apply() stores cards and cursors in one synced batch; a card older than the one
 * that is there is ignored, so that repeated and reordered replies do no harm. Any thread may
 * read; one thread at a time applies.
 */
#ifndef TRIBUTARY_COLLECTOR_EDGE_H
#define TRIBUTARY_COLLECTOR_EDGE_H

#include "shared/identifier.h"
#include "shared/store.h"
#include "shared/wire.h"

struct edge;

/* The store is borrowed. */
MUST_CHECK bool edge_open(struct store *store, struct edge **ret, struct error *err);
void edge_close(struct edge **edge);

/* The cursors for the next poll. */
const uint64_t *edge_cursors(const struct edge *edge, uint32_t *ret_count);
/* The gate's definitions as last received; empty before the first. */
MUST_CHECK bool edge_gate_state(struct edge *edge, struct buf *ret, struct error *err);

/* Store what a poll brought. */
MUST_CHECK bool edge_apply(struct edge *edge, const struct wire_poll_reply *reply,
                           struct error *err);
/* Store one card that was looked up. */
MUST_CHECK bool edge_apply_card(struct edge *edge, const msgpack_object *card, struct error *err);

/* Have `changed` called, on the thread that stores, for each anonymous id of each card that was
 * stored; NULL ends that, and waits for a call under way. It may read the cache, but not apply to
 * it. */
void edge_on_change(struct edge *edge, void (*changed)(void *user, struct slice anonymous_id),
                    void *user);

/* The card of whoever has this (normalised) identifier, as MessagePack in *ret. */
MUST_CHECK bool edge_find(struct edge *edge, struct identifier identifier, struct buf *ret,
                          bool *ret_found, struct error *err);

#endif
