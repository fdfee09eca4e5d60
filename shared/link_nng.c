#include "shared/link.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "shared/buf.h"
#include "shared/daemon.h"
#include "shared/limits.h"

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

static bool fail(struct error *err, int rv, const char *what)
{
    return error_set(err, ERROR_UNAVAILABLE, "%s: %s", what, nng_strerror(rv));
}

/* nng_close() of NNG before 1.8 can wait for ever for a connection that is being taken down (its
 * issues 1543 and 1813). Closing is therefore given to a thread of its own: when that does not
 * come back in time, the socket is left behind, which only costs its memory until the process
 * ends. */
struct closing {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    nng_socket socket;
    bool is_closed;
    bool is_abandoned;
};

enum { CLOSE_SECONDS_MAX = 2 };

static void free_closing(struct closing *c)
{
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

static void *run_close(void *arg)
{
    struct closing *c = arg;
    nng_close(c->socket);
    pthread_mutex_lock(&c->lock);
    c->is_closed = true;
    bool is_abandoned = c->is_abandoned;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (is_abandoned) {
        free_closing(c);
    }
    return NULL;
}

/* False: the socket is still open, and whatever belongs to it must stay. */
static bool close_socket(nng_socket socket)
{
    struct closing *c = memory_allocate_zeroed(sizeof *c);
    struct timespec until;
    pthread_t thread;
    c->socket = socket;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    int rv = pthread_create(&thread, NULL, run_close, c);
    ensure(rv == 0);
    pthread_detach(thread);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CLOSE_SECONDS_MAX;
    pthread_mutex_lock(&c->lock);
    while (!c->is_closed && rv == 0) {
        rv = pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    bool is_closed = c->is_closed;
    c->is_abandoned = !is_closed;
    pthread_mutex_unlock(&c->lock);
    if (is_closed) {
        free_closing(c);
    }
    return is_closed;
}

/* What belongs to sockets left behind: not used again, and not lost, as a leak checker would think.
 */
struct left_behind {
    void *owner;
    struct left_behind *next;
};

static void leave_behind(void *owner)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct left_behind *all;
    struct left_behind *one = memory_allocate(sizeof *one);
    one->owner = owner;
    pthread_mutex_lock(&lock);
    one->next = all;
    all = one;
    pthread_mutex_unlock(&lock);
}

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
        return fail(err, rv, "opening a socket");
    }
    if ((rv = nng_listener_create(&listener, server->socket, url)) != 0 ||
        (rv = nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, LIMIT_WIRE_BYTES)) != 0 ||
        (rv = nng_listener_start(listener, 0)) != 0) {
        nng_close(server->socket);
        free(server);
        return fail(err, rv, url);
    }
    for (int i = 0; i < CONTEXTS_IDLE_MIN; i++) {
        add_context(server);
    }
    *ret = server;
    return true;
}

void link_reply_send(struct link_reply *reply, struct slice bytes)
{
    nng_msg *msg;
    int rv = nng_msg_alloc(&msg, 0);
    ensure(rv == 0);
    rv = nng_msg_append(msg, bytes.data, bytes.len);
    ensure(rv == 0);
    reply->sending = true;
    nng_aio_set_msg(reply->aio, msg);
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
    if (!close_socket(s->socket)) {
        leave_behind(s);
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

struct client_request {
    struct link_client *client;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    link_done *done;
    void *user;
    struct client_request *next_free;
    struct client_request *next;
};

struct link_client {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct client_request *free;
    struct client_request *all;
    int in_flight;
    bool closing;
};

static void finish(struct client_request *request, bool answered, struct slice reply)
{
    struct link_client *client = request->client;
    link_done *done = request->done;
    void *user = request->user;
    done(user, answered, reply);
    pthread_mutex_lock(&client->lock);
    request->next_free = client->free;
    client->free = request;
    client->in_flight--;
    pthread_cond_broadcast(&client->idle);
    pthread_mutex_unlock(&client->lock);
}

/* NNG's closing may never end where an operation begins beside it. So each begins under the lock,
 * none begins once the client is closing, and nng_close() is called when all have ended. */
static bool begin_operation(struct client_request *request, bool sending)
{
    struct link_client *client = request->client;
    pthread_mutex_lock(&client->lock);
    bool may = !client->closing;
    request->sending = sending;
    if (may && sending) {
        nng_ctx_send(request->ctx, request->aio);
    } else if (may) {
        nng_ctx_recv(request->ctx, request->aio);
    }
    pthread_mutex_unlock(&client->lock);
    return may;
}

static void on_client_aio(void *arg)
{
    struct client_request *request = arg;
    int rv = nng_aio_result(request->aio);
    if (rv != 0) {
        if (request->sending) {
            nng_msg_free(nng_aio_get_msg(request->aio));
        }
        finish(request, false, slice_make(NULL, 0));
        return;
    }
    if (request->sending) {
        if (!begin_operation(request, false)) {
            finish(request, false, slice_make(NULL, 0));
        }
        return;
    }
    nng_msg *msg = nng_aio_get_msg(request->aio);
    finish(request, nng_msg_len(msg) > 0, slice_make(nng_msg_body(msg), nng_msg_len(msg)));
    nng_msg_free(msg);
}

bool link_client_open(const char *url, struct link_client **ret, struct error *err)
{
    struct link_client *client = memory_allocate_zeroed(sizeof *client);
    nng_dialer dialer;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->idle, NULL);
    int rv = nng_req0_open(&client->socket);
    if (rv != 0) {
        free(client);
        return fail(err, rv, "opening a socket");
    }
    if ((rv = nng_dialer_create(&dialer, client->socket, url)) != 0 ||
        (rv = nng_dialer_set_size(dialer, NNG_OPT_RECVMAXSZ, LIMIT_WIRE_BYTES)) != 0 ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, 50)) != 0 ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, 5000)) != 0 ||
        (rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK)) != 0) {
        nng_close(client->socket);
        free(client);
        return fail(err, rv, url);
    }
    *ret = client;
    return true;
}

/* Under the lock: NNG's closing never ends where a context is opened beside it. */
static struct client_request *add_request(struct link_client *client)
{
    struct client_request *request = memory_allocate_zeroed(sizeof *request);
    request->client = client;
    int rv = nng_ctx_open(&request->ctx, client->socket);
    ensure(rv == 0);
    rv = nng_ctx_set_ms(request->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    ensure(rv == 0);
    rv = nng_aio_alloc(&request->aio, on_client_aio, request);
    ensure(rv == 0);
    request->next = client->all;
    client->all = request;
    return request;
}

static struct client_request *take_request(struct link_client *client)
{
    struct client_request *request = NULL;
    pthread_mutex_lock(&client->lock);
    if (!client->closing) {
        request = client->free;
        if (request == NULL) {
            request = add_request(client);
        } else {
            client->free = request->next_free;
        }
        client->in_flight++;
    }
    pthread_mutex_unlock(&client->lock);
    return request;
}

void link_client_request(struct link_client *client, struct slice bytes, int timeout_ms,
                         link_done *done, void *user)
{
    struct client_request *request = take_request(client);
    nng_msg *msg;
    if (request == NULL) {
        done(user, false, slice_make(NULL, 0));
        return;
    }
    request->done = done;
    request->user = user;
    int rv = nng_msg_alloc(&msg, 0);
    ensure(rv == 0);
    rv = nng_msg_append(msg, bytes.data, bytes.len);
    ensure(rv == 0);
    nng_aio_set_msg(request->aio, msg);
    nng_aio_set_timeout(request->aio, timeout_ms);
    if (!begin_operation(request, true)) {
        nng_msg_free(msg);
        finish(request, false, slice_make(NULL, 0));
    }
}

/* Under the lock, which is let go meanwhile. A request that has just gone from sending to receiving
 * may escape one round, so the caller repeats it. */
static void cancel_all(struct link_client *c)
{
    struct client_request *all = c->all;
    pthread_mutex_unlock(&c->lock);
    for (struct client_request *request = all; request != NULL; request = request->next) {
        nng_aio_cancel(request->aio);
    }
    pthread_mutex_lock(&c->lock);
}

static void wait_a_moment(struct link_client *c)
{
    if (c->in_flight > 0) {
        daemon_wait(&c->idle, &c->lock, 20);
    }
}

void link_client_close(struct link_client **client)
{
    struct link_client *c = *client;
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    while (c->in_flight > 0) {
        cancel_all(c);
        wait_a_moment(c);
    }
    pthread_mutex_unlock(&c->lock);
    *client = NULL;
    if (!close_socket(c->socket)) {
        leave_behind(c);
        return;
    }
    for (struct client_request *request = c->all; request != NULL;) {
        struct client_request *next = request->next;
        nng_aio_free(request->aio);
        free(request);
        request = next;
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->idle);
    free(c);
}
