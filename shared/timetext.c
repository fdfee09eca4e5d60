#include "shared/timetext.h"

#include <stdio.h>
#include "shared/limits.h"

/* Days since 1970 of a date in the proleptic Gregorian calendar, after Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms" (days_from_civil). */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* The inverse (civil_from_days). */
static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = days / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

struct time_text time_text_format(int64_t ms)
{
    struct time_text result;
    int year;
    int month;
    int day;
    ms = ms < 0 ? 0 : ms > LIMIT_TIME_MS ? LIMIT_TIME_MS : ms;
    date_from_days(ms / 86400000, &year, &month, &day);
    int64_t rest = ms % 86400000;
    snprintf(result.text, sizeof result.text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year % 10000,
             month % 100, day % 100, (int)(rest / 3600000) % 100, (int)(rest / 60000 % 60),
             (int)(rest / 1000 % 60), (int)(rest % 1000));
    return result;
}

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static bool read_number(struct cursor *c, int digits, int64_t low, int64_t high, int64_t *ret)
{
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        if (c->at == c->end || *c->at < '0' || *c->at > '9') {
            return false;
        }
        value = value * 10 + (*c->at++ - '0');
    }
    *ret = value;
    return value >= low && value <= high;
}

static bool read_char(struct cursor *c, const char *allowed)
{
    if (c->at == c->end || *c->at == 0 || strchr(allowed, *c->at) == NULL) {
        return false;
    }
    c->at++;
    return true;
}

static bool read_fraction(struct cursor *c, int64_t *ret_ms)
{
    int64_t scale = 100;
    *ret_ms = 0;
    if (c->at == c->end || *c->at != '.') {
        return true;
    }
    c->at++;
    const uint8_t *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        *ret_ms += (*c->at - '0') * scale;
        scale /= 10;
    }
    return c->at > start;
}

static bool read_offset(struct cursor *c, int64_t *ret_minutes)
{
    int64_t hours;
    int64_t minutes;
    *ret_minutes = 0;
    if (read_char(c, "Zz")) {
        return true;
    }
    bool behind = c->at < c->end && *c->at == '-';
    if (!read_char(c, "+-") || !read_number(c, 2, 0, 23, &hours)) {
        return false;
    }
    (void)read_char(c, ":"); /* ISO 8601's basic form leaves it out */
    if (!read_number(c, 2, 0, 59, &minutes)) {
        return false;
    }
    *ret_minutes = (hours * 60 + minutes) * (behind ? -1 : 1);
    return true;
}

/* What RFC 3339 leaves open or forbids and clients write all the same. */
enum { STRICT, LENIENT };

static bool read_date(struct cursor *c, int64_t year_min, int64_t *ret_days)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year;
    int64_t month;
    int64_t day;
    if (!read_number(c, 4, year_min, 9999, &year) || !read_char(c, "-") ||
        !read_number(c, 2, 1, 12, &month) || !read_char(c, "-") ||
        !read_number(c, 2, 1, month_days[month - 1], &day)) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    *ret_days = days_from_date(year, month, day);
    return month != 2 || day != 29 || leap;
}

static bool read_clock(struct cursor *c, int leniency, int64_t *ret_ms)
{
    int64_t hour;
    int64_t minute;
    int64_t second = 0;
    int64_t fraction = 0;
    if (!read_number(c, 2, 0, 23, &hour) || !read_char(c, ":") ||
        !read_number(c, 2, 0, 59, &minute)) {
        return false;
    }
    bool has_seconds = read_char(c, ":");
    if ((!has_seconds && leniency == STRICT) ||
        (has_seconds && (!read_number(c, 2, 0, 60, &second) || !read_fraction(c, &fraction)))) {
        return false;
    }
    *ret_ms = (hour * 3600 + minute * 60 + second) * 1000 + fraction;
    return true;
}

static bool parse(struct slice text, int64_t year_min, int leniency, int64_t *ret_ms)
{
    struct cursor c = {text.data, text.len == 0 ? text.data : text.data + text.len};
    int64_t days;
    int64_t in_day_ms = 0;
    int64_t offset = 0;
    if (!read_date(&c, year_min, &days)) {
        return false;
    }
    bool has_clock = c.at != c.end || leniency == STRICT;
    if (has_clock && (!read_char(&c, "Tt ") || !read_clock(&c, leniency, &in_day_ms))) {
        return false;
    }
    if (leniency == LENIENT) {
        (void)read_char(&c, " ");
    }
    bool has_offset = c.at != c.end || leniency == STRICT;
    if ((has_offset && !read_offset(&c, &offset)) || c.at != c.end) {
        return false;
    }
    *ret_ms = days * 86400000 + in_day_ms - offset * 60000;
    return true;
}

static bool is_kept(int64_t ms)
{
    return ms >= 0 && ms <= LIMIT_TIME_MS;
}

bool time_text_parse(struct slice text, int64_t *ret_ms)
{
    return parse(text, 1969, STRICT, ret_ms) && is_kept(*ret_ms);
}

/* A number since 1970. Which unit it counts is seen by its size: no two readings of one number are
 * both between 1973 and 5138. */
static bool read_epoch(struct slice text, int64_t *ret_ms)
{
    static const struct {
        int64_t below;
        int64_t per_second;
    } units[] = {{100000000LL, 0},
                 {100000000000LL, 1},
                 {100000000000000LL, 1000},
                 {100000000000000000LL, 1000000},
                 {INT64_MAX, 1000000000}};
    struct cursor c = {text.data, text.len == 0 ? text.data : text.data + text.len};
    int64_t value = 0;
    int64_t fraction = 0;
    size_t unit = 0;
    while (c.at < c.end && *c.at >= '0' && *c.at <= '9' && value < INT64_MAX / 10 - 10) {
        value = value * 10 + (*c.at++ - '0');
    }
    if (!read_fraction(&c, &fraction) || c.at != c.end) {
        return false;
    }
    while (value >= units[unit].below) {
        unit++;
    }
    int64_t per_second = units[unit].per_second;
    *ret_ms = per_second == 0      ? -1
              : per_second == 1    ? value * 1000 + fraction
              : per_second == 1000 ? value
                                   : value / (per_second / 1000);
    return per_second > 0;
}

bool time_text_read(struct slice text, int64_t *ret_ms)
{
    return (parse(text, 1969, LENIENT, ret_ms) || read_epoch(text, ret_ms)) && is_kept(*ret_ms);
}

unsigned time_text_micros(struct slice text)
{
    enum { MS_DIGITS = 3, MICRO_DIGITS = 3 };
    const uint8_t *point = text.len == 0 ? NULL : memchr(text.data, '.', text.len);
    size_t at = point == NULL ? text.len : (size_t)(point - text.data) + 1 + MS_DIGITS;
    unsigned micros = 0;
    for (size_t i = 0; i < MICRO_DIGITS; i++) {
        bool is_digit = at + i < text.len && text.data[at + i] >= '0' && text.data[at + i] <= '9';
        if (!is_digit && i == 0) {
            return 0;
        }
        micros = micros * 10 + (is_digit ? (unsigned)(text.data[at + i] - '0') : 0);
        at = is_digit ? at : text.len; /* the digits that are left out are zeros */
    }
    return micros;
}

bool time_text_is_valid(struct slice text)
{
    int64_t ms;
    return parse(text, 0, STRICT, &ms);
}

bool duration_parse(struct slice text, int64_t *ret_ms)
{
    static const int64_t days_max = 3660;
    int64_t value = 0;
    if (text.len < 2 || text.len > 10) {
        return false;
    }
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    int64_t unit;
    switch (text.data[text.len - 1]) {
    case 's':
        unit = 1000;
        break;
    case 'm':
        unit = 60000;
        break;
    case 'h':
        unit = 3600000;
        break;
    case 'd':
        unit = 86400000;
        break;
    default:
        return false;
    }
    *ret_ms = value * unit;
    return value > 0 && *ret_ms <= days_max * 86400000;
}
