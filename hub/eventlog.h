/* The hub's log: every block as it was received, still sealed, and every command that changes
 * definitions, in one order, numbered from 1.
 *
 * Guarantee: what eventlog_append() has returned for survives a power cut and is read back under
 * its number for ever. The store also holds what must change together with the log (receipts,
 * definitions): `more` is written in the same atomic batch.
 *
 * Any thread may append and read.
 */
#ifndef TRIBUTARY_HUB_EVENTLOG_H
#define TRIBUTARY_HUB_EVENTLOG_H

#include "shared/seal.h"
#include "shared/store.h"
#include "shared/value.h"

struct eventlog;

/* The store is borrowed. */
MUST_CHECK bool eventlog_open(struct store *store, struct eventlog **ret, struct error *err);
void eventlog_close(struct eventlog **log);

/* stored: never renumber */
enum eventlog_kind {
    EVENTLOG_BLOCK = 1,
    EVENTLOG_CATALOG = 2,
    EVENTLOG_SUPPRESSION = 3, /* [version, reason, bin: changes], see suppressions.h */
    EVENTLOG_RELEASE = 4,     /* an event of the quarantine that counts from here on */
};

/* A block: its collector's number, when it came, and by how much that collector's clock is
 * behind the hub's. The header of its epoch lies under eventlog_header_key(). */
struct eventlog_record {
    enum eventlog_kind kind;
    int64_t at_ms;
    int64_t clock_offset_ms;
    uint32_t collector;
    struct slice collector_id;
    struct slice bytes; /* the sealed block; the catalog's definitions; the command; the event */
};

/* Append records, at once and in order; `more` may be NULL. */
MUST_CHECK bool eventlog_append(struct eventlog *log, const struct eventlog_record *records,
                                size_t count, const struct store_batch *more, struct error *err);

/* Write only what belongs beside the log, without waiting for the disk: a crash may lose it, but
 * never keeps what was written later. */
MUST_CHECK bool eventlog_note(struct eventlog *log, const struct store_batch *more,
                              struct error *err);

/* The number that the next record will get. */
uint64_t eventlog_next(struct eventlog *log);
/* Read a record, which refers into *bytes and the zone. */
MUST_CHECK bool eventlog_read(struct eventlog *log, uint64_t number, struct buf *bytes,
                              msgpack_zone *zone, struct eventlog_record *ret, bool *ret_found,
                              struct error *err);
/* Wait until there is a record with this number, or the time is over, or eventlog_wake(). */
void eventlog_wait(struct eventlog *log, uint64_t number, int timeout_ms);
void eventlog_wake(struct eventlog *log);

/* Headers of epochs and receipts in the log's store. */
void eventlog_header_key(struct slice collector_id, uint64_t epoch, struct buf *ret);
void eventlog_receipt_key(struct slice collector_id, uint64_t epoch, struct buf *ret);
struct store *eventlog_store(const struct eventlog *log);

#endif
