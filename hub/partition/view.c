#include "hub/partition/view.h"

#include <stdlib.h>

enum { BUCKETS_FIRST = 1024 };

struct view_entry {
    struct view_entry *next;
    uint64_t hash;
    struct slice key;
    struct slice value;
    bool is_deleted;
};

void view_init(struct view *view, struct store *store)
{
    *view = (struct view){.store = store, .bucket_count = BUCKETS_FIRST};
    store_batch_init(&view->batch);
    arena_init(&view->arena, 64 * 1024);
    view->buckets = memory_allocate_zeroed(view->bucket_count * sizeof(struct view_entry *));
}

void view_done(struct view *view)
{
    store_batch_done(&view->batch);
    arena_done(&view->arena);
    free(view->buckets);
}

static struct view_entry *find(const struct view *view, struct slice key, uint64_t hash)
{
    struct view_entry *entry = view->buckets[hash & (view->bucket_count - 1)];
    while (entry != NULL && (entry->hash != hash || !slice_equal(entry->key, key))) {
        entry = entry->next;
    }
    return entry;
}

static void grow(struct view *view)
{
    size_t count = view->bucket_count * 4;
    struct view_entry **buckets = memory_allocate_zeroed(count * sizeof(struct view_entry *));
    for (size_t i = 0; i < view->bucket_count; i++) {
        for (struct view_entry *entry = view->buckets[i]; entry != NULL;) {
            struct view_entry *next = entry->next;
            entry->next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    free(view->buckets);
    view->buckets = buckets;
    view->bucket_count = count;
}

static void overlay(struct view *view, struct slice key, struct slice value, bool is_deleted)
{
    uint64_t hash = hash_of(key);
    struct view_entry *entry = find(view, key, hash);
    if (entry == NULL) {
        if (view->entry_count++ > view->bucket_count) {
            grow(view);
        }
        entry = arena_allocate(&view->arena, sizeof *entry);
        struct view_entry **bucket = &view->buckets[hash & (view->bucket_count - 1)];
        *entry = (struct view_entry){
            .next = *bucket, .hash = hash, .key = arena_copy(&view->arena, key)};
        *bucket = entry;
    }
    entry->value = arena_copy(&view->arena, value);
    entry->is_deleted = is_deleted;
}

void view_put_only(struct view *view, const struct key *key, struct slice value)
{
    store_batch_put(&view->batch, key_slice(key), value);
}

void view_delete_only(struct view *view, const struct key *key)
{
    store_batch_delete(&view->batch, key_slice(key));
}

void view_put(struct view *view, const struct key *key, struct slice value)
{
    view_put_only(view, key, value);
    overlay(view, key_slice(key), value, false);
}

void view_delete(struct view *view, const struct key *key)
{
    view_delete_only(view, key);
    overlay(view, key_slice(key), slice_make(NULL, 0), true);
}

bool view_get(struct view *view, const struct key *key, struct buf *ret, bool *ret_found,
              struct error *err)
{
    struct slice bytes = key_slice(key);
    struct view_entry *entry = find(view, bytes, hash_of(bytes));
    if (entry == NULL) {
        return store_get(view->store, NULL, bytes, ret, ret_found, err);
    }
    buf_clear(ret);
    *ret_found = !entry->is_deleted;
    buf_put_slice(ret, entry->value);
    return true;
}

static bool each_on_disk(struct view *view, struct slice prefix,
                         bool (*each)(void *user, struct slice key, struct slice value), void *user,
                         bool *goes_on, struct error *err)
{
    struct store_iterator *it = store_iterator_open(view->store, NULL);
    for (store_iterator_seek(it, prefix);
         *goes_on && store_iterator_valid(it) && slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        struct slice key = store_iterator_key(it);
        if (view->entry_count == 0 || find(view, key, hash_of(key)) == NULL) {
            *goes_on = each(user, key, store_iterator_value(it));
        }
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool view_each(struct view *view, struct slice prefix,
               bool (*each)(void *user, struct slice key, struct slice value), void *user,
               struct error *err)
{
    bool goes_on = true;
    if (!each_on_disk(view, prefix, each, user, &goes_on, err)) {
        return false;
    }
    for (size_t i = 0; view->entry_count > 0 && i < view->bucket_count; i++) {
        for (struct view_entry *entry = view->buckets[i]; goes_on && entry != NULL;
             entry = entry->next) {
            if (!entry->is_deleted && slice_starts_with(entry->key, prefix)) {
                goes_on = each(user, entry->key, entry->value);
            }
        }
    }
    return true;
}

bool view_commit(struct view *view, struct error *err)
{
    if (!store_write(view->store, &view->batch, true, err)) {
        return false;
    }
    store_batch_clear(&view->batch);
    arena_clear(&view->arena);
    memset(view->buckets, 0, view->bucket_count * sizeof(struct view_entry *));
    view->entry_count = 0;
    return true;
}
