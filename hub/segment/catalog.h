/* The catalog: all segment definitions and identity rules of one moment, compiled.
 *
 * A definition becomes a tree over conditions. A condition over events is shared between all
 * segments that use the same one; what a profile must remember for it is the least that answers
 * it exactly (the last or first k matching times for "count >= k"), so that nothing is re-read
 * when an event arrives. `{"segment":KEY}` is compiled by putting the other definition in its
 * place; cycles are refused.
 *
 * Immutable once made. The partition's thread and readers may share it.
 */
#ifndef TRIBUTARY_HUB_SEGMENT_CATALOG_H
#define TRIBUTARY_HUB_SEGMENT_CATALOG_H

#include "hub/identity/rules.h"
#include "hub/profile/profile.h"
#include "hub/segment/comparison.h"
#include "shared/audience.h"

struct catalog;

/* A mistake in a definition, for whoever wrote it. */
struct catalog_error {
    char segment[LIMIT_NAME_BYTES + 1];
    char field[160]; /* JSON pointer into its definition */
    char code[40];   /* "invalid-segment", "segment-cycle", "unknown-segment", … */
};

/* Compile definitions, which are copied:
 *
 *     {"version":N, "rules":{…},
 *      "segments":[{"id":N, "key":KEY, "version":N, "name":NAME, "where":{…},
 *                   "edge":[AUDIENCE…], "edgeVersion":N}…],
 *      "edgeTraits":[[NAME, [AUDIENCE…], N]…], "edgeTraitsVersion":N,
 *      "scopes":[{"collector":N, "id":ID, "version":N, "scope":{"kind":KIND, "segments":[KEY…]}}…],
 *      "purchaseEvents":[NAME…], "purchaseSources":[ID…], "purchasesVersion":N,
 *      "businessKeys":{EVENT:{"key":PROPERTY}…}}
 *
 * The versions for the edge are those at which something began or ceased to be shown there, the
 * last one that at which a trait that was shown was deleted. A log may hold definitions of versions
 * before 0.2: names alone in edgeTraits, which were shown to all, and segments without "edge".
 * ERROR_INVALID fills *where too. */
MUST_CHECK bool catalog_new(struct slice bytes, struct catalog **ret, struct catalog_error *where,
                            struct error *err);
void catalog_free(struct catalog **catalog);

uint64_t catalog_version(const struct catalog *catalog);
struct slice catalog_bytes(const struct catalog *catalog);
const struct identity_rules *catalog_rules(const struct catalog *catalog);
/* ---- What the edges may see: catalog_edge.c ---- */

/* To whom this trait is shown: what is shown to nobody does not go to the edges. */
enum audience catalog_trait_audience(const struct catalog *catalog, struct slice trait);
/* Did something that the profile has begin or cease to be shown at the edges since the catalog that
 * the profile follows? Its cards are out of date then. */
bool catalog_is_card_stale(const struct catalog *catalog, const struct profile *profile);

/* ---- What the edges get: catalog_scopes.c ---- */

/* Whom a collector keeps: who was seen there or looked up, the members of segments, or everybody
 * who is known or a member of any segment. The last two are wide: they do not depend on where
 * somebody was seen. */
enum scope_kind {
    SCOPE_SEEN,
    SCOPE_SEGMENTS,
    SCOPE_EVERYBODY,
};
struct catalog_scope {
    uint32_t collector;
    uint64_t version; /* grows with each change */
    enum scope_kind kind;
    size_t segment_count;
    uint32_t *segments;
};
/* NULL: never set, so it keeps who was seen. */
const struct catalog_scope *catalog_scope_of(const struct catalog *catalog, uint32_t collector);
/* The greatest version of any scope. */
uint64_t catalog_scopes_version(const struct catalog *catalog);
/* Does a wide scope hold this profile as it is? */
bool catalog_scope_holds(const struct catalog *catalog, const struct catalog_scope *scope,
                         const struct profile *profile);
bool catalog_is_in_a_wide_scope(const struct catalog *catalog, const struct profile *profile);

/* Does the profile have an identifier that names a person? */
bool catalog_is_known(const struct catalog *catalog, const struct profile *profile);

/* ---- Business keys: catalog_keys.c ---- */

/* Which definitions there are, as a number that is another where they are others; 0: none. */
uint64_t catalog_business_keys_id(const struct catalog *catalog);
/* The event's name and the value of its key property, in *ret. False: it has none. */
bool catalog_business_key(const struct catalog *catalog, const struct event *event,
                          struct buf *ret);

/* Is the event one that a profile keeps among its last purchases? */
bool catalog_is_purchase(const struct catalog *catalog, const struct event *event);
size_t catalog_purchase_count(const struct catalog *catalog);
struct slice catalog_purchase_at(const struct catalog *catalog, size_t at);
/* The version at which that was last defined, at least 1: purchases kept under another are
 * incomplete. */
uint64_t catalog_purchases_version(const struct catalog *catalog);

size_t catalog_segment_count(const struct catalog *catalog);
struct catalog_segment {
    uint32_t id;
    struct slice key;
    struct slice name; /* for people; may be empty */
    enum audience edge;
};
struct catalog_segment catalog_segment_at(const struct catalog *catalog, size_t at);
/* An empty key where no segment has this id. */
struct catalog_segment catalog_segment_of(const struct catalog *catalog, uint32_t id);
struct slice catalog_segment_key(const struct catalog *catalog, uint32_t id);

/* What happened to a profile, as far as its segments may depend on it. */
struct catalog_touch {
    bool conditions; /* some condition over events took a time */
    bool traits;
    bool identifiers;
    bool consents;
    bool claims;
    bool everything; /* look at all segments whatever happened */
};

/* Let every condition that matches the event remember it. True: at least one did. */
bool catalog_note_event(const struct catalog *catalog, struct profile *profile,
                        const struct event *event, int64_t now_ms);

/* Drop what no condition needs any more from the states of a profile, for instance after a
 * merge. */
void catalog_prune(const struct catalog *catalog, struct profile *profile, int64_t now_ms);

/* Is there a condition that the profile's states do not cover, because it is newer than the
 * profile's catalog version? */
bool catalog_needs_rebuild(const struct catalog *catalog, const struct profile *profile);
/* Forget the states of those conditions, and then let each event of the timeline, in any order,
 * be noted by them alone. True: at least one noted it. */
void catalog_rebuild_begin(const struct catalog *catalog, struct profile *profile);
bool catalog_rebuild_event(const struct catalog *catalog, struct profile *profile,
                           const struct event *event, int64_t now_ms);

/* Bring the memberships up to date for `now`. `changed` is called for each that changes, after
 * the change. *ret_timer_ms: when time alone may change one, 0 for never. */
void catalog_evaluate(const struct catalog *catalog, struct profile *profile,
                      struct catalog_touch touch, int64_t now_ms,
                      void (*changed)(void *user, uint32_t segment, bool is_member), void *user,
                      int64_t *ret_timer_ms);

/* Would this profile be a member of the segment at this place of the catalog? For previews. */
bool catalog_holds(const struct catalog *catalog, size_t segment_at, const struct profile *profile,
                   int64_t now_ms);

#endif
