/* Tracking plans at the gate: what a source's plan makes of an event.
 *
 * Of an event that is flagged or quarantined, context.violations names what is wrong with it, as
 * [{"pointer", "rule"}…], in place of whatever the client had sent there. Any thread, with the
 * request that it is parsing.
 */
#ifndef TRIBUTARY_COLLECTOR_PLAN_H
#define TRIBUTARY_COLLECTOR_PLAN_H

#include "collector/gate/rules.h"
#include "shared/tracking_plan.h"

/* Check a track event of the request; other types pass. It goes on as it is, flagged, marked as
 * quarantined, or with the refusal `plan-violation`; `request-too-large` where visit_grow() has no
 * room for what is added. A new body lives in the request's arena, which is the visit's. */
void plan_pass(const struct tracking_plan *plan, struct visit *visit, struct request *request,
               struct request_event *event);

#endif
