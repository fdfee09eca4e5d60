#include "shared/link_channel.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/limits.h"
#include "shared/link_socket.h"

enum { CANCEL_LOOK_MS = 20, CANCEL_MS_MAX = 500, REDIAL_MS_MAX = 10000 };

/* One request on its way, and the context that it is reused with. */
struct link_exchange {
    struct link_channel *channel;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    bool is_waiting; /* its `done` has not been called yet */
    link_done *done;
    void *user;
    struct link_exchange *next_free;
    struct link_exchange *next;
};

struct link_channel {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct link_exchange *free;
    struct link_exchange *all;
    int in_flight; /* exchanges that NNG, or a `done`, still holds */
    int calling;   /* of these, those in their `done` */
    bool is_closing;
    char *url;
    nng_dialer dialer;
    struct link_channel_status status;
    void (*changed)(void *user);
    void *user;
};

/* ---- One exchange ---- */

/* Under the lock: the right to call `done`, which the first who asks for it gets. */
static bool claim(struct link_exchange *e)
{
    bool is_mine = e->is_waiting;
    e->is_waiting = false;
    e->channel->calling += is_mine;
    return is_mine;
}

static void finish(struct link_exchange *e, bool answered, struct slice reply)
{
    struct link_channel *channel = e->channel;
    pthread_mutex_lock(&channel->lock);
    bool is_mine = claim(e);
    pthread_mutex_unlock(&channel->lock);
    if (is_mine) {
        e->done(e->user, answered, reply);
    }
    pthread_mutex_lock(&channel->lock);
    channel->calling -= is_mine;
    channel->in_flight--;
    e->next_free = channel->free;
    channel->free = e;
    pthread_cond_broadcast(&channel->idle);
    pthread_mutex_unlock(&channel->lock);
}

/* NNG's closing may never end where an operation begins beside it. So each begins under the lock,
 * none begins once the channel is closing, and nng_close() is called when all have ended. */
static bool begin_operation(struct link_exchange *e, bool sending)
{
    struct link_channel *channel = e->channel;
    pthread_mutex_lock(&channel->lock);
    bool may = !channel->is_closing;
    e->sending = sending;
    if (may && sending) {
        nng_ctx_send(e->ctx, e->aio);
    } else if (may) {
        nng_ctx_recv(e->ctx, e->aio);
    }
    pthread_mutex_unlock(&channel->lock);
    return may;
}

static void on_aio(void *arg)
{
    struct link_exchange *e = arg;
    int rv = nng_aio_result(e->aio);
    if (rv != 0) {
        if (e->sending) {
            nng_msg_free(nng_aio_get_msg(e->aio));
        }
        finish(e, false, slice_make(NULL, 0));
        return;
    }
    if (e->sending) {
        if (!begin_operation(e, false)) {
            finish(e, false, slice_make(NULL, 0));
        }
        return;
    }
    nng_msg *msg = nng_aio_get_msg(e->aio);
    pthread_mutex_lock(&e->channel->lock);
    e->channel->status.silent_since_ns = 0;
    pthread_mutex_unlock(&e->channel->lock);
    finish(e, nng_msg_len(msg) > 0, slice_make(nng_msg_body(msg), nng_msg_len(msg)));
    nng_msg_free(msg);
}

/* Under the lock: NNG's closing never ends where a context is opened beside it. */
static struct link_exchange *add_exchange(struct link_channel *channel)
{
    struct link_exchange *e = memory_allocate_zeroed(sizeof *e);
    e->channel = channel;
    int rv = nng_ctx_open(&e->ctx, channel->socket);
    ensure(rv == 0);
    rv = nng_ctx_set_ms(e->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    ensure(rv == 0);
    rv = nng_aio_alloc(&e->aio, on_aio, e);
    ensure(rv == 0);
    e->next = channel->all;
    channel->all = e;
    return e;
}

/* ---- A channel ---- */

/* What was there is never there again. */
static void enter(struct link_channel *channel, enum link_channel_state state)
{
    pthread_mutex_lock(&channel->lock);
    struct link_channel_status *status = &channel->status;
    if (state > status->state) {
        int64_t now_ns = clock_monotonic_ns(&clock_real);
        bool was_there = status->state == LINK_CHANNEL_IS_THERE;
        status->lasted_ms = was_there ? (now_ns - status->since_ns) / 1000000 : 0;
        status->state = state;
        status->since_ns = now_ns;
        /* What waited for the connection was not asked before it was there. */
        status->silent_since_ns = status->silent_since_ns != 0 ? now_ns : 0;
    }
    pthread_mutex_unlock(&channel->lock);
}

static void on_connected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct link_channel *channel = arg;
    (void)pipe;
    (void)event;
    enter(channel, LINK_CHANNEL_IS_THERE);
    channel->changed(channel->user);
}

static void on_lost(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct link_channel *channel = arg;
    (void)pipe;
    (void)event;
    enter(channel, LINK_CHANNEL_IS_LOST);
    channel->changed(channel->user);
}

static void free_channel(struct link_channel *channel)
{
    for (struct link_exchange *e = channel->all; e != NULL;) {
        struct link_exchange *next = e->next;
        nng_aio_free(e->aio);
        free(e);
        e = next;
    }
    pthread_mutex_destroy(&channel->lock);
    pthread_cond_destroy(&channel->idle);
    free(channel->url);
    free(channel);
}

static int make_dialer(struct link_channel *channel, const char *url)
{
    int rv = nng_dialer_create(&channel->dialer, channel->socket, url);
    if (rv == 0) {
        rv = nng_dialer_set_size(channel->dialer, NNG_OPT_RECVMAXSZ, LIMIT_WIRE_BYTES);
    }
    if (rv == 0) {
        rv = nng_dialer_set_ms(channel->dialer, NNG_OPT_RECONNMINT, REDIAL_MS_MAX);
    }
    return rv != 0 ? rv : nng_dialer_set_ms(channel->dialer, NNG_OPT_RECONNMAXT, REDIAL_MS_MAX);
}

bool link_channel_open(const char *url, void (*changed)(void *user), void *user,
                       struct link_channel **ret, struct error *err)
{
    struct link_channel *channel = memory_allocate_zeroed(sizeof *channel);
    channel->url = strdup(url);
    ensure(channel->url != NULL);
    channel->changed = changed;
    channel->user = user;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->idle, NULL);
    int rv = nng_req0_open(&channel->socket);
    if (rv != 0) {
        free_channel(channel);
        return link_socket_fail(err, rv, "opening a socket");
    }
    if ((rv = nng_pipe_notify(channel->socket, NNG_PIPE_EV_ADD_POST, on_connected, channel)) != 0 ||
        (rv = nng_pipe_notify(channel->socket, NNG_PIPE_EV_REM_POST, on_lost, channel)) != 0 ||
        (rv = make_dialer(channel, url)) != 0) {
        nng_close(channel->socket);
        free_channel(channel);
        return link_socket_fail(err, rv, url);
    }
    *ret = channel;
    return true;
}

void link_channel_rest(struct link_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    bool dials = channel->status.state == LINK_CHANNEL_DIALS;
    if (dials) {
        channel->status.state = LINK_CHANNEL_RESTS;
    }
    pthread_mutex_unlock(&channel->lock);
    if (dials) {
        nng_dialer_close(channel->dialer);
        int rv = make_dialer(channel, channel->url);
        ensure(rv == 0 || rv == NNG_ECLOSED);
    }
}

void link_channel_dial(struct link_channel *channel)
{
    enter(channel, LINK_CHANNEL_DIALS);
    /* One that cannot be dialled at all is given up as one that is not answered. */
    (void)nng_dialer_start(channel->dialer, NNG_FLAG_NONBLOCK);
}

struct link_channel_status link_channel_status(struct link_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    struct link_channel_status status = channel->status;
    pthread_mutex_unlock(&channel->lock);
    return status;
}

struct link_exchange *link_channel_take(struct link_channel *channel, link_done *done, void *user)
{
    struct link_exchange *e = NULL;
    pthread_mutex_lock(&channel->lock);
    if (!channel->is_closing) {
        e = channel->free;
        if (e == NULL) {
            e = add_exchange(channel);
        } else {
            channel->free = e->next_free;
        }
        e->done = done;
        e->user = user;
        e->is_waiting = true;
        channel->in_flight++;
        if (channel->status.silent_since_ns == 0) {
            channel->status.silent_since_ns = clock_monotonic_ns(&clock_real);
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return e;
}

void link_exchange_begin(struct link_exchange *e, struct slice bytes, int timeout_ms)
{
    nng_msg *msg = link_socket_message(bytes);
    nng_aio_set_msg(e->aio, msg);
    nng_aio_set_timeout(e->aio, timeout_ms);
    if (!begin_operation(e, true)) {
        nng_msg_free(msg);
        finish(e, false, slice_make(NULL, 0));
    }
}

static void cancel_each(struct link_channel *channel)
{
    for (struct link_exchange *e = channel->all; e != NULL; e = e->next) {
        nng_aio_cancel(e->aio);
    }
}

void link_channel_end(struct link_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    bool was_closing = channel->is_closing;
    channel->is_closing = true;
    /* The list grows at its head only, and no more. */
    for (struct link_exchange *e = channel->all; e != NULL; e = e->next) {
        if (claim(e)) {
            pthread_mutex_unlock(&channel->lock);
            e->done(e->user, false, slice_make(NULL, 0));
            pthread_mutex_lock(&channel->lock);
            channel->calling--;
        }
    }
    while (channel->calling > 0) {
        pthread_cond_wait(&channel->idle, &channel->lock);
    }
    pthread_mutex_unlock(&channel->lock);
    if (!was_closing) {
        cancel_each(channel); /* NNG may dial again, and would send again what nobody waits for */
    }
}

/* An exchange that has just gone from sending to receiving may escape one round, so there are
 * several. False: NNG does not let go of all. */
static bool cancel_all(struct link_channel *channel)
{
    int64_t start = clock_monotonic_ns(&clock_real);
    pthread_mutex_lock(&channel->lock);
    while (channel->in_flight > 0 &&
           clock_monotonic_ns(&clock_real) - start < CANCEL_MS_MAX * 1000000LL) {
        pthread_mutex_unlock(&channel->lock);
        cancel_each(channel);
        pthread_mutex_lock(&channel->lock);
        if (channel->in_flight > 0) {
            daemon_wait(&channel->idle, &channel->lock, CANCEL_LOOK_MS);
        }
    }
    bool is_idle = channel->in_flight == 0;
    pthread_mutex_unlock(&channel->lock);
    return is_idle;
}

bool link_channel_close(struct link_channel *channel)
{
    link_channel_end(channel);
    bool is_closed = cancel_all(channel) && link_socket_close(channel->socket);
    if (is_closed) {
        free_channel(channel);
    } else {
        link_socket_leave_behind(channel);
    }
    return is_closed;
}
