#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/limits.h"
#include "shared/link.h"
#include "shared/link_socket.h"

/* RECONNECT_MS_MAX: NNG pauses between two dials for a random part of this, or, half of the times,
 * not at all, and a dial that is refused costs it 2 to 3 ms of CPU time: 0.09 % of a core without a
 * hub. A longer pause would keep a box away for longer after a short absence too. LOST_MS: longer
 * than the longest pause. */
enum {
    CANCEL_LOOK_MS = 20,
    CANCEL_MS_MAX = 500,
    REOPEN_MS = 1000,
    RECONNECT_MS_MAX = 10000,
    LOST_MS = 13000,
    LOOK_MS = 4000,
};

/* One request on its way, and the context that it is reused with. */
struct exchange {
    struct channel *channel;
    nng_ctx ctx;
    nng_aio *aio;
    bool sending;
    bool is_waiting; /* its `done` has not been called yet */
    link_done *done;
    void *user;
    struct exchange *next_free;
    struct exchange *next;
};

/* An NNG socket and what goes through it. It knows nothing of its client, so that it can be left
 * behind. */
struct channel {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct exchange *free;
    struct exchange *all;
    int in_flight; /* exchanges that NNG, or a `done`, still holds */
    int calling;   /* of these, those in their `done` */
    bool is_closing;
    bool was_connected;
    size_t pipes;            /* connections, which NNG makes one at a time */
    int64_t lost_since_ns;   /* where there is none and was one */
    int64_t silent_since_ns; /* 0: nothing was asked since the last answer */
};

struct link_client {
    char *url;
    int64_t silence_ms;
    void (*stuck)(void *user, unsigned count);
    void *user;
    pthread_mutex_t lock; /* taken before a channel's */
    pthread_cond_t wake;
    struct channel *channel;
    unsigned stuck_count;
    bool is_stopped;
    pthread_t watchdog;
};

/* ---- One exchange ---- */

/* Under the lock: the right to call `done`, which the first who asks for it gets. */
static bool claim(struct exchange *e)
{
    bool is_mine = e->is_waiting;
    e->is_waiting = false;
    e->channel->calling += is_mine;
    return is_mine;
}

static void finish(struct exchange *e, bool answered, struct slice reply)
{
    struct channel *channel = e->channel;
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
static bool begin_operation(struct exchange *e, bool sending)
{
    struct channel *channel = e->channel;
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
    struct exchange *e = arg;
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
    e->channel->silent_since_ns = 0;
    pthread_mutex_unlock(&e->channel->lock);
    finish(e, nng_msg_len(msg) > 0, slice_make(nng_msg_body(msg), nng_msg_len(msg)));
    nng_msg_free(msg);
}

/* Under the lock: NNG's closing never ends where a context is opened beside it. */
static struct exchange *add_exchange(struct channel *channel)
{
    struct exchange *e = memory_allocate_zeroed(sizeof *e);
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

static void on_connected(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct channel *channel = arg;
    (void)pipe;
    (void)event;
    pthread_mutex_lock(&channel->lock);
    channel->was_connected = true;
    channel->pipes++;
    pthread_mutex_unlock(&channel->lock);
}

static void on_lost(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct channel *channel = arg;
    (void)pipe;
    (void)event;
    pthread_mutex_lock(&channel->lock);
    channel->pipes -= channel->pipes > 0;
    channel->lost_since_ns = clock_monotonic_ns(&clock_real);
    pthread_mutex_unlock(&channel->lock);
}

static void free_channel(struct channel *channel)
{
    for (struct exchange *e = channel->all; e != NULL;) {
        struct exchange *next = e->next;
        nng_aio_free(e->aio);
        free(e);
        e = next;
    }
    pthread_mutex_destroy(&channel->lock);
    pthread_cond_destroy(&channel->idle);
    free(channel);
}

static bool open_channel(const char *url, struct channel **ret, struct error *err)
{
    struct channel *channel = memory_allocate_zeroed(sizeof *channel);
    nng_dialer dialer;
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->idle, NULL);
    int rv = nng_req0_open(&channel->socket);
    if (rv != 0) {
        free_channel(channel);
        return link_socket_fail(err, rv, "opening a socket");
    }
    if ((rv = nng_pipe_notify(channel->socket, NNG_PIPE_EV_ADD_POST, on_connected, channel)) != 0 ||
        (rv = nng_pipe_notify(channel->socket, NNG_PIPE_EV_REM_POST, on_lost, channel)) != 0 ||
        (rv = nng_dialer_create(&dialer, channel->socket, url)) != 0 ||
        (rv = nng_dialer_set_size(dialer, NNG_OPT_RECVMAXSZ, LIMIT_WIRE_BYTES)) != 0 ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, 50)) != 0 ||
        (rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, RECONNECT_MS_MAX)) != 0 ||
        (rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK)) != 0) {
        nng_close(channel->socket);
        free_channel(channel);
        return link_socket_fail(err, rv, url);
    }
    *ret = channel;
    return true;
}

/* NULL when the channel is closing. */
static struct exchange *take_exchange(struct channel *channel, link_done *done, void *user)
{
    struct exchange *e = NULL;
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
        if (channel->silent_since_ns == 0) {
            channel->silent_since_ns = clock_monotonic_ns(&clock_real);
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return e;
}

/* What is under way is done unanswered now, whatever NNG still does with it. */
static void disappoint_all(struct channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->is_closing = true;
    /* The list grows at its head only, and no more. */
    for (struct exchange *e = channel->all; e != NULL; e = e->next) {
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
}

/* An exchange that has just gone from sending to receiving may escape one round, so there are
 * several. False: NNG does not let go of all. */
static bool cancel_all(struct channel *channel)
{
    int64_t start = clock_monotonic_ns(&clock_real);
    pthread_mutex_lock(&channel->lock);
    while (channel->in_flight > 0 &&
           clock_monotonic_ns(&clock_real) - start < CANCEL_MS_MAX * 1000000LL) {
        pthread_mutex_unlock(&channel->lock);
        for (struct exchange *e = channel->all; e != NULL; e = e->next) {
            nng_aio_cancel(e->aio);
        }
        pthread_mutex_lock(&channel->lock);
        if (channel->in_flight > 0) {
            daemon_wait(&channel->idle, &channel->lock, CANCEL_LOOK_MS);
        }
    }
    bool is_idle = channel->in_flight == 0;
    pthread_mutex_unlock(&channel->lock);
    return is_idle;
}

/* False: it had to be left behind. */
static bool close_channel(struct channel *channel)
{
    disappoint_all(channel);
    bool is_closed = cancel_all(channel) && link_socket_close(channel->socket);
    if (is_closed) {
        free_channel(channel);
    } else {
        link_socket_leave_behind(channel);
    }
    return is_closed;
}

/* ---- The watchdog ---- */

/* How long the channel may stay as it is; at most 0: it is to be given up, because nothing was
 * answered for too long, or because it should have dialled again since it lost its connection. A
 * channel that never was connected goes on dialling, which a new one would do no better. */
static int64_t patience_ms(struct channel *channel, int64_t silence_ms)
{
    int64_t now_ns = clock_monotonic_ns(&clock_real);
    int64_t left_ms = silence_ms;
    pthread_mutex_lock(&channel->lock);
    if (channel->was_connected && channel->silent_since_ns != 0) {
        left_ms -= (now_ns - channel->silent_since_ns) / 1000000;
    }
    if (channel->was_connected && channel->pipes == 0) {
        int64_t left_lost_ms = LOST_MS - (now_ns - channel->lost_since_ns) / 1000000;
        left_ms = left_lost_ms < left_ms ? left_lost_ms : left_ms;
    }
    pthread_mutex_unlock(&channel->lock);
    return left_ms;
}

/* Under the client's lock, which is let go meanwhile. */
static void replace_channel(struct link_client *client)
{
    struct error err;
    struct channel *fresh = NULL;
    struct channel *old = client->channel;
    if (!open_channel(client->url, &fresh, &err)) {
        daemon_wait(&client->wake, &client->lock, REOPEN_MS);
        return;
    }
    client->channel = fresh;
    pthread_mutex_unlock(&client->lock);
    bool is_closed = close_channel(old);
    pthread_mutex_lock(&client->lock);
    client->stuck_count += !is_closed;
    unsigned count = client->stuck_count;
    pthread_mutex_unlock(&client->lock);
    if (!is_closed && client->stuck != NULL) {
        client->stuck(client->user, count);
    }
    pthread_mutex_lock(&client->lock);
}

static void *watch(void *arg)
{
    struct link_client *client = arg;
    pthread_mutex_lock(&client->lock);
    while (!client->is_stopped) {
        int64_t left_ms = patience_ms(client->channel, client->silence_ms);
        if (left_ms > 0) {
            daemon_wait(&client->wake, &client->lock, left_ms < LOOK_MS ? left_ms : LOOK_MS);
        } else {
            replace_channel(client);
        }
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

/* ---- The client ---- */

bool link_client_open(const struct link_client_options *options, struct link_client **ret,
                      struct error *err)
{
    struct channel *channel = NULL;
    if (!open_channel(options->url, &channel, err)) {
        return false;
    }
    struct link_client *client = memory_allocate_zeroed(sizeof *client);
    client->url = strdup(options->url);
    ensure(client->url != NULL);
    client->silence_ms = options->silence_ms;
    client->stuck = options->stuck;
    client->user = options->user;
    client->channel = channel;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->wake, NULL);
    client->watchdog = daemon_start_thread("link-watchdog", watch, client);
    *ret = client;
    return true;
}

bool link_client_is_connected(struct link_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct channel *channel = client->channel;
    pthread_mutex_lock(&channel->lock);
    bool is_connected = channel->pipes > 0;
    pthread_mutex_unlock(&channel->lock);
    pthread_mutex_unlock(&client->lock);
    return is_connected;
}

void link_client_request(struct link_client *client, struct slice bytes, int timeout_ms,
                         link_done *done, void *user)
{
    pthread_mutex_lock(&client->lock);
    struct exchange *e = client->is_stopped ? NULL : take_exchange(client->channel, done, user);
    pthread_mutex_unlock(&client->lock);
    if (e == NULL) {
        done(user, false, slice_make(NULL, 0));
        return;
    }
    nng_msg *msg = link_socket_message(bytes);
    nng_aio_set_msg(e->aio, msg);
    nng_aio_set_timeout(e->aio, timeout_ms);
    if (!begin_operation(e, true)) {
        nng_msg_free(msg);
        finish(e, false, slice_make(NULL, 0));
    }
}

void link_client_stop(struct link_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool was_stopped = client->is_stopped;
    client->is_stopped = true;
    pthread_cond_signal(&client->wake);
    pthread_mutex_unlock(&client->lock);
    if (!was_stopped) {
        pthread_join(client->watchdog, NULL);
        disappoint_all(client->channel);
    }
}

void link_client_close(struct link_client **client)
{
    struct link_client *c = *client;
    if (c == NULL) {
        return;
    }
    link_client_stop(c);
    (void)close_channel(c->channel);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c->url);
    free(c);
    *client = NULL;
}
