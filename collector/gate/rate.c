#include "collector/gate/rate.h"

#include <math.h>

/* Bounds that keep every product below 2^62: a token in 1 ns to 1,000 s, a bucket of 10 million
 * tokens or as many as come in 30 years. */
static const double event_ns_max = 1e12;
static const double burst_max = 1e7;
static const double bucket_ns_max = 1e18;

struct rate_rule rate_rule_make(double events_per_second, double burst)
{
    struct rate_rule none = {0, 0};
    if (!isfinite(events_per_second) || !isfinite(burst) || events_per_second <= 0 || burst < 0) {
        return none;
    }
    double event_ns = fmin(fmax(1e9 / events_per_second, 1), event_ns_max);
    double tokens = fmin(fmax(burst == 0 ? ceil(events_per_second) : floor(burst), 1), burst_max);
    tokens = fmin(tokens, bucket_ns_max / event_ns);
    return (struct rate_rule){(int64_t)event_ns, (int64_t)tokens};
}

bool rate_take(struct rate *rate, struct rate_rule rule, uint64_t events, int64_t now_ns,
               int64_t *ret_wait_ns)
{
    int64_t full_at = atomic_load_explicit(&rate->full_at_ns, memory_order_relaxed);
    int64_t wanted = (int64_t)events < rule.burst ? (int64_t)events : rule.burst;
    int64_t next;
    *ret_wait_ns = 0;
    if (rule.event_ns == 0) {
        return true;
    }
    do {
        int64_t from = full_at > now_ns ? full_at : now_ns;
        int64_t wait = from - now_ns - (rule.burst - wanted) * rule.event_ns;
        if (wait > 0) {
            *ret_wait_ns = wait;
            return false;
        }
        next = from + (int64_t)events * rule.event_ns;
    } while (!atomic_compare_exchange_weak_explicit(&rate->full_at_ns, &full_at, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void rate_continue(struct rate *rate, struct rate *from)
{
    atomic_store_explicit(&rate->full_at_ns,
                          atomic_load_explicit(&from->full_at_ns, memory_order_relaxed),
                          memory_order_relaxed);
}
