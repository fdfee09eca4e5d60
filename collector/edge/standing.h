/* How this collector stands with its hub: whether the hub still takes anything from it.
 *
 * It is refused when it was revoked, or when its name was enrolled again with another key, on
 * another box for instance. Then what it took would never arrive, so it takes no events. Only
 * authentic answers of the hub change it; a hub that takes it again is believed at once. It is
 * logged when it changes, and once a minute while it is refused. Kept in memory: after a start the
 * first answer says it again. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_STANDING_H
#define TRIBUTARY_COLLECTOR_STANDING_H

#include "shared/clock.h"
#include "shared/wire.h"

struct standing;

/* The clock is borrowed. */
struct standing *standing_new(const struct clock *clock);
void standing_free(struct standing **standing);

/* The hub answered with this status; any but WIRE_REVOKED and WIRE_REPLACED means that it takes
 * messages of this collector. */
void standing_note(struct standing *standing, enum wire_status status);

/* Why events are refused: a code for clients and a sentence. */
struct standing_refusal {
    const char *code; /* NULL: they are not */
    const char *message;
};
struct standing_refusal standing_refusal(const struct standing *standing);

#endif
