/* The gate decides which events may be stored: write keys and the consent each source needs.
 *
 * Its definitions come from the hub (the enrolment file carries those of that moment, the edge
 * cache the last that arrived) as one MessagePack map; FORMATS.md of shared/ describes it. A gate
 * is immutable; a change makes a new one. Any thread may read it.
 */
#ifndef TRIBUTARY_COLLECTOR_GATE_H
#define TRIBUTARY_COLLECTOR_GATE_H

#include "collector/request.h"
#include "shared/identifier.h"
#include "shared/suppression.h"
#include "shared/tracking_plan.h"

struct gate;
struct gate_source;

/* Read definitions, copied. Empty bytes give a gate that knows no source. */
MUST_CHECK bool gate_new(struct slice state, struct gate **ret, struct error *err);
void gate_free(struct gate **gate);

uint64_t gate_version(const struct gate *gate);

/* NULL: nobody has this write key. */
const struct gate_source *gate_find_source(const struct gate *gate, struct slice write_key);
struct slice gate_source_key(const struct gate_source *source);

/* The tracking plan that the source names; NULL: none, or one that this collector cannot read. */
const struct tracking_plan *gate_source_plan(const struct gate_source *source);

/* May this event of the source be stored? No code: yes. A source that is not exempt and names no
 * category needs consent to "analytics". */
struct refusal gate_check(const struct gate_source *source, const struct request_event *event);

/* Some source names this origin, so that its pages may send cookies. */
bool gate_allows_origin(const struct gate *gate, struct slice origin);

/* The identifier types of the hub's rules, for the suppression list; borrowed. */
const struct suppression_types *gate_identifier_types(const struct gate *gate);

/* How the hub normalises identifiers of a type. */
enum identifier_normalizer gate_normalizer(const struct gate *gate, struct slice type);

#endif
