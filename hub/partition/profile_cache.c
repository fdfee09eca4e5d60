#include "hub/partition/profile_cache.h"

#include <stdlib.h>

struct entry {
    struct entry *chain;
    struct entry *newer;
    struct entry *older;
    struct entry *next_dirty;
    struct profile *profile;
    size_t bytes;
    bool is_dirty;
};

struct profile_cache {
    size_t bytes_max;
    size_t bytes;
    size_t count;
    size_t bucket_count;
    struct entry **buckets;
    struct entry *newest;
    struct entry *oldest;
    struct entry *dirty;
};

struct profile_cache *profile_cache_new(size_t bytes_max)
{
    struct profile_cache *c = memory_allocate_zeroed(sizeof *c);
    c->bytes_max = bytes_max;
    c->bucket_count = 1024;
    c->buckets = memory_allocate_zeroed(c->bucket_count * sizeof(struct entry *));
    return c;
}

/* The low half of an id is a hash already. */
static size_t bucket_of(const struct profile_cache *c, struct profile_id id)
{
    return read_u64(id.bytes + 8) & (c->bucket_count - 1);
}

static struct entry **find_link(struct profile_cache *c, struct profile_id id)
{
    struct entry **link = &c->buckets[bucket_of(c, id)];
    while (*link != NULL && !profile_id_equal((*link)->profile->id, id)) {
        link = &(*link)->chain;
    }
    return link;
}

static void unlink_use(struct profile_cache *c, struct entry *e)
{
    *(e->newer == NULL ? &c->newest : &e->newer->older) = e->older;
    *(e->older == NULL ? &c->oldest : &e->older->newer) = e->newer;
}

static void link_newest(struct profile_cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest == NULL ? &c->oldest : &c->newest->newer) = e;
    c->newest = e;
}

struct profile *profile_cache_find(struct profile_cache *c, struct profile_id id)
{
    struct entry *e = *find_link(c, id);
    if (e == NULL) {
        return NULL;
    }
    unlink_use(c, e);
    link_newest(c, e);
    return e->profile;
}

static void grow(struct profile_cache *c)
{
    size_t old_count = c->bucket_count;
    struct entry **old = c->buckets;
    c->bucket_count *= 4;
    c->buckets = memory_allocate_zeroed(c->bucket_count * sizeof(struct entry *));
    for (size_t i = 0; i < old_count; i++) {
        for (struct entry *e = old[i]; e != NULL;) {
            struct entry *next = e->chain;
            size_t at = bucket_of(c, e->profile->id);
            e->chain = c->buckets[at];
            c->buckets[at] = e;
            e = next;
        }
    }
    free(old);
}

void profile_cache_add(struct profile_cache *c, struct profile *profile, size_t bytes)
{
    if (c->count++ > c->bucket_count) {
        grow(c);
    }
    struct entry *e = memory_allocate_zeroed(sizeof *e);
    size_t at = bucket_of(c, profile->id);
    e->profile = profile;
    e->bytes = bytes;
    e->chain = c->buckets[at];
    c->buckets[at] = e;
    c->bytes += bytes;
    link_newest(c, e);
}

static void drop(struct profile_cache *c, struct entry **link)
{
    struct entry *e = *link;
    ensure(e != NULL);
    *link = e->chain;
    unlink_use(c, e);
    c->bytes -= e->bytes;
    c->count--;
    profile_free(&e->profile);
    free(e);
}

void profile_cache_remove(struct profile_cache *c, struct profile_id id)
{
    struct entry **link = find_link(c, id);
    if (*link == NULL) {
        return;
    }
    for (struct entry **dirty = &c->dirty; *dirty != NULL; dirty = &(*dirty)->next_dirty) {
        if (*dirty == *link) {
            *dirty = (*dirty)->next_dirty;
            break;
        }
    }
    drop(c, link);
}

void profile_cache_mark_dirty(struct profile_cache *c, struct profile_id id)
{
    struct entry *e = *find_link(c, id);
    ensure(e != NULL);
    if (!e->is_dirty) {
        e->is_dirty = true;
        e->next_dirty = c->dirty;
        c->dirty = e;
    }
}

void profile_cache_write(struct profile_cache *c,
                         size_t (*write)(void *user, struct profile *profile), void *user)
{
    for (struct entry *e = c->dirty; e != NULL; e = e->next_dirty) {
        size_t bytes = write(user, e->profile);
        c->bytes += bytes - e->bytes;
        e->bytes = bytes;
        e->is_dirty = false;
    }
    c->dirty = NULL;
}

void profile_cache_shrink(struct profile_cache *c)
{
    struct entry *e = c->oldest;
    while (e != NULL && c->bytes > c->bytes_max) {
        struct entry *newer = e->newer;
        if (!e->is_dirty) {
            drop(c, find_link(c, e->profile->id));
        }
        e = newer;
    }
}

void profile_cache_free(struct profile_cache **cache)
{
    struct profile_cache *c = *cache;
    if (c == NULL) {
        return;
    }
    while (c->oldest != NULL) {
        drop(c, find_link(c, c->oldest->profile->id));
    }
    free(c->buckets);
    free(c);
    *cache = NULL;
}
