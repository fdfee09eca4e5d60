/* Decoded profiles, the recently used ones, bounded by bytes. A profile that was changed stays
 * until it is written. One thread.
 */
#ifndef TRIBUTARY_HUB_PARTITION_PROFILE_CACHE_H
#define TRIBUTARY_HUB_PARTITION_PROFILE_CACHE_H

#include "hub/profile/profile.h"

struct profile_cache;

struct profile_cache *profile_cache_new(size_t bytes_max);
/* Frees every profile in it. */
void profile_cache_free(struct profile_cache **cache);

/* NULL where it is not cached. Counts as a use. */
struct profile *profile_cache_find(struct profile_cache *cache, struct profile_id id);
/* The profile is taken; `bytes` is about what it occupies. */
void profile_cache_add(struct profile_cache *cache, struct profile *profile, size_t bytes);
/* Take a profile out and free it; unknown ids are ignored. */
void profile_cache_remove(struct profile_cache *cache, struct profile_id id);

void profile_cache_mark_dirty(struct profile_cache *cache, struct profile_id id);
/* Hand out each dirty profile; `write` returns the bytes it occupies now. All are clean then. */
void profile_cache_write(struct profile_cache *cache,
                         size_t (*write)(void *user, struct profile *profile), void *user);
/* Free the least recently used clean profiles until the bound holds. */
void profile_cache_shrink(struct profile_cache *cache);

#endif
