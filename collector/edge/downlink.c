#include "collector/edge/downlink.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/daemon.h"
#include "shared/log.h"

enum { WAIT_MS = 25000, ANSWER_MS_MAX = 35000, RETRY_MS = 500, REFUSED_MS = 10000 };

struct downlink {
    struct downlink_parts parts;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool polling;
    int64_t pause_ms;                            /* before the next poll: the last one failed */
    bool is_filling;                             /* as the last poll told */
    uint8_t incarnation[WIRE_INCARNATION_BYTES]; /* likewise */
    bool closing;
    bool is_refused; /* the poll whose end is being handled */
    uint64_t gate_version;
    int64_t answered_ms;
    /* The last poll was answered. The first one, and one after another that was not, does not wait:
     * so the offset is known at once, and so is that the hub is back. */
    bool is_answered;
    uint8_t nonce[SEAL_NONCE_BYTES]; /* of the poll under way */
    pthread_t thread;
};

/* A reply, opened and taken apart; done with opened_done(). */
struct opened {
    struct buf plain;
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
};

static bool opened_init(struct opened *o, struct downlink *d, const uint8_t nonce[SEAL_NONCE_BYTES],
                        struct slice reply, struct error *err)
{
    buf_init(&o->plain, LIMIT_WIRE_BYTES);
    bool made = msgpack_zone_init(&o->zone, 8192);
    ensure(made);
    return seal_open_reply(d->parts.channel, nonce, reply, &o->plain, err) &&
           wire_read(buf_slice(&o->plain), &o->zone, &o->type, &o->members, err);
}

static void opened_done(struct opened *o)
{
    msgpack_zone_destroy(&o->zone);
    buf_done(&o->plain);
}

/* Is this the first answer of an incarnation of the hub? What is stored then is of it. */
static bool is_of_another(const struct downlink *d, const struct wire_moment *moment)
{
    return moment->is_told &&
           memcmp(d->incarnation, moment->incarnation, sizeof d->incarnation) != 0;
}

static bool apply(struct downlink *d, const msgpack_object *members, struct error *err)
{
    struct wire_poll_reply *r = memory_allocate_zeroed(sizeof *r);
    bool fine = wire_read_poll_reply(members, r);
    if (!fine) {
        error_set(err, ERROR_CORRUPT, "the poll's answer is damaged");
    }
    bool has_news = fine && (is_of_another(d, &r->moment) || r->starts_over || d->is_filling ||
                             r->refill.begins || r->cards->via.array.size > 0 ||
                             (r->removals != NULL && r->removals->via.array.size > 0) ||
                             r->gate.len > 0 || r->suppressions.len > 0);
    fine = fine && (!has_news || edge_apply(d->parts.edge, r, err));
    if (fine) {
        suppression_apply(d->parts.suppression, r);
    }
    if (fine && r->gate.len > 0) {
        d->parts.gate_version = r->gate_version;
        d->parts.gate_changed(d->parts.user, r->gate);
    }
    if (fine) {
        pthread_mutex_lock(&d->lock);
        d->answered_ms = clock_now_ms(d->parts.clock);
        clock_offset_note(d->parts.offset, r->hub_ms);
        pthread_mutex_unlock(&d->lock);
    }
    free(r);
    return fine;
}

/* The poll was refused: this collector may not ask, or a newer one asks an older hub. */
static bool take_refusal(struct downlink *d, const struct opened *o, struct error *err)
{
    enum wire_status status;
    if (o->type != WIRE_REFUSAL || !wire_read_refusal(&o->members, &status)) {
        return error_set(err, ERROR_CORRUPT, "the poll's answer is damaged");
    }
    d->is_refused = true;
    standing_note(d->parts.standing, status);
    return error_set(err, ERROR_UNAVAILABLE, "the hub refuses the poll: %s",
                     wire_status_name(status));
}

static void on_poll_done(void *user, bool answered, struct slice reply)
{
    struct downlink *d = user;
    struct opened o;
    struct error err;
    bool fine = false;
    d->is_refused = false;
    if (answered) {
        fine = opened_init(&o, d, d->nonce, reply, &err) &&
               (o.type == WIRE_POLL ? apply(d, &o.members, &err) : take_refusal(d, &o, &err));
        opened_done(&o);
        if (fine) {
            standing_note(d->parts.standing, WIRE_STORED);
        } else if (standing_refusal(d->parts.standing).code == NULL) {
            log_warn_limited("poll-failed", "%s", err.message);
        }
    }
    report_settle(d->parts.report, fine);
    pthread_mutex_lock(&d->lock);
    bool is_back = fine && !d->is_answered;
    d->is_answered = fine;
    d->polling = false;
    d->pause_ms = fine ? 0 : d->is_refused ? REFUSED_MS : RETRY_MS;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (is_back) {
        d->parts.hub_is_back(d->parts.user);
    }
}

static void send_poll(struct downlink *d)
{
    struct wire_poll *poll = memory_allocate_zeroed(sizeof *poll);
    struct buf report;
    struct buf message;
    struct buf request;
    (void)clock_offset_get(d->parts.offset, &poll->clock_offset_ms);
    poll->wait_ms = d->is_answered ? WAIT_MS : 0;
    poll->gate_version = d->parts.gate_version;
    poll->spool_blocks = spool_blocks(d->parts.spool);
    poll->spool_bytes = spool_bytes(d->parts.spool);
    edge_describe(d->parts.edge, poll);
    d->is_filling = poll->cache.place.len > 0;
    memcpy(d->incarnation, poll->moment.incarnation, sizeof d->incarnation);
    poll->suppression_version = suppression_version(d->parts.suppression);
    buf_init(&report, WIRE_REPORT_BYTES);
    buf_init(&message, LIMIT_WIRE_BYTES);
    buf_init(&request, LIMIT_WIRE_BYTES);
    report_write(d->parts.report, &report);
    poll->report = buf_slice(&report);
    wire_write_poll(poll, &message);
    seal_write_request(d->parts.channel, buf_slice(&message), &rand_secure, &request, d->nonce);
    link_client_request(d->parts.link, buf_slice(&request), ANSWER_MS_MAX, on_poll_done, d);
    buf_done(&report);
    buf_done(&message);
    buf_done(&request);
    free(poll);
}

static bool is_closing(struct downlink *d)
{
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    pthread_mutex_unlock(&d->lock);
    return closing;
}

/* Remove what a refill that is complete did not bring. */
static void sweep(struct downlink *d)
{
    bool more = true;
    while (more && !is_closing(d)) {
        struct error err;
        if (!edge_sweep(d->parts.edge, &more, &err)) {
            log_warn_limited("sweep-failed", "%s", err.message);
            more = false;
        }
    }
}

static void *run(void *arg)
{
    struct downlink *d = arg;
    pthread_mutex_lock(&d->lock);
    while (!d->closing) {
        if (d->polling) {
            pthread_cond_wait(&d->wake, &d->lock);
        } else if (d->pause_ms > 0) {
            int64_t pause_ms = d->pause_ms;
            d->pause_ms = 0;
            daemon_wait(&d->wake, &d->lock, pause_ms);
        } else {
            d->polling = true;
            pthread_mutex_unlock(&d->lock);
            sweep(d);
            send_poll(d);
            pthread_mutex_lock(&d->lock);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

struct downlink *downlink_open(const struct downlink_parts *parts)
{
    struct downlink *d = memory_allocate_zeroed(sizeof *d);
    d->parts = *parts;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    d->thread = daemon_start_thread("downlink", run, d);
    return d;
}

void downlink_stop(struct downlink *d)
{
    pthread_mutex_lock(&d->lock);
    bool was_closing = d->closing;
    d->closing = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (!was_closing) {
        pthread_join(d->thread, NULL);
    }
}

void downlink_close(struct downlink **downlink)
{
    struct downlink *d = *downlink;
    if (d == NULL) {
        return;
    }
    downlink_stop(d);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    free(d);
    *downlink = NULL;
}

bool downlink_is_connected(struct downlink *d)
{
    pthread_mutex_lock(&d->lock);
    bool connected = d->is_answered;
    pthread_mutex_unlock(&d->lock);
    return connected && link_client_is_connected(d->parts.link);
}

int64_t downlink_answered_ms(struct downlink *d)
{
    pthread_mutex_lock(&d->lock);
    int64_t answered_ms = d->answered_ms;
    pthread_mutex_unlock(&d->lock);
    return answered_ms;
}

struct lookup {
    struct downlink *downlink;
    uint64_t generation; /* of the edge cache when it was asked */
    uint8_t nonce[SEAL_NONCE_BYTES];
    downlink_looked_up *done;
    void *user;
};

static enum downlink_lookup take_card(const struct lookup *lookup, const struct opened *o,
                                      struct wire_card *ret)
{
    struct wire_lookup_reply reply;
    struct error err;
    if (o->type == WIRE_REFUSAL) {
        log_warn_limited("lookup-refused", "The hub does not answer: too many people are looked "
                                           "up, or it takes nothing from this collector.");
        return DOWNLINK_UNREACHABLE;
    }
    if (o->type != WIRE_LOOKUP || !wire_read_lookup_reply(&o->members, &reply)) {
        log_warn_limited("lookup-failed", "The look-up's answer is damaged.");
        return DOWNLINK_UNREACHABLE;
    }
    if (reply.card == NULL) {
        return DOWNLINK_NOBODY;
    }
    if (!wire_read_card(reply.card, ret)) {
        log_warn_limited("lookup-failed", "The card that was looked up is damaged.");
        return DOWNLINK_UNREACHABLE;
    }
    if (reply.keeps && !edge_apply_card(lookup->downlink->parts.edge, lookup->generation,
                                        &reply.moment, reply.card, &err)) {
        log_warn_limited("lookup-failed", "%s", err.message); /* it can be shown all the same */
    }
    return DOWNLINK_FOUND;
}

static void on_lookup_done(void *user, bool answered, struct slice reply)
{
    struct lookup *lookup = user;
    enum downlink_lookup result = DOWNLINK_UNREACHABLE;
    struct wire_card card;
    struct opened o;
    struct error err;
    if (answered) {
        if (opened_init(&o, lookup->downlink, lookup->nonce, reply, &err)) {
            result = take_card(lookup, &o, &card);
        }
    }
    lookup->done(lookup->user, result, result == DOWNLINK_FOUND ? &card : NULL);
    if (answered) {
        opened_done(&o);
    }
    free(lookup);
}

void downlink_look_up(struct downlink *d, struct identifier identifier, int timeout_ms,
                      downlink_looked_up *done, void *user)
{
    struct lookup *lookup = memory_allocate_zeroed(sizeof *lookup);
    struct wire_lookup message = {identifier.type, identifier.value};
    struct buf plain;
    struct buf request;
    lookup->downlink = d;
    lookup->generation = edge_generation(d->parts.edge);
    lookup->done = done;
    lookup->user = user;
    buf_init(&plain, LIMIT_WIRE_BYTES);
    buf_init(&request, LIMIT_WIRE_BYTES);
    wire_write_lookup(&message, &plain);
    seal_write_request(d->parts.channel, buf_slice(&plain), &rand_secure, &request, lookup->nonce);
    link_client_request(d->parts.link, buf_slice(&request), timeout_ms, on_lookup_done, lookup);
    buf_done(&plain);
    buf_done(&request);
}
