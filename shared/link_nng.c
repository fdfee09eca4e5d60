#include "shared/link.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdlib.h>
#include "shared/buf.h"
#include "shared/limits.h"
#include "shared/link_socket.h"

/* Contexts wait for requests beside those that are being answered; a long poll keeps its context
 * for as long as it waits, so their number grows with the number of collectors. */
enum { CONTEXTS_IDLE_MIN = 16, CONTEXTS_MAX = 8192 };

struct link_reply {
    struct link_server *server;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    struct link_reply *next;
};

struct link_server {
    nng_socket socket;
    link_handler *handler;
    void *user;
    pthread_mutex_t lock;
    struct link_reply *replies; /* all, for closing */
    int count;
    int idle;
    bool stopped;
};

static void add_context(struct link_server *server);

static void handle(struct link_reply *reply)
{
    struct link_server *server = reply->server;
    nng_msg *msg = nng_aio_get_msg(reply->aio);
    pthread_mutex_lock(&server->lock);
    server->idle--;
    bool stopped = server->stopped;
    bool more = server->idle < CONTEXTS_IDLE_MIN && server->count < CONTEXTS_MAX;
    pthread_mutex_unlock(&server->lock);
    if (more && !stopped) {
        add_context(server);
    }
    if (stopped) {
        link_reply_send(reply, slice_make(NULL, 0));
    } else {
        server->handler(server->user, slice_make(nng_msg_body(msg), nng_msg_len(msg)), reply);
    }
    nng_msg_free(msg);
}

static void wait_for_request(struct link_reply *reply)
{
    pthread_mutex_lock(&reply->server->lock);
    reply->server->idle++;
    pthread_mutex_unlock(&reply->server->lock);
    reply->sending = false;
    nng_ctx_recv(reply->ctx, reply->aio);
}

static void on_server_aio(void *arg)
{
    struct link_reply *reply = arg;
    int rv = nng_aio_result(reply->aio);
    if (reply->sending) {
        if (rv != 0) {
            nng_msg_free(nng_aio_get_msg(reply->aio));
        }
        wait_for_request(reply);
        return;
    }
    if (rv == 0) {
        handle(reply);
    } else if (rv != NNG_ECLOSED && rv != NNG_ECANCELED) {
        pthread_mutex_lock(&reply->server->lock);
        reply->server->idle--;
        pthread_mutex_unlock(&reply->server->lock);
        wait_for_request(reply);
    }
}

static void add_context(struct link_server *server)
{
    struct link_reply *reply = memory_allocate_zeroed(sizeof *reply);
    reply->server = server;
    /* Under the lock: NNG's closing never ends where a context is opened beside it. */
    pthread_mutex_lock(&server->lock);
    if (server->stopped || nng_ctx_open(&reply->ctx, server->socket) != 0) {
        pthread_mutex_unlock(&server->lock);
        free(reply);
        return;
    }
    int rv = nng_aio_alloc(&reply->aio, on_server_aio, reply);
    ensure(rv == 0);
    reply->next = server->replies;
    server->replies = reply;
    server->count++;
    pthread_mutex_unlock(&server->lock);
    wait_for_request(reply);
}

bool link_server_open(const char *url, link_handler *handler, void *user, struct link_server **ret,
                      struct error *err)
{
    struct link_server *server = memory_allocate_zeroed(sizeof *server);
    nng_listener listener;
    server->handler = handler;
    server->user = user;
    pthread_mutex_init(&server->lock, NULL);
    int rv = nng_rep0_open(&server->socket);
    if (rv != 0) {
        free(server);
        return link_socket_fail(err, rv, "opening a socket");
    }
    if ((rv = nng_listener_create(&listener, server->socket, url)) != 0 ||
        (rv = nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, LIMIT_WIRE_BYTES)) != 0 ||
        (rv = nng_listener_start(listener, 0)) != 0) {
        nng_close(server->socket);
        free(server);
        return link_socket_fail(err, rv, url);
    }
    for (int i = 0; i < CONTEXTS_IDLE_MIN; i++) {
        add_context(server);
    }
    *ret = server;
    return true;
}

void link_reply_send(struct link_reply *reply, struct slice bytes)
{
    reply->sending = true;
    nng_aio_set_msg(reply->aio, link_socket_message(bytes));
    nng_ctx_send(reply->ctx, reply->aio);
}

void link_server_stop(struct link_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopped = true;
    pthread_mutex_unlock(&server->lock);
}

void link_server_close(struct link_server **server)
{
    struct link_server *s = *server;
    if (s == NULL) {
        return;
    }
    link_server_stop(s);
    *server = NULL;
    if (!link_socket_close(s->socket)) {
        link_socket_leave_behind(s);
        return;
    }
    for (struct link_reply *reply = s->replies; reply != NULL;) {
        struct link_reply *next = reply->next;
        nng_aio_free(reply->aio);
        free(reply);
        reply = next;
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}
