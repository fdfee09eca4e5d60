/* An event on its way through the partitions: from the home of an identifier to the profile.
 *
 * As a message: ROUTE (to the home of the first fact) and APPLY (to a profile) carry the collector,
 * the event as event_pack() wrote it with its verdict, the identifiers that may not count, and
 * perhaps a part.
 */
#ifndef TRIBUTARY_HUB_PARTITION_ARRIVAL_H
#define TRIBUTARY_HUB_PARTITION_ARRIVAL_H

#include "hub/partition/internal.h"
#include "hub/profile/claims.h"
#include "hub/trust/verdict.h"

/* What of an event is for the profile that it comes to. stored: never renumber */
enum part {
    PART_WHOLE = 0,
    PART_BYSTANDER = 1, /* its visitor claims what the event says of somebody else */
};

struct arrival {
    uint32_t collector;
    struct slice bytes;            /* as event_pack() wrote it, with its verdict */
    const msgpack_object *demoted; /* identifiers that may not count: [[type, value]…], and with a
                                    * third member the seat that takes their place */
    enum part part;
    struct event event;
    struct verdict verdict;
    struct parties parties;
};

/* `at` points to the collector, and `count` members are there. The arrival refers into them, and
 * into the zone and the arena of the message that is being handled. */
MUST_CHECK bool arrival_read(struct partition *p, const msgpack_object *at, size_t count,
                             struct arrival *ret, struct error *err);
/* An event that lies in a timeline, as it would arrive from that collector again. */
MUST_CHECK bool arrival_of_event(struct partition *p, uint32_t collector, struct slice bytes,
                                 struct arrival *ret, struct error *err);

/* As a message to a profile, or where `profile` is NULL to the home of an identifier; with one more
 * identifier demoted, or with a seat in its place (NULL: none). In the message's arena. */
struct slice arrival_write(struct partition *p, const struct profile_id *profile,
                           const struct arrival *a, const struct identifier *demote,
                           const struct slice *seat);

/* What makes it the same as another: its source, its messageId and its first identifier: the
 * anonymous id, else the user id, both as they were sent, else what comes first. */
void arrival_hash(const struct arrival *a, uint8_t ret[16]);

/* ---- seats.c ---- */

/* Does the event name somebody whom the profile cannot be? Then it is sent to that one's seat at
 * the browser, and the caller is done with it. Else what it names and the profile cannot take is
 * left out, and the refusal is in the journal. */
bool arrival_takes_seat(struct partition *p, struct profile *profile, struct arrival *a);

/* The profile has more facts than before: claims that became true are taken over, and events that
 * claim to be somebody whom it cannot be any more leave for that one's seat. *touch is widened.
 * *ret_parted: some left, so that its states and purchases must be put together again. What an
 * event brings that is not in the timeline yet is the caller's to apply afterwards. */
MUST_CHECK bool arrival_judge_again(struct partition *p, struct profile *profile,
                                    struct catalog_touch *touch, bool *ret_parted,
                                    struct error *err);

/* What the event names without evidence and is no fact of the profile is claimed by it: alone left
 * in the arrival's claims. True: something is claimed that was not. */
bool arrival_apply_claims(struct profile *profile, struct arrival *a);
/* Its traits: facts, unless it names somebody without evidence. True: some changed, *ret_edge: one
 * that edges see. */
bool arrival_apply_traits(struct partition *p, struct profile *profile, const struct arrival *a,
                          bool *ret_edge);

#endif
