/* What the collectors report of themselves with their polls, as far as the hub looks at it: their
 * version, how far they are behind, what they refused, and their last refusals.
 *
 * Kept in memory, since the hub's start: counts go on when a collector starts again, because its
 * report says so. Bounded: 256 counts for each enrolled collector, and one report of 16 KiB. A
 * report that cannot be read changes nothing. Any thread; callbacks run under the lock and may not
 * call back.
 */
#ifndef TRIBUTARY_HUB_REPORTS_H
#define TRIBUTARY_HUB_REPORTS_H

#include "shared/value.h"

struct reports;

struct reports *reports_new(void);
void reports_free(struct reports **reports);

/* A report, one MessagePack map, or empty from an older collector; copied. */
void reports_take(struct reports *reports, struct slice collector, struct slice report,
                  int64_t now_ms);

/* The version of the collector's program, at most this long; empty: not known. */
enum { REPORT_VERSION_BYTES = 32 };
struct report_version {
    char text[REPORT_VERSION_BYTES + 1];
};
struct report_version reports_version(struct reports *reports, struct slice collector);

/* What the collector's clock showed when it wrote the report. False: it does not tell. Pure. */
bool report_read_clock(struct slice report, int64_t *ret_ms);

/* Age of the oldest block in the collector's spool when it reported last; -1: not known. */
int64_t reports_lag_ms(struct reports *reports, struct slice collector);

/* Events that it dropped from its spool to make room, since that was made: of high, normal and low
 * priority. Zeros: none, or not known. */
enum { REPORT_LANES = 3 };
void reports_dropped(struct reports *reports, struct slice collector, uint64_t ret[REPORT_LANES]);

struct report_count {
    struct slice collector;
    struct slice source; /* empty: the write key was unknown, or the request could not be read */
    struct slice code;
    uint64_t since_start; /* of the collector */
    uint64_t total;       /* since the hub's start, over all starts of the collector */
    uint64_t last_hour;
};
/* Each count of one collector, or of all where `collector` is empty. */
void reports_each_count(struct reports *reports, struct slice collector, int64_t now_ms,
                        void (*each)(void *user, const struct report_count *count), void *user);

struct report_refusal {
    struct slice collector;
    struct slice source;
    struct slice code;
    int64_t at_ms; /* by the hub's clock */
    struct slice field;
    struct slice type;
    struct slice event;
    struct slice sample;
};
/* The last refusals, likewise. */
void reports_each_refusal(struct reports *reports, struct slice collector,
                          void (*each)(void *user, const struct report_refusal *refusal),
                          void *user);

#endif
