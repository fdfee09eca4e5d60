#include "collector/import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const int64_t NOW = 1795292103000; /* 2026-11-21T20:15:03Z */
static const int64_t HOUR = 3600000;

static const char batch[] =
    "{\"batch\":["
    "{\"type\":\"page\",\"userId\":\"a\",\"timestamp\":\"2026-11-21T18:15:03Z\"},"
    "{\"type\":\"page\",\"userId\":\"a\",\"originalTimestamp\":\"2026-11-21T18:15:03Z\","
    "\"sentAt\":\"2020-01-01T00:00:00Z\"},"
    "{\"type\":\"page\",\"userId\":\"a\",\"timestamp\":\"2026-11-21T18:15:03Z\","
    "\"originalTimestamp\":\"2026-11-21T10:00:00Z\"},"
    "{\"type\":\"page\",\"userId\":\"a\"}]}";

/* The times that the hub will have, of which three are from the file. */
static void check(int64_t offset_ms, int64_t correction_ms)
{
    struct request request;
    request_init(&request);
    request_parse(&request, EVENT_TYPES, slice_text(batch), &rand_secure);
    assert_int_equal(request.count, 4);
    import_settle_times(&request, offset_ms);
    request_stamp(&request, slice_text("s"), NOW - offset_ms);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(request.events[i].event.timestamp_ms + correction_ms, NOW - 2 * HOUR);
    }
    assert_int_equal(request.events[3].event.timestamp_ms, NOW - offset_ms);
    request_done(&request);
}

static void times_of_a_file_are_what_it_says_whenever_it_was_sent(void **state)
{
    (void)state;
    check(0, 0);
}

static void times_of_a_file_are_right_though_the_machines_clock_is_not(void **state)
{
    (void)state;
    check(5 * HOUR, 5 * HOUR);
    check(-30 * HOUR, -30 * HOUR);
    check(999, 0); /* which the hub does not correct by */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_of_a_file_are_what_it_says_whenever_it_was_sent),
        cmocka_unit_test(times_of_a_file_are_right_though_the_machines_clock_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
