/* Reading the hub's state: profiles by id and identifier, timelines, journals, members. Readers
 * look at what is committed and never stop a worker. Any thread.
 */
#ifndef TRIBUTARY_HUB_READER_H
#define TRIBUTARY_HUB_READER_H

#include "hub/keyspace.h"
#include "hub/partition/timeline.h"
#include "shared/store.h"

struct reader {
    struct store *const *stores; /* one a partition; borrowed */
    uint32_t partitions;
};

/* *ret is NULL where there is none. A merged-away id gives the survivor. Free the profile. */
MUST_CHECK bool reader_profile(const struct reader *reader, struct profile_id id,
                               struct profile **ret, struct error *err);
/* Whoever has this normalised identifier. */
MUST_CHECK bool reader_profile_of(const struct reader *reader, struct identifier id,
                                  struct profile **ret, struct error *err);

/* Up to `limit` of those who claim to have this normalised identifier; *ret_count are told. */
MUST_CHECK bool reader_claimants(const struct reader *reader, struct identifier id, size_t limit,
                                 void (*each)(void *user, const struct profile *profile),
                                 void *user, size_t *ret_count, struct error *err);

/* Up to `limit` events of a timeline, newest first, that are older than the place `before` (16
 * bytes, empty for the newest). `each` gets the place of the event and the event. *ret_more says
 * that there are older ones. */
MUST_CHECK bool
reader_events(const struct reader *reader, struct profile_id profile, struct slice before,
              size_t limit, void (*each)(void *user, struct slice place, const struct event *event),
              void *user, bool *ret_more, struct error *err);

/* Every event of a timeline, newest first. `timeline` is the caller's, for many calls. */
MUST_CHECK bool
reader_each_event(const struct reader *reader, struct timeline *timeline, struct profile_id profile,
                  void (*each)(void *user, struct slice place, const struct event *event),
                  void *user, struct error *err);

/* Values under a profile's journal, oldest first. */
MUST_CHECK bool reader_journal(const struct reader *reader, struct profile_id profile, size_t limit,
                               void (*each)(void *user, struct slice entry), void *user,
                               struct error *err);

/* Where a listing over the partitions stands: all zero at the start; afterwards where the next page
 * begins, and whether there is one. */
struct reader_place {
    uint32_t partition;
    struct profile_id last;
    bool more;
};

/* Up to `limit` members of a segment in the order of partitions and ids. */
MUST_CHECK bool
reader_members(const struct reader *reader, uint32_t segment, struct reader_place *place,
               size_t limit, void (*each)(void *user, struct profile_id profile, int64_t since_ms),
               void *user, struct error *err);

/* Up to `limit` of all profiles, likewise. */
MUST_CHECK bool reader_profiles(const struct reader *reader, struct reader_place *place,
                                size_t limit,
                                void (*each)(void *user, const struct profile *profile), void *user,
                                struct error *err);

#endif
