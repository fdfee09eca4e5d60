#include "collector/refusals.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/metrics.h"

/* Bounded: write keys are the hub's and codes our own; what does not fit is counted together. */
enum { ROWS_MAX = 512, SOURCE_BYTES_MAX = 128 };

struct row {
    size_t source_len;
    uint8_t source[SOURCE_BYTES_MAX];
    const char *code;
    uint64_t count;
};

struct refusals {
    pthread_mutex_t lock;
    size_t row_count;
    struct row rows[ROWS_MAX];
};

struct refusals *refusals_new(void)
{
    struct refusals *refusals = memory_allocate_zeroed(sizeof *refusals);
    pthread_mutex_init(&refusals->lock, NULL);
    return refusals;
}

void refusals_free(struct refusals **refusals)
{
    if (*refusals != NULL) {
        pthread_mutex_destroy(&(*refusals)->lock);
        free(*refusals);
        *refusals = NULL;
    }
}

static struct row *find_row(struct refusals *r, struct slice source, const char *code)
{
    for (size_t i = 0; i < r->row_count; i++) {
        if (slice_equal(slice_make(r->rows[i].source, r->rows[i].source_len), source) &&
            strcmp(r->rows[i].code, code) == 0) {
            return &r->rows[i];
        }
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

void refusals_count(struct refusals *refusals, struct slice source, const char *code)
{
    source.len = source.len > SOURCE_BYTES_MAX ? SOURCE_BYTES_MAX : source.len;
    pthread_mutex_lock(&refusals->lock);
    find_row(refusals, source, code)->count++;
    pthread_mutex_unlock(&refusals->lock);
}

void refusals_put_metrics(struct refusals *refusals, struct buf *out)
{
    static const char name[] = "tributary_refused_events_total";
    metrics_put_head(out, name, "counter", "Events or requests refused, by source and reason.");
    pthread_mutex_lock(&refusals->lock);
    for (size_t i = 0; i < refusals->row_count; i++) {
        const struct row *row = &refusals->rows[i];
        metrics_put_sample(out, name, "source", slice_make(row->source, row->source_len), "reason",
                           slice_text(row->code), (double)row->count);
    }
    pthread_mutex_unlock(&refusals->lock);
}
