/* An HTTP server over libmicrohttpd: epoll, a pool of threads, answers now or later.
 *
 * Guarantee: the handler is called once for each complete request whose body is within the limit,
 * on a thread of the pool. It answers by http_answer() before it returns, or calls
 * http_suspend() and has http_answer() and http_resume() called later from one other thread.
 * Bodies over the limit get 413, requests that take longer than the deadline are cut off, gzip
 * bodies are unpacked within the same limit. Slices of a request are borrowed until it is
 * answered.
 */
#ifndef TRIBUTARY_SHARED_HTTP_H
#define TRIBUTARY_SHARED_HTTP_H

#include "shared/buf.h"
#include "shared/error.h"

struct http_server;
struct http_request;

typedef void http_handler(void *user, struct http_request *request);

struct http_options {
    const char *listen; /* "address:port"; port 0 takes a free one; IPv6 as "[::1]:8080" */
    unsigned threads;
    unsigned connections_max;
    size_t body_bytes_max;
    unsigned idle_seconds_max;
    struct slice
        common_body; /* an answer given often, made once; must live as long as the server */
    const char *common_type;
    int64_t request_ms_max; /* from the first byte of its head to the end of its body */
};

MUST_CHECK bool http_server_open(const struct http_options *options, http_handler *handler,
                                 void *user, struct http_server **ret, struct error *err);
uint16_t http_server_port(const struct http_server *server);
/* Take no more connections; those there are go on. */
void http_server_quiesce(struct http_server *server);
/* Close; nothing may be suspended any more. Answers of requests that were resumed are sent first,
 * for up to 2 s. Sets *server to NULL; closing NULL is allowed. */
void http_server_close(struct http_server **server);

/* "GET", "POST"…; the path is decoded, without the query. */
struct slice http_method(const struct http_request *request);
struct slice http_path(const struct http_request *request);
struct slice http_body(const struct http_request *request);
/* Empty where there is none. Header names are compared without case. */
struct slice http_header(const struct http_request *request, const char *name);
struct slice http_query(const struct http_request *request, const char *name);
struct slice http_cookie(const struct http_request *request, const char *name);
/* Each query parameter in turn. */
void http_each_query(const struct http_request *request,
                     void (*each)(void *user, struct slice name, struct slice value), void *user);

/* Headers of the answer; up to HTTP_HEADERS_MAX, name and value are copied. */
enum { HTTP_HEADERS_MAX = 16 };
void http_add_header(struct http_request *request, const char *name, struct slice value);

/* Set the answer; the body is copied. */
void http_answer(struct http_request *request, unsigned status, const char *content_type,
                 struct slice body);
/* The error form of the public contract; `field` may be NULL. */
void http_answer_error(struct http_request *request, unsigned status, const char *code,
                       const char *message, const char *field);
/* An answer from memory that lives as long as the server: not copied, for the hot path. */
void http_answer_static(struct http_request *request, unsigned status, const char *content_type,
                        struct slice body);

void http_suspend(struct http_request *request);
void http_resume(struct http_request *request);

#endif
