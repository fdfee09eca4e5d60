/* What http.c (requests), http_loop.c (the threads that serve), http_door.c (connections) and
 * http_server.c share. */
#ifndef TRIBUTARY_SHARED_HTTP_INTERNAL_H
#define TRIBUTARY_SHARED_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include "shared/address.h"
#include "shared/arena.h"
#include "shared/headcount.h"
#include "shared/http.h"
#include "shared/listen.h"

/* What a connection is doing. */
enum http_stage {
    HTTP_IDLE,    /* nothing of a request was handed to us yet */
    HTTP_READING, /* the body */
    HTTP_WORKING, /* in the handler, or held or suspended by it */
    HTTP_ANSWERING,
};

struct http_connection {
    struct http_server *server;
    struct http_loop *loop;
    int fd;
    struct tls_certificate *certificate;
    uint32_t seat; /* of its address, in the server's headcount */
    void *watched; /* under the server's lock: what its suspended request is known by, or NULL */
    _Atomic unsigned turn; /* goes up with each change; its two lowest bits are the stage */
    struct http_connection *previous;
    struct http_connection *next;
    unsigned seen; /* the doorkeeper's: the turn at its last look, and since when */
    bool is_cut;
    bool is_moving; /* bytes of the next head have come */
    int64_t since_ns;
    uint64_t bytes_received;
    struct slice uri; /* its loop's: of the request that is being read */
};

/* Lent to a connection for one request, so that idle ones hold no buffers. */
struct http_request {
    struct http_loop *loop;
    struct http_connection *owner;
    struct MHD_Connection *connection; /* NULL: it ended */
    const char *method;
    const char *path;
    struct buf body;
    struct buf unpacked;
    struct buf answer;
    struct arena arena;
    size_t received;
    bool handled;
    bool is_watched;
    bool suspended; /* by the handler; its answer goes out after the resume */
    bool is_held;   /* likewise; the loop's */
    bool is_gzip;
    unsigned status;
    const char *content_type;
    struct slice answer_static;
    size_t header_count;
    struct {
        const char *name;
        const char *value;
    } headers[HTTP_HEADERS_MAX];
    struct http_request *next; /* spare, or resumed */
};

enum { HTTP_SPARE_BUFS = 32 };

struct http_loop {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    int epoll_fd;
    int wake; /* eventfd, written only to while it waits */
    pthread_t thread;
    _Atomic bool is_waiting;
    _Atomic bool is_ending;
    _Atomic bool is_nudged;
    _Atomic(struct http_arrival *) arrivals; /* connections that it shall serve */
    _Atomic(struct http_request *) resumed;  /* that were held */
    /* Its thread's alone: */
    uint64_t steps; /* made by libmicrohttpd: while there are any it is run again at once */
    size_t held;    /* requests */
    struct http_request *spare;
    size_t spare_bytes;
    struct buf spare_bufs[HTTP_SPARE_BUFS];
    size_t spare_buf_count;
    size_t spare_buf_bytes;
};

struct http_server {
    struct http_loop *loops;
    unsigned loop_count;
    unsigned next_loop;             /* the doorkeeper's */
    struct listen_socket listening; /* of the doorkeeper */
    uint16_t port;
    size_t connections_max;
    size_t connections_per_address_max;
    const struct networks *exempt;
    http_gone *gone;
    int gone_epoll; /* sockets of requests that are suspended and watched */
    int wake;       /* eventfd: the doorkeeper shall look at what is asked of it */
    struct tls *tls;
    http_handler *handler;
    http_refused *refused; /* or NULL */
    void *user;
    size_t body_bytes_max;
    int64_t request_ms_max;
    int64_t answer_ms_max;
    struct slice common_body;
    struct MHD_Response *common;      /* its response, shared by all threads */
    struct MHD_Response *common_last; /* the same, closing the connection */
    int64_t ending_ns;                /* since when it has been */
    _Atomic bool is_ending;           /* answers close their connection */
    pthread_mutex_t lock;             /* of what follows */
    pthread_cond_t changed;
    struct http_connection *connections;
    size_t connection_count;
    size_t arriving;             /* accepted, and not yet begun by libmicrohttpd */
    struct headcount *headcount; /* of both, by address */
    uint64_t crowded;
    bool is_open; /* the doorkeeper accepts */
    uint64_t too_slow;
    _Atomic bool is_closing; /* the doorkeeper shall end */
    pthread_t doorkeeper;
};

/* http.c, called by libmicrohttpd for each part of a request and at its end. */
enum MHD_Result http_on_access(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **con_cls);
/* The address of a request as it came, before its head has. */
void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode code);

struct MHD_Response *http_make_response(struct slice body, const char *content_type);
/* Forget what it was about, and keep the buffers that are not large. */
void http_request_clear(struct http_request *request);
void http_request_free(struct http_request *request);

/* http_door.c: begun and ended by libmicrohttpd, which is told when the socket may be forgotten. */
void http_on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode code);
/* The thread that accepts connections and keeps their deadlines; to be woken when is_ending or
 * is_closing has been set. */
void *http_keep_door(void *server);
void http_wake_doorkeeper(struct http_server *server);
/* Under the lock: note what a connection has done since the last look; end it. */
void http_look(struct http_connection *connection, int64_t now_ns);
void http_cut(struct http_connection *connection);

/* Somebody who arrived, from this address, is not to be served. */
void http_forget_arrival(struct http_server *server, const struct sockaddr *address);
/* Tell the server's `gone` of `what` when the client hangs up; NULL: no more. */
void http_watch(struct http_connection *connection, void *what);

/* http_loop.c. `loop` is zeroed; false: libmicrohttpd would not start. Closing one that was not
 * opened is allowed. */
MUST_CHECK bool http_loop_open(struct http_loop *loop, struct http_server *server,
                               const struct http_options *options);
void http_loop_close(struct http_loop *loop);
/* From any thread: serve this connection. */
void http_loop_add(struct http_loop *loop, int fd, const struct sockaddr_storage *address,
                   socklen_t address_len);
/* From any thread: libmicrohttpd has something to do, and cannot tell by itself. */
void http_loop_nudge(struct http_loop *loop);
/* On the loop's thread: lend a request, and take it back. */
struct http_request *http_lend_request(struct http_connection *connection);
void http_return_request(struct http_request *request);
/* Memory for a body, unless *ret has some. Only by the loop's thread. */
void http_lend_buf(struct http_loop *loop, struct buf *ret);
void http_return_buf(struct http_loop *loop, struct buf *buf);

static inline void http_enter(struct http_connection *connection, enum http_stage stage)
{
    unsigned turn = atomic_load_explicit(&connection->turn, memory_order_relaxed);
    atomic_store_explicit(&connection->turn, ((turn | 3U) + 1) | (unsigned)stage,
                          memory_order_relaxed);
}

static inline enum http_stage http_stage_of(unsigned turn)
{
    return (enum http_stage)(turn & 3U);
}

#endif
