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
    if (keys->is_revoked) {
        answer_refusal(x, WIRE_REVOKED);
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

void messages_take(void *user, struct slice request, struct link_reply *reply)
{
    struct messages *m = user;
    struct error err;
    struct slice id;
    struct collector_keys keys;
    struct buf plain;
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
    struct exchange *x = memory_allocate_zeroed(sizeof *x);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    buf_init(&plain, LIMIT_WIRE_BYTES);
    x->reply = reply;
    bool fine = seal_request_peek(request, &id, &err) &&
                (collectors_find(m->collectors, id, &keys) ||
                 error_set(&err, ERROR_INVALID, "Nobody is enrolled under this name.")) &&
                seal_open_request(keys.channel, request, &plain, x->nonce, &err) &&
                wire_read(buf_slice(&plain), &zone, &type, &members, &err);
    if (fine) {
        x->channel = keys.channel;
        link_reply_vouch(reply, keys.number);
        dispatch(m, id, &keys, type, &members, x);
    } else {
        m->strangers++;
        log_warn_limited("message-refused", "%s", err.message);
        answer(x, slice_make(NULL, 0));
    }
    msgpack_zone_destroy(&zone);
    buf_done(&plain);
}
