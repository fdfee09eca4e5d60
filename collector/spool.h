/* The spool keeps accepted events, as sealed blocks, on disk until the hub has acknowledged them.
 *
 * Guarantee: once spool_append() returns true the block survives a power cut, and spool_read()
 * hands it out until spool_acknowledge() or spool_set_aside(). Blocks have ascending sequence
 * numbers that are never given twice, also after a restart.
 *
 * Threads: one thread appends; others may read and acknowledge at the same time. The counters may
 * be read by any.
 */
#ifndef TRIBUTARY_COLLECTOR_SPOOL_H
#define TRIBUTARY_COLLECTOR_SPOOL_H

#include "shared/store.h"

struct spool;

/* Open the spool kept in *store, which is borrowed and must outlive it. */
MUST_CHECK bool spool_open(struct store *store, uint64_t bytes_max, struct spool **ret,
                           struct error *err);
/* Close and set *spool to NULL. Closing NULL is allowed. */
void spool_close(struct spool **spool);

/* The number of the newest epoch in the spool, 0 before the first. */
uint64_t spool_epoch(const struct spool *spool);
/* Keep the header of an epoch; durable when it returns. */
MUST_CHECK bool spool_add_epoch(struct spool *spool, uint64_t epoch, struct slice header,
                                struct error *err);

/* The sequence number that the next append will use. */
uint64_t spool_next_sequence(const struct spool *spool);
/* Store one sealed block durably; copied. ERROR_FULL at bytes_max. */
MUST_CHECK bool spool_append(struct spool *spool, struct slice block, struct error *err);

/* The first sequence number that may still be in the spool. */
uint64_t spool_first_sequence(const struct spool *spool);
/* A block, and the header of its epoch. *ret_found is false where there is none. */
MUST_CHECK bool spool_read(struct spool *spool, uint64_t sequence, struct buf *ret_block,
                           struct buf *ret_header, bool *ret_found, struct error *err);

/* The hub has the block: forget it. Unknown numbers are ignored. */
MUST_CHECK bool spool_acknowledge(struct spool *spool, uint64_t sequence, struct error *err);
/* The hub refuses the block as damaged: keep it out of the way, for the operator. */
MUST_CHECK bool spool_set_aside(struct spool *spool, uint64_t sequence, struct error *err);

/* The next append would fail with ERROR_FULL, unless its block is tiny. */
bool spool_is_full(const struct spool *spool);
uint64_t spool_blocks(const struct spool *spool);
uint64_t spool_bytes(const struct spool *spool);
uint64_t spool_blocks_aside(const struct spool *spool);

#endif
