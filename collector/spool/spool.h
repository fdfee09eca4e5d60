/* The spool keeps accepted events, as sealed blocks, on disk until the hub has acknowledged them.
 *
 * Guarantee: a block that spool_append() has stored survives a power cut, and is handed out until
 * spool_acknowledge() or spool_set_aside() — or, where the spool may drop, until it was dropped to
 * make room, and counted durably with that. Blocks have ascending sequence numbers that are never
 * given twice, also after a restart; each stands in one lane, and lanes are read one by one. A
 * write that failed may have reached the disk all the same: what it stored is then found and handed
 * out after the next one that succeeds.
 *
 * Threads: one thread appends, one reads; any may acknowledge, and ask for the figures.
 */
#ifndef TRIBUTARY_COLLECTOR_SPOOL_H
#define TRIBUTARY_COLLECTOR_SPOOL_H

#include "collector/spool/disk_space.h"
#include "collector/spool/lane.h"
#include "shared/store.h"

struct spool;

struct spool_options {
    uint64_t bytes_max;      /* of blocks, those set aside included */
    struct disk_space *disk; /* borrowed; NULL: the disk has no end */
    bool drops_oldest; /* when full: drop the oldest block of the lowest lane, not higher than the
                        * new one's. Otherwise the new one is refused. */
};

/* Open the spool kept in *store, which is borrowed and must outlive it. */
MUST_CHECK bool spool_open(struct store *store, const struct spool_options *options,
                           struct spool **ret, struct error *err);
/* Close and set *spool to NULL. Closing NULL is allowed. */
void spool_close(struct spool **spool);

/* The number of the newest epoch in the spool, 0 before the first. */
uint64_t spool_epoch(const struct spool *spool);
/* Keep the header of an epoch, which begins with the next block; durable when it returns. Headers
 * that no block needs any more are deleted. */
MUST_CHECK bool spool_add_epoch(struct spool *spool, uint64_t epoch, struct slice header,
                                struct error *err);

/* A block to be stored. */
struct spool_entry {
    enum lane lane;
    struct slice block; /* sealed under the number spool_next_sequence() plus its place */
    bool is_stored;     /* answer: false where there was no room for it */
};

/* The sequence number of the first block of the next append. */
uint64_t spool_next_sequence(struct spool *spool);
/* Store sealed blocks of one era durably, in one write; copied. ERROR_FULL: there is room for none,
 * or, where nothing may be dropped, not for all; otherwise each entry tells. `now_ms` is kept for
 * spool_last_ms(). */
MUST_CHECK bool spool_append(struct spool *spool, struct spool_entry *entries, size_t count,
                             uint32_t era, int64_t now_ms, struct error *err);
/* now_ms of the last append, 0 before the first. */
int64_t spool_last_ms(struct spool *spool);

/* Which block: all that it takes to find it, and to take it out without reading it again. */
struct spool_place {
    enum lane lane;
    uint32_t era;
    uint64_t sequence;
    size_t bytes;
};

/* A number that all blocks of the lane are below. */
uint64_t spool_lane_end(struct spool *spool, enum lane lane);
/* The first block of a lane whose number is not less than `from`, and the header of its epoch.
 * *ret_found is false where there is none. */
MUST_CHECK bool spool_find(struct spool *spool, enum lane lane, uint64_t from,
                           struct spool_place *ret, struct buf *ret_block, struct buf *ret_header,
                           bool *ret_found, struct error *err);
/* A block that was found before, again; *ret_found is false where it was taken out or dropped. */
MUST_CHECK bool spool_read(struct spool *spool, const struct spool_place *place,
                           struct buf *ret_block, struct buf *ret_header, bool *ret_found,
                           struct error *err);

/* The hub has the block: forget it. Once for each that spool_find() gave; one that was dropped
 * meanwhile is ignored. */
MUST_CHECK bool spool_acknowledge(struct spool *spool, const struct spool_place *place,
                                  struct error *err);
/* The hub refuses the block as damaged: keep it out of the way, for the operator. As above. */
MUST_CHECK bool spool_set_aside(struct spool *spool, const struct spool_place *place,
                                struct error *err);
/* Put all blocks that were set aside back into their lanes, or drop and count them. Only before
 * anybody else uses the spool. */
MUST_CHECK bool spool_release_aside(struct spool *spool, bool drops, struct error *err);

/* All blocks that wait for the hub have this number or a higher one. */
MUST_CHECK bool spool_first_waiting(struct spool *spool, uint64_t *ret, struct error *err);
/* All blocks in the spool or aside have this number or a higher one. */
MUST_CHECK bool spool_first_sequence(struct spool *spool, uint64_t *ret, struct error *err);

/* The next append would fail with ERROR_FULL, unless its block is tiny. */
bool spool_is_full(struct spool *spool);
uint64_t spool_blocks(struct spool *spool);
uint64_t spool_bytes(struct spool *spool);
uint64_t spool_blocks_aside(struct spool *spool);
/* Events of this lane that were dropped to make room, since the spool was made. A block that was on
 * its way to the hub meanwhile is counted too. */
uint64_t spool_dropped(struct spool *spool, enum lane lane);

#endif
