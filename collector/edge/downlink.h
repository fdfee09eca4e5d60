/* The downlink brings from the hub what the edge needs: changed cards and the gate's definitions,
 * by a long poll that is asked again as soon as it is answered, and single cards on demand.
 *
 * Guarantee: a poll's cursors are advanced only after its cards are durable at the edge, so that
 * the hub forgets nothing too early.
 */
#ifndef TRIBUTARY_COLLECTOR_DOWNLINK_H
#define TRIBUTARY_COLLECTOR_DOWNLINK_H

#include "collector/spool/clock_offset.h"
#include "collector/edge/edge.h"
#include "collector/edge/report.h"
#include "collector/edge/standing.h"
#include "collector/spool/spool.h"
#include "collector/gate/suppression.h"
#include "shared/clock.h"
#include "shared/link.h"
#include "shared/seal.h"

struct downlink;

struct downlink_parts {
    struct edge *edge;
    struct spool *spool; /* whose size the hub is told */
    struct link_client *link;
    const struct seal_channel *channel;
    struct clock_offset *offset;
    struct standing *standing;
    const struct clock *clock;
    struct suppression *suppression;
    struct report *report;
    uint64_t gate_version; /* of the definitions that the edge cache keeps; 0: none, or others */
    /* Called on a thread of the link when a poll is answered for the first time, or after one that
     * was not. */
    void (*hub_is_back)(void *user);
    /* Called on a thread of the link with new definitions, which are durable then. */
    void (*gate_changed)(void *user, struct slice state);
    void *user;
};

/* Everything is borrowed and must outlive it. */
struct downlink *downlink_open(const struct downlink_parts *parts);
/* Poll no more. The link may be closed then, which ends the poll under way. */
void downlink_stop(struct downlink *downlink);
/* Free; the link must be closed. */
void downlink_close(struct downlink **downlink);

/* The hub answered the last poll, and the connection is there. */
bool downlink_is_connected(struct downlink *downlink);
/* When the hub last answered a poll, or 0: not in this run. */
int64_t downlink_answered_ms(struct downlink *downlink);

enum downlink_lookup { DOWNLINK_FOUND, DOWNLINK_NOBODY, DOWNLINK_UNREACHABLE };

/* Called once, on a thread of the link. The card is borrowed; NULL unless it was found. */
typedef void downlink_looked_up(void *user, enum downlink_lookup result,
                                const struct wire_card *card);
/* Ask the hub for the card of whoever has this identifier. A card that is in this collector's scope
 * is in the edge cache then, and the hub sends its changes from now on. */
void downlink_look_up(struct downlink *downlink, struct identifier identifier, int timeout_ms,
                      downlink_looked_up *done, void *user);

#endif
