/* Events that come neither by HTTP nor from anybody who could be answered: passed through the gate
 * and made durable, while the caller waits. The rules are those for HTTP.
 */
#ifndef TRIBUTARY_COLLECTOR_IMPORT_H
#define TRIBUTARY_COLLECTOR_IMPORT_H

#include "collector/request.h"

struct collector;

enum import_result {
    IMPORT_DURABLE,   /* what the gate let through is on disk; the rest is marked as refused */
    IMPORT_LATER,     /* nothing was taken: the disk cannot follow, the spool is nearly full, or
                       * this machine does not know what year it is */
    IMPORT_NO_SOURCE, /* nothing was taken: nobody has this write key */
};

/* Take the events of a parsed request that are not refused. What is imported leaves a tenth of the
 * spool to those who cannot wait. Any thread; blocks for one commit. *err is set unless durable. */
enum import_result import_events(struct collector *collector, struct slice write_key,
                                 struct request *request, struct error *err);

/* Make the times of a request that was parsed from a file fit this machine's clock, which the hub's
 * is offset_ms ahead of: the hub will add that to all times, but those of a file are right already.
 * When a file was sent says nothing about the clock that its times are from. */
void import_settle_times(struct request *request, int64_t offset_ms);

#endif
