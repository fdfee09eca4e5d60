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

/* Members of a segment in the order of partitions and ids, after the place `after` (partition
 * and id; partition 0 and a zero id to begin). */
MUST_CHECK bool reader_members(
    const struct reader *reader, uint32_t segment, uint32_t partition, struct profile_id after,
    size_t limit, void (*each)(void *user, struct profile_id profile, int64_t since_ms), void *user,
    uint32_t *ret_partition, struct profile_id *ret_last, bool *ret_more, struct error *err);

/* All profiles in the order of partitions and ids, likewise. */
MUST_CHECK bool reader_profiles(const struct reader *reader, uint32_t partition,
                                struct profile_id after, size_t limit,
                                void (*each)(void *user, const struct profile *profile), void *user,
                                uint32_t *ret_partition, struct profile_id *ret_last,
                                bool *ret_more, struct error *err);

#endif
