/* Members of an event's body, read and changed in its MessagePack bytes: the rest is skipped or
 * copied, never unpacked.
 *
 * A path names members from the outside in, such as context, ip. Of a member given twice the last
 * counts, and putting leaves only one. Any bytes may be given: what is no map, or is damaged, is
 * found to have no such member and cannot be changed. No state; any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_BODY_H
#define TRIBUTARY_COLLECTOR_BODY_H

#include "shared/buf.h"

struct body_path {
    const struct slice *names;
    size_t depth;
};

/* The bytes of the value at the path, borrowed from `body`. */
bool body_get(struct slice body, struct body_path path, struct slice *ret);
/* What a value says, where it is a text. */
bool body_text(struct slice value, struct slice *ret);

/* Append the body with this value (one whole value, copied) at the path to *out. Maps that are
 * missing on the way are made, and take the place of what is no map. An empty value removes the
 * member. False: the body is damaged or *out is full; *out is then of no use. */
MUST_CHECK bool body_put(struct slice body, struct body_path path, struct slice value,
                         struct buf *out);

#endif
