/* A server: opened, its requests lent to connections, and brought to its end. */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/http_internal.h"

enum {
    /* At the end. A client that keeps its connection busy sends within the first, is answered, and
     * told to come again; one that is sending something is given the second. */
    IDLE_GRACE_MS = 150,
    READING_GRACE_MS = 250,
    ANSWER_GRACE_MS = 2000,
    DRAIN_LOOK_MS = 5,
};

/* ---- Opening ---- */

static void make_common(struct http_server *server, const struct http_options *o)
{
    if (o->common_body.data != NULL) {
        server->common_body = o->common_body;
        server->common = http_make_response(o->common_body, o->common_type);
        server->common_last = http_make_response(o->common_body, o->common_type);
        MHD_add_response_header(server->common_last, "Connection", "close");
    }
}

static void free_server(struct http_server *server)
{
    for (unsigned i = 0; i < server->loop_count; i++) {
        http_loop_close(&server->loops[i]);
    }
    free(server->loops);
    if (server->common != NULL) {
        MHD_destroy_response(server->common);
        MHD_destroy_response(server->common_last);
    }
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    headcount_free(&server->headcount);
    close(server->gone_epoll);
    close(server->wake);
    free(server);
}

static bool open_loops(struct http_server *server, const struct http_options *o)
{
    bool fine = true;
    server->loop_count = o->threads;
    server->loops = memory_allocate_zeroed(o->threads * sizeof *server->loops);
    for (unsigned i = 0; fine && i < o->threads; i++) {
        fine = http_loop_open(&server->loops[i], server, o);
    }
    return fine;
}

bool http_server_open(const struct http_options *o, http_handler *handler, void *user,
                      struct http_server **ret, struct error *err)
{
    struct listen_socket listening;
    if (!listen_open(o->listen, o->socket_name, &listening, err)) {
        return false;
    }
    struct http_server *server = memory_allocate_zeroed(sizeof *server);
    server->listening = listening;
    server->port = listen_port(&listening);
    server->connections_max = o->connections_max;
    server->connections_per_address_max = o->connections_per_address_max;
    server->exempt = o->exempt;
    server->headcount = headcount_new(o->connections_max);
    server->gone = o->gone;
    server->gone_epoll = epoll_create1(EPOLL_CLOEXEC);
    ensure(server->gone_epoll >= 0);
    server->is_open = true;
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(server->wake >= 0);
    server->tls = o->tls;
    server->handler = handler;
    server->refused = o->refused;
    server->user = user;
    server->body_bytes_max = o->body_bytes_max;
    server->request_ms_max = o->request_ms_max;
    server->answer_ms_max = (int64_t)o->idle_seconds_max * 1000;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    make_common(server, o);
    if (!open_loops(server, o)) {
        close(listening.fd);
        free_server(server);
        return error_set(err, ERROR_UNAVAILABLE, "cannot serve HTTP on %s", o->listen);
    }
    server->doorkeeper = daemon_start_thread("doorkeeper", http_keep_door, server);
    *ret = server;
    return true;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

bool http_server_is_inherited(const struct http_server *server)
{
    return server->listening.is_inherited;
}

struct http_server_stats http_server_stats(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    struct http_server_stats stats = {server->connection_count, server->too_slow, server->crowded};
    pthread_mutex_unlock(&server->lock);
    return stats;
}

/* ---- Ending ---- */

void http_server_quiesce(struct http_server *server)
{
    if (atomic_exchange(&server->is_ending, true)) {
        return;
    }
    server->ending_ns = clock_monotonic_ns(&clock_real);
    http_wake_doorkeeper(server);
    pthread_mutex_lock(&server->lock);
    while (server->is_open) {
        pthread_cond_wait(&server->changed, &server->lock);
    }
    pthread_mutex_unlock(&server->lock);
}

static bool is_unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Close what nobody uses, `spent_ms` after the server was quiesced. */
static void let_go(struct http_connection *c, int64_t now, int64_t spent_ms)
{
    http_look(c, now);
    enum http_stage stage = http_stage_of(c->seen);
    bool is_reading = stage == HTTP_READING || (stage == HTTP_IDLE && c->is_moving);
    if ((is_reading && spent_ms >= READING_GRACE_MS) ||
        (stage == HTTP_IDLE && !is_reading && spent_ms >= IDLE_GRACE_MS && !is_unread(c->fd))) {
        http_cut(c);
    }
}

static bool all_answered(const struct http_server *server)
{
    for (const struct http_connection *c = server->connections; c != NULL; c = c->next) {
        if (http_stage_of(atomic_load_explicit(&c->turn, memory_order_relaxed)) >= HTTP_WORKING) {
            return false;
        }
    }
    return true;
}

void http_server_drain(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->connection_count + server->arriving > 0) {
        int64_t now = clock_monotonic_ns(&clock_real);
        int64_t spent_ms = (now - server->ending_ns) / 1000000;
        if (spent_ms > READING_GRACE_MS + DRAIN_LOOK_MS) {
            break;
        }
        for (struct http_connection *c = server->connections; c != NULL; c = c->next) {
            let_go(c, now, spent_ms);
        }
        daemon_wait(&server->changed, &server->lock, DRAIN_LOOK_MS);
    }
    pthread_mutex_unlock(&server->lock);
}

static void wait_for_answers(struct http_server *server)
{
    int64_t start = clock_monotonic_ns(&clock_real);
    pthread_mutex_lock(&server->lock);
    while (!all_answered(server) &&
           clock_monotonic_ns(&clock_real) - start < ANSWER_GRACE_MS * 1000000LL) {
        daemon_wait(&server->changed, &server->lock, DRAIN_LOOK_MS);
    }
    pthread_mutex_unlock(&server->lock);
}

void http_server_close(struct http_server **server)
{
    struct http_server *s = *server;
    if (s == NULL) {
        return;
    }
    http_server_quiesce(s);
    wait_for_answers(s);
    atomic_store(&s->is_closing, true);
    http_wake_doorkeeper(s);
    pthread_join(s->doorkeeper, NULL);
    free_server(s);
    *server = NULL;
}
