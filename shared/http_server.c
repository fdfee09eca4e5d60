/* A server: opened, its requests lent to connections, and brought to its end. */
#include <gnutls/abstract.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "shared/clock.h"
#include "shared/daemon.h"
#include "shared/http_internal.h"
#include "shared/tls.h"

enum {
    POOL_BYTES = 16 * 1024, /* head of a request and of its answer, each connection */
    /* Of requests kept for the next; more only while more are under way. */
    SPARE_BYTES_MAX = 4 * 1024 * 1024,
    /* At the end. A client that keeps its connection busy sends within the first, is answered, and
     * told to come again; one that is sending something is given the second. */
    IDLE_GRACE_MS = 150,
    READING_GRACE_MS = 250,
    ANSWER_GRACE_MS = 2000,
    DRAIN_LOOK_MS = 5,
};

/* ---- Requests that are lent ---- */

static size_t bytes_held(const struct http_request *r)
{
    return sizeof *r + r->body.capacity + r->unpacked.capacity + r->answer.capacity;
}

struct http_request *http_lend_request(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    pthread_mutex_lock(&server->lock);
    struct http_request *r = server->spare;
    if (r != NULL) {
        server->spare = r->next_spare;
        server->spare_bytes -= bytes_held(r);
    }
    pthread_mutex_unlock(&server->lock);
    if (r == NULL) {
        r = memory_allocate_zeroed(sizeof *r);
    }
    r->owner = connection;
    return r;
}

void http_return_request(struct http_request *r)
{
    struct http_server *server = r->owner->server;
    pthread_mutex_lock(&server->lock);
    bool keep = server->spare_bytes + bytes_held(r) <= SPARE_BYTES_MAX;
    if (keep) {
        r->next_spare = server->spare;
        server->spare = r;
        server->spare_bytes += bytes_held(r);
    }
    pthread_mutex_unlock(&server->lock);
    if (!keep) {
        http_request_free(r);
    }
}

/* ---- Opening ---- */

/* Each session has got its certificate before it begins (add_connection), so nobody asks here. */
static int have_no_other_certificate(gnutls_session_t session,
                                     const struct gnutls_cert_retr_st *info,
                                     gnutls_pcert_st **certificates, unsigned *certificate_count,
                                     gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count,
                                     gnutls_privkey_t *key, unsigned *flags)
{
    (void)session, (void)info, (void)certificates, (void)certificate_count;
    (void)ocsp, (void)ocsp_count, (void)key, (void)flags;
    return -1;
}

static struct MHD_Daemon *start(struct http_server *server, const struct http_options *o)
{
    bool has_tls = server->tls != NULL;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_NO_LISTEN_SOCKET | (has_tls ? (unsigned)MHD_USE_TLS : 0U);
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_on_connection, server},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_on_completed, server},
        /* The doorkeeper keeps the limit. This one is each thread's share, and just no tighter. */
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)(o->connections_max + 1) * o->threads, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds_max, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, NULL},
        {o->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, o->threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(flags, 0, NULL, NULL, http_on_access, server, MHD_OPTION_ARRAY, options,
                            has_tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, tls_priorities,
                            MHD_OPTION_HTTPS_CERT_CALLBACK2, have_no_other_certificate,
                            MHD_OPTION_END);
}

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
    for (struct http_request *r = server->spare; r != NULL;) {
        struct http_request *next = r->next_spare;
        http_request_free(r);
        r = next;
    }
    if (server->common != NULL) {
        MHD_destroy_response(server->common);
        MHD_destroy_response(server->common_last);
    }
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    close(server->wake);
    free(server);
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
    server->daemon = start(server, o);
    if (server->daemon == NULL) {
        close(listening.fd);
        free_server(server);
        return error_set(err, ERROR_UNAVAILABLE, "cannot serve HTTP on %s", o->listen);
    }
    int rv = pthread_create(&server->doorkeeper, NULL, http_keep_door, server);
    ensure(rv == 0);
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
    struct http_server_stats stats = {server->connection_count, server->too_slow};
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
    MHD_stop_daemon(s->daemon);
    free_server(s);
    *server = NULL;
}
