/* The card of a profile: what an edge may know of it, in the form of shared/wire.h. */
#ifndef TRIBUTARY_HUB_CARD_H
#define TRIBUTARY_HUB_CARD_H

#include "hub/segment/catalog.h"

/* Append the card as of now_ms. At most 256 identifiers are named, the latest seen. */
void card_write(const struct profile *profile, const struct catalog *catalog, int64_t now_ms,
                struct buf *out);

#endif
