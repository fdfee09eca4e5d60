/* Tells programs from people by what they say of themselves: the user agent.
 *
 * Guarantee: finds exactly what the patterns of the npm package crawler-user-agents (crawlers.h)
 * find in the first BOTS_BYTES_MAX bytes, case and all. A text that makes an expression work
 * harder than any real one counts as a bot. The time is linear in the length but for the few
 * expressions, whose work is bounded; answers are remembered. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_BOTS_H
#define TRIBUTARY_COLLECTOR_BOTS_H

#include "shared/slice.h"

enum { BOTS_BYTES_MAX = 1024 };

struct bots;

struct bots *bots_new(void);
void bots_free(struct bots **bots);

/* Is this the user agent of a program? The empty one is not: it says nothing. */
bool bots_is_bot(struct bots *bots, struct slice user_agent);

/* The same, without looking whether it is remembered and without remembering it. */
bool bots_match(const struct bots *bots, struct slice user_agent);

#endif
