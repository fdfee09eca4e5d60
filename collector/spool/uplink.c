#include "collector/spool/uplink.h"

#include <pthread.h>
#include <stdlib.h>
#include "collector/spool/shipper.h"
#include "shared/daemon.h"
#include "shared/log.h"
#include "shared/wire.h"

enum { ANSWER_MS_MAX = 15000, SLEEP_MS_MAX = 60000, FAILED_MS = 1000 };

struct flight {
    struct uplink *uplink;
    struct spool_place place;
    uint8_t nonce[SEAL_NONCE_BYTES];
};

struct uplink {
    struct uplink_parts parts;
    const struct clock *clock;
    struct buf block; /* of the sending thread, like the next three */
    struct buf header;
    struct buf message;
    struct buf request;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_cond_t landed;
    struct shipper shipper;
    unsigned in_flight;
    bool closing;
    struct uplink_stats stats;
    pthread_t thread;
};

static void count(struct uplink *u, enum wire_status status)
{
    u->stats.last_answer_ms = clock_now_ms(u->clock);
    u->stats.blocks_stored += status == WIRE_STORED;
    u->stats.blocks_replayed += status == WIRE_REPLAYED;
    u->stats.blocks_refused += status == WIRE_DAMAGED || status == WIRE_REVOKED;
}

static void act(struct uplink *u, const struct spool_place *place, enum shipper_action action)
{
    struct error err;
    bool fine = true;
    if (action == SHIPPER_FORGET) {
        fine = spool_acknowledge(u->parts.spool, place, &err);
    } else if (action == SHIPPER_SET_ASIDE) {
        log_error_limited("block-set-aside",
                          "The hub refuses a block as damaged; it is kept aside. "
                          "sequence=%llu",
                          (unsigned long long)place->sequence);
        fine = spool_set_aside(u->parts.spool, place, &err);
    }
    if (!fine) {
        log_error_limited("spool-failed", "%s sequence=%llu", err.message,
                          (unsigned long long)place->sequence);
    }
}

static bool read_reply(struct flight *flight, struct slice reply, struct wire_block_reply *ret,
                       struct error *err)
{
    struct buf plain;
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
    buf_init(&plain, LIMIT_WIRE_BYTES);
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    *ret = (struct wire_block_reply){0};
    bool fine =
        seal_open_reply(flight->uplink->parts.channel, flight->nonce, reply, &plain, err) &&
        wire_read(buf_slice(&plain), &zone, &type, &members, err) &&
        (type == WIRE_BLOCK ? wire_read_block_reply(&members, ret)
                            : type == WIRE_REFUSAL && wire_read_refusal(&members, &ret->status));
    msgpack_zone_destroy(&zone);
    buf_done(&plain);
    return fine;
}

static void on_done(void *user, bool answered, struct slice reply)
{
    struct flight *flight = user;
    struct uplink *u = flight->uplink;
    struct wire_block_reply r;
    struct error err = {.message = "the answer makes no sense"};
    int64_t now = clock_now_ms(u->clock);
    enum shipper_action action = SHIPPER_KEEP;
    struct spool_place covered[SHIPPER_WINDOW_MAX];
    size_t covered_count = 0;
    bool understood = answered && read_reply(flight, reply, &r, &err);
    if (answered && !understood) {
        log_warn_limited("reply-refused", "%s sequence=%llu", err.message,
                         (unsigned long long)flight->place.sequence);
    }
    if (understood) {
        standing_note(u->parts.standing, r.status);
    }
    if (understood && r.hub_ms > 0) {
        clock_offset_note(u->parts.offset, r.hub_ms);
    }
    pthread_mutex_lock(&u->lock);
    if (understood) {
        count(u, r.status);
        action = shipper_reply(&u->shipper, flight->place.sequence, r.status, now);
        if (r.status == WIRE_STORED || r.status == WIRE_REPLAYED) {
            covered_count = shipper_cover(&u->shipper, r.from, r.to, covered);
        }
    } else {
        u->stats.blocks_unanswered++;
        shipper_no_answer(&u->shipper, flight->place.sequence, now);
    }
    pthread_mutex_unlock(&u->lock);
    act(u, &flight->place, action);
    for (size_t i = 0; i < covered_count; i++) {
        act(u, &covered[i], SHIPPER_FORGET);
    }
    pthread_mutex_lock(&u->lock);
    u->in_flight--;
    pthread_cond_signal(&u->wake);
    pthread_cond_broadcast(&u->landed);
    pthread_mutex_unlock(&u->lock);
    free(flight);
}

/* The block in u->block, which is in flight for the shipper. */
static void send_block(struct uplink *u, const struct spool_place *place, int64_t offset_ms)
{
    struct flight *flight = memory_allocate_zeroed(sizeof *flight);
    pthread_mutex_lock(&u->lock);
    uint64_t under_way = ++u->in_flight;
    pthread_mutex_unlock(&u->lock);
    uint64_t blocks = spool_blocks(u->parts.spool);
    bool is_last = blocks <= under_way;
    struct wire_block message = {
        .clock_offset_ms = eras_offset_ms(u->parts.eras, place->era, offset_ms),
        .header = buf_slice(&u->header),
        .block = buf_slice(&u->block),
        .spool_blocks = is_last ? 0 : blocks - under_way,
        .spool_bytes = is_last ? 0 : spool_bytes(u->parts.spool),
    };
    flight->uplink = u;
    flight->place = *place;
    buf_clear(&u->message);
    buf_clear(&u->request);
    wire_write_block(&message, &u->message);
    seal_write_request(u->parts.channel, buf_slice(&u->message), &rand_secure, &u->request,
                       flight->nonce);
    link_client_request(u->parts.link, buf_slice(&u->request), ANSWER_MS_MAX, on_done, flight);
}

/* Read the block again, and send it again. */
static void resend(struct uplink *u, const struct spool_place *place, int64_t offset_ms)
{
    struct error err;
    bool found = false;
    bool fine = spool_read(u->parts.spool, place, &u->block, &u->header, &found, &err);
    if (fine && found) {
        send_block(u, place, offset_ms);
        return;
    }
    pthread_mutex_lock(&u->lock);
    if (fine) {
        shipper_skip(&u->shipper, place->sequence);
    } else {
        shipper_no_answer(&u->shipper, place->sequence, clock_now_ms(u->clock));
    }
    pthread_mutex_unlock(&u->lock);
    if (!fine) {
        log_error_limited("spool-failed", "%s sequence=%llu", err.message,
                          (unsigned long long)place->sequence);
    }
}

/* Find the next block of a lane, and send it. False: the spool failed. */
static bool fetch(struct uplink *u, const struct spool_place *from, uint64_t end, int64_t offset_ms)
{
    struct error err;
    struct spool_place place;
    bool found = false;
    if (!spool_find(u->parts.spool, from->lane, from->sequence, &place, &u->block, &u->header,
                    &found, &err)) {
        log_error_limited("spool-failed", "%s sequence=%llu", err.message,
                          (unsigned long long)from->sequence);
        return false;
    }
    pthread_mutex_lock(&u->lock);
    if (found) {
        shipper_found(&u->shipper, &place);
    } else {
        shipper_found_none(&u->shipper, from->lane, end);
    }
    pthread_mutex_unlock(&u->lock);
    if (found) {
        send_block(u, &place, offset_ms);
    }
    return true;
}

static void wait_until(struct uplink *u, int64_t wake_ms, int64_t now_ms)
{
    if (wake_ms == INT64_MAX) {
        pthread_cond_wait(&u->wake, &u->lock);
        return;
    }
    int64_t ms = wake_ms - now_ms;
    daemon_wait(&u->wake, &u->lock, ms > SLEEP_MS_MAX ? SLEEP_MS_MAX : ms < 1 ? 1 : ms);
}

/* Under the lock, which is let go meanwhile where there is something to do. */
static void work(struct uplink *u, int64_t offset_ms)
{
    uint64_t ends[LANES];
    int64_t now = clock_now_ms(u->clock);
    for (int lane = 0; lane < LANES; lane++) {
        ends[lane] = spool_lane_end(u->parts.spool, (enum lane)lane);
    }
    struct shipper_decision d = shipper_next(&u->shipper, ends, now);
    if (d.step == SHIPPER_WAIT) {
        wait_until(u, d.wake_ms, now);
        return;
    }
    pthread_mutex_unlock(&u->lock);
    eras_note_offset(u->parts.eras, offset_ms);
    bool fine = true;
    if (d.step == SHIPPER_SEND) {
        resend(u, &d.place, offset_ms);
    } else {
        fine = fetch(u, &d.place, ends[d.place.lane], offset_ms);
    }
    pthread_mutex_lock(&u->lock);
    if (!fine) {
        wait_until(u, now + FAILED_MS, now);
    }
}

static void *run(void *arg)
{
    struct uplink *u = arg;
    pthread_mutex_lock(&u->lock);
    while (!u->closing) {
        int64_t offset_ms;
        if (clock_offset_get(u->parts.offset, &offset_ms)) {
            work(u, offset_ms);
        } else {
            pthread_cond_wait(&u->wake, &u->lock);
        }
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

struct uplink *uplink_open(const struct uplink_parts *parts)
{
    struct uplink *u = memory_allocate_zeroed(sizeof *u);
    u->parts = *parts;
    u->clock = eras_clock(parts->eras);
    buf_init(&u->block, SIZE_MAX / 2);
    buf_init(&u->header, 4096);
    buf_init(&u->message, LIMIT_WIRE_BYTES);
    buf_init(&u->request, LIMIT_WIRE_BYTES + 1024);
    pthread_mutex_init(&u->lock, NULL);
    pthread_cond_init(&u->wake, NULL);
    pthread_cond_init(&u->landed, NULL);
    shipper_init(&u->shipper, parts->window, parts->bytes_per_second_max, clock_now_ms(u->clock));
    u->thread = daemon_start_thread("uplink", run, u);
    return u;
}

void uplink_stop(struct uplink *u)
{
    pthread_mutex_lock(&u->lock);
    bool was_closing = u->closing;
    u->closing = true;
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
    if (!was_closing) {
        pthread_join(u->thread, NULL);
    }
}

void uplink_close(struct uplink **uplink)
{
    struct uplink *u = *uplink;
    if (u == NULL) {
        return;
    }
    uplink_stop(u);
    pthread_mutex_lock(&u->lock);
    while (u->in_flight > 0) {
        pthread_cond_wait(&u->landed, &u->lock);
    }
    pthread_mutex_unlock(&u->lock);
    buf_done(&u->block);
    buf_done(&u->header);
    buf_done(&u->message);
    buf_done(&u->request);
    free(u);
    *uplink = NULL;
}

void uplink_wake(struct uplink *u)
{
    pthread_mutex_lock(&u->lock);
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
}

void uplink_hub_is_back(struct uplink *u)
{
    pthread_mutex_lock(&u->lock);
    shipper_retry_now(&u->shipper, clock_now_ms(u->clock));
    pthread_cond_signal(&u->wake);
    pthread_mutex_unlock(&u->lock);
}

struct uplink_stats uplink_stats(struct uplink *u)
{
    pthread_mutex_lock(&u->lock);
    struct uplink_stats stats = u->stats;
    pthread_mutex_unlock(&u->lock);
    return stats;
}
