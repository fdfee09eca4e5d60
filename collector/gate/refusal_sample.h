/* What may be shown of an event that was refused: its shape, without anybody's data.
 *
 *     userId:text(2) properties{total:text(5),items:array(2)} context{traits{email:text(16) j…@…}}
 *
 * Names of members and of the event stay where they look like names; of values only type and
 * length, of what looks like an e-mail address the first letter. Bounded work; any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_REFUSAL_SAMPLE_H
#define TRIBUTARY_COLLECTOR_REFUSAL_SAMPLE_H

#include "collector/gate/refusals.h"

/* Fill type, event and sample. */
void refusal_sample_event(const struct request_event *event, struct refusal_seen *ret);

/* The JSON pointer, with "…" for each segment that does not look like a name, and at the end where
 * it is cut; ended by a zero. `size` is over 8. */
void refusal_sample_pointer(struct slice pointer, char *ret, size_t size);

#endif
