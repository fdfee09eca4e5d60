#include "collector/spool/clock_offset.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/buf.h"

enum { ESTIMATES = 8, JUMP_MS = 500 };

struct clock_offset {
    const struct clock *clock;
    pthread_mutex_t lock;
    int64_t boot_ms; /* wall clock minus monotonic clock: constant until somebody sets the former */
    unsigned count;
    unsigned next;
    int64_t estimates[ESTIMATES];
    void (*learnt)(void *user);
    void *user;
};

static int64_t boot_ms(const struct clock_offset *o)
{
    return clock_now_ms(o->clock) - clock_monotonic_ns(o->clock) / 1000000;
}

struct clock_offset *clock_offset_new(const struct clock *clock)
{
    struct clock_offset *o = memory_allocate_zeroed(sizeof *o);
    o->clock = clock;
    pthread_mutex_init(&o->lock, NULL);
    o->boot_ms = boot_ms(o);
    return o;
}

void clock_offset_free(struct clock_offset **offset)
{
    if (*offset != NULL) {
        pthread_mutex_destroy(&(*offset)->lock);
        free(*offset);
        *offset = NULL;
    }
}

static void forget_after_jump(struct clock_offset *o)
{
    int64_t now = boot_ms(o);
    int64_t moved = now - o->boot_ms;
    if (moved > JUMP_MS || moved < -JUMP_MS) {
        o->count = 0;
    }
    /* Slow drift is followed. */
    o->boot_ms = now;
}

void clock_offset_watch(struct clock_offset *o, void (*learnt)(void *user), void *user)
{
    o->learnt = learnt;
    o->user = user;
}

void clock_offset_note(struct clock_offset *o, int64_t hub_ms)
{
    pthread_mutex_lock(&o->lock);
    forget_after_jump(o);
    bool is_first = o->count == 0;
    o->next = is_first ? 0 : o->next;
    o->estimates[o->next] = hub_ms - clock_now_ms(o->clock);
    o->next = (o->next + 1) % ESTIMATES;
    o->count += o->count < ESTIMATES;
    pthread_mutex_unlock(&o->lock);
    if (is_first && o->learnt != NULL) {
        o->learnt(o->user);
    }
}

bool clock_offset_get(struct clock_offset *o, int64_t *ret_ms)
{
    pthread_mutex_lock(&o->lock);
    forget_after_jump(o);
    bool is_known = o->count > 0;
    *ret_ms = is_known ? o->estimates[0] : 0;
    for (unsigned i = 1; i < o->count; i++) {
        *ret_ms = o->estimates[i] > *ret_ms ? o->estimates[i] : *ret_ms;
    }
    pthread_mutex_unlock(&o->lock);
    return is_known;
}
