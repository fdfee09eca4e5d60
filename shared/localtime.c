#include "shared/localtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "shared/limits.h"

enum { TEXT_BYTES_MAX = 64, ZONE_BYTES_MAX = 64, NO_OFFSET = -1000000 };

bool local_zone_set(const char *name, struct error *err)
{
    char path[sizeof "/usr/share/zoneinfo/" + ZONE_BYTES_MAX];
    if (name[0] != 0) {
        /* The C library takes a name that it does not find for UTC, and says nothing. */
        bool is_plain = strlen(name) < ZONE_BYTES_MAX && name[0] != '/' && name[0] != '.' &&
                        strstr(name, "..") == NULL;
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", ZONE_BYTES_MAX, name);
        if (!is_plain || access(path, R_OK) != 0) {
            return error_set(err, ERROR_INVALID,
                             "there is no time zone \"%.64s\" in /usr/share/zoneinfo (package "
                             "tzdata); they have names such as Europe/Paris",
                             name);
        }
        if (setenv("TZ", name, 1) != 0) {
            return error_set(err, ERROR_UNAVAILABLE, "the time zone cannot be set");
        }
    }
    tzset();
    return true;
}

static bool two_digits(const uint8_t *at, int max, int *ret)
{
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9') {
        return false;
    }
    *ret = (at[0] - '0') * 10 + at[1] - '0';
    return *ret <= max;
}

bool local_zone_parse(struct slice text, struct local_zone *ret)
{
    int hours;
    int minutes;
    *ret = (struct local_zone){.is_local = slice_is(text, "local")};
    if (ret->is_local || slice_is(text, "utc") || slice_is(text, "UTC")) {
        return true;
    }
    if (text.len != 6 || (text.data[0] != '+' && text.data[0] != '-') || text.data[3] != ':' ||
        !two_digits(text.data + 1, 23, &hours) || !two_digits(text.data + 4, 59, &minutes)) {
        return false;
    }
    ret->offset_minutes = (text.data[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

bool local_format_is_valid(const char *format)
{
    bool has_day = false;
    for (; *format != 0; format++) {
        if (*format != '%') {
            continue;
        }
        format++;
        if (*format == 0 || strchr("YymdeHIMSpbBhjaAzTRDFnt%", *format) == NULL) {
            return false;
        }
        has_day = has_day || strchr("dejDF", *format) != NULL;
    }
    return has_day;
}

static bool same_moment(const struct tm *a, const struct tm *b)
{
    return a->tm_mday == b->tm_mday && a->tm_mon == b->tm_mon && a->tm_hour == b->tm_hour &&
           a->tm_min == b->tm_min;
}

/* First as summer time, then as standard time: mktime() alone would guess, by what it was asked
 * before, which of two hours of the same name is meant. */
static time_t local_seconds(const struct tm *wanted)
{
    time_t seconds = 0;
    for (int is_summer = 1; is_summer >= 0; is_summer--) {
        struct tm tm = *wanted;
        tm.tm_isdst = is_summer;
        seconds = mktime(&tm);
        if (tm.tm_isdst == is_summer && same_moment(&tm, wanted)) {
            return seconds;
        }
    }
    return seconds;
}

/* timegm() makes the 31st of February the 3rd of March: such days are found by reading back. */
static bool is_real(const struct tm *wanted)
{
    struct tm back = *wanted;
    return timegm(&back) != -1 ? same_moment(&back, wanted)
                               : wanted->tm_year == 69 && wanted->tm_mon == 11;
}

bool local_time_parse(struct slice text, const char *format, struct local_zone zone,
                      int64_t *ret_ms)
{
    char copy[TEXT_BYTES_MAX + 1];
    if (text.len == 0 || text.len > TEXT_BYTES_MAX || memchr(text.data, 0, text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    struct tm tm = {.tm_mday = 1, .tm_year = 70, .tm_gmtoff = NO_OFFSET};
    const char *end = strptime(copy, format, &tm);
    if (end == NULL || *end != 0 || tm.tm_sec > 59 || tm.tm_year < 69 || tm.tm_year > 8099) {
        return false;
    }
    bool has_offset = tm.tm_gmtoff != NO_OFFSET;
    long offset = has_offset ? tm.tm_gmtoff : (long)zone.offset_minutes * 60;
    tm.tm_gmtoff = 0;
    if (!is_real(&tm)) {
        return false;
    }
    int64_t seconds =
        zone.is_local && !has_offset ? local_seconds(&tm) : (int64_t)timegm(&tm) - offset;
    *ret_ms = seconds * 1000;
    return *ret_ms >= 0 && *ret_ms <= LIMIT_TIME_MS;
}
