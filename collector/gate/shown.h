/* What of a card is shown to whom: the segments and traits that the hub's definitions name, with
 * their audience. What they do not name is shown to nobody. Immutable; any thread may read.
 */
#ifndef TRIBUTARY_COLLECTOR_SHOWN_H
#define TRIBUTARY_COLLECTOR_SHOWN_H

#include "shared/audience.h"

struct shown_one {
    struct slice key;
    struct slice name; /* for people; may be empty */
    enum audience audience;
};

/* One kind of definitions, by key. */
struct shown {
    size_t count;
    struct shown_one *all;
};

/* Read {key: {"edge": […], "name": text}…}, into which the result refers; whatever is of another
 * shape counts as empty. */
struct shown shown_read(const msgpack_object *map);
void shown_done(struct shown *shown);

/* NULL: it is not shown to this audience. */
const struct shown_one *shown_find(const struct shown *shown, struct slice key,
                                   enum audience audience);

#endif
