/* Eras: the collector's own clock, one era for each boot of the machine, and how far the hub's
 * clock was ahead of it in each.
 *
 * The logical clock runs with the machine's time since boot and begins, in each boot, where the
 * wall clock stands, or where it stood itself when the last block was stored, whichever is later.
 * So it never jumps and never goes back, also on a box that boots in 1970 each time, and events
 * keep their order. What it is off by is learnt from the hub, kept with the era, and sent with each
 * of its blocks, days later if need be.
 *
 * An era that ended before it heard of the hub is placed by its wall clock, if that ever showed a
 * time that can be true; but never so that it would overlap the era after it. One whose wall clock
 * never did is placed directly before the next: the order is kept, and its times are late by as
 * long as the machine was off.
 *
 * Any thread. Where the machine does not tell one boot from another, each start is an era.
 */
#ifndef TRIBUTARY_COLLECTOR_ERAS_H
#define TRIBUTARY_COLLECTOR_ERAS_H

#include "collector/spool/spool.h"
#include "shared/clock.h"

struct eras;

/* Enter the era of this boot. Store, spool and machine are borrowed. */
MUST_CHECK bool eras_open(struct store *store, struct spool *spool,
                          const struct clock_machine *machine, struct eras **ret,
                          struct error *err);
void eras_close(struct eras **eras);

/* The logical clock. */
const struct clock *eras_clock(const struct eras *eras);
/* The era that runs. */
uint32_t eras_current(const struct eras *eras);

/* The wall clock may have been set: note it. Cheap; for every block. */
void eras_look_at_wall(struct eras *eras);
/* The hub's clock minus the logical one is this now: keep it for the blocks that stay behind. */
void eras_note_offset(struct eras *eras, int64_t offset_ms);

/* The hub's clock minus the logical one in an era, where it is `current_ms` in the one that runs.
 */
int64_t eras_offset_ms(struct eras *eras, uint32_t era, int64_t current_ms);

#endif
