/* Of a profile's events with an equal business key one counts: one of a server source before
 * others, then the earliest, then the one with the lesser messageId. The others stay in the
 * timeline.
 *
 * An index in the partition names the one that counts. It is decided anew where the timeline is put
 * together: after merges, and when the definitions change.
 */
#ifndef TRIBUTARY_HUB_PARTITION_BUSINESS_KEYS_H
#define TRIBUTARY_HUB_PARTITION_BUSINESS_KEYS_H

#include "hub/partition/internal.h"

/* What becomes of an event that arrives. */
enum business_key_result {
    KEY_COUNTS,   /* it has no key, or is the first with it */
    KEY_REPEATS,  /* another counts */
    KEY_REPLACES, /* it counts from now on, and another does not any more: put the profile together
                   * once the event is in the timeline */
};
MUST_CHECK bool business_keys_take(struct partition *p, struct profile *profile,
                                   const struct event *event, enum business_key_result *ret,
                                   struct error *err);
/* Does another event count in place of this one of the timeline? */
MUST_CHECK bool business_keys_repeats(struct partition *p, const struct profile *profile,
                                      const struct event *event, bool *ret, struct error *err);
/* Decide for all events of the timeline. */
MUST_CHECK bool business_keys_decide(struct partition *p, struct profile *profile,
                                     struct error *err);
/* Forget the index of a profile that goes away. */
MUST_CHECK bool business_keys_forget(struct partition *p, struct profile_id profile,
                                     struct error *err);

/* For readers: the messageId of the event that counts in place of this one, in *ret; empty where
 * this one counts. */
MUST_CHECK bool business_keys_read(struct store *store, const struct catalog *catalog,
                                   struct profile_id profile, const struct event *event,
                                   struct buf *ret, struct error *err);

#endif
