/* Events that come neither by HTTP nor from anybody who could be answered: passed through the gate
 * and made durable, while the caller waits. The rules are those for HTTP.
 */
#ifndef TRIBUTARY_COLLECTOR_IMPORT_H
#define TRIBUTARY_COLLECTOR_IMPORT_H

#include "collector/request/request.h"

struct collector;

enum import_result {
    IMPORT_DURABLE,   /* what the gate let through is on disk; the rest, or the whole request, is
                       * marked as refused */
    IMPORT_LATER,     /* nothing was taken: the disk cannot follow, the spool is nearly full, or
                       * the hub takes nothing from this collector */
    IMPORT_NO_SOURCE, /* nothing was taken: no source has this id, or it is no server */
};

/* Take the events of a parsed request that are not refused, for the source of this id (or, as
 * earlier mappings name it, write key). What is imported leaves a tenth of the
 * spool to those who cannot wait. When a file says that its events were sent is passed over: it
 * says nothing about the clock that their times are from. Any thread; blocks for one commit. *err
 * is set unless durable. */
enum import_result import_events(struct collector *collector, struct slice source,
                                 struct request *request, struct error *err);

#endif
