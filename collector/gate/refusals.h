/* What was refused: counted by source and reason, and the last refusals of each source, so that
 * whoever sends wrong events can find out what is wrong with them.
 *
 * No personal data is kept: of an event the masked shape remains (refusal_sample.h). Memory is
 * bounded: 512 counts, 20 refusals for each of the 50 sources refused last. Any thread; callbacks
 * run under the lock and may not call back.
 */
#ifndef TRIBUTARY_COLLECTOR_REFUSALS_H
#define TRIBUTARY_COLLECTOR_REFUSALS_H

#include "collector/request/request.h"
#include "shared/buf.h"
#include "shared/clock.h"

struct refusals;

enum { REFUSALS_LAST_OF_SOURCE = 20, REFUSALS_SOURCES = 50 };

/* One refusal that was seen; texts end with a zero. */
struct refusal_seen {
    uint64_t serial; /* grows with each refusal */
    int64_t at_ms;
    const char *code;
    const char *type; /* of the event; NULL: of a request, or not known */
    char field[96];   /* JSON pointer, masked; empty: none */
    char event[64];   /* its name, if it looks like one */
    char sample[320]; /* its shape */
};

/* The clock is borrowed. */
struct refusals *refusals_new(const struct clock *clock);
void refusals_free(struct refusals **refusals);

/* `source` is empty where the write key is unknown; `code` must live for ever. */
void refusals_count(struct refusals *refusals, struct slice source, const char *code);
/* The same for so many events of a request that was refused whole. */
void refusals_add(struct refusals *refusals, struct slice source, const char *code,
                  uint64_t events);
/* Remember a refusal that was counted; `event` is NULL where a whole request was refused. */
void refusals_note(struct refusals *refusals, struct slice source, const struct refusal *refusal,
                   const struct request_event *event);
/* The serial of the last one noted; 0 before the first. */
uint64_t refusals_serial(struct refusals *refusals);

/* Each count since the start. */
void refusals_each_count(struct refusals *refusals,
                         void (*each)(void *user, struct slice source, const char *code,
                                      uint64_t count),
                         void *user);
/* The last refusals: first the newest of each source, then the second newest of each, and so on;
 * false from `each` stops. */
void refusals_each_last(struct refusals *refusals,
                        bool (*each)(void *user, struct slice source,
                                     const struct refusal_seen *seen),
                        void *user);
/* As the metric tributary_refused_events_total. */
void refusals_put_metrics(struct refusals *refusals, struct buf *out);

#endif
