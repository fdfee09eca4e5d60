#include "hub/messages.h"

#include <stdatomic.h>
#include <stdlib.h>
#include "shared/log.h"

struct messages {
    struct collectors *collectors;
    struct intake *intake;
    struct edges *edges;
    _Atomic uint64_t strangers;
};

/* One message on its way to an answer. */
struct exchange {
    const struct seal_channel *channel;
    struct link_reply *reply;
    uint8_t nonce[SEAL_NONCE_BYTES];
};

struct messages *messages_new(struct collectors *collectors, struct intake *intake,
                              struct edges *edges)
{
    struct messages *m = memory_allocate_zeroed(sizeof *m);
    m->collectors = collectors;
    m->intake = intake;
    m->edges = edges;
    return m;
}

void messages_free(struct messages **messages)
{
    free(*messages);
    *messages = NULL;
}

uint64_t messages_strangers(const struct messages *m)
{
    return m->strangers;
}

/* An empty message means that there is nothing to say: the collector times out and asks again. */
static void answer(void *user, struct slice plain)
{
    struct exchange *x = user;
    struct buf sealed;
    buf_init(&sealed, SIZE_MAX / 2);
    if (plain.len > 0) {
        seal_write_reply(x->channel, x->nonce, plain, &rand_secure, &sealed);
    }
    link_reply_send(x->reply, buf_slice(&sealed));
    buf_done(&sealed);
    free(x);
}

static void answer_block(void *user, const struct wire_block_reply *reply)
{
    struct buf plain;
    buf_init(&plain, 1024);
    wire_write_block_reply(reply, &plain);
    answer(user, buf_slice(&plain));
    buf_done(&plain);
}

static void answer_refusal(struct exchange *x, enum wire_status status)
{
    struct buf plain;
    buf_init(&plain, 64);
    wire_write_refusal(status, &plain);
    answer(x, buf_slice(&plain));
    buf_done(&plain);
}

static void dispatch(struct messages *m, struct slice id, const struct collector_keys *keys,
                     enum wire_type type, const msgpack_object *members, struct exchange *x)
{
    struct wire_block block;
    struct wire_lookup lookup;
    if (type == WIRE_BLOCK && wire_read_block(members, &block)) {
        intake_take(m->intake, id, keys, &block, (struct intake_waiter){answer_block, x});
        return;
    }
    if (type == WIRE_POLL) {
        struct wire_poll *poll = memory_allocate_zeroed(sizeof *poll);
        bool fine = wire_read_poll(members, poll);
        if (fine) {
            edges_poll(m->edges, id, keys, poll, (struct edges_waiter){answer, x});
        } else {
            answer_refusal(x, WIRE_DAMAGED);
        }
        free(poll);
        return;
    }
    if (type == WIRE_LOOKUP && wire_read_lookup(members, &lookup)) {
        edges_look_up(m->edges, id, keys, &lookup, (struct edges_waiter){answer, x});
        return;
    }
    answer_refusal(x, WIRE_DAMAGED);
}

/* Older collectors know only that they were revoked, and tell no moment. */
static bool knows_of_replacing(enum wire_type type, const msgpack_object *members)
{
    struct wire_poll *poll = memory_allocate_zeroed(sizeof *poll);
    bool knows = type == WIRE_POLL && wire_read_poll(members, poll) && poll->moment.is_told;
    free(poll);
    return knows;
}

/* A message under an enrolled name, opened with the key that the name has now or, so that its
 * sender can be told, with one that it had. */
struct opened {
    struct buf plain;
    bool is_former;
};

static bool open_message(struct messages *m, struct slice id, struct slice request,
                         const struct collector_keys *keys, struct exchange *x, struct opened *o,
                         struct error *err)
{
    x->channel = keys->channel;
    bool opens = seal_open_request(x->channel, request, &o->plain, x->nonce, err);
    for (unsigned nth = 0; !opens && nth < COLLECTORS_FORMER_KEYS; nth++) {
        struct error ignored;
        const struct seal_channel *former = collectors_former(m->collectors, id, nth);
        opens = former != NULL && seal_open_request(former, request, &o->plain, x->nonce, &ignored);
        o->is_former = opens;
        x->channel = opens ? former : x->channel;
    }
    if (!opens) {
        collectors_refuse(m->collectors, id, COLLECTOR_WRONG_KEY, clock_now_ms(&clock_real));
    }
    return opens;
}

static void take_opened(struct messages *m, struct slice id, const struct collector_keys *keys,
                        const struct opened *o, struct exchange *x)
{
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
    struct error err;
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = wire_read(buf_slice(&o->plain), &zone, &type, &members, &err);
    if (fine && (o->is_former || keys->is_revoked)) {
        collectors_refuse(m->collectors, id, o->is_former ? COLLECTOR_REPLACED : COLLECTOR_REVOKED,
                          clock_now_ms(&clock_real));
        answer_refusal(x, o->is_former && knows_of_replacing(type, &members) ? WIRE_REPLACED
                                                                             : WIRE_REVOKED);
    } else if (fine) {
        link_reply_vouch(x->reply, keys->number);
        dispatch(m, id, keys, type, &members, x);
    } else {
        log_warn_limited("message-refused", "%s collector=%.*s", err.message, SLICE_ARGS(id));
        answer(x, slice_make(NULL, 0));
    }
    msgpack_zone_destroy(&zone);
}

void messages_take(void *user, struct slice request, struct link_reply *reply)
{
    struct messages *m = user;
    struct error err;
    struct slice id;
    struct collector_keys keys;
    struct opened o = {.is_former = false};
    struct exchange *x = memory_allocate_zeroed(sizeof *x);
    buf_init(&o.plain, LIMIT_WIRE_BYTES);
    x->reply = reply;
    bool is_named = seal_request_peek(request, &id, &err) &&
                    (collectors_find(m->collectors, id, &keys) ||
                     error_set(&err, ERROR_INVALID, "Nobody is enrolled under this name."));
    if (is_named && open_message(m, id, request, &keys, x, &o, &err)) {
        take_opened(m, id, &keys, &o, x);
    } else {
        m->strangers++;
        if (!is_named) {
            log_warn_limited("message-refused", "%s", err.message);
        }
        answer(x, slice_make(NULL, 0));
    }
    buf_done(&o.plain);
}
