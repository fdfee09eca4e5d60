/* The clock seam: whatever needs the time is given a clock, so that tests can drive it.
 *
 * The real clock is stateless and may be used by any thread; a fake clock belongs to its test.
 */
#ifndef TRIBUTARY_SHARED_CLOCK_H
#define TRIBUTARY_SHARED_CLOCK_H

#include <stdint.h>

struct clock {
    /* Milliseconds since 1970 in UTC. May jump when the machine's clock is set. */
    int64_t (*now_ms)(const struct clock *clock);
    /* Nanoseconds since some start; never goes back. */
    int64_t (*monotonic_ns)(const struct clock *clock);
};

extern const struct clock clock_real;

struct clock_fake {
    struct clock clock;
    int64_t ms;
};

/* A clock that shows `ms` until the test changes it. */
void clock_fake_init(struct clock_fake *fake, int64_t ms);

static inline int64_t clock_now_ms(const struct clock *clock)
{
    return clock->now_ms(clock);
}

static inline int64_t clock_monotonic_ns(const struct clock *clock)
{
    return clock->monotonic_ns(clock);
}

#endif
