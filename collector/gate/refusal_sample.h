/* What may be shown of an event that was refused: its shape, without anybody's data.
 *
 *     userId:text(2) properties{total:text(5),items:array(2)} context{traits{email:text(16) j…@…}}
 *
 * Names of members stay where they look like names; of values only type and length, of what looks
 * like an e-mail address the first letter. Bounded work; any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_REFUSAL_SAMPLE_H
#define TRIBUTARY_COLLECTOR_REFUSAL_SAMPLE_H

#include "collector/gate/refusals.h"

/* Fill type, event and sample. */
void refusal_sample_event(const struct request_event *event, struct refusal_seen *ret);

/* The text without control characters, cut at whole UTF-8 characters, ended by a zero. */
void refusal_sample_text(struct slice text, char *ret, size_t size);

#endif
