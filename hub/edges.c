#include "hub/edges.h"

#include <pthread.h>
#include <stdlib.h>
#include "hub/card.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum { CARDS_BYTES_MAX = 512 * 1024, CARD_BYTES_MAX = 256 * 1024, WAIT_MS_MAX = 60000 };

/* A poll that waits for something to answer with. */
struct parked {
    struct parked *next;
    uint32_t collector;
    int64_t deadline_ms;
    bool is_due;
    struct wire_poll poll;
    struct edges_waiter waiter;
};

/* What a collector said it has; acknowledgements go to the partitions once. */
struct acknowledged {
    struct acknowledged *next;
    uint32_t collector;
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

struct answer {
    struct wire_poll_reply reply;
    uint32_t card_count;
    struct buf cards;
    struct buf gate;
    struct buf suppressions;
    struct buf message;
};

static bool put_card(struct edges *e, struct profile_id id, struct answer *a, struct error *err)
{
    struct profile *profile;
    if (!reader_profile(&e->parts.reader, id, &profile, err)) {
        return false;
    }
    if (profile == NULL) {
        return true; /* under way to its survivor, whose card names it */
    }
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    card_write(profile, catalog, clock_now_ms(e->parts.clock), &a->cards);
    definitions_release(e->parts.definitions);
    a->card_count++;
    profile_free(&profile);
    return true;
}

/* The outbox of one partition from the cursor on. */
static bool collect_partition(struct edges *e, uint32_t collector, uint32_t partition,
                              struct answer *a, struct error *err)
{
    struct key key = key_edge(collector, a->reply.cursors[partition] + 1);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(e->parts.reader.stores[partition], NULL);
    bool fine = true;
    for (store_iterator_seek(it, key_slice(&key));
         fine && a->cards.len < CARDS_BYTES_MAX && store_iterator_valid(it) &&
         slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        struct profile_id id;
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        if (profile_id_from_slice(store_iterator_value(it), &id)) {
            fine = put_card(e, id, a, err);
        }
        a->reply.cursors[partition] = sequence;
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

static void answer_init(struct edges *e, const struct wire_poll *poll, struct answer *a)
{
    uint32_t partitions = e->parts.reader.partitions;
    a->card_count = 0;
    a->reply = (struct wire_poll_reply){.cursor_count = partitions};
    if (poll->cursor_count == partitions) {
        memcpy(a->reply.cursors, poll->cursors, partitions * sizeof *poll->cursors);
    }
    buf_init(&a->cards, CARDS_BYTES_MAX + CARD_BYTES_MAX * 16);
    buf_init(&a->gate, LIMIT_WIRE_BYTES);
    buf_init(&a->suppressions, LIMIT_WIRE_BYTES);
    buf_init(&a->message, SIZE_MAX / 2);
}

static void answer_done(struct answer *a)
{
    buf_done(&a->cards);
    buf_done(&a->gate);
    buf_done(&a->suppressions);
    buf_done(&a->message);
}

/* What the collector does not have yet of the suppression list. */
static bool collect_suppressions(struct edges *e, const struct wire_poll *poll, struct answer *a,
                                 struct error *err)
{
    a->reply.is_short = poll->is_short;
    return poll->is_short ||
           suppressions_write_changes(e->parts.suppressions, poll->suppression_version,
                                      &a->suppressions, &a->reply.suppression_version, err);
}

/* Answer the poll if there is something to say, or if it must be answered now. */
static bool try_answer(struct edges *e, const struct parked *parked, bool must)
{
    struct answer *a = memory_allocate_zeroed(sizeof *a);
    struct error err;
    bool fine = true;
    answer_init(e, &parked->poll, a);
    for (uint32_t i = 0; fine && i < e->parts.reader.partitions; i++) {
        fine = collect_partition(e, parked->collector, i, a, &err);
    }
    fine = fine && collect_suppressions(e, &parked->poll, a, &err);
    if (!fine) {
        log_error("edge-failed", "%s", err.message);
    }
    bool has_gate = registry_gate_version(e->parts.registry) > parked->poll.gate_version;
    bool answers = fine && (must || a->card_count > 0 || has_gate || a->suppressions.len > 0);
    if (answers) {
        a->reply.hub_ms = clock_now_ms(e->parts.clock);
        a->reply.gate_version = parked->poll.gate_version;
        if (has_gate) {
            registry_gate(e->parts.registry, &a->gate, &a->reply.gate_version);
            a->reply.gate = buf_slice(&a->gate);
        }
        a->reply.suppressions = buf_slice(&a->suppressions);
        wire_write_poll_reply(&a->reply, a->card_count, buf_slice(&a->cards), &a->message);
        parked->waiter.answer(parked->waiter.user, buf_slice(&a->message));
    } else if (must) {
        parked->waiter.answer(parked->waiter.user, slice_make(NULL, 0));
    }
    answer_done(a);
    free(a);
    return answers || must;
}

/* ---- Waiting polls ---- */

static struct parked *take_due(struct edges *e, int64_t now_ms, int64_t *ret_next_ms)
{
    *ret_next_ms = now_ms + 1000;
    for (struct parked **link = &e->parked; *link != NULL; link = &(*link)->next) {
        struct parked *p = *link;
        if (p->is_due || p->deadline_ms <= now_ms || e->closing) {
            *link = p->next;
            return p;
        }
        *ret_next_ms = p->deadline_ms < *ret_next_ms ? p->deadline_ms : *ret_next_ms;
    }
    return NULL;
}

static void park(struct edges *e, struct parked *p)
{
    p->next = e->parked;
    e->parked = p;
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
        p->is_due = false;
        uint64_t notices = e->notices;
        pthread_mutex_unlock(&e->lock);
        bool answered = try_answer(e, p, must);
        pthread_mutex_lock(&e->lock);
        if (answered) {
            free(p);
        } else {
            p->is_due = notices != e->notices;
            park(e, p);
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
    int rv = pthread_create(&e->thread, NULL, run, e);
    ensure(rv == 0);
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

/* The cursors say what the collector has safely: the partitions may forget it. */
static void acknowledge(struct edges *e, uint32_t collector, const struct wire_poll *poll)
{
    struct acknowledged *a = acknowledged_of(e, collector);
    for (uint32_t i = 0; i < e->parts.reader.partitions && i < poll->cursor_count; i++) {
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
}

void edges_poll(struct edges *e, struct slice collector_id, const struct collector_keys *keys,
                const struct wire_poll *poll, struct edges_waiter waiter)
{
    struct contact contact = {clock_now_ms(e->parts.clock), poll};
    collectors_note(e->parts.collectors, collector_id, note_contact, &contact);
    reports_take(e->parts.reports, collector_id, poll->report, contact.now_ms);
    struct parked *p = memory_allocate_zeroed(sizeof *p);
    int64_t wait = poll->wait_ms < 0             ? 0
                   : poll->wait_ms > WAIT_MS_MAX ? WAIT_MS_MAX
                                                 : poll->wait_ms;
    p->collector = keys->number;
    p->deadline_ms = clock_now_ms(e->parts.clock) + wait;
    p->is_due = true; /* look once at once */
    p->poll = *poll;
    p->poll.report = slice_make(NULL, 0); /* borrowed, and taken above */
    p->waiter = waiter;
    pthread_mutex_lock(&e->lock);
    bool closing = e->closing;
    if (!closing) {
        acknowledge(e, keys->number, poll);
        park(e, p);
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    if (closing) {
        waiter.answer(waiter.user, slice_make(NULL, 0));
        free(p);
    }
}

void edges_look_up(struct edges *e, const struct collector_keys *keys,
                   const struct wire_lookup *lookup, struct edges_waiter waiter)
{
    struct profile *profile;
    struct error err;
    struct buf card;
    struct buf message;
    buf_init(&card, LIMIT_WIRE_BYTES);
    buf_init(&message, LIMIT_WIRE_BYTES);
    if (!reader_profile_of(&e->parts.reader, (struct identifier){lookup->type, lookup->value},
                           &profile, &err)) {
        log_error("edge-failed", "%s", err.message);
        waiter.answer(waiter.user, slice_make(NULL, 0));
        return;
    }
    if (profile != NULL) {
        const struct catalog *catalog = definitions_borrow(e->parts.definitions);
        card_write(profile, catalog, clock_now_ms(e->parts.clock), &card);
        definitions_release(e->parts.definitions);
        partition_write_interest(&message, profile->id, keys->number);
        workers_post(e->parts.workers, profile_id_partition(profile->id), 0, buf_slice(&message));
        profile_free(&profile);
    }
    buf_clear(&message);
    wire_write_lookup_reply(buf_slice(&card), &message);
    waiter.answer(waiter.user, buf_slice(&message));
    buf_done(&card);
    buf_done(&message);
}

void edges_notify(struct edges *e, uint32_t collector)
{
    pthread_mutex_lock(&e->lock);
    e->notices++;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        p->is_due = p->is_due || p->collector == collector;
    }
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}

void edges_notify_all(struct edges *e)
{
    pthread_mutex_lock(&e->lock);
    e->notices++;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        p->is_due = true;
    }
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->lock);
}
