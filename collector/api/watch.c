#include "collector/api/watch.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include "shared/daemon.h"
#include "shared/error.h"
#include "shared/headcount.h"

/* Visitors are known by a keyed hash of their id: two with the same one wake each other, which does
 * no harm, and an id needs no memory of its own. */
struct entry {
    uint64_t visitor;
    int64_t deadline_ns;
    void *waiter;
    bool is_bound; /* by its address, which sits at `seat` */
    uint32_t seat;
};

struct watch {
    const struct clock *clock;
    void (*wake)(void *user, void *waiter);
    void *user;
    uint8_t key[crypto_shorthash_KEYBYTES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count;
    size_t count_max;
    size_t per_address_max;
    struct headcount *headcount;
    struct entry *entries; /* in no order */
    bool closing;
    pthread_t thread;
};

enum { IDLE_MS = 60000 };

static uint64_t hash(const struct watch *w, struct slice id)
{
    uint64_t ret;
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, id.data, id.len, w->key);
    memcpy(&ret, out, sizeof ret);
    return ret;
}

/* Under the lock: take the entry out, and wake its waiter without the lock. */
static void wake_one(struct watch *w, size_t at)
{
    void *waiter = w->entries[at].waiter;
    if (w->entries[at].is_bound) {
        headcount_remove(w->headcount, w->entries[at].seat);
    }
    w->entries[at] = w->entries[--w->count];
    pthread_mutex_unlock(&w->lock);
    w->wake(w->user, waiter);
    pthread_mutex_lock(&w->lock);
}

/* Under the lock: the one whose time is over first. */
static size_t find_first(const struct watch *w)
{
    size_t first = 0;
    for (size_t i = 1; i < w->count; i++) {
        first = w->entries[i].deadline_ns < w->entries[first].deadline_ns ? i : first;
    }
    return first;
}

static void *run(void *arg)
{
    struct watch *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->closing) {
        size_t first = find_first(w);
        int64_t left_ns = w->count == 0
                              ? (int64_t)IDLE_MS * 1000000
                              : w->entries[first].deadline_ns - clock_monotonic_ns(w->clock);
        if (left_ns <= 0) {
            wake_one(w, first);
        } else {
            daemon_wait(&w->changed, &w->lock, left_ns / 1000000 + 1);
        }
    }
    while (w->count > 0) {
        wake_one(w, w->count - 1);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct watch *watch_open(size_t waiters_max, size_t per_address_max, const struct clock *clock,
                         void (*wake)(void *user, void *waiter), void *user)
{
    struct watch *w = memory_allocate_zeroed(sizeof *w);
    w->clock = clock;
    w->wake = wake;
    w->user = user;
    w->count_max = waiters_max;
    w->per_address_max = per_address_max;
    w->headcount = headcount_new(waiters_max);
    w->entries = memory_allocate_zeroed(waiters_max * sizeof *w->entries);
    crypto_shorthash_keygen(w->key);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->thread = daemon_start_thread("watch", run, w);
    return w;
}

void watch_stop(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    bool is_first = !w->closing;
    w->closing = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (is_first) {
        pthread_join(w->thread, NULL);
    }
}

void watch_close(struct watch **watch)
{
    struct watch *w = *watch;
    if (w == NULL) {
        return;
    }
    watch_stop(w);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    headcount_free(&w->headcount);
    free(w->entries);
    free(w);
    *watch = NULL;
}

/* Under the lock. */
static bool has_room(const struct watch *w, const struct entry *entry)
{
    return !w->closing && w->count < w->count_max &&
           (!entry->is_bound || headcount_of(w->headcount, entry->seat) < w->per_address_max);
}

bool watch_add(struct watch *w, struct slice anonymous_id, int64_t wait_ms,
               const struct address *from, void *waiter)
{
    struct entry entry = {
        .visitor = hash(w, anonymous_id),
        .deadline_ns = clock_monotonic_ns(w->clock) + wait_ms * 1000000,
        .waiter = waiter,
        .is_bound = from != NULL,
        .seat = from == NULL ? 0 : headcount_seat(w->headcount, *from),
    };
    pthread_mutex_lock(&w->lock);
    bool fits = has_room(w, &entry);
    if (fits && entry.is_bound) {
        headcount_add(w->headcount, entry.seat);
    }
    if (fits) {
        w->entries[w->count++] = entry;
        pthread_cond_signal(&w->changed); /* it may be the first whose time is over */
    }
    pthread_mutex_unlock(&w->lock);
    return fits;
}

void watch_changed(struct watch *w, struct slice anonymous_id)
{
    uint64_t visitor = hash(w, anonymous_id);
    pthread_mutex_lock(&w->lock);
    for (size_t i = w->count; i-- > 0;) {
        if (i < w->count && w->entries[i].visitor == visitor) {
            wake_one(w, i);
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void watch_cancel(struct watch *w, const void *waiter)
{
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < w->count; i++) {
        if (w->entries[i].waiter == waiter) {
            wake_one(w, i);
            break;
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void watch_changed_all(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    for (size_t left = w->count; left > 0 && w->count > 0; left--) {
        wake_one(w, 0);
    }
    pthread_mutex_unlock(&w->lock);
}

size_t watch_waiters(struct watch *w)
{
    pthread_mutex_lock(&w->lock);
    size_t count = w->count;
    pthread_mutex_unlock(&w->lock);
    return count;
}
