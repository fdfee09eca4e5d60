/* Tracking plans at the gate: what a source's plan makes of an event.
 *
 * Of an event that is flagged or quarantined, context.violations names what is wrong with it, as
 * [{"pointer", "rule"}…], in place of whatever the client had sent there. Any thread, with the
 * request that it is parsing.
 */
#ifndef TRIBUTARY_COLLECTOR_PLAN_H
#define TRIBUTARY_COLLECTOR_PLAN_H

#include "collector/request/request.h"
#include "shared/tracking_plan.h"

/* Check a track event of the request; other types pass. It goes on as it is, flagged, marked as
 * quarantined, or with the refusal `plan-violation`. A new body lives in the request's arena. */
void plan_pass(const struct tracking_plan *plan, struct request *request,
               struct request_event *event);

#endif
