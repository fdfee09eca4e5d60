/* Lanes: the priority classes of events. Where the spool is too small or the line too slow, a
 * purchase goes before a page view, and stays longer.
 *
 * Which lane an event takes is a pure question to an immutable struct: any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_LANE_H
#define TRIBUTARY_COLLECTOR_LANE_H

#include "shared/event.h"

/* stored: never renumber */
enum lane {
    LANE_HIGH = 0, /* who somebody is, and what was bought: identify, alias, group, named events */
    LANE_NORMAL = 1, /* other track events; everything where lanes are not in use */
    LANE_LOW = 2,    /* pages, screens and named events */
    LANES
};

/* "high", "normal", "low". */
const char *lane_name(enum lane lane);

struct lanes;

/* `high` and `low` are names of track events, separated by commas; copied. A name in both is high.
 */
struct lanes *lanes_new(const char *high, const char *low);
void lanes_free(struct lanes **lanes);

/* LANE_NORMAL for every event where `lanes` is NULL. */
enum lane lanes_of(const struct lanes *lanes, const struct event *event);

#endif
