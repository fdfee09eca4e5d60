/* A refill: a collector gets every card of its scope, changed or not, because its edge cache is
 * new, its scope was changed, or its cursors are not those of this hub's outboxes.
 *
 * It walks through all profiles, bit by bit between other answers. The hub keeps nothing of it: the
 * place that was reached goes with each answer to the collector, which stores it with the cards and
 * gives it back, so it goes on where it was whatever was restarted. What changes meanwhile comes by
 * the outbox, whose cursors begin where it stood when the refill began. Any thread.
 */
#ifndef TRIBUTARY_HUB_REFILL_H
#define TRIBUTARY_HUB_REFILL_H

#include "hub/partition/partition.h"
#include "hub/reader.h"

/* The scope version of a collector whose scope was never set. */
enum { REFILL_FIRST_VERSION = 1 };

/* Who asks: the number of the collector, its scope (NULL: never set), and its poll. */
struct refill_asker {
    uint32_t collector;
    const struct catalog_scope *scope;
    const struct wire_poll *poll;
};

/* Whose outbox the collector reads. */
uint32_t refill_outbox(const struct refill_asker *asker);
uint64_t refill_version(const struct refill_asker *asker);

/* Do the poll's cursors fit the outbox? They are ahead of it where the hub was restored from an old
 * backup, and behind what was acknowledged where the collector was. */
MUST_CHECK bool refill_check_cursors(const struct reader *reader, const struct refill_asker *asker,
                                     bool *ret_fit, struct error *err);

/* Begin, in *reply: a place, and cursors. Not yet (*ret_ready is false) while a partition does not
 * know the scope: it would not tell of changes. */
MUST_CHECK bool refill_begin(const struct reader *reader, const struct refill_asker *asker,
                             struct wire_poll_reply *reply, bool *ret_ready, struct error *err);

/* Go on from *place, which is moved, by a bounded number of profiles; `each` returns false to stop
 * before the profile that it was called with. An empty place: the refill is complete. */
MUST_CHECK bool refill_go_on(const struct reader *reader, struct wire_place *place,
                             bool (*each)(void *user, const struct profile *profile), void *user,
                             struct error *err);

/* How many profiles a refill has looked at. */
uint64_t refill_profiles(const struct wire_place *place);

#endif
