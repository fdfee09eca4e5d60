#include "shared/link_socket.h"

#include <pthread.h>
#include <stdlib.h>
#include "shared/clock.h"
#include "shared/daemon.h"

bool link_socket_fail(struct error *err, int rv, const char *what)
{
    return error_set(err, ERROR_UNAVAILABLE, "%s: %s", what, nng_strerror(rv));
}

nng_msg *link_socket_message(struct slice bytes)
{
    nng_msg *msg;
    int rv = nng_msg_alloc(&msg, 0);
    ensure(rv == 0);
    rv = nng_msg_append(msg, bytes.data, bytes.len);
    ensure(rv == 0);
    return msg;
}

/* The closing of one socket, on a thread of its own. */
struct closing {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    nng_socket socket;
    bool is_closed;
    bool is_abandoned;
};

enum { CLOSE_MS_MAX = 1000 };

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

bool link_socket_close(nng_socket socket)
{
    struct closing *c = memory_allocate_zeroed(sizeof *c);
    int64_t start = clock_monotonic_ns(&clock_real);
    c->socket = socket;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    pthread_detach(daemon_start_thread("link-close", run_close, c));
    pthread_mutex_lock(&c->lock);
    while (!c->is_closed && clock_monotonic_ns(&clock_real) - start < CLOSE_MS_MAX * 1000000LL) {
        daemon_wait(&c->changed, &c->lock, CLOSE_MS_MAX);
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

void link_socket_leave_behind(void *owner)
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
