/* A token bucket: so many events a second, and a number more when it was quiet before.
 *
 * Guarantee: over any time, no more events pass than burst + rate * time, except that a request of
 * more events than the burst passes when the bucket is full, and is paid for afterwards. One atomic
 * word, no lock; any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_RATE_H
#define TRIBUTARY_COLLECTOR_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate_rule {
    int64_t event_ns; /* a token comes in this time; 0: there is no limit */
    int64_t burst;    /* tokens that the bucket holds */
};

/* The bucket, full at first: when it will be full again, by a clock that never goes back. */
struct rate {
    _Atomic int64_t full_at_ns;
};

/* No limit where the numbers make no sense: events_per_second is above 0, a burst 1 or more. A
 * burst of 0 means one second's events. */
struct rate_rule rate_rule_make(double events_per_second, double burst);

/* Take `events` tokens, all or none. False: there are too few; *ret_wait_ns is when to ask again.
 */
bool rate_take(struct rate *rate, struct rate_rule rule, uint64_t events, int64_t now_ns,
               int64_t *ret_wait_ns);

/* Let *rate go on where *from stands. */
void rate_continue(struct rate *rate, struct rate *from);

#endif
