/* The hub's side of the long polls: cards of changed profiles and the gate's definitions for the
 * collectors, and single cards on demand.
 *
 * Guarantee: a profile that changed stays in a collector's outbox until a poll's cursors say that
 * the collector has it safely. A collector that needs more than what changed gets a refill
 * (refill.h). Any thread.
 */
#ifndef TRIBUTARY_HUB_EDGES_H
#define TRIBUTARY_HUB_EDGES_H

#include "hub/clock_guard.h"
#include "hub/collectors.h"
#include "hub/definitions.h"
#include "hub/incarnations.h"
#include "hub/partition/workers.h"
#include "hub/refill.h"
#include "hub/reports.h"
#include "hub/suppressions.h"
#include "shared/wire.h"

struct edges;

/* Who waits; `answer` is called once, on any thread, with a message for the collector. */
struct edges_waiter {
    void (*answer)(void *user, struct slice message);
    void *user;
};

struct edges_parts {
    struct collectors *collectors;
    struct registry *registry;
    struct definitions *definitions;
    struct suppressions *suppressions;
    struct incarnations *incarnations;
    struct reports *reports;
    struct workers *workers;
    struct reader reader;
    struct lookups_limits lookups;
    const struct clock *clock;
    struct clock_guard *clock_guard; /* hears the collectors' clocks; may be NULL */
};

/* Everything is borrowed; `workers` may be set later, before the first poll. */
struct edges *edges_open(const struct edges_parts *parts);
void edges_set_workers(struct edges *edges, struct workers *workers);
/* Answer every waiting poll with what there is. */
void edges_stop(struct edges *edges);
void edges_close(struct edges **edges);

/* The poll is copied. One that waits when its collector is revoked is refused. */
void edges_poll(struct edges *edges, struct slice collector_id, const struct collector_keys *keys,
                const struct wire_poll *poll, struct edges_waiter waiter);
/* A collector whose last poll was of the first version is answered in that version. */
void edges_look_up(struct edges *edges, struct slice collector_id,
                   const struct collector_keys *keys, const struct wire_lookup *lookup,
                   struct edges_waiter waiter);

/* A collector's outbox, or SHARED_OUTBOX, has something new; the definitions changed. */
void edges_notify(struct edges *edges, uint32_t collector);
void edges_notify_all(struct edges *edges);

#endif
