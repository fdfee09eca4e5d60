/* One commit in the making: its blocks, at least one for each lane that its events are in, and who
 * waits for them. The committer fills it under its lock and then writes it alone. */
#ifndef TRIBUTARY_COLLECTOR_COMMIT_GROUP_H
#define TRIBUTARY_COLLECTOR_COMMIT_GROUP_H

#include "collector/spool/committer.h"
#include "shared/block.h"

/* A block in the making. */
struct commit_part {
    enum lane lane;
    struct block_builder *builder;
    size_t bytes;
};

struct commit_waiting {
    struct committer_waiter waiter;
    unsigned lanes; /* a bit for each that its events are in */
    size_t events;
    size_t source_len; /* of the events; the gate's copy may be gone when they are on disk */
    uint8_t source[LIMIT_NAME_BYTES];
};

struct commit_group {
    struct block_compressor *compressor; /* borrowed */
    struct commit_part *parts;           /* the first part_count are in use; the others are kept */
    size_t part_count;
    size_t part_capacity;
    struct commit_part *open[LANES]; /* the one of each lane that is filled, or NULL */
    struct commit_waiting *waiting;
    size_t waiting_count;
    size_t waiting_capacity;
    size_t events;
    size_t bytes;
    bool is_large;          /* what it keeps: a large commit was made with it */
    unsigned small_commits; /* made with it since */
    struct commit_group *next;
};

struct commit_group *commit_group_new(struct block_compressor *compressor);
/* With all that follow it. NULL is allowed. */
void commit_group_free(struct commit_group *group);
/* Make it empty; what every commit may need is kept. False: it is better freed, because it keeps
 * what a commit of more than `bytes_usual` or a load that is over needed. */
MUST_CHECK bool commit_group_clear(struct commit_group *group, size_t bytes_usual);

/* How many of the request's events are to be stored, and their bytes before compression. */
size_t commit_group_weigh(const struct request *request, size_t *ret_count);

/* Add those events, which commit_group_weigh() found to be `count` of `bytes`, for a waiter, which
 * is copied. A block ends at block_bytes_max, unless one event alone is more. */
void commit_group_add(struct commit_group *group, const struct request *request, size_t count,
                      size_t bytes, const struct committer_parts *parts,
                      const struct committer_waiter *waiter);

/* Tell everybody: those whose events are in one of the refused lanes (bits) get the error, the
 * others NULL. */
void commit_group_tell(const struct commit_group *group, unsigned refused, const struct error *err);

#endif
