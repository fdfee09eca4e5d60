/* The last purchases of a profile, for the card that a seller sees.
 *
 * Of all purchases that were noted the newest PURCHASES_KEPT are kept, by event time and then by
 * message id, newest first: the order in which they come does not matter, and one that is noted
 * twice counts once. One thread, that of the profile.
 */
#ifndef TRIBUTARY_HUB_PROFILE_PURCHASES_H
#define TRIBUTARY_HUB_PROFILE_PURCHASES_H

#include "hub/profile/profile.h"

/* The event as a purchase; slices refer into it. Its amount is the first number among the
 * properties total, revenue and value; texts that are too long are left out. */
struct profile_purchase purchases_read(const struct event *event);

/* True: it is among those kept now, and was not. Copied. */
bool purchases_note(struct profile *profile, const struct profile_purchase *purchase);

/* Those of both. Where they were kept under different definitions the result is incomplete, which
 * its version says. */
void purchases_merge(struct profile *into, const struct profile *from);

/* One MessagePack array: the version, then 7 members for each purchase. */
void purchases_pack(const struct profile *profile, msgpack_packer *packer);
MUST_CHECK bool purchases_unpack(const msgpack_object *array, struct profile *profile);

#endif
