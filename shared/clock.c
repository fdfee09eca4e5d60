#include "shared/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "shared/uuid.h"

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

static int64_t machine_wall_ms(const struct clock_machine *machine)
{
    (void)machine;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

static int64_t machine_boot_ns(const struct clock_machine *machine)
{
    (void)machine;
    return read_ns(CLOCK_BOOTTIME);
}

static bool machine_boot_id(const struct clock_machine *machine, uint8_t ret[CLOCK_BOOT_ID_BYTES])
{
    char text[UUID_TEXT_BYTES];
    (void)machine;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL) {
        return false;
    }
    size_t len = fread(text, 1, sizeof text, file);
    fclose(file);
    return uuid_parse(slice_make(text, len), ret);
}

const struct clock_machine clock_machine_real = {
    .wall_ms = machine_wall_ms,
    .boot_ns = machine_boot_ns,
    .boot_id = machine_boot_id,
};

static const struct clock_machine_fake *fake_of(const struct clock_machine *machine)
{
    return (const struct clock_machine_fake *)(const void *)machine;
}

static int64_t fake_wall_ms(const struct clock_machine *machine)
{
    return fake_of(machine)->wall_ms;
}

static int64_t fake_boot_ns(const struct clock_machine *machine)
{
    return fake_of(machine)->boot_ms * 1000000;
}

static bool fake_boot_id(const struct clock_machine *machine, uint8_t ret[CLOCK_BOOT_ID_BYTES])
{
    memset(ret, 0, CLOCK_BOOT_ID_BYTES);
    ret[0] = fake_of(machine)->boot;
    return ret[0] != 0;
}

void clock_machine_fake_init(struct clock_machine_fake *fake, int64_t wall_ms)
{
    *fake = (struct clock_machine_fake){
        .machine = {.wall_ms = fake_wall_ms, .boot_ns = fake_boot_ns, .boot_id = fake_boot_id},
        .wall_ms = wall_ms,
        .boot = 1,
    };
}
