#include "collector/gate/suppression.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Keys in the edge's store (stored: never change):
 *   'x' hash    one who is suppressed: nothing without the key of the hashes
 *   'y' hash of nothing, in the vault: version, 8 bytes, and that key
 */
enum { STATE_BYTES = 8 + SUPPRESSION_KEY_BYTES, HASH_KEY_BYTES = 1 + SUPPRESSION_HASH_BYTES };

struct suppression {
    pthread_rwlock_t lock;
    _Atomic size_t count; /* of the set, to pass by without the lock */
    uint64_t version;
    struct suppression_set *set;
};

static bool read_state(const struct vault *vault, struct suppression *s, struct error *err)
{
    struct vault_key key = vault_key_of(vault, 'y', slice_make(NULL, 0));
    struct buf bytes;
    struct slice state;
    bool found = false;
    buf_init(&bytes, 4096);
    bool fine = vault_get(vault, &key, &bytes, &state, &found, err);
    if (fine && found && state.len == STATE_BYTES) {
        s->version = read_u64(state.data);
        suppression_set_key(s->set, state.data + 8);
    } else if (fine && found) {
        fine = error_set(err, ERROR_CORRUPT, "the suppression list's state is damaged");
    }
    buf_done(&bytes);
    return fine;
}

static void take_key(struct suppression *s, struct slice key)
{
    uint8_t change[SUPPRESSION_CHANGE_BYTES] = {1};
    if (key.len == HASH_KEY_BYTES) {
        memcpy(change + 1, key.data + 1, SUPPRESSION_HASH_BYTES);
        bool taken = suppression_set_apply(s->set, slice_make(change, sizeof change));
        ensure(taken);
    }
}

static bool read_hashes(struct store *store, struct suppression *s, struct error *err)
{
    struct store_iterator *it = store_iterator_open(store, NULL);
    for (store_iterator_seek(it, slice_text("x"));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == 'x';
         store_iterator_next(it)) {
        take_key(s, store_iterator_key(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool suppression_open(struct store *store, const struct vault *vault, struct suppression **ret,
                      struct error *err)
{
    struct suppression *s = memory_allocate_zeroed(sizeof *s);
    pthread_rwlock_init(&s->lock, NULL);
    s->set = suppression_set_new();
    if (!read_state(vault, s, err) || !read_hashes(store, s, err)) {
        suppression_close(&s);
        return error_add_context(err, "opening the suppression list");
    }
    s->count = suppression_set_count(s->set);
    *ret = s;
    return true;
}

void suppression_close(struct suppression **suppression)
{
    if (*suppression != NULL) {
        suppression_set_free(&(*suppression)->set);
        pthread_rwlock_destroy(&(*suppression)->lock);
        free(*suppression);
        *suppression = NULL;
    }
}

uint64_t suppression_version(struct suppression *s)
{
    pthread_rwlock_rdlock(&s->lock);
    uint64_t version = s->version;
    pthread_rwlock_unlock(&s->lock);
    return version;
}

size_t suppression_count(struct suppression *s)
{
    return s->count;
}

/* The changes behind the key. */
static struct slice changes_of(const struct wire_poll_reply *reply)
{
    return slice_skip(reply->suppressions, SUPPRESSION_KEY_BYTES);
}

static bool delete_all(struct store *store, struct store_batch *batch, struct error *err)
{
    struct store_iterator *it = store_iterator_open(store, NULL);
    for (store_iterator_seek(it, slice_text("x"));
         store_iterator_valid(it) && store_iterator_key(it).data[0] == 'x';
         store_iterator_next(it)) {
        store_batch_delete(batch, store_iterator_key(it));
    }
    bool fine = store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

bool suppression_put(struct store *store, const struct vault *vault,
                     const struct wire_poll_reply *reply, struct store_batch *batch,
                     struct error *err)
{
    uint8_t key[HASH_KEY_BYTES] = {'x'};
    uint8_t state[STATE_BYTES];
    struct buf out = {.data = state, .capacity = sizeof state, .len_max = sizeof state};
    if (reply->suppressions.len == 0 && !reply->starts_over) {
        return true;
    }
    if (reply->starts_over && !delete_all(store, batch, err)) {
        return false;
    }
    if (reply->suppressions.len < SUPPRESSION_KEY_BYTES ||
        !suppression_are_changes(changes_of(reply))) {
        return error_set(err, ERROR_CORRUPT, "the hub's suppressions are damaged");
    }
    struct slice changes = changes_of(reply);
    for (size_t i = 0; i < changes.len; i += SUPPRESSION_CHANGE_BYTES) {
        memcpy(key + 1, changes.data + i + 1, SUPPRESSION_HASH_BYTES);
        if (changes.data[i] == 1) {
            store_batch_put(batch, slice_make(key, sizeof key), slice_make(NULL, 0));
        } else {
            store_batch_delete(batch, slice_make(key, sizeof key));
        }
    }
    buf_put_u64(&out, reply->suppression_version);
    buf_put(&out, reply->suppressions.data, SUPPRESSION_KEY_BYTES);
    struct vault_key state_key = vault_key_of(vault, 'y', slice_make(NULL, 0));
    vault_put(vault, batch, &state_key, buf_slice(&out));
    return true;
}

void suppression_apply(struct suppression *s, const struct wire_poll_reply *reply)
{
    if (reply->suppressions.len == 0) {
        return;
    }
    pthread_rwlock_wrlock(&s->lock);
    if (reply->starts_over) {
        suppression_set_free(&s->set);
        s->set = suppression_set_new();
    }
    suppression_set_key(s->set, reply->suppressions.data);
    bool taken = suppression_set_apply(s->set, changes_of(reply));
    ensure(taken); /* suppression_put() has looked */
    s->version = reply->suppression_version;
    s->count = suppression_set_count(s->set);
    pthread_rwlock_unlock(&s->lock);
}

bool suppression_refuses(struct suppression *s, const struct suppression_types *types,
                         const struct event *event, struct arena *arena)
{
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_rwlock_rdlock(&s->lock);
    bool refuses = suppression_set_matches(s->set, types, event, arena);
    pthread_rwlock_unlock(&s->lock);
    return refuses;
}

bool suppression_cuts(struct suppression *s, const struct suppression_types *types,
                      struct event *event, struct arena *arena)
{
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_rwlock_rdlock(&s->lock);
    bool cuts = suppression_set_cut(s->set, types, event, arena);
    pthread_rwlock_unlock(&s->lock);
    return cuts;
}
