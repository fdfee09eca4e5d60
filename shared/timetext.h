/* Times and durations as text: RFC 3339 with milliseconds in UTC on output, any offset on input;
 * durations as `30s`, `15m`, `12h`, `7d`. Pure functions.
 */
#ifndef TRIBUTARY_SHARED_TIMETEXT_H
#define TRIBUTARY_SHARED_TIMETEXT_H

#include "shared/slice.h"

struct time_text {
    char text[32];
};

/* "2026-11-21T20:15:03.120Z"; times outside 1970 to 9999 are clamped. */
struct time_text time_text_format(int64_t ms);

/* RFC 3339 (section 5.6), with 'T', 't' or a space, any number of fraction digits (cut to
 * milliseconds) and 'Z' or an offset. False for anything else and outside 1970 to 9999. */
bool time_text_parse(struct slice text, int64_t *ret_ms);

/* Also what clients write in place of RFC 3339: without an offset (which is UTC then), without
 * seconds, a date alone (its midnight), or a number since 1970 in seconds, milli-, micro- or
 * nanoseconds. False for what has no such reading, as 20/11/2026. */
bool time_text_read(struct slice text, int64_t *ret_ms);

/* Of a time that has more digits than milliseconds: the microseconds beyond them, 0 to 999. */
unsigned time_text_micros(struct slice text);

/* Is the text RFC 3339, of any year from 0000 on? */
bool time_text_is_valid(struct slice text);

/* A positive whole number and one unit of s, m, h, d; at most 3660 days. */
bool duration_parse(struct slice text, int64_t *ret_ms);

#endif
