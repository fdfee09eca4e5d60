/* What the files of a partition share: its state, its view of the store, and the steps of its
 * state machine. Nobody outside hub/partition and hub/identity includes this. */
#ifndef TRIBUTARY_HUB_PARTITION_INTERNAL_H
#define TRIBUTARY_HUB_PARTITION_INTERNAL_H

#include "hub/keyspace.h"
#include "hub/partition/partition.h"
#include "hub/partition/profile_cache.h"
#include "hub/partition/timeline.h"
#include "hub/partition/view.h"
#include "hub/profile/claims.h"
#include "hub/trust/verdict.h"

/* stored: never renumber */
enum message_type {
    MESSAGE_EVENT = 0,
    MESSAGE_ROUTE = 1,
    MESSAGE_APPLY = 2,
    MESSAGE_RESERVE = 3,
    MESSAGE_MERGE = 4,
    MESSAGE_PROPOSE = 5,
    MESSAGE_ACCEPTED = 6,
    MESSAGE_REFUSED = 7,
    MESSAGE_ABSORB = 8,
    MESSAGE_REPOINT = 9,
    MESSAGE_DEFINE = 10,
    MESSAGE_EDGE_ACK = 11,
    MESSAGE_INTEREST = 12,
    MESSAGE_MARK = 13,
};

/* stored: never renumber */
enum journal_kind {
    JOURNAL_LINK = 0,
    JOURNAL_MERGE = 1,
    JOURNAL_REFUSED = 2,
};

struct edge_outbox {
    uint32_t collector;
    uint64_t next;   /* sequence for the next entry; the first is 1 */
    uint64_t oldest; /* not acknowledged yet */
    bool is_new;     /* got an entry since the last commit */
};

struct peer_outbox {
    uint64_t next;
    uint64_t oldest;
    uint64_t delivered;
};

struct local_message {
    struct local_message *next;
    struct slice bytes;
};

struct segment_size {
    uint32_t segment;
    uint64_t size;
};

/* An identifier, by hash, and the profile it led to last. */
enum { ROUTING_HITS = 16384 };
struct routing_hit {
    uint64_t hash;
    struct profile_id profile;
};

struct partition {
    struct partition_options options;
    struct partition_listener listener;
    struct view view;
    struct profile_cache *cache;
    struct routing_hit *hits; /* ROUTING_HITS */
    struct timeline *timeline;
    struct catalog *catalog;
    uint64_t *positions; /* count + 1 */
    struct peer_outbox *peers;
    size_t edge_count;
    struct edge_outbox *edges;
    size_t size_count;
    struct segment_size *sizes;
    struct partition_stats stats;
    int64_t now_ms;
    int64_t next_timer_ms;
    bool is_dirty;
    bool is_backfilling;
    struct profile_id backfill_at;
    struct arena arena; /* of the message being handled */
    msgpack_zone zone;
    struct buf scratch;
    struct local_message *local_first; /* messages to itself, handled before the commit */
    struct local_message *local_last;
    struct buf outgoing; /* of this commit: partition, sequence, length, bytes */
};

/* ---- facts.c ---- */

/* Put the facts into the commit that is being made. */
void partition_put_facts(struct partition *p);
MUST_CHECK bool partition_load_facts(struct partition *p, struct error *err);

/* ---- messages.c ---- */

/* Send to a partition, this one included; copied. */
void partition_send(struct partition *p, uint32_t to, struct slice message);

/* Delete from the outboxes what their receivers have committed. */
void partition_forget_delivered(struct partition *p);

/* ---- upkeep.c ---- */

/* The outbox of a collector, made where there is none. */
struct edge_outbox *partition_edge(struct partition *p, uint32_t collector);

/* Load a profile: *ret is NULL where there is none here. Its states are up to date with the
 * catalog. */
MUST_CHECK bool partition_load(struct partition *p, struct profile_id id, struct profile **ret,
                               struct error *err);
/* Load a profile, or find where it went: *ret is NULL then. Of a profile that never was, or that a
 * damaged store has lost, *ret_went_to is its own id. */
MUST_CHECK bool partition_locate(struct partition *p, struct profile_id id, struct profile **ret,
                                 struct profile_id *ret_went_to, struct error *err);
/* The profile changed: write it with the commit. */
void partition_changed(struct partition *p, struct profile *profile);
/* Evaluate segments after a touch, arm the timer, and tell the edges if they should know. What the
 * caller changed itself it marks by partition_changed() itself. */
MUST_CHECK bool partition_settle(struct partition *p, struct profile *profile,
                                 struct catalog_touch touch, bool card_changed, struct error *err);
/* Put the profile in the outbox of every collector that sees it, and in the shared one. */
void partition_tell_edges(struct partition *p, struct profile *profile);
/* If a wide scope holds the profile as it is, give it a place in the shared outbox: whatever
 * becomes of it will be told there, so that whoever has its card learns that the profile left the
 * scope. */
void partition_share(struct partition *p, struct profile *profile);
/* Keep the event among the last purchases if it is one. True: the card changed. */
bool partition_note_purchase(struct partition *p, struct profile *profile,
                             const struct event *event);
void partition_set_timer(struct partition *p, struct profile *profile, int64_t due_ms);
void partition_count_member(struct partition *p, uint32_t segment, int change);
bool partition_is_known(const struct partition *p, const struct profile *profile);

/* The claims of a profile, to find out afterwards which came and went. In its arena. */
struct claim_list {
    size_t count;
    struct profile_claim claims[CLAIMS_KEPT];
};
void partition_list_claims(const struct profile *profile, struct claim_list *ret);
/* Bring the index and the figures up to date. True: something changed. */
bool partition_index_claims(struct partition *p, const struct profile *profile,
                            const struct claim_list *before);
/* Fill the states and purchases of a profile from its timeline, all of them. */
MUST_CHECK bool partition_put_together(struct partition *p, struct profile *profile,
                                       struct error *err);

/* ---- apply.c ---- */

MUST_CHECK bool apply_event(struct partition *p, const msgpack_object *m, bool is_new,
                            struct error *err);
MUST_CHECK bool apply_to_profile(struct partition *p, const msgpack_object *m, struct slice message,
                                 struct error *err);

/* ---- hub/identity/merge.c ---- */

/* Why two identifiers belong together. */
struct evidence {
    struct identifier id;
    struct slice message_id;
    int64_t at_ms;
    enum evidence_kind kind;
};

/* Take the identifier for the profile at its home. */
void identity_reserve(struct partition *p, struct profile_id taker, const struct evidence *why);
MUST_CHECK bool identity_on_reserve(struct partition *p, const msgpack_object *m,
                                    struct error *err);
MUST_CHECK bool identity_on_merge(struct partition *p, const msgpack_object *m,
                                  struct slice message, struct error *err);
MUST_CHECK bool identity_on_propose(struct partition *p, const msgpack_object *m,
                                    struct slice message, struct error *err);
MUST_CHECK bool identity_on_accepted(struct partition *p, const msgpack_object *m,
                                     struct error *err);
MUST_CHECK bool identity_on_refused(struct partition *p, const msgpack_object *m,
                                    struct error *err);
MUST_CHECK bool identity_on_absorb(struct partition *p, const msgpack_object *m,
                                   struct slice message, struct error *err);
MUST_CHECK bool identity_on_repoint(struct partition *p, const msgpack_object *m,
                                    struct error *err);
/* Keep a message until the frozen profile knows what becomes of it. */
void identity_defer(struct partition *p, struct profile *profile, struct slice message);
/* `other` is NULL where the refusal concerns no second profile. */
void identity_journal(struct partition *p, struct profile *profile, enum journal_kind kind,
                      const struct evidence *why, struct identifier with,
                      const struct profile_id *other, const char *rule);

#endif
