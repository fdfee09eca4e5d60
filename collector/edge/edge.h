/* The edge cache: the cards of the people in this collector's scope, for answers without the hub,
 * and the gate's definitions for a start without it. It is kept in a vault (vault.h), so that its
 * files tell nothing without the key of the box.
 *
 * Guarantee: edge_apply() stores cards, removals, cursors and how far a refill has come in one
 * synced batch. A card older than what is known of its profile is ignored, also where that is that
 * the profile was merged away or left the scope, so that repeated and reordered replies do no harm.
 * Any thread may read and apply.
 */
#ifndef TRIBUTARY_COLLECTOR_EDGE_H
#define TRIBUTARY_COLLECTOR_EDGE_H

#include "collector/edge/vault.h"
#include "shared/identifier.h"
#include "shared/wire.h"

struct edge;

/* The store is borrowed; an empty one becomes a new cache. ERROR_CORRUPT where it cannot be read
 * with this key: it is another's, altered, or of a version that did not encrypt. The caller empties
 * the store then. */
MUST_CHECK bool edge_open(struct store *store, const uint8_t key[VAULT_SECRET_BYTES],
                          struct edge **ret, struct error *err);
void edge_close(struct edge **edge);

/* The vault of the cache, for what else stands in its store. */
const struct vault *edge_vault(const struct edge *edge);

/* What the next poll says of the cache: its cursors, its id, and how far it is filled. */
void edge_describe(struct edge *edge, struct wire_poll *poll);
/* The gate's definitions as last received; empty before the first. */
MUST_CHECK bool edge_gate_state(struct edge *edge, struct buf *ret, struct error *err);

/* Store what a poll brought. */
MUST_CHECK bool edge_apply(struct edge *edge, const struct wire_poll_reply *reply,
                           struct error *err);
/* Grows with each refill that begins. */
uint64_t edge_generation(struct edge *edge);
/* Store one card that was asked for in this generation; in another one it may be out of scope, and
 * of another incarnation of the hub than the last poll's answer it may be of another history: then
 * nothing is stored. */
MUST_CHECK bool edge_apply_card(struct edge *edge, uint64_t generation,
                                const struct wire_moment *moment, const msgpack_object *card,
                                struct error *err);

/* Have `changed` called, on the thread that stores, for each anonymous id of each card that was
 * stored, and with an empty id for edge_tell_all(); NULL ends that, and waits for a call under way.
 * It may read the cache, but not apply to it. */
void edge_on_change(struct edge *edge, void (*changed)(void *user, struct slice anonymous_id),
                    void *user);

/* What is shown of cards has changed. */
void edge_tell_all(struct edge *edge);

/* When a refill is complete, what did not come with it is not for this collector any more: remove a
 * bounded number of such cards. *ret_more says that there may be others. */
MUST_CHECK bool edge_sweep(struct edge *edge, bool *ret_more, struct error *err);

/* The card of whoever has this (normalised) identifier, as MessagePack that lies in *bytes; empty
 * where there is none. */
MUST_CHECK bool edge_find(struct edge *edge, struct identifier identifier, struct buf *bytes,
                          struct slice *ret_card, struct error *err);

#endif
