/* Metrics in the text format of Prometheus (exposition format 0.0.4). */
#ifndef TRIBUTARY_SHARED_METRICS_H
#define TRIBUTARY_SHARED_METRICS_H

#include "shared/buf.h"

/* The head of a metric and one sample without labels. `type` is "counter" or "gauge"; names carry
 * their unit (tributary_spool_bytes). */
void metrics_put(struct buf *out, const char *name, const char *type, const char *help,
                 double value);
void metrics_put_head(struct buf *out, const char *name, const char *type, const char *help);
/* tributary_build_info, whose labels say which version runs. */
void metrics_put_build_info(struct buf *out);
/* One more sample; `label_b` may be NULL. Label values are escaped and cut at 128 bytes. */
void metrics_put_sample(struct buf *out, const char *name, const char *label_a,
                        struct slice value_a, const char *label_b, struct slice value_b,
                        double value);

#endif
