#include "hub/edges.h"

#include <pthread.h>
#include <stdlib.h>
#include "hub/card.h"
#include "hub/poll_answer.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum { WAIT_MS_MAX = 60000, NOT_READY_MS = 20, POLLS_OF_COLLECTOR_MAX = 8 };

/* A poll that waits for something to answer with. */
struct parked {
    struct parked *next;
    struct poll_asked asked;
    const struct seal_channel *channel; /* that the poll came by */
    size_t collector_id_len;
    uint8_t collector_id[SEAL_COLLECTOR_ID_MAX];
    int64_t deadline_ms;
    int64_t due_ms; /* when to look again; INT64_MAX: when there is news */
    struct edges_waiter waiter;
};

/* What a collector said it has; acknowledgements go to the partitions once. */
struct acknowledged {
    struct acknowledged *next;
    uint32_t collector;
    uint8_t cache_id[WIRE_CACHE_ID_BYTES];
    uint64_t *cursors;
};

struct edges {
    struct edges_parts parts;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct parked *parked;
    struct acknowledged *acknowledged;
    uint64_t notices; /* so far: a poll that was being looked at may have missed one */
    bool closing;
    pthread_t thread;
};

/* The collector may have been revoked since it polled, or enrolled again with another key: no card
 * is for it any more. WIRE_STORED: neither. */
static enum wire_status refusal_of(struct edges *e, const struct parked *parked)
{
    struct slice id = slice_make(parked->collector_id, parked->collector_id_len);
    struct collector_keys keys;
    bool is_there = collectors_find(e->parts.collectors, id, &keys);
    if (is_there && keys.channel == parked->channel && !keys.is_revoked) {
        return WIRE_STORED;
    }
    bool is_replaced = is_there && keys.channel != parked->channel;
    return is_replaced && parked->asked.poll.moment.is_told ? WIRE_REPLACED : WIRE_REVOKED;
}

/* Answer the poll if there is something to say, or if it must be answered now. */
static bool try_answer(struct edges *e, struct parked *parked, bool must)
{
    struct buf message;
    buf_init(&message, SIZE_MAX / 2);
    enum wire_status refusal = refusal_of(e, parked);
    if (refusal != WIRE_STORED) {
        wire_write_refusal(refusal, &message);
        parked->waiter.answer(parked->waiter.user, buf_slice(&message));
        buf_done(&message);
        return true;
    }
    enum poll_outcome outcome = poll_answer(&e->parts, &parked->asked, &message);
    bool answers = must || outcome == POLL_HAS_NEWS;
    if (answers) {
        parked->waiter.answer(parked->waiter.user, buf_slice(&message));
    }
    parked->due_ms =
        outcome == POLL_NOT_READY ? clock_now_ms(e->parts.clock) + NOT_READY_MS : INT64_MAX;
    buf_done(&message);
    return answers;
}

/* ---- Waiting polls ---- */

static struct parked *take_due(struct edges *e, int64_t now_ms, int64_t *ret_next_ms)
{
    *ret_next_ms = now_ms + 1000;
    for (struct parked **link = &e->parked; *link != NULL; link = &(*link)->next) {
        struct parked *p = *link;
        if (p->due_ms <= now_ms || p->deadline_ms <= now_ms || e->closing) {
            *link = p->next;
            return p;
        }
        *ret_next_ms = p->deadline_ms < *ret_next_ms ? p->deadline_ms : *ret_next_ms;
        *ret_next_ms = p->due_ms < *ret_next_ms ? p->due_ms : *ret_next_ms;
    }
    return NULL;
}

/* Behind the others, so that a refill takes turns with them. */
static void park(struct edges *e, struct parked *p)
{
    struct parked **link = &e->parked;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    p->next = NULL;
    *link = p;
}

/* A collector waits with one poll at a time, and with another where its line was cut. One that was
 * taken over holds no more memory than these: the oldest is answered with nothing. */
static void bound_polls(struct edges *e, uint32_t collector)
{
    struct parked *oldest = NULL;
    size_t count = 0;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        bool is_its = p->asked.collector == collector && p->deadline_ms != 0;
        oldest = oldest == NULL && is_its ? p : oldest;
        count += is_its;
    }
    if (count > POLLS_OF_COLLECTOR_MAX) {
        oldest->deadline_ms = 0;
    }
}

static void *run(void *arg)
{
    struct edges *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->closing || e->parked != NULL) {
        int64_t now = clock_now_ms(e->parts.clock);
        int64_t next;
        struct parked *p = take_due(e, now, &next);
        if (p == NULL) {
            daemon_wait(&e->wake, &e->lock, next - now);
            continue;
        }
        bool must = p->deadline_ms <= now || e->closing;
        uint64_t notices = e->notices;
        pthread_mutex_unlock(&e->lock);
        bool answered = try_answer(e, p, must);
        pthread_mutex_lock(&e->lock);
        if (answered) {
            free(p);
        } else {
            p->due_ms = notices != e->notices ? 0 : p->due_ms;
            park(e, p);
            bound_polls(e, p->asked.collector); /* one may have come while this was looked at */
        }
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

struct edges *edges_open(const struct edges_parts *parts)
{
    struct edges *e = memory_allocate_zeroed(sizeof *e);
    e->parts = *parts;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    e->thread = daemon_start_thread("edges", run, e);
    return e;
}

void edges_set_workers(struct edges *e, struct workers *workers)
{
    pthread_mutex_lock(&e->lock);
    e->parts.workers = workers;
    pthread_mutex_unlock(&e->lock);
}

void edges_stop(struct edges *e)
{
    pthread_mutex_lock(&e->lock);
    bool was_closing = e->closing;
    e->closing = true;
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
    if (!was_closing) {
        pthread_join(e->thread, NULL);
    }
}

void edges_close(struct edges **edges)
{
    struct edges *e = *edges;
    if (e == NULL) {
        return;
    }
    edges_stop(e);
    while (e->acknowledged != NULL) {
        struct acknowledged *next = e->acknowledged->next;
        free(e->acknowledged->cursors);
        free(e->acknowledged);
        e->acknowledged = next;
    }
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->wake);
    free(e);
    *edges = NULL;
}

static struct acknowledged *acknowledged_of(struct edges *e, uint32_t collector)
{
    struct acknowledged *a = e->acknowledged;
    while (a != NULL && a->collector != collector) {
        a = a->next;
    }
    if (a == NULL) {
        a = memory_allocate_zeroed(sizeof *a);
        a->collector = collector;
        a->cursors = memory_allocate_zeroed(e->parts.reader.partitions * sizeof *a->cursors);
        a->next = e->acknowledged;
        e->acknowledged = a;
    }
    return a;
}

/* The cursors say what the collector has safely: the partitions may forget it. Those of a cache
 * that is filled for another scope, of another outbox or of another history say nothing. */
static void acknowledge(struct edges *e, uint32_t collector, const struct wire_poll *poll)
{
    struct acknowledged *a = acknowledged_of(e, collector);
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    struct refill_asker asker = {collector, catalog_scope_of(catalog, collector), poll};
    bool counts =
        refill_outbox(&asker) == collector &&
        incarnations_judge(e->parts.incarnations, &poll->moment) != INCARNATIONS_FOREIGN &&
        (!poll->cache.is_told || poll->cache.scope_version == refill_version(&asker));
    definitions_release(e->parts.definitions);
    if (memcmp(a->cache_id, poll->cache.id, sizeof a->cache_id) != 0) {
        memcpy(a->cache_id, poll->cache.id, sizeof a->cache_id);
        memset(a->cursors, 0, e->parts.reader.partitions * sizeof *a->cursors);
    }
    for (uint32_t i = 0; counts && i < e->parts.reader.partitions && i < poll->cursor_count; i++) {
        if (poll->cursors[i] > a->cursors[i]) {
            struct buf message;
            a->cursors[i] = poll->cursors[i];
            buf_init(&message, 256);
            partition_write_edge_ack(&message, collector, poll->cursors[i]);
            workers_post(e->parts.workers, i, 0, buf_slice(&message));
            buf_done(&message);
        }
    }
}

struct contact {
    int64_t now_ms;
    const struct wire_poll *poll;
};

static void note_contact(struct collector_figures *f, void *user)
{
    const struct contact *c = user;
    f->last_seen_ms = c->now_ms;
    f->clock_offset_ms = c->poll->clock_offset_ms;
    f->spool_blocks = c->poll->spool_blocks;
    f->spool_bytes = c->poll->spool_bytes;
    f->gate_version = c->poll->gate_version;
    f->cache_is_told = c->poll->cache.is_told;
    f->card_shape = c->poll->cache.shape;
    f->tells_moment = c->poll->moment.is_told;
    memcpy(f->cache_id, c->poll->cache.id, sizeof f->cache_id);
    f->cache_scope_version = c->poll->cache.scope_version;
    f->cache_is_refilling = c->poll->cache.place.len > 0;
    f->cache_profiles = refill_profiles(&c->poll->cache.place);
}

static void hear_clock(struct edges *e, const struct collector_keys *keys,
                       const struct wire_poll *poll)
{
    int64_t shown_ms;
    if (e->parts.clock_guard != NULL && report_read_clock(poll->report, &shown_ms)) {
        clock_guard_hear(e->parts.clock_guard, keys->number, shown_ms);
    }
}

void edges_poll(struct edges *e, struct slice collector_id, const struct collector_keys *keys,
                const struct wire_poll *poll, struct edges_waiter waiter)
{
    hear_clock(e, keys, poll);
    struct contact contact = {clock_now_ms(e->parts.clock), poll};
    collectors_note(e->parts.collectors, collector_id, note_contact, &contact);
    reports_take(e->parts.reports, collector_id, poll->report, contact.now_ms);
    struct parked *p = memory_allocate_zeroed(sizeof *p);
    int64_t wait = poll->wait_ms < 0             ? 0
                   : poll->wait_ms > WAIT_MS_MAX ? WAIT_MS_MAX
                                                 : poll->wait_ms;
    p->channel = keys->channel;
    ensure(collector_id.len <= sizeof p->collector_id);
    p->collector_id_len = collector_id.len;
    memcpy(p->collector_id, collector_id.data, collector_id.len);
    p->asked.collector = keys->number;
    p->deadline_ms = clock_now_ms(e->parts.clock) + wait;
    p->due_ms = 0; /* look once at once */
    p->asked.poll = *poll;
    p->asked.poll.report = slice_make(NULL, 0); /* borrowed, and taken above */
    p->waiter = waiter;
    pthread_mutex_lock(&e->lock);
    bool closing = e->closing;
    if (!closing) {
        acknowledge(e, keys->number, poll);
        park(e, p);
        bound_polls(e, keys->number);
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    if (closing) {
        waiter.answer(waiter.user, slice_make(NULL, 0));
        free(p);
    }
}

/* One look-up, and what may be told of it. */
struct looking {
    const struct edges *edges;
    enum lookups_result result;
    bool is_begun; /* else it is about to begin */
    bool may;
};

static void note_lookup(struct collector_figures *f, void *user)
{
    struct looking *l = user;
    const struct lookups_limits *limits = &l->edges->parts.lookups;
    int64_t now_ns = clock_monotonic_ns(l->edges->parts.clock);
    l->may = l->is_begun ? lookups_end(&f->lookups, limits, l->result, now_ns)
                         : lookups_begin(&f->lookups, limits, now_ns);
}

static bool may_look_up(struct edges *e, struct slice collector_id, struct looking *l)
{
    l->edges = e;
    collectors_note(e->parts.collectors, collector_id, note_lookup, l);
    l->is_begun = true;
    if (!l->may) {
        log_warn_limited("lookups-limited",
                         "A collector looks up more people than it may. collector=%.*s",
                         SLICE_ARGS(collector_id));
    }
    return l->may;
}

/* The card of a profile that was looked up. What is in the collector's scope it may keep. */
static void put_looked_up(struct edges *e, struct card_reader reader, const struct profile *profile,
                          struct wire_lookup_reply *reply, enum lookups_result *ret_result,
                          struct buf *card)
{
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    const struct catalog_scope *scope = catalog_scope_of(catalog, reader.collector);
    bool is_wide = scope != NULL && scope->kind != SCOPE_SEEN;
    bool is_inside = is_wide ? catalog_scope_holds(catalog, scope, profile)
                             : profile_find_interest(profile, reader.collector) != NULL;
    reply->keeps = !is_wide || is_inside;
    *ret_result = is_inside ? LOOKUPS_FOUND : LOOKUPS_OUTSIDE;
    card_write(profile, catalog, reader, clock_now_ms(e->parts.clock), card);
    definitions_release(e->parts.definitions);
}

/* A collector that keeps whom it has seen gets the changes of whom it looks up from now on. */
static void post_interest(struct edges *e, uint32_t collector, const struct profile *profile)
{
    struct buf message;
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    const struct catalog_scope *scope = catalog_scope_of(catalog, collector);
    bool is_wide = scope != NULL && scope->kind != SCOPE_SEEN;
    definitions_release(e->parts.definitions);
    if (!is_wide) {
        buf_init(&message, 256);
        partition_write_interest(&message, profile->id, collector);
        workers_post(e->parts.workers, profile_id_partition(profile->id), 0, buf_slice(&message));
        buf_done(&message);
    }
}

static void refuse_look_up(struct edges_waiter waiter)
{
    struct buf message;
    buf_init(&message, 64);
    wire_write_refusal(WIRE_UNAVAILABLE, &message);
    waiter.answer(waiter.user, buf_slice(&message));
    buf_done(&message);
}

void edges_look_up(struct edges *e, struct slice collector_id, const struct collector_keys *keys,
                   const struct wire_lookup *lookup, struct edges_waiter waiter)
{
    struct collector_figures figures = collectors_figures(e->parts.collectors, collector_id);
    struct card_reader reader = {keys->number, figures.card_shape};
    struct wire_lookup_reply reply = {.is_short = reader.shape == CARD_FIRST};
    struct looking looking = {.result = LOOKUPS_NOBODY};
    struct profile *profile;
    struct error err;
    struct buf card;
    struct buf message;
    if (!may_look_up(e, collector_id, &looking)) {
        refuse_look_up(waiter);
        return;
    }
    if (!reader_profile_of(&e->parts.reader, (struct identifier){lookup->type, lookup->value},
                           &profile, &err)) {
        log_error_limited("edge-failed", "%s", err.message);
        waiter.answer(waiter.user, slice_make(NULL, 0));
        return;
    }
    buf_init(&card, LIMIT_WIRE_BYTES);
    buf_init(&message, LIMIT_WIRE_BYTES);
    if (profile != NULL) {
        put_looked_up(e, reader, profile, &reply, &looking.result, &card);
    }
    if (!may_look_up(e, collector_id, &looking)) {
        refuse_look_up(waiter);
    } else {
        if (profile != NULL) {
            post_interest(e, keys->number, profile);
        }
        if (figures.tells_moment) {
            reply.moment = incarnations_now(e->parts.incarnations);
        }
        wire_write_lookup_reply(&reply, buf_slice(&card), &message);
        waiter.answer(waiter.user, buf_slice(&message));
    }
    profile_free(&profile);
    buf_done(&card);
    buf_done(&message);
}

void edges_notify(struct edges *e, uint32_t collector)
{
    pthread_mutex_lock(&e->lock);
    e->notices++;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        bool concerns =
            collector == SHARED_OUTBOX ? p->asked.is_wide : p->asked.collector == collector;
        p->due_ms = concerns ? 0 : p->due_ms;
    }
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void edges_notify_all(struct edges *e)
{
    pthread_mutex_lock(&e->lock);
    e->notices++;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        p->due_ms = 0;
    }
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}
