#include "collector/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/block.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* Larger groups compress and sync no better; their memory and their waiting would be wasted. */
enum {
    EPOCH_MS_MAX = 3600 * 1000,
    PROBE_MS = 1000,
    GROUP_EVENTS_USUAL = 1024,
    GROUP_BYTES_USUAL = 512 * 1024,
};

/* A block in the making and who waits for it. */
struct group {
    struct block_builder *builder;
    struct committer_waiter *waiting;
    size_t waiting_count;
    size_t waiting_capacity;
    size_t bytes;
    struct group *next;
};

struct committer {
    struct spool *spool;
    const struct enrolment *enrolment;
    const struct clock *clock;
    size_t pending_bytes_max;
    void (*appended)(void *user);
    void *user;
    struct seal_epoch *epoch; /* of the committer's thread, like the next four */
    int64_t epoch_started_ms;
    struct block_compressor *compressor;
    bool
        epoch_is_spoilt; /* a block of it may or may not be on disk: its number is not used twice */
    struct buf compressed;
    struct buf sealed;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct group *first; /* oldest pending */
    struct group *last;  /* the one that is filled */
    struct group *spare;
    size_t pending_bytes;
    bool closing;
    struct committer_stats stats;
    pthread_t thread;
};

static struct group *group_new(struct block_compressor *compressor)
{
    struct group *group = memory_allocate_zeroed(sizeof *group);
    group->builder = block_builder_new(compressor);
    return group;
}

static void group_free(struct group *group)
{
    while (group != NULL) {
        struct group *next = group->next;
        block_builder_free(&group->builder);
        free(group->waiting);
        free(group);
        group = next;
    }
}

static bool begin_epoch(struct committer *c, struct error *err)
{
    struct buf header;
    int64_t now = clock_now_ms(c->clock);
    buf_init(&header, 1024);
    struct seal_epoch *epoch = seal_epoch_begin(slice_text(c->enrolment->id),
                                                c->enrolment->sign_secret, c->enrolment->hub_public,
                                                spool_epoch(c->spool), now, &rand_secure, &header);
    bool fine = spool_add_epoch(c->spool, seal_epoch_number(epoch), buf_slice(&header), err);
    buf_done(&header);
    if (!fine) {
        seal_epoch_end(&epoch);
        return false;
    }
    seal_epoch_end(&c->epoch);
    c->epoch = epoch;
    c->epoch_is_spoilt = false;
    c->epoch_started_ms = now;
    return true;
}

static bool epoch_is_over(const struct committer *c)
{
    int64_t age = clock_now_ms(c->clock) - c->epoch_started_ms;
    return c->epoch_is_spoilt || age < 0 || age > EPOCH_MS_MAX;
}

static bool write_group(struct committer *c, struct group *group, struct error *err)
{
    size_t count = block_builder_count(group->builder);
    buf_clear(&c->compressed);
    buf_clear(&c->sealed);
    block_builder_finish(group->builder, &c->compressed);
    if (epoch_is_over(c) && !begin_epoch(c, err)) {
        return false;
    }
    seal_write_block(c->epoch, spool_next_sequence(c->spool), (uint32_t)count,
                     buf_slice(&c->compressed), &c->sealed);
    return spool_append(c->spool, buf_slice(&c->sealed), err);
}

static void answer_http(void *user, const struct error *err)
{
    struct http_request *http = user;
    if (err != NULL) {
        bool full = err->kind == ERROR_FULL;
        http_answer_error(http, 503, full ? "spool-full" : "storage-failed",
                          full ? "The spool is full; try again later."
                               : "The events could not be stored; try again later.",
                          NULL);
        http_add_header(http, "Retry-After", slice_text("5"));
    }
    http_resume(http);
}

static void answer(struct group *group, const struct error *err)
{
    for (size_t i = 0; i < group->waiting_count; i++) {
        group->waiting[i].committed(group->waiting[i].user, err);
    }
    group->waiting_count = 0;
}

/* Under the lock; logs a change only, because a full disk fails thousands of times a second. */
static void note_health(struct committer *c, bool is_failing, const struct error *err)
{
    if (is_failing && !c->stats.is_failing) {
        log_error("disk-failing",
                  "%s. New events are answered 503 until the disk works again; make room on it.",
                  err->message);
    } else if (!is_failing && c->stats.is_failing) {
        log_info("disk-works", "The disk takes events again.");
    }
    c->stats.is_failing = is_failing;
}

static void commit(struct committer *c, struct group *group)
{
    struct error err;
    size_t count = block_builder_count(group->builder);
    bool fine = write_group(c, group, &err);
    bool is_disk = !fine && err.kind != ERROR_FULL;
    c->epoch_is_spoilt = c->epoch_is_spoilt || is_disk;
    pthread_mutex_lock(&c->lock);
    if (fine || is_disk) { /* a full spool says nothing of the disk */
        note_health(c, is_disk, &err);
    }
    c->pending_bytes -= group->bytes;
    c->stats.commits += fine;
    c->stats.failed_commits += !fine;
    c->stats.events += fine ? count : 0;
    c->stats.plain_bytes += fine ? group->bytes : 0;
    c->stats.sealed_bytes += fine ? c->sealed.len : 0;
    pthread_mutex_unlock(&c->lock);
    if (fine) {
        c->appended(c->user);
    }
    answer(group, fine ? NULL : &err);
    group->bytes = 0;
}

static void give_back(struct committer *c, struct group *group)
{
    pthread_mutex_lock(&c->lock);
    bool keep = c->spare == NULL;
    if (keep) {
        c->spare = group;
        group->next = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (!keep) {
        group->next = NULL;
        group_free(group);
    }
}

/* Does the disk work again? A new epoch, which is due anyway, shows it. */
static void probe(struct committer *c)
{
    struct error err;
    bool fine = begin_epoch(c, &err);
    pthread_mutex_lock(&c->lock);
    note_health(c, !fine, &err);
    pthread_mutex_unlock(&c->lock);
}

/* The oldest pending group; NULL when none came and the committer is closing, or the disk is
 * failing and to be probed. */
static struct group *take_group(struct committer *c, bool *ret_closing)
{
    pthread_mutex_lock(&c->lock);
    while (c->first == NULL && !c->closing && !c->stats.is_failing) {
        pthread_cond_wait(&c->wake, &c->lock);
    }
    if (c->first == NULL && !c->closing) {
        daemon_wait(&c->wake, &c->lock, PROBE_MS);
    }
    struct group *group = c->first;
    if (group != NULL) {
        c->first = group->next;
        c->last = c->first == NULL ? NULL : c->last;
    }
    *ret_closing = c->closing;
    pthread_mutex_unlock(&c->lock);
    return group;
}

static void *run(void *arg)
{
    struct committer *c = arg;
    /* A thread that computes in batches does not interrupt those that serve HTTP when it wakes: on
     * a busy core more requests are read before the next commit, and share it. */
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &(struct sched_param){0});
    bool closing = false;
    for (;;) {
        struct group *group = take_group(c, &closing);
        if (group != NULL) {
            commit(c, group);
            give_back(c, group);
        } else if (closing) {
            return NULL;
        } else {
            probe(c);
        }
    }
}

bool committer_open(struct spool *spool, const struct enrolment *enrolment,
                    size_t pending_bytes_max, const struct clock *clock,
                    void (*appended)(void *user), void *user, struct committer **ret,
                    struct error *err)
{
    struct committer *c = memory_allocate_zeroed(sizeof *c);
    c->spool = spool;
    c->enrolment = enrolment;
    c->pending_bytes_max = pending_bytes_max;
    c->clock = clock;
    c->appended = appended;
    c->user = user;
    buf_init(&c->compressed, 2 * LIMIT_BLOCK_BYTES);
    buf_init(&c->sealed, 2 * LIMIT_BLOCK_BYTES);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (!begin_epoch(c, err)) {
        free(c);
        return false;
    }
    c->compressor = block_compressor_new();
    int rv = pthread_create(&c->thread, NULL, run, c);
    ensure(rv == 0);
    *ret = c;
    return true;
}

void committer_stop(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    bool was_closing = c->closing;
    c->closing = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (!was_closing) {
        pthread_join(c->thread, NULL);
    }
}

void committer_close(struct committer **committer)
{
    struct committer *c = *committer;
    if (c == NULL) {
        return;
    }
    committer_stop(c);
    group_free(c->spare);
    block_compressor_free(&c->compressor);
    seal_epoch_end(&c->epoch);
    buf_done(&c->compressed);
    buf_done(&c->sealed);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c);
    *committer = NULL;
}

static struct group *start_group(struct committer *c)
{
    struct group *group = c->spare == NULL ? group_new(c->compressor) : c->spare;
    c->spare = NULL;
    group->next = NULL;
    if (c->last == NULL) {
        c->first = group;
    } else {
        c->last->next = group;
    }
    c->last = group;
    return group;
}

static size_t accepted_bytes(const struct request *request, size_t *ret_count)
{
    size_t bytes = 0;
    *ret_count = 0;
    for (size_t i = 0; i < request->count; i++) {
        const struct event *e = &request->events[i].event;
        if (request_event_is_stored(&request->events[i])) {
            bytes += e->body.len + e->name.len + e->message_id.len + e->anonymous_id.len +
                     e->user_id.len + e->source.len + 64;
            (*ret_count)++;
        }
    }
    return bytes;
}

static void add_events(struct group *group, const struct request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        if (request_event_is_stored(&request->events[i])) {
            bool added = block_builder_add(group->builder, &request->events[i].event);
            ensure(added);
        }
    }
}

/* All events of a request are in one group: its answer depends on one commit alone. */
static struct group *group_with_room(struct committer *c, size_t bytes, size_t count)
{
    struct group *group = c->last;
    bool has_room = group != NULL && group->bytes + bytes <= GROUP_BYTES_USUAL &&
                    block_builder_count(group->builder) + count <= GROUP_EVENTS_USUAL;
    return has_room ? group : start_group(c);
}

/* `http`: to be suspended where the events are taken; NULL: none. */
static bool add(struct committer *c, const struct request *request,
                const struct committer_waiter *waiter, struct http_request *http, struct error *err)
{
    size_t count;
    size_t bytes = accepted_bytes(request, &count);
    ensure(bytes <= LIMIT_BLOCK_BYTES && count <= LIMIT_BLOCK_EVENTS);
    pthread_mutex_lock(&c->lock);
    if (c->closing || c->pending_bytes + bytes > c->pending_bytes_max) {
        pthread_mutex_unlock(&c->lock);
        return error_set(err, ERROR_FULL, "%zu bytes wait for the disk", bytes);
    }
    struct group *group = group_with_room(c, bytes, count);
    add_events(group, request);
    group->bytes += bytes;
    c->pending_bytes += bytes;
    if (group->waiting_count == group->waiting_capacity) {
        group->waiting_capacity = group->waiting_capacity == 0 ? 64 : group->waiting_capacity * 2;
        group->waiting =
            memory_resize(group->waiting, group->waiting_capacity * sizeof *group->waiting);
    }
    group->waiting[group->waiting_count++] = *waiter;
    if (http != NULL) {
        http_suspend(http);
    }
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    return true;
}

bool committer_add(struct committer *c, const struct request *request, struct http_request *http,
                   struct error *err)
{
    struct committer_waiter waiter = {answer_http, http};
    return add(c, request, &waiter, http, err);
}

bool committer_add_for(struct committer *c, const struct request *request,
                       const struct committer_waiter *waiter, struct error *err)
{
    return add(c, request, waiter, NULL, err);
}

struct committer_stats committer_stats(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    struct committer_stats stats = c->stats;
    pthread_mutex_unlock(&c->lock);
    return stats;
}
