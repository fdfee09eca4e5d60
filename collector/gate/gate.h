/* The gate decides which events may be stored: write keys and the consent each source needs.
 *
 * Its definitions come from the hub (the enrolment file carries those of that moment, the edge
 * cache the last that arrived) as one MessagePack map; FORMATS.md of shared/ describes it. A gate
 * is immutable; a change makes a new one. Any thread may read it.
 */
#ifndef TRIBUTARY_COLLECTOR_GATE_H
#define TRIBUTARY_COLLECTOR_GATE_H

#include "collector/gate/refusals.h"
#include "collector/gate/rules.h"
#include "collector/gate/shown.h"
#include "shared/identifier.h"
#include "shared/suppression.h"
#include "shared/tracking_plan.h"

struct gate;
struct gate_source;

/* Read definitions, copied. Empty bytes give a gate that knows no source. */
MUST_CHECK bool gate_new(struct slice state, struct gate **ret, struct error *err);
void gate_free(struct gate **gate);

uint64_t gate_version(const struct gate *gate);
/* Are these definitions newer than the other's? By when the hub made them: a restored hub gives
 * lesser versions. Those of an older hub, which does not tell, by their versions. */
bool gate_is_newer(const struct gate *gate, const struct gate *other);
bool gate_has_sources(const struct gate *gate);

/* NULL: nobody has this write key. */
const struct gate_source *gate_find_source(const struct gate *gate, struct slice write_key);
/* NULL: there is no source of this id. */
const struct gate_source *gate_find_source_by_id(const struct gate *gate, struct slice id);
/* The id, which its events carry; write keys may change. */
struct slice gate_source_id(const struct gate_source *source);
/* Is the source a server, whose write key is secret? */
bool gate_source_is_server(const struct gate_source *source);
/* Does the source name this origin? */
bool gate_source_allows_origin(const struct gate_source *source, struct slice origin);

/* The tracking plan that the source names; NULL: none, or one that this collector cannot read. */
const struct tracking_plan *gate_source_plan(const struct gate_source *source);

/* May this event of the source be stored? No code: yes. A source that is not exempt and names no
 * category needs consent to "analytics". */
struct refusal gate_check(const struct gate_source *source, const struct request_event *event);

/* What it asks for beside consent; as long as the gate. */
const struct rules *gate_rules(const struct gate_source *source);

/* Pass an event of the request through everything: the rules and consent in the order of rules.h,
 * with the suppression list before consent and the tracking plan at last. Sets its refusal,
 * changes its body, marks it as quarantined, or leaves a withdrawal of it. The visit is one of this
 * source's rules. */
void gate_pass(const struct gate_source *source, struct visit *visit, struct request *request,
               struct request_event *event);
/* The same for each event of a request that is not refused yet; all that are refused then are
 * counted, and the last of them kept to be looked at. How many. */
size_t gate_pass_all(const struct gate_source *source, struct visit *visit, struct request *request,
                     struct refusals *refusals);

/* Take the rate of the source for a request of so many events, by a clock that never goes back.
 * False: none of it may be stored; *ret_wait_ns is when there is room. */
bool gate_take_rate(const struct gate_source *source, uint64_t events, int64_t now_ns,
                    int64_t *ret_wait_ns);
/* Let the rates of a new gate go on where those of the old one (NULL: none) stand. Nobody else may
 * use either at that time. */
void gate_continue(struct gate *gate, struct gate *old);

/* Some source names this origin, so that its pages may send cookies. */
bool gate_allows_origin(const struct gate *gate, struct slice origin);

/* What of a card is shown to whom; as long as the gate. */
const struct shown *gate_segments(const struct gate *gate);
const struct shown *gate_traits(const struct gate *gate);
/* For how long after the last evidence a browser is told about the person whose it is. */
int64_t gate_me_for_ms(const struct gate *gate);

/* The key of tokens in links (collector/api/link_token.h); empty: the hub has told none. Borrowed.
 */
struct slice gate_link_key(const struct gate *gate);

/* The identifier types of the hub's rules, for the suppression list; borrowed. */
const struct suppression_types *gate_identifier_types(const struct gate *gate);

/* How the hub normalises identifiers of a type. */
enum identifier_normalizer gate_normalizer(const struct gate *gate, struct slice type);
/* Of national telephone numbers that somebody asks for; 0: of none. */
uint16_t gate_phone_country(const struct gate *gate);

#endif
