/* What the hub checks again of what a collector's gate has checked: a collector that was taken over
 * sends what it likes, and so does one whose gate is not the latest.
 *
 * The rules are those of the definitions at the event's place in the log, so that reading the log
 * again gives the same. What is refused is counted for its collector and its reason; its neighbours
 * count. Pure; one thread.
 */
#ifndef TRIBUTARY_HUB_ADMISSION_H
#define TRIBUTARY_HUB_ADMISSION_H

#include "shared/event.h"

struct admission;

/* Of the definitions that partitions get (registry_catalog()), which are borrowed. Those of earlier
 * versions say nothing of sources: everything is admitted. */
struct admission *admission_new(const msgpack_object *catalog);
void admission_free(struct admission **admission);

enum admission_verdict {
    ADMISSION_YES,
    ADMISSION_SOURCE,  /* the collector may not carry the event's source */
    ADMISSION_CONSENT, /* the source demands a consent that the event does not give */
    ADMISSION_TIME,    /* the collector cannot have received it then */
    ADMISSION_VERDICTS,
};
const char *admission_verdict_name(enum admission_verdict verdict);

/* What is known of a block, by the hub's clock. */
struct admission_block {
    uint32_t collector;  /* its number */
    int64_t begun_ms;    /* when its epoch began, as the collector says */
    int64_t received_ms; /* when the hub received it */
};

/* Judge an event, with its head and raw body and with its times corrected. One that says that it
 * was received after the hub had it is set back to then, because the clocks of honest boxes differ
 * a little; by more than a day it is refused. */
enum admission_verdict admission_judge(struct admission *admission,
                                       const struct admission_block *block, struct event *event);

#endif
