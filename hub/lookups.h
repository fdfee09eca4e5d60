/* How many people a collector may look up: who has taken over a box, or its customer token, cannot
 * read the clientele with it. Two buckets: one of all look-ups, and a narrow one of those that tell
 * of somebody outside the collector's scope, whom it has not seen, or of nobody, as guesses do.
 * Pure; the caller locks.
 */
#ifndef TRIBUTARY_HUB_LOOKUPS_H
#define TRIBUTARY_HUB_LOOKUPS_H

#include <stdbool.h>
#include <stdint.h>

struct lookups_limits {
    int64_t per_second;
    int64_t outside_per_minute;
};

/* How a look-up ended. */
enum lookups_result {
    LOOKUPS_FOUND,   /* somebody in the collector's scope */
    LOOKUPS_OUTSIDE, /* somebody else */
    LOOKUPS_NOBODY,
    LOOKUPS_LIMITED, /* not answered: a bucket is empty */
    LOOKUPS_RESULTS,
};
const char *lookups_result_name(enum lookups_result result);

/* Of one collector; zero at the start: full buckets, of 10 seconds' and of 3 minutes' look-ups. */
struct lookups {
    int64_t all_until_ns; /* when the bucket would be full again */
    int64_t outside_until_ns;
    uint64_t counts[LOOKUPS_RESULTS];
};

/* One more, by a clock that never goes back: false where it may not be made; counted then. */
bool lookups_begin(struct lookups *lookups, const struct lookups_limits *limits, int64_t now_ns);
/* It found this: false where it may not be told; counted. */
bool lookups_end(struct lookups *lookups, const struct lookups_limits *limits,
                 enum lookups_result result, int64_t now_ns);

#endif
