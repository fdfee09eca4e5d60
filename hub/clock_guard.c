#include "hub/clock_guard.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/log.h"

enum { NOTE_EVERY_MS = 60 * 1000, NS_IN_MS = 1000000 };

/* ---- The state machine ---- */

static bool is_near(int64_t a, int64_t b)
{
    int64_t difference = a > b ? a - b : b - a;
    return difference <= CLOCK_GUARD_TOLERANCE_MS;
}

void clock_state_hear(struct clock_state *s, uint32_t collector, int64_t collector_ms,
                      int64_t monotonic_ms)
{
    struct clock_voice *oldest = &s->voices[0];
    for (unsigned i = 0; i < s->voice_count; i++) {
        struct clock_voice *voice = &s->voices[i];
        if (voice->collector == collector) {
            oldest = voice;
            break;
        }
        oldest = voice->heard_ms < oldest->heard_ms ? voice : oldest;
    }
    bool is_new = s->voice_count == 0 || oldest->collector != collector;
    if (is_new && s->voice_count < CLOCK_GUARD_VOICES_MAX) {
        oldest = &s->voices[s->voice_count++];
    }
    *oldest = (struct clock_voice){collector, monotonic_ms, collector_ms - monotonic_ms};
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The median of what the collectors' clocks show; of an even number, the one that is nearer. */
static unsigned find_median(const struct clock_state *s, int64_t wall_ms, int64_t monotonic_ms,
                            int64_t *ret_ms)
{
    int64_t shown[CLOCK_GUARD_VOICES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < s->voice_count; i++) {
        if (monotonic_ms - s->voices[i].heard_ms <= CLOCK_GUARD_FRESH_MS) {
            shown[count++] = s->voices[i].base_ms + monotonic_ms;
        }
    }
    if (count == 0) {
        return 0;
    }
    qsort(shown, count, sizeof *shown, compare);
    int64_t upper = shown[count / 2];
    int64_t lower = shown[(count - 1) / 2];
    *ret_ms = llabs(wall_ms - upper) < llabs(wall_ms - lower) ? upper : lower;
    return count;
}

static struct clock_decision believe(struct clock_state *s, int64_t wall_ms, int64_t monotonic_ms)
{
    s->has_base = true;
    s->base_ms = wall_ms - monotonic_ms;
    s->is_held = false;
    s->is_awaiting = false;
    return (struct clock_decision){.now_ms = wall_ms};
}

/* Some collector should be heard soon. */
static bool awaits(struct clock_state *s, int64_t monotonic_ms)
{
    if (!s->is_awaiting) {
        s->is_awaiting = true;
        s->awaits_from_ms = monotonic_ms;
    }
    return monotonic_ms - s->awaits_from_ms <= CLOCK_GUARD_AWAIT_MS;
}

struct clock_decision clock_state_decide(struct clock_state *s, int64_t wall_ms,
                                         int64_t monotonic_ms)
{
    int64_t past_ms = s->has_base ? s->base_ms + monotonic_ms : s->past_ms;
    int64_t median_ms = 0;
    if (s->trusts || !(s->has_past || s->has_base) || is_near(wall_ms, past_ms)) {
        return believe(s, wall_ms, monotonic_ms);
    }
    unsigned voices = find_median(s, wall_ms, monotonic_ms, &median_ms);
    bool agrees =
        voices > 0 ? is_near(wall_ms, median_ms) : !s->has_collectors || !awaits(s, monotonic_ms);
    if (agrees) {
        return believe(s, wall_ms, monotonic_ms);
    }
    s->is_held = true;
    return (struct clock_decision){
        .is_held = true,
        .now_ms = s->has_base || voices == 0 ? past_ms : median_ms,
        .ahead_ms = wall_ms - (voices > 0 ? median_ms : past_ms),
        .voices = voices,
    };
}

/* ---- The shell ---- */

struct clock_guard {
    struct clock clock; /* first: it is what others have */
    const struct clock *machine;
    struct eventlog *log;
    pthread_mutex_t lock;
    struct clock_state state;
    int64_t noted_ms; /* monotonic */
    int64_t said_ms;  /* likewise; 0: it is not held */
};

/* 'T' in the log's store (stored: never change): when the hub's clock was believed last. */
static const char past_key[] = "T";

static int64_t monotonic_ms(const struct clock_guard *g)
{
    return clock_monotonic_ns(g->machine) / NS_IN_MS;
}

static int64_t now_ms(const struct clock *clock)
{
    union {
        const struct clock *clock;
        struct clock_guard *guard;
    } cast = {.clock = clock};
    return clock_guard_decide(cast.guard).now_ms;
}

static int64_t monotonic_ns(const struct clock *clock)
{
    return clock_monotonic_ns(((const struct clock_guard *)(const void *)clock)->machine);
}

static bool read_past(struct clock_guard *g, struct error *err)
{
    struct buf value;
    bool found = false;
    buf_init(&value, 64);
    bool fine = store_get(eventlog_store(g->log), NULL, slice_text(past_key), &value, &found, err);
    g->state.has_past = fine && found && value.len == 8;
    g->state.past_ms = g->state.has_past ? (int64_t)read_u64(value.data) : 0;
    buf_done(&value);
    return fine;
}

bool clock_guard_open(struct eventlog *log, const struct clock *machine, bool trusts,
                      struct clock_guard **ret, struct error *err)
{
    struct clock_guard *g = memory_allocate_zeroed(sizeof *g);
    g->clock = (struct clock){.now_ms = now_ms, .monotonic_ns = monotonic_ns};
    g->machine = machine;
    g->log = log;
    g->state.trusts = trusts;
    pthread_mutex_init(&g->lock, NULL);
    *ret = g;
    if (!read_past(g, err)) {
        clock_guard_close(ret);
        return false;
    }
    g->noted_ms = monotonic_ms(g) - NOTE_EVERY_MS;
    return true;
}

const struct clock *clock_guard_clock(struct clock_guard *g)
{
    return &g->clock;
}

void clock_guard_set_collectors(struct clock_guard *g, bool has_collectors)
{
    pthread_mutex_lock(&g->lock);
    g->state.has_collectors = has_collectors;
    pthread_mutex_unlock(&g->lock);
}

void clock_guard_hear(struct clock_guard *g, uint32_t collector, int64_t collector_ms)
{
    pthread_mutex_lock(&g->lock);
    clock_state_hear(&g->state, collector, collector_ms, monotonic_ms(g));
    pthread_mutex_unlock(&g->lock);
}

struct clock_decision clock_guard_decide(struct clock_guard *g)
{
    pthread_mutex_lock(&g->lock);
    struct clock_decision decision =
        clock_state_decide(&g->state, clock_now_ms(g->machine), monotonic_ms(g));
    pthread_mutex_unlock(&g->lock);
    return decision;
}

static void note_past(struct clock_guard *g, int64_t past_ms)
{
    struct store_batch batch;
    struct buf value;
    struct error err;
    store_batch_init(&batch);
    buf_init(&value, 8);
    buf_put_u64(&value, (uint64_t)past_ms);
    store_batch_put(&batch, slice_text(past_key), buf_slice(&value));
    if (!eventlog_note(g->log, &batch, &err)) {
        log_warn("clock-not-noted", "%s", err.message);
    }
    buf_done(&value);
    store_batch_done(&batch);
}

void clock_guard_describe(const struct clock_decision *d, char ret[CLOCK_GUARD_SENTENCE_BYTES])
{
    long long seconds = llabs(d->ahead_ms) / 1000;
    const char *way = d->ahead_ms > 0 ? "ahead of" : "behind";
    if (d->voices > 0) {
        snprintf(ret, CLOCK_GUARD_SENTENCE_BYTES,
                 "This machine's clock is %lld s %s the median of %u collectors, and not where it "
                 "was: blocks are taken and nothing is routed. Set it right, or start the hub with "
                 "--trust-clock.",
                 seconds, way, d->voices);
    } else {
        snprintf(ret, CLOCK_GUARD_SENTENCE_BYTES,
                 "This machine's clock is %lld s %s where it was, and no collector was heard yet: "
                 "nothing is routed for a minute at most.",
                 seconds, way);
    }
}

void clock_guard_look(struct clock_guard *g)
{
    struct clock_decision decision = clock_guard_decide(g);
    char sentence[CLOCK_GUARD_SENTENCE_BYTES];
    int64_t now = monotonic_ms(g);
    if (!decision.is_held && now - g->noted_ms >= NOTE_EVERY_MS) {
        g->noted_ms = now;
        note_past(g, decision.now_ms);
    }
    if (decision.is_held && (g->said_ms == 0 || now - g->said_ms >= NOTE_EVERY_MS)) {
        g->said_ms = now;
        clock_guard_describe(&decision, sentence);
        log_warn("clock-held", "%s", sentence);
    } else if (!decision.is_held && g->said_ms != 0) {
        g->said_ms = 0;
        log_info("clock-believed", "The clock is right again: what waited is routed.");
    }
}

void clock_guard_close(struct clock_guard **guard)
{
    struct clock_guard *g = *guard;
    if (g == NULL) {
        return;
    }
    if (g->noted_ms != 0) {
        struct clock_decision decision = clock_guard_decide(g);
        if (!decision.is_held) {
            note_past(g, decision.now_ms);
        }
    }
    pthread_mutex_destroy(&g->lock);
    free(g);
    *guard = NULL;
}
