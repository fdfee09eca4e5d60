#include "collector/spool/disk_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "shared/clock.h"

#define MIB (1024ULL * 1024)

static struct disk_figures disk;
static bool can_measure = true;
static int measured;

static bool measure(const char *path, struct disk_figures *ret)
{
    (void)path;
    measured++;
    *ret = disk;
    return can_measure;
}

static bool is_short(uint64_t free_bytes_min, uint64_t bytes, uint64_t bytes_free)
{
    struct clock_fake clock;
    clock_fake_init(&clock, 0);
    disk = (struct disk_figures){bytes, bytes_free};
    struct disk_space *space = disk_space_new("/", free_bytes_min, measure, &clock.clock);
    bool result = disk_space_is_short(space);
    disk_space_free(&space);
    return result;
}

static void test_the_minimum_is_as_it_was_set(void **state)
{
    (void)state;
    assert_true(is_short(10 * MIB, 100 * MIB, 10 * MIB - 1));
    assert_false(is_short(10 * MIB, 100 * MIB, 10 * MIB));
}

static void test_by_default_256_mib_stay_free_but_no_more_than_a_twentieth(void **state)
{
    (void)state;
    assert_true(is_short(0, 1024 * 1024 * MIB, 256 * MIB - 1));
    assert_false(is_short(0, 1024 * 1024 * MIB, 256 * MIB));
    assert_true(is_short(0, 1000 * MIB, 50 * MIB - 1));
    assert_false(is_short(0, 1000 * MIB, 50 * MIB));
}

static void test_a_disk_that_cannot_be_asked_has_room(void **state)
{
    (void)state;
    can_measure = false;
    assert_false(is_short(10 * MIB, 100 * MIB, 0));
    can_measure = true;
    struct disk_figures figures;
    assert_false(disk_measure_statvfs("/no/such/folder", &figures));
    assert_true(disk_measure_statvfs("/", &figures) && figures.bytes > 0);
}

static void test_the_disk_is_looked_at_once_a_second_at_most(void **state)
{
    struct clock_fake clock;
    (void)state;
    clock_fake_init(&clock, 5000);
    measured = 0;
    disk = (struct disk_figures){100 * MIB, 0};
    struct disk_space *space = disk_space_new("/", MIB, measure, &clock.clock);
    assert_true(disk_space_is_short(space));
    disk.bytes_free = 50 * MIB;
    clock.ms += 999;
    assert_true(disk_space_is_short(space));
    assert_int_equal(measured, 1);
    clock.ms += 1;
    assert_false(disk_space_is_short(space));
    assert_int_equal(measured, 2);
    disk_space_free(&space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_minimum_is_as_it_was_set),
        cmocka_unit_test(test_by_default_256_mib_stay_free_but_no_more_than_a_twentieth),
        cmocka_unit_test(test_a_disk_that_cannot_be_asked_has_room),
        cmocka_unit_test(test_the_disk_is_looked_at_once_a_second_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
