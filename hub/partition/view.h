/* A store as its partition sees it: what is on disk, with the changes since the last commit laid
 * over it. One thread.
 */
#ifndef TRIBUTARY_HUB_PARTITION_VIEW_H
#define TRIBUTARY_HUB_PARTITION_VIEW_H

#include "hub/keyspace.h"
#include "shared/store.h"

struct view_entry;

struct view {
    struct store *store;
    struct store_batch batch;
    struct arena arena;          /* keys and values of the overlay */
    struct view_entry **buckets; /* by hash of the key */
    size_t bucket_count;
    size_t entry_count;
};

void view_init(struct view *view, struct store *store);
void view_done(struct view *view);

/* Copied. */
void view_put(struct view *view, const struct key *key, struct slice value);
void view_delete(struct view *view, const struct key *key);
/* For keys that are never read back before the commit: spares the overlay. */
void view_put_only(struct view *view, const struct key *key, struct slice value);
void view_delete_only(struct view *view, const struct key *key);

MUST_CHECK bool view_get(struct view *view, const struct key *key, struct buf *ret, bool *ret_found,
                         struct error *err);

/* Each key with the prefix, on disk and then in the overlay, deleted ones left out; in no
 * particular order. `each` returns false to stop. */
MUST_CHECK bool view_each(struct view *view, struct slice prefix,
                          bool (*each)(void *user, struct slice key, struct slice value),
                          void *user, struct error *err);

/* Write all changes in one synced batch, and forget the overlay. */
MUST_CHECK bool view_commit(struct view *view, struct error *err);

#endif
