#include "collector/gate/refusals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "collector/gate/refusal_sample.h"
#include "shared/metrics.h"

/* Sources are the hub's and codes our own; what does not fit is counted together, in the last. */
enum { ROWS_MAX = 512, SOURCE_BYTES_MAX = LIMIT_NAME_BYTES };

struct row {
    size_t source_len;
    uint8_t source[SOURCE_BYTES_MAX];
    const char *code;
    uint64_t count;
};

/* The last refusals of one source, a ring. */
struct memory {
    size_t source_len;
    uint8_t source[SOURCE_BYTES_MAX];
    uint64_t count; /* so far; the newest is at (count - 1) % REFUSALS_LAST_OF_SOURCE */
    struct refusal_seen seen[REFUSALS_LAST_OF_SOURCE];
};

struct refusals {
    const struct clock *clock;
    pthread_mutex_t lock;
    size_t row_count;
    struct row rows[ROWS_MAX];
    uint64_t serial;
    size_t memory_count;
    struct memory *memories[REFUSALS_SOURCES];
};

struct refusals *refusals_new(const struct clock *clock)
{
    struct refusals *refusals = memory_allocate_zeroed(sizeof *refusals);
    refusals->clock = clock;
    pthread_mutex_init(&refusals->lock, NULL);
    return refusals;
}

void refusals_free(struct refusals **refusals)
{
    struct refusals *r = *refusals;
    if (r != NULL) {
        for (size_t i = 0; i < r->memory_count; i++) {
            free(r->memories[i]);
        }
        pthread_mutex_destroy(&r->lock);
        free(r);
        *refusals = NULL;
    }
}

static struct slice bounded(struct slice source)
{
    return slice_make(source.data, source.len > SOURCE_BYTES_MAX ? SOURCE_BYTES_MAX : source.len);
}

static struct row *find_row(struct refusals *r, struct slice source, const char *code)
{
    for (size_t i = 0; i < r->row_count; i++) {
        if (slice_equal(slice_make(r->rows[i].source, r->rows[i].source_len), source) &&
            strcmp(r->rows[i].code, code) == 0) {
            return &r->rows[i];
        }
    }
    if (r->row_count >= ROWS_MAX - 1) {
        source = slice_make(NULL, 0);
        code = "other";
    }
    if (r->row_count == ROWS_MAX) {
        return &r->rows[ROWS_MAX - 1];
    }
    struct row *row = &r->rows[r->row_count++];
    row->source_len = source.len;
    if (source.len > 0) {
        memcpy(row->source, source.data, source.len);
    }
    row->code = code;
    return row;
}

void refusals_add(struct refusals *refusals, struct slice source, const char *code, uint64_t events)
{
    pthread_mutex_lock(&refusals->lock);
    find_row(refusals, bounded(source), code)->count += events;
    pthread_mutex_unlock(&refusals->lock);
}

void refusals_count(struct refusals *refusals, struct slice source, const char *code)
{
    refusals_add(refusals, source, code, 1);
}

/* ---- The last refusals ---- */

static uint64_t newest_of(const struct memory *m)
{
    return m->count == 0 ? 0 : m->seen[(m->count - 1) % REFUSALS_LAST_OF_SOURCE].serial;
}

/* The memory of the source; if need be, of the source that was refused longest ago. */
static struct memory *find_memory(struct refusals *r, struct slice source)
{
    size_t oldest = 0;
    for (size_t i = 0; i < r->memory_count; i++) {
        if (slice_equal(slice_make(r->memories[i]->source, r->memories[i]->source_len), source)) {
            return r->memories[i];
        }
        oldest = newest_of(r->memories[i]) < newest_of(r->memories[oldest]) ? i : oldest;
    }
    if (r->memory_count < REFUSALS_SOURCES) {
        oldest = r->memory_count++;
        r->memories[oldest] = memory_allocate_zeroed(sizeof *r->memories[oldest]);
    }
    struct memory *m = r->memories[oldest];
    m->count = 0;
    m->source_len = source.len;
    if (source.len > 0) {
        memcpy(m->source, source.data, source.len);
    }
    return m;
}

void refusals_note(struct refusals *refusals, struct slice source, const struct refusal *refusal,
                   const struct request_event *event)
{
    struct refusal_seen seen = {.at_ms = clock_now_ms(refusals->clock), .code = refusal->code};
    if (refusal->field != NULL) {
        refusal_sample_pointer(slice_text(refusal->field), seen.field, sizeof seen.field);
    }
    if (event != NULL) {
        refusal_sample_event(event, &seen);
    }
    pthread_mutex_lock(&refusals->lock);
    struct memory *m = find_memory(refusals, bounded(source));
    seen.serial = ++refusals->serial;
    m->seen[m->count++ % REFUSALS_LAST_OF_SOURCE] = seen;
    pthread_mutex_unlock(&refusals->lock);
}

uint64_t refusals_serial(struct refusals *refusals)
{
    pthread_mutex_lock(&refusals->lock);
    uint64_t serial = refusals->serial;
    pthread_mutex_unlock(&refusals->lock);
    return serial;
}

void refusals_each_count(struct refusals *refusals,
                         void (*each)(void *user, struct slice source, const char *code,
                                      uint64_t count),
                         void *user)
{
    pthread_mutex_lock(&refusals->lock);
    for (size_t i = 0; i < refusals->row_count; i++) {
        const struct row *row = &refusals->rows[i];
        each(user, slice_make(row->source, row->source_len), row->code, row->count);
    }
    pthread_mutex_unlock(&refusals->lock);
}

void refusals_each_last(struct refusals *refusals,
                        bool (*each)(void *user, struct slice source,
                                     const struct refusal_seen *seen),
                        void *user)
{
    bool goes_on = true;
    pthread_mutex_lock(&refusals->lock);
    for (uint64_t back = 1; goes_on && back <= REFUSALS_LAST_OF_SOURCE; back++) {
        for (size_t i = 0; goes_on && i < refusals->memory_count; i++) {
            const struct memory *m = refusals->memories[i];
            if (back <= m->count) {
                goes_on = each(user, slice_make(m->source, m->source_len),
                               &m->seen[(m->count - back) % REFUSALS_LAST_OF_SOURCE]);
            }
        }
    }
    pthread_mutex_unlock(&refusals->lock);
}

struct metrics_out {
    struct buf *out;
    const char *name;
};

static void put_metric(void *user, struct slice source, const char *code, uint64_t count)
{
    const struct metrics_out *m = user;
    metrics_put_sample(m->out, m->name, "source", source, "reason", slice_text(code),
                       (double)count);
}

void refusals_put_metrics(struct refusals *refusals, struct buf *out)
{
    struct metrics_out m = {out, "tributary_refused_events_total"};
    metrics_put_head(out, m.name, "counter", "Events or requests refused, by source and reason.");
    refusals_each_count(refusals, put_metric, &m);
}
