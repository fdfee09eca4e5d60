/* The records of timelines: one event each, compressed with the shared dictionary. One thread for
 * each struct timeline.
 */
#ifndef TRIBUTARY_HUB_PARTITION_TIMELINE_H
#define TRIBUTARY_HUB_PARTITION_TIMELINE_H

#include "shared/buf.h"
#include "shared/error.h"

struct timeline;

struct timeline *timeline_new(void);
void timeline_free(struct timeline **timeline);

/* Append the record of an event (as event_pack() wrote it) to *out. */
void timeline_compress(struct timeline *timeline, struct slice event, struct buf *out);
/* The event of a record, in *ret (replacing what was in it). */
MUST_CHECK bool timeline_decompress(struct timeline *timeline, struct slice record, struct buf *ret,
                                    struct error *err);

#endif
