/* A tracking plan: which track events there are, what their properties look like, and what becomes
 * of events that do not keep to it. The hub checks definitions with it, collectors check events.
 *
 *     {"events": {NAME: {"properties": SCHEMA}…},
 *      "unplanned": "allow" | "flag" | "quarantine",     of names that the plan does not have
 *      "violations": "flag" | "quarantine" | "refuse"}   of properties that are not as they should
 *
 * SCHEMA is what schema.h understands; an event without properties has an empty object of them.
 * Immutable once made; any thread may check.
 */
#ifndef TRIBUTARY_SHARED_TRACKING_PLAN_H
#define TRIBUTARY_SHARED_TRACKING_PLAN_H

#include "shared/schema.h"

struct tracking_plan;

enum { TRACKING_PLAN_EVENTS_MAX = 1000 };

/* What becomes of an event. */
enum plan_verdict {
    PLAN_FINE,
    PLAN_FLAG,       /* it goes on, with its violations named */
    PLAN_QUARANTINE, /* it is kept, and counts when somebody has released it */
    PLAN_REFUSE,
};

/* Compile a definition, copied. ERROR_INVALID says what is wrong, *where in which place. */
MUST_CHECK bool tracking_plan_new(const msgpack_object *definition, struct tracking_plan **ret,
                                  struct schema_place *where, struct error *err);
void tracking_plan_free(struct tracking_plan **plan);

/* Check a track event, by its name and its raw body. *ret has what is wrong with it, as pointers
 * into the event. */
enum plan_verdict tracking_plan_check(const struct tracking_plan *plan, struct slice name,
                                      struct slice body, struct schema_violations *ret);

#endif
