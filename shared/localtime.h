/* Local dates and times of a shop, made into milliseconds since 1970, over strptime and mktime of
 * the C library.
 *
 * A process has one local zone, which is set once, before its first thread starts; the rest may be
 * called by any thread.
 */
#ifndef TRIBUTARY_SHARED_LOCALTIME_H
#define TRIBUTARY_SHARED_LOCALTIME_H

#include "shared/error.h"
#include "shared/slice.h"

struct local_zone {
    bool is_local;          /* the process's zone, summer time included */
    int64_t offset_minutes; /* otherwise: ahead of UTC */
};

/* The local zone of this process: a name such as "Europe/Paris"; empty: the machine's. */
MUST_CHECK bool local_zone_set(const char *name, struct error *err);

/* "local", "utc" or an offset such as "+01:00". */
MUST_CHECK bool local_zone_parse(struct slice text, struct local_zone *ret);

/* Is this a format that local_time_parse() takes: conversions of strptime without %s, %c, %x, %X
 * and the like, whose meaning depends on more than the text? */
MUST_CHECK bool local_format_is_valid(const char *format);

/* Read a whole text in a format of strptime. What the format leaves out is 0 o'clock; %z in the
 * format overrides the zone. Of an hour that the end of summer time repeats the first is meant; one
 * that its beginning leaves out is read as standard time. False for anything else, for days that
 * no month has, and outside 1970 to 9999. */
MUST_CHECK bool local_time_parse(struct slice text, const char *format, struct local_zone zone,
                                 int64_t *ret_ms);

#endif
