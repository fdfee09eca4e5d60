/* How far the hub's clock is ahead of this one, learnt from every answer of the hub.
 *
 * An answer carries the hub's time when it was sent; it arrives later, never earlier, so each one
 * gives a value that is at most the truth, and the greatest of the last few is the best. When this
 * clock is set (it moves against the monotonic one), what was learnt before is void; the logical
 * clock of eras.h, which the collector gives it, never is.
 * Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_CLOCK_OFFSET_H
#define TRIBUTARY_COLLECTOR_CLOCK_OFFSET_H

#include <stdbool.h>
#include <stdint.h>
#include "shared/clock.h"

struct clock_offset;

/* The clock is borrowed. */
struct clock_offset *clock_offset_new(const struct clock *clock);
void clock_offset_free(struct clock_offset **offset);

/* Have `learnt` called when the offset becomes known, by whoever notes the answer. Once, before the
 * first note. */
void clock_offset_watch(struct clock_offset *offset, void (*learnt)(void *user), void *user);

/* An answer of the hub has just arrived that was sent at hub_ms. */
void clock_offset_note(struct clock_offset *offset, int64_t hub_ms);

/* False before the first answer, and after this clock was set. */
bool clock_offset_get(struct clock_offset *offset, int64_t *ret_ms);

#endif
