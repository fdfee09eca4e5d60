#include "collector/spool/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "collector/spool/commit_group.h"
#include "shared/daemon.h"
#include "shared/log.h"

/* Larger groups compress and sync no better; their memory and their waiting would be wasted. */
enum {
    EPOCH_MS_MAX = 3600 * 1000,
    PROBE_MS = 1000,
    GROUP_EVENTS_USUAL = 2048,
    GROUP_BYTES_USUAL = 1024 * 1024,
    SPARE_GROUPS_MAX = 4,
    LINGER_NS = 60000, /* some 80 us by the time the kernel wakes a thread */
    LINGER_PAUSES_MAX = 10,
    LINGER_EVENTS_MAX = 256, /* beyond, a commit's own cost is no matter */
    ALONE_MAX = 2,
};

struct committer {
    struct committer_parts parts;
    const struct clock *clock;
    struct seal_epoch *epoch; /* of the committer's thread, like the rest up to the lock */
    int64_t epoch_started_ms;
    bool epoch_is_spoilt; /* a block of it may or may not be on disk: no number is used twice */
    bool is_full;         /* as far as the log knows */
    struct block_compressor *compressor;
    struct buf compressed;
    struct buf sealed; /* the blocks of a commit, one after the other */
    struct spool_entry *entries;
    size_t entry_capacity;
    struct http_request **answered;
    size_t answered_capacity;
    size_t last_waiting_count; /* requests of the last commit */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct commit_group *first; /* oldest pending */
    struct commit_group *last;  /* the one that is filled */
    struct commit_group *spare; /* a list: their memory is for groups to come */
    size_t spare_count;
    size_t pending_bytes;
    bool closing;
    struct committer_stats stats;
    pthread_t thread;
};

/* ---- Writing ---- */

static bool begin_epoch(struct committer *c, struct error *err)
{
    struct buf header;
    int64_t now = clock_now_ms(c->clock);
    buf_init(&header, 1024);
    const struct enrolment *enrolment = c->parts.enrolment;
    struct seal_epoch *epoch =
        seal_epoch_begin(slice_text(enrolment->id), enrolment->sign_secret, enrolment->hub_public,
                         spool_epoch(c->parts.spool), now, &rand_secure, &header);
    bool fine = spool_add_epoch(c->parts.spool, seal_epoch_number(epoch), buf_slice(&header), err);
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

/* Compress and seal every part, the high lane first; what is refused for want of room is the end.
 */
static void seal_parts(struct committer *c, struct commit_group *group)
{
    uint64_t sequence = spool_next_sequence(c->parts.spool);
    size_t count = 0;
    if (group->part_count > c->entry_capacity) {
        c->entry_capacity = group->part_count;
        c->entries = memory_resize(c->entries, c->entry_capacity * sizeof *c->entries);
    }
    buf_clear(&c->sealed);
    for (int lane = 0; lane < LANES; lane++) {
        for (size_t i = 0; i < group->part_count; i++) {
            struct commit_part *part = &group->parts[i];
            if ((int)part->lane == lane) {
                size_t start = c->sealed.len;
                uint32_t events = (uint32_t)block_builder_count(part->builder);
                buf_clear(&c->compressed);
                block_builder_finish(part->builder, &c->compressed);
                seal_write_block(c->epoch, sequence + count, events, buf_slice(&c->compressed),
                                 &c->sealed);
                c->entries[count++] = (struct spool_entry){
                    .lane = part->lane,
                    .block = slice_make(NULL, c->sealed.len - start),
                };
            }
        }
    }
    /* Now that the bytes do not move any more. */
    const uint8_t *at = c->sealed.data;
    for (size_t i = 0; i < count; i++) {
        c->entries[i].block.data = at;
        at += c->entries[i].block.len;
    }
}

/* *ret_refused: the lanes, as bits, for which there was no room. */
static bool write_group(struct committer *c, struct commit_group *group, unsigned *ret_refused,
                        struct error *err)
{
    *ret_refused = 0;
    if (epoch_is_over(c) && !begin_epoch(c, err)) {
        return false;
    }
    eras_look_at_wall(c->parts.eras);
    seal_parts(c, group);
    if (!spool_append(c->parts.spool, c->entries, group->part_count, eras_current(c->parts.eras),
                      clock_now_ms(c->clock), err)) {
        return false;
    }
    for (size_t i = 0; i < group->part_count; i++) {
        *ret_refused |= c->entries[i].is_stored ? 0U : 1U << c->entries[i].lane;
    }
    return *ret_refused == 0 || error_set(err, ERROR_FULL, "the spool is full");
}

/* A full spool and a failing disk refuse thousands of times: each is told once. Under the lock. */
static void note_disk(struct committer *c, bool is_failing, const struct error *err)
{
    if (is_failing && !c->stats.is_failing) {
        log_error_limited(
            "disk-failing",
            "%s. New events are answered 503 until the disk works again; make room on it.",
            err->message);
    } else if (!is_failing && c->stats.is_failing) {
        log_info_limited("disk-works", "The disk takes events again.");
    }
    c->stats.is_failing = is_failing;
}

static void note_room(struct committer *c, bool is_full)
{
    if (is_full && !c->is_full) {
        log_warn_limited("spool-full", "There is no room for new events; they are answered 503.");
    } else if (!is_full && c->is_full) {
        log_info_limited("spool-has-room", "New events are taken again.");
    }
    c->is_full = is_full;
}

static size_t events_of(struct slice sealed)
{
    struct seal_block open;
    struct error err;
    bool fine = seal_block_peek(sealed, &open, &err);
    ensure(fine);
    return open.event_count;
}

/* Under the lock: the group was written, but for the entries that say otherwise. */
static void count_stored(struct committer *c, const struct commit_group *group)
{
    c->stats.commits++;
    c->stats.events += group->events;
    c->stats.plain_bytes += group->bytes;
    for (size_t i = 0; i < group->part_count; i++) {
        const struct spool_entry *entry = &c->entries[i];
        c->stats.events -= entry->is_stored ? 0 : events_of(entry->block);
        c->stats.sealed_bytes += entry->is_stored ? entry->block.len : 0;
    }
}

static const char *code_of(const struct error *err)
{
    return err->kind == ERROR_FULL ? "spool-full" : "storage-failed";
}

static void answer_http(void *user, const struct error *err)
{
    struct http_request *http = user;
    if (err != NULL) {
        http_answer_error(http, 503, code_of(err),
                          err->kind == ERROR_FULL
                              ? "The spool is full; try again later."
                              : "The events could not be stored; try again later.",
                          NULL);
        http_add_header(http, "Retry-After", slice_text("5"));
    }
}

/* All at once, so that their thread is woken once. */
static void resume_https(struct committer *c, const struct commit_group *group)
{
    size_t count = 0;
    if (group->waiting_count > c->answered_capacity) {
        c->answered_capacity = group->waiting_capacity;
        c->answered = memory_resize(c->answered, c->answered_capacity * sizeof *c->answered);
    }
    for (size_t i = 0; i < group->waiting_count; i++) {
        const struct committer_waiter *waiter = &group->waiting[i].waiter;
        if (waiter->committed == answer_http) {
            c->answered[count++] = waiter->user;
        }
    }
    http_resume_all(c->answered, count);
}

/* Others than requests wait and try again: their events are not refused. */
static void count_refused(const struct committer *c, const struct commit_group *group,
                          unsigned refused, const struct error *err)
{
    for (size_t i = 0; refused != 0 && c->parts.refused != NULL && i < group->waiting_count; i++) {
        const struct commit_waiting *waiting = &group->waiting[i];
        if ((waiting->lanes & refused) != 0 && waiting->waiter.committed == answer_http) {
            c->parts.refused(c->parts.user, slice_make(waiting->source, waiting->source_len),
                             code_of(err), waiting->events);
        }
    }
}

static void commit(struct committer *c, struct commit_group *group)
{
    struct error err;
    unsigned refused;
    bool fine = write_group(c, group, &refused, &err);
    bool is_full = !fine && err.kind == ERROR_FULL;
    bool is_disk = !fine && !is_full;
    bool is_stored = fine || refused != 0; /* all of it, or some lanes */
    c->epoch_is_spoilt = c->epoch_is_spoilt || is_disk;
    pthread_mutex_lock(&c->lock);
    if (!is_full) { /* a full spool says nothing of the disk */
        note_disk(c, is_disk, &err);
    }
    c->pending_bytes -= group->bytes;
    if (is_stored) {
        count_stored(c, group);
    } else {
        c->stats.failed_commits++;
    }
    pthread_mutex_unlock(&c->lock);
    note_room(c, is_full);
    refused = is_stored ? refused : ~0U;
    count_refused(c, group, refused, &err);
    commit_group_tell(group, refused, &err);
    resume_https(c, group);
    if (is_stored) {
        c->parts.appended(c->parts.user);
    }
}

/* Does the disk work again? A new epoch, which is due anyway, shows it. */
static void probe(struct committer *c)
{
    struct error err;
    bool fine = begin_epoch(c, &err);
    pthread_mutex_lock(&c->lock);
    note_disk(c, !fine, &err);
    pthread_mutex_unlock(&c->lock);
}

/* ---- The thread ---- */

static void give_back(struct committer *c, struct commit_group *group)
{
    bool is_kept = commit_group_clear(group, GROUP_BYTES_USUAL);
    pthread_mutex_lock(&c->lock);
    bool keep = is_kept && c->spare_count < SPARE_GROUPS_MAX;
    if (keep) {
        group->next = c->spare;
        c->spare = group;
        c->spare_count++;
    }
    pthread_mutex_unlock(&c->lock);
    if (!keep) {
        commit_group_free(group);
    }
}

/* Requests come together, since those of one commit are answered together. So a commit waits while
 * more keep coming, until there are half as many as last time: one sync serves many, and what comes
 * during that sync is the other half. Whoever comes alone does not wait. Under the lock, which is
 * given up meanwhile. */
static void linger(struct committer *c)
{
    const struct timespec pause = {0, LINGER_NS};
    size_t count = 0;
    for (int i = 0; c->last_waiting_count > ALONE_MAX && i < LINGER_PAUSES_MAX && !c->closing &&
                    c->first->next == NULL && c->first->waiting_count > count &&
                    2 * c->first->waiting_count < c->last_waiting_count &&
                    c->first->events < LINGER_EVENTS_MAX;
         i++) {
        count = c->first->waiting_count;
        pthread_mutex_unlock(&c->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&c->lock);
    }
    c->last_waiting_count = c->first->waiting_count;
}

/* The oldest pending group; NULL when none came and the committer is closing, or the disk is
 * failing and to be probed. */
static struct commit_group *take_group(struct committer *c, bool *ret_closing)
{
    pthread_mutex_lock(&c->lock);
    while (c->first == NULL && !c->closing && !c->stats.is_failing) {
        pthread_cond_wait(&c->wake, &c->lock);
    }
    if (c->first == NULL && !c->closing) {
        daemon_wait(&c->wake, &c->lock, PROBE_MS);
    }
    struct commit_group *group = c->first;
    if (group != NULL) {
        linger(c);
        c->first = group->next;
        c->last = c->first == NULL ? NULL : c->last;
        group->next = NULL;
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
        struct commit_group *group = take_group(c, &closing);
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

bool committer_open(const struct committer_parts *parts, struct committer **ret, struct error *err)
{
    struct committer *c = memory_allocate_zeroed(sizeof *c);
    c->parts = *parts;
    c->clock = eras_clock(parts->eras);
    buf_init(&c->compressed, 2 * LIMIT_BLOCK_BYTES);
    buf_init(&c->sealed, 4 * LIMIT_BLOCK_BYTES);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    if (!begin_epoch(c, err)) {
        free(c);
        return false;
    }
    c->compressor = block_compressor_new();
    c->thread = daemon_start_thread("committer", run, c);
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
    commit_group_free(c->spare);
    block_compressor_free(&c->compressor);
    seal_epoch_end(&c->epoch);
    buf_done(&c->compressed);
    buf_done(&c->sealed);
    free(c->entries);
    free(c->answered);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c);
    *committer = NULL;
}

/* ---- What comes in ---- */

static struct commit_group *start_group(struct committer *c)
{
    struct commit_group *group = c->spare;
    if (group == NULL) {
        group = commit_group_new(c->compressor);
    } else {
        c->spare = group->next;
        group->next = NULL;
        c->spare_count--;
    }
    if (c->last == NULL) {
        c->first = group;
    } else {
        c->last->next = group;
    }
    c->last = group;
    return group;
}

/* All events of a request are in one group: its answer depends on one commit alone. */
static struct commit_group *group_with_room(struct committer *c, size_t bytes, size_t count)
{
    struct commit_group *group = c->last;
    bool has_room = group != NULL && group->bytes + bytes <= GROUP_BYTES_USUAL &&
                    group->events + count <= GROUP_EVENTS_USUAL;
    return has_room ? group : start_group(c);
}

/* `http`: to be held while the events are written; NULL: none. */
static bool add(struct committer *c, const struct request *request,
                const struct committer_waiter *waiter, struct http_request *http, struct error *err)
{
    size_t count;
    size_t bytes = commit_group_weigh(request, &count);
    if (bytes > LIMIT_BLOCK_BYTES || count > LIMIT_BLOCK_EVENTS) {
        return error_set(err, ERROR_INVALID, "%zu events of %zu bytes fit no block", count, bytes);
    }
    pthread_mutex_lock(&c->lock);
    if (c->closing || c->pending_bytes + bytes > c->parts.pending_bytes_max) {
        pthread_mutex_unlock(&c->lock);
        return error_set(err, ERROR_FULL, "%zu bytes wait for the disk", bytes);
    }
    bool is_first = c->first == NULL; /* otherwise the thread knows, or looks when it is done */
    commit_group_add(group_with_room(c, bytes, count), request, count, bytes, &c->parts, waiter);
    c->pending_bytes += bytes;
    if (http != NULL) {
        http_hold(http);
    }
    if (is_first) {
        pthread_cond_signal(&c->wake);
    }
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
