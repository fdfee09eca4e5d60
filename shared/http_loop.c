/* The threads that serve: each runs libmicrohttpd for its share of the connections. */
#include <gnutls/abstract.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "shared/daemon.h"
#include "shared/http_internal.h"
#include "shared/tls.h"

enum {
    POOL_BYTES = 16 * 1024, /* head of a request, its cookies twice, and head of its answer */
    /* Of requests kept for the next, and of memory for their bodies; more only while more are under
     * way. */
    SPARE_BYTES_MAX = 1024 * 1024,
    SPARE_BUF_BYTES_MAX = 64 * 1024,
    /* libmicrohttpd looks at every held request in every turn, which takes some 80 ns each. Where
     * they are many the next turn waits for so long, and what has come by then shares it. */
    HELD_TURN_NS = 250,
    HELD_MANY = 80,
    /* While requests are held libmicrohttpd cannot tell whether it has something else to do. */
    HELD_WAIT_NS = 5 * 1000 * 1000,
    /* It may also want to be run again at once when that leads to nothing: for a handshake that
     * stalls, or a head of a chunk that has no room. So after some turns it has to wait. */
    RESTLESS_TURNS_MAX = 8,
    RESTLESS_WAIT_NS = 1000 * 1000,
};

struct http_arrival {
    struct http_arrival *next;
    int fd;
    socklen_t address_len;
    struct sockaddr_storage address;
};

/* ---- Requests that are lent, and the memory for their bodies ---- */

void http_lend_buf(struct http_loop *loop, struct buf *ret)
{
    if (ret->len_max > 0) {
        return;
    }
    if (loop->spare_buf_count == 0) {
        buf_init(ret, loop->server->body_bytes_max);
        return;
    }
    *ret = loop->spare_bufs[--loop->spare_buf_count];
    loop->spare_buf_bytes -= ret->capacity;
}

void http_return_buf(struct http_loop *loop, struct buf *buf)
{
    bool is_kept = buf->capacity <= SPARE_BUF_BYTES_MAX && buf->capacity > 0 &&
                   loop->spare_buf_count < HTTP_SPARE_BUFS &&
                   loop->spare_buf_bytes + buf->capacity <= SPARE_BYTES_MAX;
    if (is_kept) {
        buf_clear(buf);
        loop->spare_buf_bytes += buf->capacity;
        loop->spare_bufs[loop->spare_buf_count++] = *buf;
    } else {
        buf_done(buf);
    }
    *buf = (struct buf){0};
}

static size_t bytes_held(const struct http_request *r)
{
    return sizeof *r + r->answer.capacity;
}

struct http_request *http_lend_request(struct http_connection *connection)
{
    struct http_loop *loop = connection->loop;
    struct http_request *r = loop->spare;
    if (r == NULL) {
        r = memory_allocate_zeroed(sizeof *r);
    } else {
        loop->spare = r->next;
        loop->spare_bytes -= bytes_held(r);
    }
    r->owner = connection;
    r->loop = loop;
    return r;
}

void http_return_request(struct http_request *r)
{
    struct http_loop *loop = r->loop;
    http_request_clear(r);
    if (loop->spare_bytes + bytes_held(r) > SPARE_BYTES_MAX) {
        http_request_free(r);
        return;
    }
    r->next = loop->spare;
    loop->spare = r;
    loop->spare_bytes += bytes_held(r);
}

/* ---- What other threads ask for ---- */

static void wake(struct http_loop *loop)
{
    uint64_t one = 1;
    if (atomic_exchange(&loop->is_waiting, false)) {
        (void)!write(loop->wake, &one, sizeof one);
    }
}

void http_loop_add(struct http_loop *loop, int fd, const struct sockaddr_storage *address,
                   socklen_t address_len)
{
    struct http_arrival *a = memory_allocate(sizeof *a);
    *a = (struct http_arrival){.fd = fd, .address = *address, .address_len = address_len};
    a->next = atomic_load(&loop->arrivals);
    while (!atomic_compare_exchange_weak(&loop->arrivals, &a->next, a)) {
    }
    wake(loop);
}

void http_resume_all(struct http_request *const *requests, size_t count)
{
    struct http_loop *last = NULL;
    for (size_t i = 0; i < count; i++) {
        struct http_request *r = requests[i];
        struct http_loop *loop = r->loop;
        if (last != NULL && loop != last) {
            wake(last);
        }
        last = loop;
        r->next = atomic_load(&loop->resumed);
        while (!atomic_compare_exchange_weak(&loop->resumed, &r->next, r)) {
        }
    }
    if (last != NULL) {
        wake(last);
    }
}

void http_loop_nudge(struct http_loop *loop)
{
    atomic_store(&loop->is_nudged, true);
    wake(loop);
}

static bool is_asked(struct http_loop *loop)
{
    return atomic_load(&loop->resumed) != NULL || atomic_load(&loop->arrivals) != NULL ||
           atomic_load(&loop->is_nudged) || atomic_load(&loop->is_ending);
}

/* False: there was none. */
static bool take_resumed(struct http_loop *loop)
{
    struct http_request *r = atomic_exchange(&loop->resumed, NULL);
    bool took = r != NULL;
    while (r != NULL) {
        struct http_request *next = r->next;
        loop->held--;
        r->is_held = false;
        if (r->connection == NULL) {
            http_return_request(r);
        }
        r = next;
    }
    return took;
}

static void take_arrivals(struct http_loop *loop)
{
    struct http_arrival *a = atomic_exchange(&loop->arrivals, NULL);
    while (a != NULL) {
        struct http_arrival *next = a->next;
        uint64_t before = loop->steps;
        /* Where it fails it has closed the socket, and may have told of it as begun and ended. */
        if (MHD_add_connection(loop->daemon, a->fd, (struct sockaddr *)&a->address,
                               a->address_len) != MHD_YES &&
            loop->steps == before) {
            http_forget_arrival(loop->server, (struct sockaddr *)&a->address);
        }
        free(a);
        a = next;
    }
}

/* ---- The thread ---- */

/* How long nothing can happen unless something comes; -1: for ever. */
static int64_t idle_ns(const struct http_loop *loop, unsigned idle_turns)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (loop->held > 0) {
        return HELD_WAIT_NS;
    }
    if (MHD_get_timeout(loop->daemon, &ms) != MHD_YES) {
        return -1;
    }
    return ms == 0 && idle_turns > RESTLESS_TURNS_MAX ? RESTLESS_WAIT_NS : (int64_t)ms * 1000000;
}

static void wait_for(struct http_loop *loop, struct pollfd *fds, nfds_t count, int64_t ns)
{
    struct timespec timeout = {ns / 1000000000, ns % 1000000000};
    uint64_t asked;
    atomic_store(&loop->is_waiting, true);
    if (!is_asked(loop)) {
        ppoll(fds, count, ns < 0 ? NULL : &timeout, NULL);
    }
    atomic_store(&loop->is_waiting, false);
    if (fds[0].revents != 0) {
        (void)!read(loop->wake, &asked, sizeof asked);
    }
}

/* After so many turns in which nothing was done. */
static void wait_for_turn(struct http_loop *loop, unsigned idle_turns)
{
    struct pollfd fds[] = {{.fd = loop->wake, .events = POLLIN},
                           {.fd = loop->epoll_fd, .events = POLLIN}};
    if (loop->held > HELD_MANY) {
        wait_for(loop, fds, 1, (int64_t)loop->held * HELD_TURN_NS);
    }
    int64_t ns = idle_turns > 0 ? idle_ns(loop, idle_turns) : 0;
    if (ns != 0) {
        wait_for(loop, fds, 2, ns);
    }
}

static void *run(void *arg)
{
    struct http_loop *loop = arg;
    unsigned idle_turns = 0;
    while (!atomic_load(&loop->is_ending)) {
        uint64_t before = loop->steps;
        atomic_store(&loop->is_nudged, false);
        bool has_answers = take_resumed(loop); /* one turn queues them, the next sends them */
        take_arrivals(loop);
        MHD_run(loop->daemon);
        idle_turns = loop->steps == before ? idle_turns + 1 : 0;
        if (!has_answers) {
            wait_for_turn(loop, idle_turns);
        }
    }
    return NULL;
}

/* ---- Beginning and end ---- */

/* Each session has got its certificate before it begins (http_door.c), so nobody asks here. */
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

/* Names and values are texts that end with a zero: one of the client's own would cut off the rest,
 * and the request be about somebody else than it says. Nobody is called %00, so it stays. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user, (void)connection;
    return strstr(text, "%00") == NULL ? MHD_http_unescape(text) : strlen(text);
}

static struct MHD_Daemon *start(struct http_loop *loop, const struct http_options *o)
{
    bool has_tls = o->tls != NULL;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
                     (has_tls ? (unsigned)MHD_USE_TLS : 0U);
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_on_connection, loop},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_on_uri, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_on_completed, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)o->connections_max + 1, NULL}, /* the door's */
        {MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds_max, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)unescape, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(flags, 0, NULL, NULL, http_on_access, loop, MHD_OPTION_ARRAY, options,
                            has_tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, tls_priorities,
                            MHD_OPTION_HTTPS_CERT_CALLBACK2, have_no_other_certificate,
                            MHD_OPTION_END);
}

bool http_loop_open(struct http_loop *loop, struct http_server *server,
                    const struct http_options *o)
{
    loop->server = server;
    loop->daemon = start(loop, o);
    if (loop->daemon == NULL) {
        return false;
    }
    loop->epoll_fd = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ensure(loop->wake >= 0);
    loop->thread = daemon_start_thread("http", run, loop);
    return true;
}

void http_loop_close(struct http_loop *loop)
{
    if (loop->daemon == NULL) {
        return;
    }
    atomic_store(&loop->is_ending, true);
    wake(loop);
    pthread_join(loop->thread, NULL);
    (void)take_resumed(loop);
    take_arrivals(loop);
    MHD_stop_daemon(loop->daemon);
    while (loop->spare_buf_count > 0) {
        buf_done(&loop->spare_bufs[--loop->spare_buf_count]);
    }
    for (struct http_request *r = loop->spare; r != NULL;) {
        struct http_request *next = r->next;
        http_request_free(r);
        r = next;
    }
    close(loop->wake);
}
