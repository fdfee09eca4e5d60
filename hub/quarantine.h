/* The quarantine: events that a collector let in but that their tracking plan does not want to
 * count yet. They wait here until somebody releases or discards them.
 *
 * Guarantee: every quarantined event of the log is kept exactly once, whatever crashes; a release
 * is one atomic write that takes the event out and appends it to the log, from where it counts
 * with its own time, once, as if it came now.
 *
 * The router keeps and commits; any thread may read, release and discard.
 */
#ifndef TRIBUTARY_HUB_QUARANTINE_H
#define TRIBUTARY_HUB_QUARANTINE_H

#include "hub/eventlog.h"
#include "shared/clock.h"
#include "shared/event.h"
#include "shared/limits.h"

struct quarantine;

/* Where the event came from: the record of the log and its place in that. */
struct quarantine_id {
    uint64_t record;
    uint16_t place;
};

struct quarantine_entry {
    struct quarantine_id id;
    uint32_t collector;
    struct slice collector_id;
    struct slice bytes; /* as event_pack() wrote it, its times corrected */
};

enum { QUARANTINE_BATCH_MAX = 1000 };

/* The log and the clock are borrowed. */
MUST_CHECK bool quarantine_open(struct eventlog *log, const struct clock *clock,
                                struct quarantine **ret, struct error *err);
void quarantine_close(struct quarantine **quarantine);

/* ---- The router's part ---- */

/* The first record whose events may not be kept yet; 0: it was never said. */
uint64_t quarantine_position(const struct quarantine *quarantine);
/* Say where to begin, durably, before the first record is read. */
MUST_CHECK bool quarantine_begin(struct quarantine *quarantine, uint64_t record, struct error *err);
/* Keep an event from the next commit on; copied. Passed over where it was kept before. */
void quarantine_keep(struct quarantine *quarantine, const struct quarantine_entry *entry);
/* Everything of the records before `next` was kept. Not synced: what is lost with this is said
 * again after the restart, because the position is lost with it. */
MUST_CHECK bool quarantine_commit(struct quarantine *quarantine, uint64_t next, struct error *err);

/* ---- The operator's part ---- */

/* Entries in the order of their ids, behind `after`; false from `each` stops. The entry refers
 * into memory that is valid during the call. */
MUST_CHECK bool quarantine_each(struct quarantine *quarantine, struct quarantine_id after,
                                bool (*each)(void *user, const struct quarantine_entry *entry),
                                void *user, struct error *err);
/* Release these (or discard them), at once and durably, up to QUARANTINE_BATCH_MAX. *ret_count:
 * how many of them were there. */
MUST_CHECK bool quarantine_take(struct quarantine *quarantine, const struct quarantine_id *ids,
                                size_t count, bool release, size_t *ret_count, struct error *err);

/* An id as text, and back; false for another text. */
struct quarantine_id_text {
    char text[24];
};
struct quarantine_id_text quarantine_id_format(struct quarantine_id id);
bool quarantine_id_parse(struct slice text, struct quarantine_id *ret);

#endif
