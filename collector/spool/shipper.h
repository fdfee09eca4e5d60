/* The shipper decides which block is sent next and what its reply means: several in flight, of
 * the normal and the low lane so many that a line of 50 ms carries 5 MiB a second; the high lane
 * first, no more bytes a second than allowed, retries with backoff, damaged blocks set aside, a
 * pause for a revoked collector.
 *
 * Guarantee, where the bytes a second are limited and no block takes more than that: over any time
 * t at most (t + 1 s) times the limit is sent; blocks of the normal and the low lane leave a place
 * in the window free, and are not sent while more than a second's bytes are in flight. So a block
 * of the high lane waits one second at most for its turn, however much waits beside it.
 *
 * A pure state machine: numbers and times go in, decisions come out. uplink.c gives it a spool and
 * a link. One thread at a time.
 */
#ifndef TRIBUTARY_COLLECTOR_SHIPPER_H
#define TRIBUTARY_COLLECTOR_SHIPPER_H

#include "collector/spool/spool.h"
#include "shared/wire.h"

enum {
    SHIPPER_WINDOW_MAX = 64,
    SHIPPER_DAMAGED_TRIES = 3,
    SHIPPER_BYTES_IN_FLIGHT_MAX = 256 * 1024, /* and one block, beside the high lane */
    SHIPPER_ENVELOPE_BYTES = 350, /* what a block takes on the line beside its own bytes */
};

struct shipper_slot {
    bool used;
    bool in_flight;
    struct spool_place place;
    int64_t retry_ms; /* not before, when not in flight */
    unsigned failures;
    unsigned damaged;
};

struct shipper {
    unsigned window;
    uint64_t bytes_per_second_max; /* 0: none */
    int64_t budget;                /* bytes that may be sent now; below 0: owed */
    int64_t budget_ms;             /* when that was so */
    uint64_t bytes_in_flight;
    uint64_t next[LANES]; /* never sent so far */
    unsigned failures;    /* in a row, over all blocks */
    struct shipper_slot slots[SHIPPER_WINDOW_MAX];
};

void shipper_init(struct shipper *shipper, unsigned window, uint64_t bytes_per_second_max,
                  int64_t now_ms);

enum shipper_step {
    SHIPPER_WAIT,  /* until wake_ms, or until something happens */
    SHIPPER_FETCH, /* find the first block of `place.lane` from number `place.sequence` on, and tell
                    * shipper_found() */
    SHIPPER_SEND,  /* send `place` again; it counts as in flight from here */
};

struct shipper_decision {
    enum shipper_step step;
    struct spool_place place;
    int64_t wake_ms; /* INT64_MAX: when something happens */
};

/* What to do now. `ends` says for each lane below which number all its blocks are. */
struct shipper_decision shipper_next(struct shipper *shipper, const uint64_t ends[LANES],
                                     int64_t now_ms);

/* After SHIPPER_FETCH: the block that was found; it counts as in flight from here. */
void shipper_found(struct shipper *shipper, const struct spool_place *place);
/* After SHIPPER_FETCH: there is none below `end`. */
void shipper_found_none(struct shipper *shipper, enum lane lane, uint64_t end);

enum shipper_action {
    SHIPPER_FORGET,    /* the hub has it: acknowledge it in the spool */
    SHIPPER_SET_ASIDE, /* the hub refuses it for good */
    SHIPPER_KEEP,      /* it will be sent again, or is done already */
};

/* The hub answered for a block; or (no_answer) nothing came in time. */
enum shipper_action shipper_reply(struct shipper *shipper, uint64_t sequence,
                                  enum wire_status status, int64_t now_ms);
void shipper_no_answer(struct shipper *shipper, uint64_t sequence, int64_t now_ms);

/* The hub is there: what waits for its retry need not wait any longer. */
void shipper_retry_now(struct shipper *shipper, int64_t now_ms);

/* The hub has every block from `from` to `to`: those of them that are in flight or wait for their
 * retry are done, though their own answers were lost or are still to come. They are written to
 * `ret`, for the spool to forget; how many is returned. Numbers that were never sent (blocks that
 * were dropped leave gaps) are in no such range. */
size_t shipper_cover(struct shipper *shipper, uint64_t from, uint64_t to,
                     struct spool_place ret[SHIPPER_WINDOW_MAX]);

/* The block is not in the spool (any more): nothing to wait for. */
void shipper_skip(struct shipper *shipper, uint64_t sequence);

#endif
