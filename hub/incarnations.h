/* The hub's incarnations: which of the histories that began with this data a collector has heard
 * of.
 *
 * A hub that is restored from a copy goes on from an earlier moment, and versions and positions
 * that collectors know are given again to other things: to compare them tells nothing. So each
 * start of a hub is an incarnation with a random id, and the data remembers, for its last starts,
 * the id and the moment at which it began. Moments count the records of the log and the changes of
 * definitions and of the suppression list: whatever a collector can be told of makes a later one.
 *
 * What a collector heard of a known incarnation is in this data's past if it was said no later than
 * the next incarnation began here; if it was said later, the copy was made before that. An id that
 * the data does not know is of a start after the copy, or is too long ago. So a restored hub is
 * recognised whatever has happened since, by a collector that was away meanwhile too, and a plain
 * restart costs nothing. Any thread.
 */
#ifndef TRIBUTARY_HUB_INCARNATIONS_H
#define TRIBUTARY_HUB_INCARNATIONS_H

#include "hub/registry.h"
#include "hub/suppressions.h"
#include "shared/rand.h"
#include "shared/wire.h"

struct incarnations;

/* A collector that was away for more starts than these is told everything again. */
enum { INCARNATIONS_MAX = 256 };

/* Begin a new one, durably. Everything is borrowed; the moments are those of these three. */
MUST_CHECK bool incarnations_open(struct eventlog *log, struct registry *registry,
                                  struct suppressions *suppressions, struct rand *rand,
                                  struct incarnations **ret, struct error *err);
void incarnations_close(struct incarnations **incarnations);

/* Now. What was read before this call is of no later moment. */
struct wire_moment incarnations_now(struct incarnations *incarnations);

/* What a collector has, by the moment that it is of. */
enum incarnations_verdict {
    INCARNATIONS_PAST,    /* of this hub's past; also where an older collector tells no moment */
    INCARNATIONS_UNKNOWN, /* it has heard of no moment yet: only its versions can be compared */
    INCARNATIONS_FOREIGN, /* of another history */
};
enum incarnations_verdict incarnations_judge(struct incarnations *incarnations,
                                             const struct wire_moment *moment);

#endif
