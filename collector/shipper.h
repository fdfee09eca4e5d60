/* The shipper decides which block is sent next and what its reply means: several in flight,
 * retries with backoff, damaged blocks set aside, a pause for a revoked collector.
 *
 * A pure state machine: numbers and times go in, decisions come out. uplink.c gives it a spool and
 * a link. One thread at a time.
 */
#ifndef TRIBUTARY_COLLECTOR_SHIPPER_H
#define TRIBUTARY_COLLECTOR_SHIPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "shared/wire.h"

enum { SHIPPER_WINDOW_MAX = 64, SHIPPER_DAMAGED_TRIES = 3 };

struct shipper_slot {
    bool used;
    bool in_flight;
    uint64_t sequence;
    int64_t retry_ms; /* not before, when not in flight */
    unsigned failures;
    unsigned damaged;
};

struct shipper {
    unsigned window;
    uint64_t next;     /* never sent so far */
    unsigned failures; /* in a row, over all blocks */
    struct shipper_slot slots[SHIPPER_WINDOW_MAX];
};

/* Begin at the first sequence number that may be in the spool. */
void shipper_init(struct shipper *shipper, unsigned window, uint64_t first);

/* The block to send now: true and *ret_sequence; it counts as in flight from here. False: none,
 * and *ret_wake_ms says when to ask again (INT64_MAX: when something happens). `end` is the
 * spool's next sequence number. */
bool shipper_next(struct shipper *shipper, uint64_t end, int64_t now_ms, uint64_t *ret_sequence,
                  int64_t *ret_wake_ms);

enum shipper_action {
    SHIPPER_FORGET,    /* the hub has it: acknowledge it in the spool */
    SHIPPER_SET_ASIDE, /* the hub refuses it for good */
    SHIPPER_KEEP,      /* it will be sent again */
};

/* The hub answered for a block; or (no_answer) nothing came in time. */
enum shipper_action shipper_reply(struct shipper *shipper, uint64_t sequence,
                                  enum wire_status status, int64_t now_ms);
void shipper_no_answer(struct shipper *shipper, uint64_t sequence, int64_t now_ms);

/* The hub has every block from `from` to `to`: those of them that are in flight or wait for their
 * retry are done, though their own answers were lost or are still to come. Their numbers are
 * written to `ret`, for the spool to forget; how many is returned. */
size_t shipper_cover(struct shipper *shipper, uint64_t from, uint64_t to,
                     uint64_t ret[SHIPPER_WINDOW_MAX]);

/* The block is not in the spool (any more): nothing to wait for. */
void shipper_skip(struct shipper *shipper, uint64_t sequence);

#endif
