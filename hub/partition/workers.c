#include "hub/partition/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "shared/daemon.h"
#include "shared/log.h"

enum { BATCH_MESSAGES = 4096, SLEEP_MS_MAX = 1000 };

struct mail {
    struct mail *next;
    int32_t source;
    uint64_t position;
    size_t len;
    uint8_t bytes[];
};

struct seat {
    struct workers *workers;
    uint32_t index;
    struct partition *partition;
    struct mail *first; /* under workers->lock, like the next three */
    struct mail *last;
    bool is_ready; /* in the line */
    bool is_busy;  /* a thread works on it */
    struct seat *next_ready;
    int64_t next_timer_ms;
    _Atomic uint64_t *committed; /* by source: what this partition has behind it */
};

struct workers {
    struct workers_options options;
    struct seat *seats;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t room;
    struct seat *ready_first;
    struct seat *ready_last;
    size_t queued_bytes;
    bool closing;
    _Atomic uint64_t commits;
    pthread_t *threads;
    unsigned thread_count;
};

static void line_up(struct workers *w, struct seat *seat)
{
    if (seat->is_ready || seat->is_busy) {
        return;
    }
    seat->is_ready = true;
    seat->next_ready = NULL;
    if (w->ready_first == NULL) {
        w->ready_first = seat;
    } else {
        w->ready_last->next_ready = seat;
    }
    w->ready_last = seat;
    pthread_cond_signal(&w->work);
}

static void post(struct workers *w, uint32_t to, int32_t source, uint64_t position,
                 struct slice message)
{
    struct mail *mail = memory_allocate(sizeof *mail + message.len);
    struct seat *seat = &w->seats[to];
    mail->next = NULL;
    mail->source = source;
    mail->position = position;
    mail->len = message.len;
    memcpy(mail->bytes, message.data, message.len);
    pthread_mutex_lock(&w->lock);
    if (seat->first == NULL) {
        seat->first = mail;
    } else {
        seat->last->next = mail;
    }
    seat->last = mail;
    w->queued_bytes += sizeof *mail + message.len;
    line_up(w, seat);
    pthread_mutex_unlock(&w->lock);
}

void workers_post(struct workers *w, uint32_t partition, uint64_t position, struct slice message)
{
    bool is_hint = position == 0;
    pthread_mutex_lock(&w->lock);
    while (!is_hint && !w->closing && w->queued_bytes > w->options.queued_bytes_max) {
        pthread_cond_wait(&w->room, &w->lock);
    }
    bool closing = w->closing;
    pthread_mutex_unlock(&w->lock);
    if (!closing) {
        post(w, partition, is_hint ? PARTITION_SOURCE_LOCAL : (int32_t)w->options.partitions,
             position, message);
    }
}

/* What a commit caused for another partition. */
static void on_message(void *user, uint32_t to, uint64_t sequence, struct slice message)
{
    struct seat *seat = user;
    post(seat->workers, to, (int32_t)seat->index, sequence, message);
}

static void on_edge(void *user, uint32_t collector)
{
    struct seat *seat = user;
    seat->workers->options.edge(seat->workers->options.user, collector);
}

_Noreturn static void fail(const struct seat *seat, const struct error *err)
{
    log_error("partition-failed", "%s partition=%u", err->message, seat->index);
    _Exit(70);
}

static void commit(struct seat *seat)
{
    struct workers *w = seat->workers;
    struct error err;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        partition_delivered(seat->partition, i, w->seats[i].committed[seat->index]);
    }
    if (!partition_commit(seat->partition, &err)) {
        fail(seat, &err);
    }
    for (uint32_t i = 0; i <= w->options.partitions; i++) {
        seat->committed[i] = partition_position(seat->partition, i);
    }
    w->commits++;
}

static struct mail *take_mail(struct workers *w, struct seat *seat)
{
    struct mail *taken = seat->first;
    struct mail *last = taken;
    size_t bytes = 0;
    for (int n = 0; last != NULL; last = last->next) {
        bytes += sizeof *last + last->len;
        if (++n == BATCH_MESSAGES || last->next == NULL) {
            break;
        }
    }
    if (last != NULL) {
        seat->first = last->next;
        last->next = NULL;
    }
    w->queued_bytes -= bytes;
    pthread_cond_broadcast(&w->room);
    return taken;
}

/* Handle a batch of mail and commit it; then what is due by time. True: there is more to do. */
static bool work(struct seat *seat, struct mail *mail)
{
    struct error err;
    bool more = false;
    int64_t now = clock_now_ms(seat->workers->options.clock);
    while (mail != NULL) {
        struct mail *next = mail->next;
        if (!partition_handle(seat->partition, mail->source, mail->position,
                              slice_make(mail->bytes, mail->len), now, &err)) {
            fail(seat, &err);
        }
        free(mail);
        mail = next;
    }
    if (partition_is_dirty(seat->partition)) {
        commit(seat);
    }
    now = clock_now_ms(seat->workers->options.clock);
    if (partition_next_timer(seat->partition) <= now) {
        if (!partition_tick(seat->partition, now, &more, &err)) {
            fail(seat, &err);
        }
        if (partition_is_dirty(seat->partition)) {
            commit(seat);
        }
    }
    return more;
}

/* Line up the partitions whose timers are due; sleep until the next is, or mail comes. */
static void wait_for_work(struct workers *w)
{
    int64_t now = clock_now_ms(w->options.clock);
    int64_t next = now + SLEEP_MS_MAX;
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct seat *seat = &w->seats[i];
        if (seat->is_busy || seat->is_ready) {
            continue;
        }
        if (seat->next_timer_ms <= now) {
            line_up(w, seat);
        } else if (seat->next_timer_ms < next) {
            next = seat->next_timer_ms;
        }
    }
    if (w->ready_first != NULL) {
        return;
    }
    daemon_wait(&w->work, &w->lock, next - now);
}

static void *run(void *arg)
{
    struct workers *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->closing) {
        struct seat *seat = w->ready_first;
        if (seat == NULL) {
            wait_for_work(w);
            continue;
        }
        w->ready_first = seat->next_ready;
        seat->is_ready = false;
        seat->is_busy = true;
        struct mail *mail = take_mail(w, seat);
        pthread_mutex_unlock(&w->lock);
        bool more = work(seat, mail);
        pthread_mutex_lock(&w->lock);
        seat->is_busy = false;
        seat->next_timer_ms = partition_next_timer(seat->partition);
        if (more || seat->first != NULL) {
            line_up(w, seat);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static bool open_seats(struct workers *w, struct store *const *stores, struct error *err)
{
    uint32_t count = w->options.partitions;
    w->seats = memory_allocate_zeroed(count * sizeof *w->seats);
    for (uint32_t i = 0; i < count; i++) {
        struct seat *seat = &w->seats[i];
        struct partition_options options = {i, count, w->options.cache_bytes / count};
        struct partition_listener listener = {on_message, on_edge, seat};
        seat->workers = w;
        seat->index = i;
        seat->committed = memory_allocate_zeroed((count + 1) * sizeof *seat->committed);
        if (!partition_open(stores[i], &options, &listener, &seat->partition, err)) {
            return false;
        }
        for (uint32_t s = 0; s <= count; s++) {
            seat->committed[s] = partition_position(seat->partition, s);
        }
        seat->next_timer_ms = partition_next_timer(seat->partition);
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t to = 0; to < count; to++) {
            if (!partition_redeliver(w->seats[i].partition, to, w->seats[to].committed[i], err)) {
                return false;
            }
        }
    }
    return true;
}

bool workers_open(struct store *const *stores, const struct workers_options *options,
                  struct workers **ret, struct error *err)
{
    struct workers *w = memory_allocate_zeroed(sizeof *w);
    w->options = *options;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->room, NULL);
    if (!open_seats(w, stores, err)) {
        workers_close(&w);
        return false;
    }
    w->threads = memory_allocate_zeroed(options->threads * sizeof *w->threads);
    for (; w->thread_count < options->threads; w->thread_count++) {
        w->threads[w->thread_count] = daemon_start_thread("partition", run, w);
    }
    *ret = w;
    return true;
}

void workers_close(struct workers **workers)
{
    struct workers *w = *workers;
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++) {
        pthread_join(w->threads[i], NULL);
    }
    for (uint32_t i = 0; i < w->options.partitions; i++) {
        struct mail *mail = w->seats[i].first;
        while (mail != NULL) { /* it is in an outbox or in the log, and will come again */
            struct mail *next = mail->next;
            free(mail);
            mail = next;
        }
        partition_close(&w->seats[i].partition);
        free(w->seats[i].committed);
    }
    free(w->seats);
    free(w->threads);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->room);
    free(w);
    *workers = NULL;
}

uint64_t workers_position(struct workers *w, uint32_t partition)
{
    return w->seats[partition].committed[w->options.partitions];
}

void workers_slowest_catalog(struct workers *w, struct buf *out)
{
    uint32_t slowest = 0;
    for (uint32_t i = 1; i < w->options.partitions; i++) {
        slowest = workers_position(w, i) < workers_position(w, slowest) ? i : slowest;
    }
    buf_put_slice(out, partition_catalog(w->seats[slowest].partition));
}

uint64_t workers_commits(struct workers *w)
{
    return w->commits;
}

size_t workers_queued_bytes(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    size_t bytes = w->queued_bytes;
    pthread_mutex_unlock(&w->lock);
    return bytes;
}
