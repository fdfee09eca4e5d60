/* The workers: threads that drive the partitions, and the mail between these.
 *
 * Each partition has an inbox; a partition with mail or a due timer is worked on by one thread at
 * a time, which handles what is there, commits, and passes on what the commit caused. This is the
 * messaging seam: in a cluster, inboxes are topics.
 *
 * A store that fails stops the process: what was not committed is done again after the restart.
 */
#ifndef TRIBUTARY_HUB_PARTITION_WORKERS_H
#define TRIBUTARY_HUB_PARTITION_WORKERS_H

#include "hub/partition/partition.h"
#include "shared/clock.h"

struct workers;

struct workers_options {
    uint32_t partitions;
    unsigned threads;
    size_t cache_bytes;      /* over all partitions */
    size_t queued_bytes_max; /* workers_post() waits beyond it */
    const struct clock *clock;
    void (*edge)(void *user, uint32_t collector); /* a collector's outbox has something new */
    void *user;
};

/* `stores` are borrowed, one a partition. Messages that were under way are delivered again. */
MUST_CHECK bool workers_open(struct store *const *stores, const struct workers_options *options,
                             struct workers **ret, struct error *err);
/* Finish the batches under way, commit, and end. */
void workers_close(struct workers **workers);

/* Put a message into the inbox of a partition; copied. From the router (`position` grows) this
 * waits while too much is queued; hints (position 0) never wait. */
void workers_post(struct workers *workers, uint32_t partition, uint64_t position,
                  struct slice message);

/* The router's position that this partition has committed. */
uint64_t workers_position(struct workers *workers, uint32_t partition);
/* Append the definitions that the slowest partition has: those in force where the router begins to
 * read again. Before the first message only. */
void workers_slowest_catalog(struct workers *workers, struct buf *out);
uint64_t workers_commits(struct workers *workers);
size_t workers_queued_bytes(struct workers *workers);

#endif
