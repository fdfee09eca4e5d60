#include "shared/timetext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "shared/limits.h"
#include "shared/rand.h"

static void test_times_read_as_they_should(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1985-04-12T23:20:50.52Z", 482196050520},
        {"1996-12-19T16:39:57-08:00", 851042397000},
        {"1990-12-31T23:59:60Z", 662688000000},
        {"1990-12-31T15:59:60-08:00", 662688000000},
        {"1937-01-01T12:00:27.87+00:20", -1},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"2026-11-21T20:15:03.120Z", 1795292103120},
        {"2026-11-21 20:15:03.120z", 1795292103120},
        {"2026-11-21t20:15:03.1209999999999999999999999999Z", 1795292103120},
        {"2026-11-21T21:15:03.12+01:00", 1795292103120},
        {"2026-11-21T21:15:03.12+0100", 1795292103120},
        {"2026-11-22T01:45:03.12+05:30", 1795292103120},
        {"2026-11-21T20:15:03.12-00:00", 1795292103120},
        {"1969-12-31T23:30:00-01:00", 1800000},
        {"1970-01-01T00:00:00+00:01", -1},
        {"9999-12-31T23:59:59.999Z", LIMIT_TIME_MS},
        {"9999-12-31T23:59:60Z", -1},
        {"9999-12-31T23:59:59-00:01", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms = -1;
        bool read = time_text_parse(slice_text(rows[i].text), &ms);
        if (read != (rows[i].ms >= 0) || (read && ms != rows[i].ms)) {
            fail_msg("%s: read=%d ms=%lld", rows[i].text, read, (long long)ms);
        }
    }
}

static void test_what_is_no_time_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T20:15Z",
        "2026-11-21T20:15:03",
        "2026-11-21T20:15:03.Z",
        "2026-11-21T20:15:03,5Z",
        "2026-11-21T20:15:03Z ",
        " 2026-11-21T20:15:03Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T20:60:00Z",
        "2026-11-21T20:15:61Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T20:15:03+24:00",
        "2026-11-21T20:15:03+01:60",
        "2026-11-21T20:15:03+1",
        "2026-11-21T20:15:03+01:00Z",
        "2026-1-21T20:15:03Z",
        "02026-11-21T20:15:03Z",
        "-026-11-21T20:15:03Z",
        "1968-12-31T23:59:59Z",
        "20261121T201503Z",
        "2026-11-21X20:15:03Z",
        "1795292103120",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms;
        if (time_text_parse(slice_text(rows[i]), &ms)) {
            fail_msg("\"%s\" was read as %lld", rows[i], (long long)ms);
        }
    }
    int64_t ms;
    assert_false(time_text_parse(slice_make(NULL, 0), &ms));
    assert_false(time_text_parse(slice_make("2026-11-21T20:15:03\0Z", 21), &ms));
}

static void test_what_clients_write_in_place_of_a_time_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: has no reading */
    } rows[] = {
        {"2026-11-21T20:15:03.120Z", 1795292103120},
        {"2026-11-21T20:15:03.120", 1795292103120},
        {"2026-11-21 20:15:03", 1795292103000},
        {"2026-11-21 20:15:03 +0000", 1795292103000},
        {"2026-11-21 21:15:03 +01:00", 1795292103000},
        {"2026-11-21T20:15Z", 1795292100000},
        {"2026-11-21T20:15", 1795292100000},
        {"2026-11-21T21:15+01:00", 1795292100000},
        {"2026-11-21", 1795219200000},
        {"1795292103", 1795292103000},
        {"1795292103.5", 1795292103500},
        {"1795292103120", 1795292103120},
        {"1795292103120.75", 1795292103120},
        {"1795292103120999", 1795292103120},
        {"1795292103120999999", 1795292103120},
        {"99999999", -1},
        {"100000000", 100000000000},
        {"99999999999", 99999999999000},
        {"100000000000", 100000000000},
        {"20261121", -1},
        {"9223372036854775807", -1},
        {"18446744073709551616", -1},
        {"99999999999999999999999999", -1},
        {"-1795292103", -1},
        {"1795292103.", -1},
        {"", -1},
        {" ", -1},
        {"2026-11-21T", -1},
        {"2026-11-21 ", -1},
        {"2026-11-21T20", -1},
        {"2026-11-21T20:15:", -1},
        {"2026-11-21T20:15:03 Paris", -1},
        {"2026-02-29", -1},
        {"0001-01-01T00:00:00Z", -1},
        {"0000-00-00 00:00:00", -1},
        {"21/11/2026 20:15", -1},
        {"Sat, 21 Nov 2026 20:15:03 GMT", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms = -1;
        bool read = time_text_read(slice_text(rows[i].text), &ms);
        if (read != (rows[i].ms >= 0) || (read && ms != rows[i].ms)) {
            fail_msg("\"%s\": read=%d ms=%lld", rows[i].text, read, (long long)ms);
        }
    }
}

static void test_microseconds_are_what_stands_behind_the_milliseconds(void **state)
{
    static const struct {
        const char *text;
        unsigned micros;
    } rows[] = {
        {"2026-11-21T20:15:03.123456Z", 456},
        {"2026-11-21T20:15:03.1234567+01:00", 456},
        {"2026-11-21T20:15:03.1234Z", 400},
        {"2026-11-21T20:15:03.12305Z", 50},
        {"2026-11-21T20:15:03.123Z", 0},
        {"2026-11-21T20:15:03.1Z", 0},
        {"2026-11-21T20:15:03Z", 0},
        {"1795292103.123456", 456},
        {"", 0},
        {".", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(time_text_micros(slice_text(rows[i].text)), rows[i].micros);
    }
}

static void test_each_prefix_of_a_time_is_refused(void **state)
{
    static const char text[] = "2026-11-21T20:15:03.120+01:00";
    (void)state;
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        int64_t ms;
        uint8_t *exact = malloc(len == 0 ? 1 : len); /* so that a read past its end is seen */
        memcpy(exact, text, len);
        assert_false(time_text_parse(slice_make(exact, len), &ms));
        free(exact);
    }
}

static void test_every_time_reads_back_as_it_was_written(void **state)
{
    struct rand rand;
    uint64_t seed = 20261121;
    (void)state;
    rand_seeded_init(&rand, seed);
    for (int i = 0; i < 100000; i++) {
        int64_t ms = (int64_t)rand_below(&rand, (uint64_t)LIMIT_TIME_MS + 1);
        int64_t back = -1;
        struct time_text text = time_text_format(ms);
        if (!time_text_parse(slice_text(text.text), &back) || back != ms) {
            fail_msg("seed %llu: %lld became %s and %lld", (unsigned long long)seed, (long long)ms,
                     text.text, (long long)back);
        }
    }
}

static void test_every_day_from_1970_to_2110_follows_the_one_before(void **state)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t ms = 0;
    (void)state;
    for (int year = 1970; year <= 2110; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int last = days[month - 1] + (month == 2 && leap);
            for (int day = 1; day <= last; day++) {
                char expected[64];
                snprintf(expected, sizeof expected, "%04d-%02d-%02dT00:00:00.000Z", year, month,
                         day);
                assert_string_equal(time_text_format(ms).text, expected);
                ms += 86400000;
            }
        }
    }
}

static void test_times_out_of_range_are_written_as_the_nearest_in_range(void **state)
{
    (void)state;
    assert_string_equal(time_text_format(-1).text, "1970-01-01T00:00:00.000Z");
    assert_string_equal(time_text_format(INT64_MIN).text, "1970-01-01T00:00:00.000Z");
    assert_string_equal(time_text_format(INT64_MAX).text, "9999-12-31T23:59:59.999Z");
}

static void test_durations_read_as_they_should(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        {"30s", 30000},
        {"15m", 900000},
        {"12h", 43200000},
        {"7d", 604800000},
        {"1s", 1000},
        {"007d", 604800000},
        {"3660d", 316224000000},
        {"316224000s", 316224000000},
        {"316224001s", -1},
        {"3661d", -1},
        {"999999999d", -1},
        {"0s", -1},
        {"s", -1},
        {"", -1},
        {"5", -1},
        {"5 s", -1},
        {"-5s", -1},
        {"+5s", -1},
        {"1.5h", -1},
        {"5ms", -1},
        {"5S", -1},
        {"5w", -1},
        {"99999999999999999999d", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ms = -1;
        bool read = duration_parse(slice_text(rows[i].text), &ms);
        if (read != (rows[i].ms >= 0) || (read && ms != rows[i].ms)) {
            fail_msg("%s: read=%d ms=%lld", rows[i].text, read, (long long)ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_read_as_they_should),
        cmocka_unit_test(test_what_is_no_time_is_refused),
        cmocka_unit_test(test_what_clients_write_in_place_of_a_time_is_read),
        cmocka_unit_test(test_microseconds_are_what_stands_behind_the_milliseconds),
        cmocka_unit_test(test_each_prefix_of_a_time_is_refused),
        cmocka_unit_test(test_every_time_reads_back_as_it_was_written),
        cmocka_unit_test(test_every_day_from_1970_to_2110_follows_the_one_before),
        cmocka_unit_test(test_times_out_of_range_are_written_as_the_nearest_in_range),
        cmocka_unit_test(test_durations_read_as_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
