#include "shared/localtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "shared/timetext.h"

static const struct {
    const char *what;
    const char *text;
    const char *format;
    const char *zone;
    const char *expected; /* NULL: refused */
} cases[] = {
    {"winter", "21/11/2026 20:15:03", "%d/%m/%Y %H:%M:%S", "local", "2026-11-21T19:15:03.000Z"},
    {"summer", "21/07/2026 20:15", "%d/%m/%Y %H:%M", "local", "2026-07-21T18:15:00.000Z"},
    {"a day alone is its beginning", "2026-11-21", "%Y-%m-%d", "local", "2026-11-20T23:00:00.000Z"},
    {"the hour that comes twice: the first", "2026-10-25 02:30", "%Y-%m-%d %H:%M", "local",
     "2026-10-25T00:30:00.000Z"},
    {"the hour that does not come: standard time", "2026-03-29 02:30", "%Y-%m-%d %H:%M", "local",
     "2026-03-29T01:30:00.000Z"},
    {"UTC", "21.11.26 08:00", "%d.%m.%y %H:%M", "utc", "2026-11-21T08:00:00.000Z"},
    {"an offset", "21.11.26 08:00", "%d.%m.%y %H:%M", "-05:30", "2026-11-21T13:30:00.000Z"},
    {"an offset in the text wins", "2026-11-21 08:00 +0300", "%Y-%m-%d %H:%M %z", "local",
     "2026-11-21T05:00:00.000Z"},
    {"names of months", "21 Nov 2026", "%d %b %Y", "utc", "2026-11-21T00:00:00.000Z"},
    {"29 February of a leap year", "29/02/2028", "%d/%m/%Y", "utc", "2028-02-29T00:00:00.000Z"},
    {"the first second", "01/01/1970", "%d/%m/%Y", "utc", "1970-01-01T00:00:00.000Z"},
    {"29 February of another", "29/02/2026", "%d/%m/%Y", "local", NULL},
    {"31 April", "31/04/2026", "%d/%m/%Y", "local", NULL},
    {"something behind it", "21/11/2026x", "%d/%m/%Y", "utc", NULL},
    {"too short", "21/11", "%d/%m/%Y", "utc", NULL},
    {"nothing", "", "%d/%m/%Y", "utc", NULL},
    {"before 1970", "31/12/1969", "%d/%m/%Y", "utc", NULL},
    {"hour 24", "21/11/2026 24:00", "%d/%m/%Y %H:%M", "utc", NULL},
    {"a leap second", "21/11/2026 23:59:60", "%d/%m/%Y %H:%M:%S", "utc", NULL},
};

static void dates_of_a_shop_are_read_in_its_zone(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) { /* the C library remembers what it was asked */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct local_zone zone;
            int64_t ms = 0;
            assert_true(local_zone_parse(slice_text(cases[i].zone), &zone));
            bool fine = local_time_parse(slice_text(cases[i].text), cases[i].format, zone, &ms);
            const char *expected = cases[i].expected == NULL ? "refused" : cases[i].expected;
            struct time_text got = time_text_format(ms);
            if (strcmp(fine ? got.text : "refused", expected) != 0) {
                fail_msg("%s: %s", cases[i].what, fine ? got.text : "refused");
            }
        }
    }
}

static void formats_that_depend_on_more_than_the_text_are_refused(void **state)
{
    static const char *const good[] = {"%d/%m/%Y %H:%M:%S", "%F %T", "%Y%m%d", "%j %Y", "%d%%%m"};
    static const char *const bad[] = {"%s", "%c", "%x %X", "%H:%M", "", "%", "%Ed", "day"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(local_format_is_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(local_format_is_valid(bad[i]));
    }
}

static void zones_that_do_not_exist_are_refused(void **state)
{
    static const char *const names[] = {"Europe/Pris", "/etc/passwd", "../etc/passwd",
                                        "Europe/../../etc/passwd"};
    static const char *const offsets[] = {"", "+1:00", "+01:60", "+24:00", "01:00", "Paris"};
    struct local_zone zone;
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_false(local_zone_set(names[i], &err));
        assert_int_equal(err.kind, ERROR_INVALID);
    }
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        assert_false(local_zone_parse(slice_text(offsets[i]), &zone));
    }
}

static int set_zone(void **state)
{
    struct error err;
    (void)state;
    return local_zone_set("Europe/Paris", &err) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_that_do_not_exist_are_refused),
        cmocka_unit_test(dates_of_a_shop_are_read_in_its_zone),
        cmocka_unit_test(formats_that_depend_on_more_than_the_text_are_refused),
    };
    return cmocka_run_group_tests(tests, set_zone, NULL);
}
