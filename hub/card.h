/* The card of a profile: what an edge may know of it, in the form of shared/wire.h. */
#ifndef TRIBUTARY_HUB_CARD_H
#define TRIBUTARY_HUB_CARD_H

#include "hub/segment/catalog.h"

/* At most this many of each are named on a card: identifiers that name a person before others, and
 * of these the latest seen; browsers that the collector has seen, those with the latest evidence;
 * merged ids, the latest. So a card stays small whatever becomes of a person. */
enum { CARD_IDENTIFIERS_MAX = 256, CARD_BROWSERS_MAX = 64, CARD_MERGED_MAX = 256 };

/* For whom a card is. */
struct card_reader {
    uint32_t collector;
    enum card_shape shape; /* that it can read */
};

/* Append the card as of now_ms. */
void card_write(const struct profile *profile, const struct catalog *catalog,
                struct card_reader reader, int64_t now_ms, struct buf *out);

/* When it was last evident that this browser is the person's; 0: never. */
int64_t card_evidence_at(const struct profile *profile, struct slice anonymous_id);
/* Does the collector's card name this browser? */
bool card_has_browser(const struct profile *profile, uint32_t collector, struct slice anonymous_id);

#endif
