#include "collector/edge/standing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "shared/log.h"

enum { LOG_MS = 60000 };

struct standing {
    const struct clock *clock;
    _Atomic(enum wire_status) status; /* WIRE_STORED: taken; asked for each request */
    pthread_mutex_t lock;             /* of changes, and of what is below */
    int64_t logged_ns;
};

struct standing *standing_new(const struct clock *clock)
{
    struct standing *s = memory_allocate_zeroed(sizeof *s);
    s->clock = clock;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void standing_free(struct standing **standing)
{
    if (*standing != NULL) {
        pthread_mutex_destroy(&(*standing)->lock);
        free(*standing);
        *standing = NULL;
    }
}

struct standing_refusal standing_refusal(const struct standing *s)
{
    enum wire_status status = atomic_load_explicit(&s->status, memory_order_relaxed);
    if (status == WIRE_REVOKED) {
        return (struct standing_refusal){
            "collector-revoked",
            "The hub takes nothing from this collector any more: it was revoked."};
    }
    if (status == WIRE_REPLACED) {
        return (struct standing_refusal){
            "collector-replaced",
            "The hub takes nothing from this collector any more: its name was enrolled again, with "
            "another key. Give it the new enrolment file."};
    }
    return (struct standing_refusal){NULL, NULL};
}

/* Answers to blocks do not tell of replacing: what a poll said stays. */
static enum wire_status next_status(enum wire_status now, enum wire_status told)
{
    bool is_refused = told == WIRE_REVOKED || told == WIRE_REPLACED;
    return !is_refused ? WIRE_STORED : now == WIRE_REPLACED ? now : told;
}

void standing_note(struct standing *s, enum wire_status told)
{
    pthread_mutex_lock(&s->lock);
    enum wire_status before = atomic_load(&s->status);
    enum wire_status now = next_status(before, told);
    int64_t now_ns = clock_monotonic_ns(s->clock);
    bool is_due = now != WIRE_STORED && now_ns - s->logged_ns >= LOG_MS * 1000000LL;
    bool is_logged = now != before || is_due;
    s->logged_ns = is_logged ? now_ns : s->logged_ns;
    atomic_store(&s->status, now);
    pthread_mutex_unlock(&s->lock);
    struct standing_refusal refusal = standing_refusal(s);
    if (is_logged && refusal.code != NULL) {
        log_error(refusal.code, "%s", refusal.message);
    } else if (is_logged) {
        log_info("collector-taken-again", "The hub takes this collector's events again.");
    }
}
