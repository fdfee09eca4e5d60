/* The keys of a partition's LevelDB, in one place (stored: never change). Numbers are big-endian,
 * so that order means something: timers by due time, timelines by event time.
 *
 *   'a' name                          a fact of the partition: "catalog", "stats", "out"…
 *   'd' hash                          a message id that was counted
 *   'e' collector sequence            profile whose card this collector shall get
 *   'f' profile n                     a message kept while the profile is frozen
 *   'i' type 0 value                  identifier at home here -> profile id
 *   'j' profile n                     journal of links, merges and refusals
 *   'm' segment profile               member -> since
 *   'o' partition sequence            message for another partition
 *   'p' profile                       the profile
 *   's' source                        position reached in the messages of a source
 *   't' profile time rank             event of the timeline (zstd, dictionary); event_rank()
 *   'w' due profile                   timer
 *   'x' profile                       redirect of a merged-away profile -> survivor
 */
#ifndef TRIBUTARY_HUB_KEYSPACE_H
#define TRIBUTARY_HUB_KEYSPACE_H

#include "hub/profile/profile.h"
#include "shared/limits.h"

enum { KEY_BYTES_MAX = 3 + LIMIT_NAME_BYTES + LIMIT_IDENTIFIER_BYTES + PROFILE_ID_BYTES };

struct key {
    uint8_t bytes[KEY_BYTES_MAX];
    size_t len;
};

static inline struct slice key_slice(const struct key *key)
{
    return slice_make(key->bytes, key->len);
}

struct key key_fact(const char *name);
struct key key_dedup(const uint8_t hash[16]);
struct key key_edge(uint32_t collector, uint64_t sequence);
struct key key_deferred(struct profile_id profile, uint64_t n);
struct key key_identifier(struct identifier id);
/* Who claims the identifier; in the claimant's partition. */
struct key key_claim(struct identifier id, struct profile_id profile);
/* Which of a profile's events with this business key (its hash) counts. */
struct key key_business(struct profile_id profile, uint64_t hash);
struct key key_journal(struct profile_id profile, uint64_t n);
struct key key_member(uint32_t segment, struct profile_id profile);
struct key key_outbox(uint32_t partition, uint64_t sequence);
struct key key_profile(struct profile_id profile);
struct key key_position(uint32_t source);
struct key key_timeline(struct profile_id profile, int64_t ms, uint64_t rank);
struct key key_timer(int64_t due_ms, struct profile_id profile);
struct key key_redirect(struct profile_id profile);

/* The first n bytes of a key: what all keys of a kind, segment or profile begin with. */
struct slice key_prefix(const struct key *key, size_t n);
enum {
    KEY_PREFIX_KIND = 1,
    KEY_PREFIX_NUMBER = 1 + 4,                 /* of members, edges, outboxes */
    KEY_PREFIX_PROFILE = 1 + PROFILE_ID_BYTES, /* of journals, timelines, deferred messages */
};

/* The profile id at the end of a member or timer key, or at the start of a timeline key. */
struct profile_id key_profile_at(struct slice key, size_t at);

/* Where an identifier is at home: hash(type, value) mod partitions (stored: never change). */
uint32_t home_of(struct identifier id, uint32_t partitions);
/* A stable 64-bit hash, and a 128-bit one for message ids. */
uint64_t hash_of(struct slice bytes);
void hash128_of(struct slice bytes, uint8_t ret[16]);

#endif
