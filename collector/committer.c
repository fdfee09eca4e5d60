#include "collector/committer.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/block.h"
#include "shared/log.h"

enum { EPOCH_MS_MAX = 3600 * 1000 };

/* A block in the making. */
struct part {
    enum lane lane;
    struct block_builder *builder;
    size_t bytes;
};

struct waiting {
    struct http_request *http;
    unsigned lanes; /* a bit for each that its events are in */
};

/* One commit: its blocks in the making and the requests that wait for them. */
struct group {
    struct part *parts; /* the first part_count are in use; builders of the others are kept */
    size_t part_count;
    size_t part_capacity;
    struct part *open[LANES]; /* the one of each lane that is filled, or NULL */
    struct waiting *waiting;
    size_t waiting_count;
    size_t waiting_capacity;
    size_t events;
    size_t bytes;
    struct group *next;
};

struct committer {
    struct committer_parts parts;
    const struct clock *clock;
    struct seal_epoch *epoch; /* of the committer's thread, like the rest up to the lock */
    int64_t epoch_started_ms;
    bool is_full; /* as far as the log knows */
    struct buf compressed;
    struct buf sealed; /* the blocks of a commit, one after the other */
    struct spool_entry *entries;
    size_t entry_capacity;
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

/* ---- Groups ---- */

static void group_free(struct group *group)
{
    while (group != NULL) {
        struct group *next = group->next;
        for (size_t i = 0; i < group->part_capacity; i++) {
            block_builder_free(&group->parts[i].builder);
        }
        free(group->parts);
        free(group->waiting);
        free(group);
        group = next;
    }
}

/* Make it empty; the builders that every commit may need are kept. */
static void group_clear(struct group *group)
{
    for (size_t i = 0; i < group->part_count; i++) {
        block_builder_clear(group->parts[i].builder); /* where the commit failed early */
    }
    while (group->part_capacity > LANES) {
        block_builder_free(&group->parts[--group->part_capacity].builder);
    }
    group->part_count = 0;
    memset(group->open, 0, sizeof group->open);
    group->waiting_count = 0;
    group->events = 0;
    group->bytes = 0;
    group->next = NULL;
}

static struct part *open_part(struct group *group, enum lane lane)
{
    if (group->part_count == group->part_capacity) {
        group->parts =
            memory_resize(group->parts, (group->part_capacity + 1) * sizeof *group->parts);
        group->parts[group->part_capacity++].builder = block_builder_new();
        /* The parts may have moved; each lane's open part is its last. */
        for (size_t i = 0; i < group->part_count; i++) {
            group->open[group->parts[i].lane] = &group->parts[i];
        }
    }
    struct part *part = &group->parts[group->part_count++];
    part->lane = lane;
    part->bytes = 0;
    group->open[lane] = part;
    return part;
}

static size_t event_bytes(const struct event *e)
{
    return e->body.len + e->name.len + e->message_id.len + e->anonymous_id.len + e->user_id.len +
           e->source.len + 64;
}

/* The lanes that the request's events are in, as bits. */
static unsigned add_events(struct committer *c, struct group *group, const struct request *request)
{
    unsigned lanes = 0;
    for (size_t i = 0; i < request->count; i++) {
        const struct event *event = &request->events[i].event;
        if (request->events[i].refusal.code == NULL) {
            size_t bytes = event_bytes(event);
            enum lane lane = lanes_of(c->parts.lanes, event);
            struct part *part = group->open[lane];
            if (part == NULL || part->bytes + bytes > c->parts.block_bytes_max) {
                part = open_part(group, lane);
            }
            bool added = block_builder_add(part->builder, event);
            ensure(added);
            part->bytes += bytes;
            lanes |= 1U << lane;
        }
    }
    return lanes;
}

static void add_waiting(struct group *group, struct http_request *http, unsigned lanes)
{
    if (group->waiting_count == group->waiting_capacity) {
        group->waiting_capacity = group->waiting_capacity == 0 ? 64 : group->waiting_capacity * 2;
        group->waiting =
            memory_resize(group->waiting, group->waiting_capacity * sizeof *group->waiting);
    }
    group->waiting[group->waiting_count++] = (struct waiting){http, lanes};
}

/* ---- Committing ---- */

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
    c->epoch_started_ms = now;
    return true;
}

static bool epoch_is_over(const struct committer *c)
{
    int64_t age = clock_now_ms(c->clock) - c->epoch_started_ms;
    return age < 0 || age > EPOCH_MS_MAX;
}

/* Compress and seal every part, the high lane first; what is refused for want of room is the end.
 */
static void seal_parts(struct committer *c, struct group *group)
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
            struct part *part = &group->parts[i];
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
static bool write_group(struct committer *c, struct group *group, unsigned *ret_refused,
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
    return true;
}

static void answer(struct group *group, unsigned refused, bool is_full)
{
    for (size_t i = 0; i < group->waiting_count; i++) {
        struct http_request *http = group->waiting[i].http;
        if ((group->waiting[i].lanes & refused) != 0) {
            http_answer_error(http, 503, is_full ? "spool-full" : "storage-failed",
                              is_full ? "The spool is full; try again later."
                                      : "The events could not be stored; try again later.",
                              NULL);
            http_add_header(http, "Retry-After", slice_text("5"));
        }
        http_resume(http);
    }
}

/* A full spool refuses for hours: it is told once. */
static void tell(struct committer *c, bool is_full, const struct error *err)
{
    if (err != NULL && !is_full) {
        log_error("commit-failed", "%s", err->message);
    } else if (is_full && !c->is_full) {
        log_warn("spool-full", "There is no room for new events; they are answered 503.");
    } else if (!is_full && c->is_full) {
        log_info("spool-has-room", "New events are taken again.");
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

static void commit(struct committer *c, struct group *group)
{
    struct error err;
    unsigned refused;
    size_t sealed_bytes = 0;
    bool fine = write_group(c, group, &refused, &err);
    bool is_full = fine ? refused != 0 : err.kind == ERROR_FULL;
    if (!fine && !is_full) {
        /* The blocks may be on the disk all the same: their numbers are not used again under this
         * key, so the next commit begins an epoch. */
        c->epoch_started_ms = INT64_MAX;
    }
    tell(c, is_full, fine ? NULL : &err);
    size_t events = fine ? group->events : 0;
    for (size_t i = 0; fine && i < group->part_count; i++) {
        events -= c->entries[i].is_stored ? 0 : events_of(c->entries[i].block);
        sealed_bytes += c->entries[i].is_stored ? c->entries[i].block.len : 0;
    }
    pthread_mutex_lock(&c->lock);
    c->pending_bytes -= group->bytes;
    c->stats.commits += fine;
    c->stats.failed_commits += !fine;
    c->stats.events += events;
    c->stats.plain_bytes += fine ? group->bytes : 0;
    c->stats.sealed_bytes += sealed_bytes;
    pthread_mutex_unlock(&c->lock);
    if (fine) {
        c->parts.appended(c->parts.user);
    }
    answer(group, fine ? refused : ~0U, is_full);
}

static void give_back(struct committer *c, struct group *group)
{
    group_clear(group);
    pthread_mutex_lock(&c->lock);
    bool keep = c->spare == NULL;
    c->spare = keep ? group : c->spare;
    pthread_mutex_unlock(&c->lock);
    if (!keep) {
        group_free(group);
    }
}

static void *run(void *arg)
{
    struct committer *c = arg;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        while (c->first == NULL && !c->closing) {
            pthread_cond_wait(&c->wake, &c->lock);
        }
        struct group *group = c->first;
        if (group != NULL) {
            c->first = group->next;
            c->last = c->first == NULL ? NULL : c->last;
        }
        pthread_mutex_unlock(&c->lock);
        if (group == NULL) {
            return NULL;
        }
        commit(c, group);
        give_back(c, group);
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
    seal_epoch_end(&c->epoch);
    buf_done(&c->compressed);
    buf_done(&c->sealed);
    free(c->entries);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c);
    *committer = NULL;
}

static struct group *start_group(struct committer *c)
{
    struct group *group = c->spare == NULL ? memory_allocate_zeroed(sizeof *group) : c->spare;
    c->spare = NULL;
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
        if (request->events[i].refusal.code == NULL) {
            bytes += event_bytes(&request->events[i].event);
            (*ret_count)++;
        }
    }
    return bytes;
}

/* All events of a request are in one group: its answer depends on one commit alone. */
static struct group *group_with_room(struct committer *c, size_t bytes, size_t count)
{
    struct group *group = c->last;
    bool has_room = group != NULL && group->bytes + bytes <= LIMIT_BLOCK_BYTES &&
                    group->events + count <= LIMIT_BLOCK_EVENTS;
    return has_room ? group : start_group(c);
}

bool committer_add(struct committer *c, const struct request *request, struct http_request *http,
                   struct error *err)
{
    size_t count;
    size_t bytes = accepted_bytes(request, &count);
    ensure(bytes <= LIMIT_BLOCK_BYTES && count <= LIMIT_BLOCK_EVENTS);
    pthread_mutex_lock(&c->lock);
    if (c->closing || c->pending_bytes + bytes > c->parts.pending_bytes_max) {
        pthread_mutex_unlock(&c->lock);
        return error_set(err, ERROR_FULL, "%zu bytes wait for the disk", bytes);
    }
    struct group *group = group_with_room(c, bytes, count);
    add_waiting(group, http, add_events(c, group, request));
    group->bytes += bytes;
    group->events += count;
    c->pending_bytes += bytes;
    http_suspend(http);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    return true;
}

struct committer_stats committer_stats(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    struct committer_stats stats = c->stats;
    pthread_mutex_unlock(&c->lock);
    return stats;
}
