/* What the collector tells the hub of itself with each poll: how far it is behind, what it has
 * refused since its start, and the last refusals where these are news. FORMATS.md describes the
 * map; whoever has something to tell adds a member.
 *
 * One thread writes and hears of the answers, as the downlink does: one poll is under way.
 */
#ifndef TRIBUTARY_COLLECTOR_REPORT_H
#define TRIBUTARY_COLLECTOR_REPORT_H

#include "collector/gate/refusals.h"
#include "collector/spool/spool.h"
#include "shared/rand.h"

struct report;

/* Everything is borrowed. `wall` is what the machine's clock shows, which the hub compares its own
 * with. `rand` gives the id of this start, which tells the hub that counts begin
 * at 0 again. */
struct report *report_open(struct refusals *refusals, struct spool *spool,
                           const struct clock *clock, const struct clock *wall, struct rand *rand);
void report_close(struct report **report);

/* Append the map, at most WIRE_REPORT_BYTES. */
void report_write(struct report *report, struct buf *out);
/* The poll with the report that was written last was answered, or failed. */
void report_settle(struct report *report, bool was_answered);

/* About how long the oldest block of the spool has been waiting for the hub; 0: none waits. Never
 * too little, too much by the time between two reports. Called by report_write() too. */
int64_t report_lag_ms(struct report *report);

#endif
