/* The scrub: reads everything that the hub has on disk, again and again and slowly, so that damage
 * is known before it is needed.
 *
 * A pass goes through the log and every partition, with checksums, and through the numbers of the
 * log's records and of the blocks that collectors have sent, where a gap is something lost.
 * A thread of its own, which gives way to all others; the figures may be read by any.
 */
#ifndef TRIBUTARY_HUB_SCRUB_H
#define TRIBUTARY_HUB_SCRUB_H

#include "hub/eventlog.h"

struct scrub;

struct scrub_options {
    const char *data_dir; /* borrowed, like the log */
    uint32_t partitions;
    struct eventlog *log;
    uint64_t bytes_per_second; /* 0: it does nothing */
    int64_t pause_ms;          /* between two passes */
};

struct scrub *scrub_open(const struct scrub_options *options);
void scrub_close(struct scrub **scrub);

enum { SCRUB_FAULT_BYTES = 320 };

struct scrub_figures {
    uint64_t bytes;       /* that were read, since the start */
    int64_t completed_ms; /* when the last pass was complete; 0: none yet */
    uint64_t faults;      /* damaged files, in the last pass or in this one, whichever are more */
    uint64_t missing_records; /* of the log, as of the last pass */
    uint64_t missing_blocks;  /* of epochs that are over: sealed by collectors, and never come */
    char fault[SCRUB_FAULT_BYTES]; /* the last one; empty: none */
};
struct scrub_figures scrub_figures(struct scrub *scrub);

/* The gaps in the log's numbers and in receipts. */
MUST_CHECK bool scrub_count_gaps(struct eventlog *log, uint64_t *ret_records, uint64_t *ret_blocks,
                                 void (*read)(void *user, uint64_t bytes), void *user,
                                 struct error *err);

#endif
