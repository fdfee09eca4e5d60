/* The suppression list at the edge: whose events are refused, as the hub said last.
 *
 * Changes come in the answers of polls. They are put into the batch that makes the answer durable,
 * and take effect when suppression_apply() is called after that, so that the list in memory never
 * knows more than the one on disk. Any thread may ask; one thread at a time applies.
 */
#ifndef TRIBUTARY_COLLECTOR_SUPPRESSION_H
#define TRIBUTARY_COLLECTOR_SUPPRESSION_H

#include "collector/edge/vault.h"
#include "shared/store.h"
#include "shared/suppression.h"
#include "shared/wire.h"

struct suppression;

/* Read the list kept in the edge's store and vault, which are borrowed for this call alone. */
MUST_CHECK bool suppression_open(struct store *store, const struct vault *vault,
                                 struct suppression **ret, struct error *err);
void suppression_close(struct suppression **suppression);

/* What the hub is told that is here. */
uint64_t suppression_version(struct suppression *suppression);
size_t suppression_count(struct suppression *suppression);

/* Add what the answer changes to a batch; where it starts over, all that is in the store goes.
 * ERROR_CORRUPT: these are no changes. */
MUST_CHECK bool suppression_put(struct store *store, const struct vault *vault,
                                const struct wire_poll_reply *reply, struct store_batch *batch,
                                struct error *err);
/* The batch is durable: refuse accordingly. */
void suppression_apply(struct suppression *suppression, const struct wire_poll_reply *reply);

/* Must the event be refused? It has its head and its raw body. Costs nothing while the list is
 * empty. */
bool suppression_refuses(struct suppression *suppression, const struct suppression_types *types,
                         const struct event *event, struct arena *arena);
/* Cut out of it what makes it be refused (suppression_set_cut()); false: nothing does. */
bool suppression_cuts(struct suppression *suppression, const struct suppression_types *types,
                      struct event *event, struct arena *arena);

#endif
