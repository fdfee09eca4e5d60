/* A profile: everything the hub knows of one person (or one browser that is nobody yet).
 *
 * Every part of it can be put together in any order: traits and consents are last-write-wins by
 * event time, counts add up, first and last times are minima and maxima, and the states of
 * conditions are multisets of times. So merging two profiles gives what one profile would have
 * become with all their events (profile_merge()).
 *
 * The strings and arrays of a profile live in its own arena. A profile belongs to the thread that
 * works on its partition.
 */
#ifndef TRIBUTARY_HUB_PROFILE_PROFILE_H
#define TRIBUTARY_HUB_PROFILE_PROFILE_H

#include "shared/event.h"
#include "shared/identifier.h"
#include "shared/wire.h"

/* 48 bits of milliseconds, 16 bits of partition, 64 bits of hash: sorts by age, names its
 * partition. */
struct profile_id {
    uint8_t bytes[PROFILE_ID_BYTES];
};

struct profile_id profile_id_make(int64_t ms, uint16_t partition, uint64_t hash);
uint16_t profile_id_partition(struct profile_id id);
/* Byte order is age: the lesser survives a merge. */
int profile_id_compare(struct profile_id a, struct profile_id b);
static inline bool profile_id_equal(struct profile_id a, struct profile_id b)
{
    return profile_id_compare(a, b) == 0;
}
struct slice profile_id_slice(const struct profile_id *id);
/* False where the bytes (or the hex text) are no id. */
bool profile_id_from_slice(struct slice bytes, struct profile_id *ret);
bool profile_id_from_hex(struct slice text, struct profile_id *ret);
struct profile_id_text {
    char text[2 * PROFILE_ID_BYTES + 1];
};
struct profile_id_text profile_id_hex(struct profile_id id);

struct profile_identifier {
    struct identifier id;
    int64_t first_seen_ms;
    int64_t last_seen_ms;
    /* A bit for each place in the profile's interests: the collectors that have seen it. Of
     * anonymous ids alone: a collector is told of no other browsers of the person. */
    uint64_t seen_at;
    int64_t evidence_ms; /* of an anonymous id: when an event last proved whose it is; 0: never */
    int64_t parted_ms;   /* likewise: that somebody else was at the browser */
};

struct profile_trait {
    struct slice name;
    struct slice value; /* MessagePack; nil: deleted, remembered so that older values lose */
    int64_t at_ms;
    struct slice message_id; /* breaks ties: the greater wins */
    struct slice source;
};

struct profile_consent {
    struct slice category;
    bool granted;
    int64_t at_ms;
    struct slice message_id;
    struct slice source;
};

/* An identifier that events named without evidence; claims.h. */
struct profile_claim {
    struct identifier id;
    bool by_server; /* a server reported it of a browser that had not signed in */
    int64_t first_ms;
    int64_t last_ms;
    struct slice source; /* of the first */
};

/* A trait of an event that claimed to be about somebody. */
struct profile_claimed_trait {
    struct slice named; /* hashes of the identifiers that the event named, ascending */
    struct profile_trait trait;
};

/* Consent of a device, which stays its own in whatever profile it is. */
struct profile_device_consent {
    struct slice device; /* anonymous id */
    struct profile_consent consent;
};

/* What a condition over events remembers: times of matching events, ascending. */
struct profile_state {
    uint64_t condition;
    uint32_t count;
    uint32_t capacity;
    int64_t *times;
};

struct profile_membership {
    uint32_t segment;
    int64_t since_ms;
};

/* What a seller wants to see of a purchase; empty texts: not told. */
struct profile_purchase {
    int64_t at_ms;
    struct slice message_id;
    struct slice name; /* of the event */
    struct slice source;
    bool has_total;
    double total;
    struct slice currency;
    struct slice order_id;
};
enum { PURCHASES_KEPT = 5, PURCHASES_INCOMPLETE = 0 };

/* A collector that sees this person, and where the profile stands in its outbox (0: nowhere).
 * SHARED_OUTBOX stands for all collectors whose scope does not depend on where somebody was seen.
 */
enum { SHARED_OUTBOX = 0 };
struct profile_interest {
    uint32_t collector;
    uint64_t sequence;
};

struct profile {
    struct profile_id id;
    int64_t created_ms;   /* of the earliest event; INT64_MAX before the first */
    int64_t last_seen_ms; /* of the latest */
    uint64_t event_count;
    uint64_t version;         /* grows with each change that edges or readers see */
    uint64_t catalog_version; /* the definitions that states and memberships follow */
    int64_t timer_ms;         /* when to look again though nothing happened; 0: never */
    uint64_t journal_next;
    uint64_t deferred_next; /* messages kept while frozen */
    bool is_frozen;         /* proposed to another profile, waiting for its answer */

    size_t identifier_count, identifier_capacity;
    struct profile_identifier *identifiers;
    size_t trait_count, trait_capacity;
    struct profile_trait *traits;
    size_t consent_count, consent_capacity;
    struct profile_consent *consents;
    size_t claim_count, claim_capacity;
    struct profile_claim *claims;
    size_t claimed_trait_count, claimed_trait_capacity;
    struct profile_claimed_trait *claimed_traits;
    size_t device_consent_count, device_consent_capacity;
    struct profile_device_consent *device_consents;
    uint64_t keyed_count;    /* events that have a business key */
    uint64_t keys_id;        /* of the business keys by which it was decided which count */
    uint64_t claims_refused; /* by the bounds */
    uint64_t traits_refused;
    size_t state_count, state_capacity;
    struct profile_state *states;
    size_t membership_count, membership_capacity;
    struct profile_membership *memberships;
    size_t interest_count, interest_capacity;
    struct profile_interest *interests;
    uint64_t purchases_version; /* the definition that they follow, or PURCHASES_INCOMPLETE */
    size_t purchase_count;
    struct profile_purchase purchases[PURCHASES_KEPT]; /* newest first: purchases.h */
    size_t merged_count, merged_capacity;
    struct profile_id *merged;
    size_t refused_count, refused_capacity;
    uint64_t *refused; /* hashes of links that were refused and journalled */

    struct arena arena;
};

struct profile *profile_new(struct profile_id id);
void profile_free(struct profile **profile);

/* One MessagePack value. */
void profile_pack(const struct profile *profile, struct buf *out);
/* ERROR_CORRUPT where the bytes are no profile. */
MUST_CHECK bool profile_unpack(struct slice bytes, struct profile **ret, struct error *err);

/* Values that were replaced stay in the arena: build the profile anew from its packed form when
 * they are most of it. The profile keeps its address. */
void profile_compact(struct profile *profile, struct slice packed);

/* Room for an element at `at` of one of its arrays; the new array, in its arena. */
void *profile_grow(struct profile *profile, void *array, size_t at, size_t *capacity, size_t size);

/* NULL where the profile does not have it. */
struct profile_identifier *profile_find_identifier(const struct profile *profile,
                                                   struct identifier id);
/* A collector that has an interest has seen this identifier. True: that is new. */
bool profile_see_at(struct profile *profile, struct profile_identifier *identifier,
                    uint32_t collector);
/* Has the collector seen it? */
bool profile_is_seen_at(const struct profile *profile, const struct profile_identifier *identifier,
                        uint32_t collector);

/* Add, or widen first and last seen. True: it is new. At the limit a browser is not kept, and what
 * names a person is in place of one; the identifier is the profile's all the same, its home knows.
 */
bool profile_see_identifier(struct profile *profile, struct identifier id, int64_t first_ms,
                            int64_t last_ms);
/* An event proved whose browser this is. */
void profile_prove_identifier(struct profile *profile, struct identifier id, int64_t at_ms);
/* An event proved that somebody else was at this browser. */
void profile_part_identifier(struct profile *profile, struct identifier id, int64_t at_ms);
void profile_drop_identifier(struct profile *profile, struct identifier id);
size_t profile_count_identifiers(const struct profile *profile, struct slice type);

struct profile_trait *profile_find_trait(const struct profile *profile, struct slice name);
/* Last write wins. True: the value that counts changed. */
bool profile_set_trait(struct profile *profile, const struct profile_trait *trait);
bool profile_set_consent(struct profile *profile, const struct profile_consent *consent);

struct profile_state *profile_find_state(const struct profile *profile, uint64_t condition);
/* The state of a condition, empty where there was none. */
struct profile_state *profile_make_state(struct profile *profile, uint64_t condition);
void profile_drop_state(struct profile *profile, uint64_t condition);
/* Insert a time in order. */
void profile_state_add(struct profile *profile, struct profile_state *state, int64_t ms);

struct profile_membership *profile_find_membership(const struct profile *profile, uint32_t segment);
void profile_enter(struct profile *profile, uint32_t segment, int64_t since_ms);
void profile_leave(struct profile *profile, uint32_t segment);

/* The entry of a collector; made where there is none, in place of the oldest at the limit. That of
 * the shared outbox stays. */
struct profile_interest *profile_make_interest(struct profile *profile, uint32_t collector,
                                               bool *ret_is_new);
/* NULL: this collector has not seen the person. */
struct profile_interest *profile_find_interest(const struct profile *profile, uint32_t collector);
/* Some edge was told of the profile, and has its card. */
bool profile_was_told(const struct profile *profile);

void profile_add_merged(struct profile *profile, struct profile_id id);
/* Remember a refusal by hash. True: it is new. */
bool profile_add_refused(struct profile *profile, uint64_t hash);

/* Take over all that `from` has, which stays as it is; memberships, states beyond the times
 * themselves, interest positions and timers are for the caller to bring up to date. */
void profile_merge(struct profile *into, const struct profile *from);

#endif
