/* The client of a link: a channel that is there, and a watchdog that puts another in its place.
 *
 * Where there is no connection the watchdog probes every PROBE_MS whether the hub listens, which
 * costs microseconds, and has NNG dial once it does. So a hub that is back is found within a second
 * and a hub that is away costs nearly nothing, whatever NNG's pauses are.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/link.h"
#include "shared/link_channel.h"
#include "shared/link_probe.h"
#include "shared/link_socket.h"

/* GREET_MS: an attempt that nobody answers is made anew after that, because the system's own pauses
 * between two attempts grow. SHORT_MS: a connection that was lost so soon after it was made counts
 * as a dial that failed, after which the next pauses for PAUSE_MS, doubled each time up to
 * PAUSE_MS_MAX. A lost channel is kept for RETIRED_MS before it is closed: NNG may wait for ever
 * for a connection that it is just taking down. */
enum {
    PROBE_MS = 500,
    GREET_MS = 1000,
    DIAL_MS = 2000,
    SHORT_MS = 5000,
    PAUSE_MS = 500,
    PAUSE_MS_MAX = 8000,
    RETIRED_MS = 1000,
    REOPEN_MS = 1000,
    LOOK_MS = 4000,
};

static const int64_t NS_IN_MS = 1000000;

struct link_client {
    char *url;
    int64_t silence_ms;
    void (*stuck)(void *user, unsigned count);
    void *user;
    struct link_probe *probe; /* the watchdog's */
    atomic_bool is_ending;
    pthread_mutex_t lock; /* taken before a channel's */
    pthread_cond_t wake;
    bool has_changed; /* the channel, since the watchdog last looked */
    struct link_channel *channel;
    struct link_channel *retired; /* NULL: none */
    int64_t retired_ns;
    int64_t dial_ns;   /* not before */
    unsigned failures; /* of dials, in a row */
    unsigned stuck_count;
    bool is_stopped;
    pthread_t watchdog;
};

static int64_t now_ns(void)
{
    return clock_monotonic_ns(&clock_real);
}

static int64_t ms_since(int64_t since_ns)
{
    return (now_ns() - since_ns) / NS_IN_MS;
}

/* On a thread of NNG; also for a channel that was left behind, with which the client stays. */
static void on_changed(void *user)
{
    struct link_client *client = user;
    pthread_mutex_lock(&client->lock);
    client->has_changed = true;
    pthread_cond_signal(&client->wake);
    pthread_mutex_unlock(&client->lock);
}

/* ---- The watchdog; what follows is under the lock, which is let go meanwhile ---- */

static void wait_ms(struct link_client *client, int64_t ms)
{
    if (!client->has_changed && !client->is_stopped && ms > 0) {
        daemon_wait(&client->wake, &client->lock, ms);
    }
}

static void close_retired(struct link_client *client)
{
    struct link_channel *old = client->retired;
    client->retired = NULL;
    if (old == NULL) {
        return;
    }
    pthread_mutex_unlock(&client->lock);
    bool is_closed = link_channel_close(old);
    pthread_mutex_lock(&client->lock);
    client->stuck_count += !is_closed;
    unsigned count = client->stuck_count;
    pthread_mutex_unlock(&client->lock);
    if (!is_closed && client->stuck != NULL) {
        client->stuck(client->user, count);
    }
    pthread_mutex_lock(&client->lock);
}

/* Another channel, which is not dialled yet, takes the place of this one. */
static void replace_channel(struct link_client *client)
{
    struct error err;
    struct link_channel *fresh = NULL;
    close_retired(client);
    if (!link_channel_open(client->url, on_changed, client, &fresh, &err)) {
        wait_ms(client, REOPEN_MS);
        return;
    }
    struct link_channel *old = client->channel;
    client->channel = fresh;
    client->retired = old;
    client->retired_ns = now_ns();
    pthread_mutex_unlock(&client->lock);
    link_channel_end(old);
    pthread_mutex_lock(&client->lock);
}

/* When the next dial may be: at once after a connection that had lasted. */
static void plan_dial(struct link_client *client, bool has_failed)
{
    int64_t pause_ms = 0;
    if (has_failed) {
        unsigned shift = client->failures < 4 ? client->failures : 4;
        pause_ms = PAUSE_MS << shift > PAUSE_MS_MAX ? PAUSE_MS_MAX : PAUSE_MS << shift;
    }
    client->failures = has_failed ? client->failures + 1 : 0;
    client->dial_ns = now_ns() + pause_ms * NS_IN_MS;
}

/* Nobody is connected, and the channel rests: dial when somebody greets. */
static void look_for_hub(struct link_client *client)
{
    int64_t left_ms = -ms_since(client->dial_ns);
    if (client->retired != NULL && ms_since(client->retired_ns) >= RETIRED_MS) {
        close_retired(client);
    } else if (left_ms > 0) {
        wait_ms(client, left_ms);
    } else {
        pthread_mutex_unlock(&client->lock);
        bool is_there = link_probe_ask(client->probe, GREET_MS, &client->is_ending);
        pthread_mutex_lock(&client->lock);
        if (is_there) {
            link_channel_dial(client->channel);
        } else {
            wait_ms(client, PROBE_MS);
        }
    }
}

/* A connection is there: give it up when nothing was answered for too long. */
static void watch_connection(struct link_client *client, const struct link_channel_status *status)
{
    int64_t left_ms = LOOK_MS;
    if (status->silent_since_ns != 0) {
        left_ms = client->silence_ms - ms_since(status->silent_since_ns);
    }
    if (left_ms <= 0) {
        plan_dial(client, ms_since(status->since_ns) < SHORT_MS);
        replace_channel(client);
    } else if (client->retired != NULL && ms_since(client->retired_ns) >= RETIRED_MS) {
        close_retired(client);
    } else {
        wait_ms(client, left_ms < LOOK_MS ? left_ms : LOOK_MS);
    }
}

static void look(struct link_client *client)
{
    client->has_changed = false;
    struct link_channel_status status = link_channel_status(client->channel);
    int64_t since_ms = ms_since(status.since_ns);
    switch (status.state) {
    case LINK_CHANNEL_RESTS:
        look_for_hub(client);
        break;
    case LINK_CHANNEL_DIALS:
        if (since_ms >= DIAL_MS) {
            plan_dial(client, true);
            link_channel_rest(client->channel);
        } else {
            wait_ms(client, DIAL_MS - since_ms);
        }
        break;
    case LINK_CHANNEL_IS_THERE:
        watch_connection(client, &status);
        break;
    case LINK_CHANNEL_IS_LOST:
        plan_dial(client, status.lasted_ms < SHORT_MS);
        replace_channel(client);
        break;
    }
}

static void *watch(void *arg)
{
    struct link_client *client = arg;
    pthread_mutex_lock(&client->lock);
    while (!client->is_stopped) {
        look(client);
    }
    pthread_mutex_unlock(&client->lock);
    return NULL;
}

/* ---- The client ---- */

static void free_client(struct link_client *client)
{
    link_probe_free(&client->probe);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->wake);
    free(client->url);
    free(client);
}

bool link_client_open(const struct link_client_options *options, struct link_client **ret,
                      struct error *err)
{
    struct link_client *client = memory_allocate_zeroed(sizeof *client);
    client->url = strdup(options->url);
    ensure(client->url != NULL);
    client->silence_ms = options->silence_ms;
    client->stuck = options->stuck;
    client->user = options->user;
    client->probe = link_probe_new(options->url);
    client->dial_ns = now_ns();
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->wake, NULL);
    if (!link_channel_open(options->url, on_changed, client, &client->channel, err)) {
        free_client(client);
        return false;
    }
    client->watchdog = daemon_start_thread("link-watchdog", watch, client);
    *ret = client;
    return true;
}

bool link_client_is_connected(struct link_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct link_channel_status status = link_channel_status(client->channel);
    pthread_mutex_unlock(&client->lock);
    return status.state == LINK_CHANNEL_IS_THERE;
}

void link_client_request(struct link_client *client, struct slice bytes, int timeout_ms,
                         link_done *done, void *user)
{
    pthread_mutex_lock(&client->lock);
    struct link_exchange *e =
        client->is_stopped ? NULL : link_channel_take(client->channel, done, user);
    pthread_mutex_unlock(&client->lock);
    if (e == NULL) {
        done(user, false, slice_make(NULL, 0));
    } else {
        link_exchange_begin(e, bytes, timeout_ms);
    }
}

void link_client_stop(struct link_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool was_stopped = client->is_stopped;
    client->is_stopped = true;
    atomic_store(&client->is_ending, true);
    pthread_cond_signal(&client->wake);
    pthread_mutex_unlock(&client->lock);
    if (!was_stopped) {
        pthread_join(client->watchdog, NULL);
        link_channel_end(client->channel);
    }
}

void link_client_close(struct link_client **client)
{
    struct link_client *c = *client;
    if (c == NULL) {
        return;
    }
    link_client_stop(c);
    *client = NULL;
    bool is_retired_closed = c->retired == NULL || link_channel_close(c->retired);
    bool is_closed = link_channel_close(c->channel) && is_retired_closed && c->stuck_count == 0;
    if (is_closed) {
        free_client(c);
    } else {
        link_socket_leave_behind(c); /* NNG may still call back */
    }
}
