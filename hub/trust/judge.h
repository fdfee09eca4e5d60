/* The judge looks at each event when it is routed, and says what of it is fact: verdict.h.
 *
 * It knows the sources as they are defined at the event's place in the log, so that the verdict is
 * the same however often the log is read. A source that it does not know is a client of which
 * nothing is open. One thread.
 */
#ifndef TRIBUTARY_HUB_TRUST_JUDGE_H
#define TRIBUTARY_HUB_TRUST_JUDGE_H

#include "hub/trust/trust_counts.h"
#include "hub/trust/verdict.h"

struct judge;

/* The proofs that it sees are counted by source; borrowed. */
struct judge *judge_new(struct rand *rand, struct trust_counts *counts);
void judge_free(struct judge **judge);

/* From here on these sources hold: a map of definitions by id, as registry_catalog() writes it, and
 * the identifier types of these rules; copied. NULL: none. */
void judge_define(struct judge *judge, const msgpack_object *sources,
                  const struct identity_rules *rules);

/* Is it a server's source? */
bool judge_is_server(const struct judge *judge, struct slice source);

/* Judge an event whose times are set right; `packed` is what event_pack() wrote of it, without a
 * verdict. The verdict is written to `out` as verdict_pack() does, and *ret refers into it, into
 * the event, and, for facts of a proof, into the judge until its next call. */
void judge_event(struct judge *judge, const struct event *event, struct slice packed,
                 struct buf *out, struct verdict *ret);

#endif
