/* The card of a profile: what an edge may know of it, in the form of shared/wire.h. */
#ifndef TRIBUTARY_HUB_CARD_H
#define TRIBUTARY_HUB_CARD_H

#include "hub/segment/catalog.h"

/* Append the card as of now_ms. At most 256 identifiers are named, the latest seen. Collectors of
 * an earlier version take no purchases. */
void card_write(const struct profile *profile, const struct catalog *catalog, int64_t now_ms,
                bool is_full, struct buf *out);

/* At most this many merged ids are named on a card, the latest. */
enum { CARD_MERGED_MAX = 256 };

#endif
