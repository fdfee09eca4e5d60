/* The clock seam: whatever needs the time is given a clock, so that tests can drive it.
 *
 * clock_machine stands below it: what the machine itself tells, for the collector's eras, which
 * make a clock of it that never jumps. The real ones are stateless and may be used by any thread; a
 * fake one belongs to its test.
 */
#ifndef TRIBUTARY_SHARED_CLOCK_H
#define TRIBUTARY_SHARED_CLOCK_H

#include <stdbool.h>
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

enum { CLOCK_BOOT_ID_BYTES = 16 };

struct clock_machine {
    /* Milliseconds since 1970 as far as the machine knows; may be far off, and may jump. */
    int64_t (*wall_ms)(const struct clock_machine *machine);
    /* Nanoseconds since the machine was switched on, time asleep included. */
    int64_t (*boot_ns)(const struct clock_machine *machine);
    /* What tells this boot from others; false where the machine does not say. */
    bool (*boot_id)(const struct clock_machine *machine, uint8_t ret[CLOCK_BOOT_ID_BYTES]);
};

extern const struct clock_machine clock_machine_real;

struct clock_machine_fake {
    struct clock_machine machine;
    int64_t wall_ms;
    int64_t boot_ms;
    uint8_t boot; /* first byte of the boot's id; 0: it is not told */
};

/* A machine in its boot number 1, which began just now. */
void clock_machine_fake_init(struct clock_machine_fake *fake, int64_t wall_ms);

static inline int64_t clock_now_ms(const struct clock *clock)
{
    return clock->now_ms(clock);
}

static inline int64_t clock_monotonic_ns(const struct clock *clock)
{
    return clock->monotonic_ns(clock);
}

#endif
