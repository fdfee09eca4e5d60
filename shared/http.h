/* An HTTP server over libmicrohttpd: epoll, a pool of threads, answers now or later, TLS.
 *
 * Guarantee: the handler is called once for each complete request whose body is within the limit,
 * on a thread of the pool. It answers by http_answer() before it returns, or calls http_hold() or
 * http_suspend() and has http_answer() and http_resume() called later from one other thread.
 * Bodies over the limit get 413, gzip bodies are unpacked within the same limit. Slices of a
 * request are borrowed until it is answered.
 *
 * Slow clients: a request is cut off when it takes longer than request_ms_max from the first byte
 * of its head to the end of its body, however it drips; an answer when it is not read within
 * idle_seconds_max; a connection that says nothing after idle_seconds_max. Deadlines are kept to
 * within a tenth, or a second. An idle connection holds about 17 KiB, with TLS more. A head of up
 * to 14 KiB is taken, of which cookies count twice; a larger one gets 431.
 *
 * Crowds: of one address there are at most connections_per_address_max connections; beyond that,
 * and beyond connections_max of all, the one whose half-sent request is the oldest is closed for
 * the next, or of the address's own one that is idle. Where none is half-sent, those of all wait in
 * the kernel, and the address's own next is closed. Addresses in `exempt`, and those of this
 * machine (127.0.0.1, ::1), are many clients': they have no bound of their own.
 *
 * Ending: http_server_quiesce(), http_server_drain(), then, when nothing is held or suspended any
 * more, http_server_close(). Whatever was read is answered, with "Connection: close".
 */
#ifndef TRIBUTARY_SHARED_HTTP_H
#define TRIBUTARY_SHARED_HTTP_H

#include <sys/socket.h>
#include "shared/buf.h"
#include "shared/error.h"

struct http_server;
struct http_request;

typedef void http_handler(void *user, struct http_request *request);
/* Called in place of the handler where the server answers by itself, because the body is too large
 * or not what it is labelled as, before that answer is set: may look at the head and add headers.
 * `code` and `message` are those of the answer and live for ever. */
typedef void http_refused(void *user, struct http_request *request, const char *code,
                          const char *message);

/* The client of a suspended request has hung up: whoever knows `what` should give it its answer.
 * Called on the doorkeeper's thread, until http_resume() is; also once after it. */
typedef void http_gone(void *user, void *what);

struct networks;
struct tls;

struct http_options {
    const char *listen;      /* as for listen_open() */
    const char *socket_name; /* under which a socket may have been handed over; NULL: none */
    struct tls *tls;         /* NULL: plain; borrowed */
    unsigned threads;
    unsigned connections_max;
    unsigned connections_per_address_max;
    const struct networks *exempt; /* proxies; NULL: none; borrowed */
    size_t body_bytes_max;
    unsigned idle_seconds_max;
    struct slice
        common_body; /* an answer given often, made once; must live as long as the server */
    const char *common_type;
    int64_t request_ms_max;
    http_refused *refused; /* NULL: nobody asks */
    http_gone *gone;       /* of http_suspend_watched(); NULL: that is not called */
};

MUST_CHECK bool http_server_open(const struct http_options *options, http_handler *handler,
                                 void *user, struct http_server **ret, struct error *err);
uint16_t http_server_port(const struct http_server *server);
/* The listening socket was handed over: connections may wait in it while nobody serves. */
bool http_server_is_inherited(const struct http_server *server);

struct http_server_stats {
    size_t connections; /* open now */
    uint64_t too_slow;  /* cut off for missing a deadline of a request or an answer */
    uint64_t crowded;   /* closed for a bound on their number */
};
struct http_server_stats http_server_stats(struct http_server *server);

/* Take no more connections, and let each answer close its connection. Those that come to an
 * inherited socket wait in it; others are refused. */
void http_server_quiesce(struct http_server *server);
/* Wait until the connections have ended: up to 150 ms after the quiescing for requests of those
 * that are idle, up to 250 ms for what is being sent to us. Those that were idle are closed then.
 */
void http_server_drain(struct http_server *server);
/* Send the answers that are made, close; nothing may be suspended any more. Sets *server to NULL;
 * closing NULL is allowed. */
void http_server_close(struct http_server **server);

/* "GET", "POST"…; the path is decoded, without the query. */
struct slice http_method(const struct http_request *request);
struct slice http_path(const struct http_request *request);
/* It came by TLS. */
bool http_is_secure(const struct http_request *request);
struct slice http_body(const struct http_request *request);
/* Empty where there is none. Header names are compared without case. */
struct slice http_header(const struct http_request *request, const char *name);
/* What the Authorization header says for this scheme, such as "Bearer", whose name has no case. */
struct slice http_credentials(const struct http_request *request, const char *scheme);
/* Decoded; a path or query in which %00 stands stays as it was sent, so that no name or value ends
 * where the client did not end it. */
struct slice http_query(const struct http_request *request, const char *name);
struct slice http_cookie(const struct http_request *request, const char *name);
/* The address that the request came from, 4 or 16 bytes; empty where it is not known. */
struct slice http_client_address(const struct http_request *request);
/* Each query parameter in turn. */
void http_each_query(const struct http_request *request,
                     void (*each)(void *user, struct slice name, struct slice value), void *user);

/* Each line of a header that may come more than once, in the order they came. */
void http_each_header(const struct http_request *request, const char *name,
                      void (*each)(void *user, struct slice value), void *user);
/* Who is at the other end of the connection. */
const struct sockaddr *http_peer(const struct http_request *request);

/* Headers of the answer; up to HTTP_HEADERS_MAX, name and value are copied. */
enum { HTTP_HEADERS_MAX = 16 };
void http_add_header(struct http_request *request, const char *name, struct slice value);

/* Set the answer; the body is copied. */
void http_answer(struct http_request *request, unsigned status, const char *content_type,
                 struct slice body);
/* The error form of the public contract; `field` may be NULL. */
void http_answer_error(struct http_request *request, unsigned status, const char *code,
                       const char *message, const char *field);
/* 429 with Retry-After, in the error form. */
void http_answer_wait(struct http_request *request, int64_t wait_ms, const char *code,
                      const char *message);
/* An answer from memory that lives as long as the server: not copied, for the hot path. */
void http_answer_static(struct http_request *request, unsigned status, const char *content_type,
                        struct slice body);

/* The answer comes in some milliseconds: this costs no system call. Only what the server allows to
 * be called from another thread may be then: the connection may end meanwhile, also for the idle
 * timeout. The head of the request and its body are gone. http_resume() must come. */
void http_hold(struct http_request *request);
/* The answer may take long: this costs some system calls, and then nothing however many wait. */
void http_suspend(struct http_request *request);
/* The same, and the server's `gone` is called with `what`, which is not looked at, when the client
 * hangs up meanwhile. */
void http_suspend_watched(struct http_request *request, void *what);
/* The request has its answer. From any thread; the request is the server's again. */
void http_resume(struct http_request *request);
/* The same for many that are held, at the price of one. */
void http_resume_all(struct http_request *const *requests, size_t count);

#endif
