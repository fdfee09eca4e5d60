#include "shared/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t real_now_ms(const struct clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

static int64_t real_monotonic_ns(const struct clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_MONOTONIC);
}

const struct clock clock_real = {.now_ms = real_now_ms, .monotonic_ns = real_monotonic_ns};

static int64_t fake_now_ms(const struct clock *clock)
{
    return ((const struct clock_fake *)(const void *)clock)->ms;
}

static int64_t fake_monotonic_ns(const struct clock *clock)
{
    return fake_now_ms(clock) * 1000000;
}

void clock_fake_init(struct clock_fake *fake, int64_t ms)
{
    fake->clock = (struct clock){.now_ms = fake_now_ms, .monotonic_ns = fake_monotonic_ns};
    fake->ms = ms;
}
