#include "hub/edges.h"

#include <pthread.h>
#include <stdlib.h>
#include "hub/card.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum {
    CARDS_BYTES_MAX = 512 * 1024,
    CARD_BYTES_MAX = 256 * 1024,
    WAIT_MS_MAX = 60000,
    NOT_READY_MS = 20,
};

/* A poll that waits for something to answer with. */
struct parked {
    struct parked *next;
    uint32_t collector;
    bool is_wide; /* it reads the shared outbox */
    bool has_fitting_cursors;
    int64_t deadline_ms;
    int64_t due_ms; /* when to look again; INT64_MAX: when there is news */
    struct wire_poll poll;
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

struct answer {
    struct edges *edges;
    const struct catalog *catalog; /* borrowed while the answer is made */
    struct refill_asker asker;
    struct wire_poll_reply reply;
    uint32_t card_count;
    uint32_t removal_count;
    struct buf cards;
    struct buf removals;
    struct buf gate;
    struct buf message;
};

static bool is_full(const struct answer *a)
{
    return a->cards.len + a->removals.len >= CARDS_BYTES_MAX;
}

/* Of those who were only seen, nobody is sent of whom a card has nothing to say. */
static bool is_in_scope(const struct answer *a, const struct profile *profile)
{
    if (refill_outbox(&a->asker) == SHARED_OUTBOX) {
        return catalog_scope_holds(a->catalog, a->asker.scope, profile);
    }
    const struct profile_interest *seen = profile_find_interest(profile, a->asker.collector);
    return seen != NULL && (seen->sequence > 0 || profile->membership_count > 0 ||
                            catalog_is_known(a->catalog, profile));
}

static void put_card(struct answer *a, const struct profile *profile)
{
    int64_t now_ms = clock_now_ms(a->edges->parts.clock);
    card_write(profile, a->catalog, now_ms, a->reply.refill.is_told, &a->cards);
    a->card_count++;
}

/* The profile is in the shared outbox, but not for this collector, or not any more. */
static void put_removals(struct answer *a, const struct profile *profile)
{
    size_t skip =
        profile->merged_count > CARD_MERGED_MAX ? profile->merged_count - CARD_MERGED_MAX : 0;
    wire_write_removal(profile_id_slice(&profile->id), profile->version, &a->removals);
    for (size_t i = skip; i < profile->merged_count; i++) {
        wire_write_removal(profile_id_slice(&profile->merged[i]), profile->version, &a->removals);
    }
    a->removal_count += (uint32_t)(1 + profile->merged_count - skip);
}

static bool put_changed(struct answer *a, struct profile_id id, struct error *err)
{
    struct profile *profile;
    if (!reader_profile(&a->edges->parts.reader, id, &profile, err)) {
        return false;
    }
    if (profile == NULL) {
        return true; /* under way to its survivor, whose card names it */
    }
    if (refill_outbox(&a->asker) == SHARED_OUTBOX && !is_in_scope(a, profile)) {
        put_removals(a, profile);
    } else {
        put_card(a, profile);
    }
    profile_free(&profile);
    return true;
}

/* The outbox of one partition from the cursor on. */
static bool collect_partition(struct answer *a, uint32_t partition, struct error *err)
{
    struct key key = key_edge(refill_outbox(&a->asker), a->reply.cursors[partition] + 1);
    struct slice prefix = key_prefix(&key, KEY_PREFIX_NUMBER);
    struct store_iterator *it = store_iterator_open(a->edges->parts.reader.stores[partition], NULL);
    bool fine = true;
    for (store_iterator_seek(it, key_slice(&key));
         fine && !is_full(a) && store_iterator_valid(it) &&
         slice_starts_with(store_iterator_key(it), prefix);
         store_iterator_next(it)) {
        struct profile_id id;
        uint64_t sequence = read_u64(store_iterator_key(it).data + KEY_PREFIX_NUMBER);
        if (profile_id_from_slice(store_iterator_value(it), &id)) {
            fine = put_changed(a, id, err);
        }
        a->reply.cursors[partition] = sequence;
    }
    fine = fine && store_iterator_check(it, err);
    store_iterator_close(&it);
    return fine;
}

static bool put_refilled(void *user, const struct profile *profile)
{
    struct answer *a = user;
    if (is_full(a)) {
        return false;
    }
    if (is_in_scope(a, profile)) {
        put_card(a, profile);
    }
    return true;
}

static void answer_init(struct edges *e, const struct parked *parked, struct answer *a)
{
    const struct wire_poll *poll = &parked->poll;
    uint32_t partitions = e->parts.reader.partitions;
    a->edges = e;
    a->catalog = definitions_borrow(e->parts.definitions);
    a->asker = (struct refill_asker){parked->collector,
                                     catalog_scope_of(a->catalog, parked->collector), poll};
    a->reply = (struct wire_poll_reply){.cursor_count = partitions};
    a->reply.refill = (struct wire_refill){.is_told = poll->cache.is_told,
                                           .scope_version = poll->cache.scope_version,
                                           .place = poll->cache.place};
    if (poll->cursor_count == partitions) {
        memcpy(a->reply.cursors, poll->cursors, partitions * sizeof *poll->cursors);
    }
    buf_init(&a->cards, CARDS_BYTES_MAX + CARD_BYTES_MAX * 16);
    buf_init(&a->removals, CARDS_BYTES_MAX * 2);
    buf_init(&a->gate, LIMIT_WIRE_BYTES);
    buf_init(&a->message, SIZE_MAX / 2);
}

static void answer_done(struct answer *a)
{
    definitions_release(a->edges->parts.definitions);
    buf_done(&a->cards);
    buf_done(&a->removals);
    buf_done(&a->gate);
    buf_done(&a->message);
}

/* Begin a refill if one is needed. *ret_ready is false where it is, but cannot begin yet. */
static bool check_cache(struct answer *a, struct parked *parked, bool *ret_ready, struct error *err)
{
    const struct reader *reader = &a->edges->parts.reader;
    *ret_ready = true;
    if (!parked->poll.cache.is_told) {
        return true;
    }
    bool fits = parked->poll.cache.scope_version == refill_version(&a->asker);
    if (fits && !parked->has_fitting_cursors) {
        if (!refill_check_cursors(reader, &a->asker, &fits, err)) {
            return false;
        }
        parked->has_fitting_cursors = fits;
    }
    if (fits) {
        return true;
    }
    if (!refill_begin(reader, &a->asker, &a->reply, ret_ready, err)) {
        return false;
    }
    if (*ret_ready) {
        log_info("refill-begun", "A collector's edge cache is filled anew. collector=%u scope=%llu",
                 parked->collector, (unsigned long long)a->reply.refill.scope_version);
    }
    return true;
}

/* What changed, and the next step of a refill. */
static bool collect(struct answer *a, struct error *err)
{
    bool fine = true;
    for (uint32_t i = 0; fine && i < a->edges->parts.reader.partitions; i++) {
        fine = collect_partition(a, i, err);
    }
    return fine &&
           (a->reply.refill.place.len == 0 ||
            refill_go_on(&a->edges->parts.reader, &a->reply.refill.place, put_refilled, a, err));
}

static void send_answer(struct answer *a, const struct parked *parked, bool has_gate)
{
    struct edges *e = a->edges;
    a->reply.hub_ms = clock_now_ms(e->parts.clock);
    a->reply.gate_version = parked->poll.gate_version;
    if (has_gate) {
        registry_gate(e->parts.registry, &a->gate, &a->reply.gate_version);
        a->reply.gate = buf_slice(&a->gate);
    }
    wire_write_poll_reply(&a->reply, (struct wire_list){a->card_count, buf_slice(&a->cards)},
                          (struct wire_list){a->removal_count, buf_slice(&a->removals)},
                          &a->message);
    parked->waiter.answer(parked->waiter.user, buf_slice(&a->message));
}

/* Answer the poll if there is something to say, or if it must be answered now. */
static bool try_answer(struct edges *e, struct parked *parked, bool must)
{
    struct answer *a = memory_allocate_zeroed(sizeof *a);
    struct error err;
    bool is_ready = false;
    answer_init(e, parked, a);
    parked->is_wide = refill_outbox(&a->asker) == SHARED_OUTBOX;
    bool fine = check_cache(a, parked, &is_ready, &err) && (!is_ready || collect(a, &err));
    if (!fine) {
        log_error("edge-failed", "%s", err.message);
    }
    bool has_gate = registry_gate_version(e->parts.registry) > parked->poll.gate_version;
    bool has_news = a->card_count > 0 || a->removal_count > 0 || has_gate ||
                    a->reply.refill.begins || parked->poll.cache.place.len > 0;
    bool answers = must || (fine && is_ready && has_news);
    if (answers && fine) {
        send_answer(a, parked, has_gate);
    } else if (answers) {
        parked->waiter.answer(parked->waiter.user, slice_make(NULL, 0));
    }
    parked->due_ms = is_ready ? INT64_MAX : clock_now_ms(e->parts.clock) + NOT_READY_MS;
    answer_done(a);
    free(a);
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

/* The cursors say what the collector has safely: the partitions may forget it. Those of a cache
 * that is filled for another scope, and of another outbox, say nothing. */
static void acknowledge(struct edges *e, uint32_t collector, const struct wire_poll *poll)
{
    struct acknowledged *a = acknowledged_of(e, collector);
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    struct refill_asker asker = {collector, catalog_scope_of(catalog, collector), poll};
    bool counts = refill_outbox(&asker) == collector &&
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
    f->cache_is_told = c->poll->cache.is_told;
    memcpy(f->cache_id, c->poll->cache.id, sizeof f->cache_id);
    f->cache_scope_version = c->poll->cache.scope_version;
    f->cache_is_refilling = c->poll->cache.place.len > 0;
    f->cache_profiles = refill_profiles(&c->poll->cache.place);
}

void edges_poll(struct edges *e, struct slice collector_id, const struct collector_keys *keys,
                const struct wire_poll *poll, struct edges_waiter waiter)
{
    struct contact contact = {clock_now_ms(e->parts.clock), poll};
    collectors_note(e->parts.collectors, collector_id, note_contact, &contact);
    struct parked *p = memory_allocate_zeroed(sizeof *p);
    int64_t wait = poll->wait_ms < 0             ? 0
                   : poll->wait_ms > WAIT_MS_MAX ? WAIT_MS_MAX
                                                 : poll->wait_ms;
    p->collector = keys->number;
    p->deadline_ms = clock_now_ms(e->parts.clock) + wait;
    p->due_ms = 0; /* look once at once */
    p->poll = *poll;
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

/* The card of a profile that was looked up. What is in the collector's scope it may keep, and then
 * gets its changes from now on. */
static bool put_looked_up(struct edges *e, uint32_t collector, const struct profile *profile,
                          struct buf *card)
{
    struct buf message;
    const struct catalog *catalog = definitions_borrow(e->parts.definitions);
    const struct catalog_scope *scope = catalog_scope_of(catalog, collector);
    bool is_wide = scope != NULL && scope->kind != SCOPE_SEEN;
    bool keeps = !is_wide || catalog_scope_holds(catalog, scope, profile);
    card_write(profile, catalog, clock_now_ms(e->parts.clock), true, card);
    definitions_release(e->parts.definitions);
    if (!is_wide) {
        buf_init(&message, 256);
        partition_write_interest(&message, profile->id, collector);
        workers_post(e->parts.workers, profile_id_partition(profile->id), 0, buf_slice(&message));
        buf_done(&message);
    }
    return keeps;
}

void edges_look_up(struct edges *e, const struct collector_keys *keys,
                   const struct wire_lookup *lookup, struct edges_waiter waiter)
{
    struct profile *profile;
    struct error err;
    struct buf card;
    struct buf message;
    bool keeps = false;
    if (!reader_profile_of(&e->parts.reader, (struct identifier){lookup->type, lookup->value},
                           &profile, &err)) {
        log_error("edge-failed", "%s", err.message);
        waiter.answer(waiter.user, slice_make(NULL, 0));
        return;
    }
    buf_init(&card, LIMIT_WIRE_BYTES);
    buf_init(&message, LIMIT_WIRE_BYTES);
    if (profile != NULL) {
        keeps = put_looked_up(e, keys->number, profile, &card);
        profile_free(&profile);
    }
    wire_write_lookup_reply(buf_slice(&card), keeps, &message);
    waiter.answer(waiter.user, buf_slice(&message));
    buf_done(&card);
    buf_done(&message);
}

void edges_notify(struct edges *e, uint32_t collector)
{
    pthread_mutex_lock(&e->lock);
    e->notices++;
    for (struct parked *p = e->parked; p != NULL; p = p->next) {
        bool concerns = collector == SHARED_OUTBOX ? p->is_wide : p->collector == collector;
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
