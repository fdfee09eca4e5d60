/* Reading a log of LevelDB (or its MANIFEST, which has the same form), telling what the power cut
 * from what was damaged.
 *
 * What a power cut leaves, as store_files.h has logs written: everything that was synced; of what
 * was not, any sectors, and zeros in place of the others or the end of the file. All that is not
 * synced begins in one block of 32 KiB, so a record that begins in a later block, or in a later
 * log, shows that what is before it was on the disk once. A record that cannot be read is therefore
 * torn, and no loss, if nothing like that follows, if zeros or the end of the file stand where a
 * sector of it should be, and if no single bit explains it. Everything else is damage.
 *
 * Guarantee: a log that is cut at any byte, or zeros from any byte on, is torn, not damaged (but
 * for a chance of one in 100,000); one turned bit in a record is damage, not a torn tail, wherever
 * it is, but for the very last bit that is set in the very last record, as without it the record is
 * as if it had not been written to its end. Of records behind damage all are found whose bytes are
 * right. Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_LOG_CHECK_H
#define TRIBUTARY_SHARED_DAMAGE_LOG_CHECK_H

#include "shared/buf.h"

enum log_state { LOG_WHOLE, LOG_TORN, LOG_DAMAGED };

struct log_options {
    bool is_followed; /* a later log has records */
    bool syncs_each;  /* each record was synced before the next, as in a MANIFEST */
    bool mends;       /* turn single bits back, in place */
    /* Each record that can be read, where it begins; may be NULL. Borrowed. */
    void (*record)(void *user, struct slice record, size_t at);
    void *user;
};

struct log_report {
    enum log_state state; /* after mending */
    size_t at;        /* the first record that cannot be read; where it is torn nothing follows */
    uint64_t records; /* that can be read */
    uint64_t records_after; /* of these, behind `at` */
    uint64_t places;        /* that are damaged */
    uint64_t damaged_bytes; /* in them, with what is left of their records */
    uint64_t mended;        /* bits */
};

/* `data` is changed only if bits are mended. */
void log_check(uint8_t *data, size_t len, const struct log_options *options,
               struct log_report *ret);

/* Append a record as LevelDB would. */
void log_append(struct buf *log, struct slice record);

/* What a record of a log says of itself: its first number, and how many it takes. False: it is no
 * batch of writes. */
bool log_read_batch(struct slice record, uint64_t *ret_sequence, uint32_t *ret_count);

#endif
