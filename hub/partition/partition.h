/* A partition: one P-th of the hub's state, a deterministic state machine over one store.
 *
 * Messages go in (from the router, from other partitions, from timers); profiles, timelines,
 * memberships and messages for others come out, all in one atomic, synced commit together with
 * the position reached in each source. A message delivered again after a crash is recognised by
 * its position: its effect happens exactly once. The clock is an argument; nothing here reads the
 * time, the network or a random number.
 *
 * One thread at a time works on a partition. Readers look at its store, which is committed state.
 */
#ifndef TRIBUTARY_HUB_PARTITION_PARTITION_H
#define TRIBUTARY_HUB_PARTITION_PARTITION_H

#include "hub/segment/catalog.h"
#include "shared/store.h"

struct partition;

/* Sources 0 … count-1 are the partitions; the router comes after them. LOCAL messages have no
 * position: they are hints whose loss does no harm. */
enum { PARTITION_SOURCE_LOCAL = -1 };

struct partition_options {
    uint32_t index;
    uint32_t count;
    size_t cache_bytes; /* of decoded profiles */
};

/* What a partition tells its surroundings after a commit. All are called inside
 * partition_commit(), on its thread. */
struct partition_listener {
    /* A message that is now durable in the outbox for `partition`; borrowed. */
    void (*message)(void *user, uint32_t partition, uint64_t sequence, struct slice message);
    /* A collector's outbox has something new. */
    void (*edge)(void *user, uint32_t collector);
    void *user;
};

/* The store is borrowed. */
MUST_CHECK bool partition_open(struct store *store, const struct partition_options *options,
                               const struct partition_listener *listener, struct partition **ret,
                               struct error *err);
void partition_close(struct partition **partition);

/* The position committed for a source. */
uint64_t partition_position(const struct partition *partition, uint32_t source);
/* Hand out again what is in the outbox for a partition from `after` on (exclusive). */
MUST_CHECK bool partition_redeliver(struct partition *partition, uint32_t to, uint64_t after,
                                    struct error *err);
/* The receiver has committed everything up to `position`: it may be forgotten. */
void partition_delivered(struct partition *partition, uint32_t to, uint64_t position);

/* Handle one message. `position` grows within a source; one that was reached is ignored. Nothing
 * is durable before partition_commit(). ERROR_CORRUPT and ERROR_UNAVAILABLE come from the store;
 * the partition must then be closed without a commit. */
MUST_CHECK bool partition_handle(struct partition *partition, int32_t source, uint64_t position,
                                 struct slice message, int64_t now_ms, struct error *err);

/* Let timers that are due by now fire, and move a running backfill on by a bounded step. *ret_more
 * says that there is more to do at once. */
MUST_CHECK bool partition_tick(struct partition *partition, int64_t now_ms, bool *ret_more,
                               struct error *err);
/* When the next timer is due; INT64_MAX: none. */
int64_t partition_next_timer(const struct partition *partition);

/* Changes since the last commit? */
bool partition_is_dirty(const struct partition *partition);
/* Make everything handled so far durable, tell the listener, and shrink the cache. */
MUST_CHECK bool partition_commit(struct partition *partition, struct error *err);

/* The definitions in force, borrowed until the next message. */
struct slice partition_catalog(const struct partition *partition);

/* Figures as of the last commit, kept in the store; any thread. */
struct partition_stats {
    uint64_t profiles;
    uint64_t known;
    uint64_t events;
    uint64_t duplicates;
    uint64_t merges;
    uint64_t refused_links;
    uint64_t unidentified;     /* events all of whose identifiers are blocked */
    uint64_t backfilled;       /* profiles done by the running backfill */
    uint64_t catalog_version;  /* in force */
    uint64_t backfill_version; /* the newest one whose backfill is complete here */
    uint64_t scopes_version;   /* the scopes of collectors in force: see catalog.h */
    uint64_t claims;           /* of identifiers, that wait for evidence */
    uint64_t format; /* of the profiles: PARTITION_FORMAT once all were brought up to it */
};
enum { PARTITION_FORMAT = 2 }; /* 2: profiles keep their last purchases */
MUST_CHECK bool partition_read_stats(struct store *store, const struct store_snapshot *snapshot,
                                     struct partition_stats *ret, struct error *err);
/* A collector's outbox, or the shared one: what is in it has numbers from *ret_oldest (those before
 * were acknowledged) to *ret_last. *ret_last is 0 where nothing ever was. */
MUST_CHECK bool partition_read_outbox(struct store *store, uint32_t collector, uint64_t *ret_oldest,
                                      uint64_t *ret_last, struct error *err);
/* Members of a segment in this partition. */
MUST_CHECK bool partition_read_size(struct store *store, const struct store_snapshot *snapshot,
                                    uint32_t segment, uint64_t *ret, struct error *err);

/* The messages that others put in. Appended to *out. */
void partition_write_event(struct buf *out, uint32_t collector, struct slice event);
void partition_write_define(struct buf *out, struct slice catalog);
void partition_write_mark(struct buf *out);
void partition_write_edge_ack(struct buf *out, uint32_t collector, uint64_t sequence);
void partition_write_interest(struct buf *out, struct profile_id profile, uint32_t collector);

#endif
