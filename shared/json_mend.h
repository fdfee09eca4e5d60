/* What clients write that is not quite JSON, made JSON where there is one way to read it.
 *
 * Half a character, which is left where a text of UTF-16 is cut (`"\ud83d"`, or its three bytes as
 * Java and Oracle write them), becomes U+FFFD; two halves in three bytes each become the character.
 * NaN and Infinity, as Python, JavaScript and Go print them, become a number that is out of range,
 * so that they spoil the event they stand in, not its neighbours. A pure function.
 */
#ifndef TRIBUTARY_SHARED_JSON_MEND_H
#define TRIBUTARY_SHARED_JSON_MEND_H

#include "shared/buf.h"

/* Put the text, mended, into *out in place of what was there. False: there was nothing to mend,
 * and *out means nothing. The time is linear in the text; what is written is never more than
 * JSON_MEND_GROWTH times as long. */
enum { JSON_MEND_GROWTH = 2 };
MUST_CHECK bool json_mend(struct slice text, struct buf *out);

#endif
