/* What was refused, counted by source and reason. Any thread. */
#ifndef TRIBUTARY_COLLECTOR_REFUSALS_H
#define TRIBUTARY_COLLECTOR_REFUSALS_H

#include "shared/buf.h"

struct refusals;

struct refusals *refusals_new(void);
void refusals_free(struct refusals **refusals);

/* `source` is empty where the write key is unknown; `code` must live for ever. */
void refusals_count(struct refusals *refusals, struct slice source, const char *code);
/* As the metric tributary_refused_events_total. */
void refusals_put_metrics(struct refusals *refusals, struct buf *out);

#endif
