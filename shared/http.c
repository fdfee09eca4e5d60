#include "shared/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <zlib.h>
#include "shared/arena.h"
#include "shared/clock.h"
#include "shared/json.h"

/* A body this many times over the limit is read and thrown away, so that the client reads the
 * 413 instead of a reset connection; beyond that the connection is cut. */
enum {
    DISCARD_FACTOR = 8,
    KEEP_BODY_BYTES = 64 * 1024,
    POOL_BYTES = 16 * 1024,
    SEND_MS_MAX = 2000
};

struct http_server {
    struct MHD_Daemon *daemon;
    http_handler *handler;
    void *user;
    size_t body_bytes_max;
    int64_t request_ms_max;
    struct slice common_body;
    struct MHD_Response *common; /* its response, shared by all threads */
    _Atomic unsigned unsent;     /* requests that were suspended and whose answer is not sent yet */
};

/* Kept for the life of a connection, so that its buffers serve one request after the other. */
struct http_request {
    struct http_server *server;
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    struct buf body;
    struct buf unpacked;
    struct buf answer;
    struct arena arena;
    size_t received;
    int64_t started_ns;
    bool begun;
    bool handled;
    bool suspended; /* by the handler; its answer goes out after the resume */
    bool is_gzip;
    unsigned status;
    const char *content_type;
    struct slice answer_static;
    size_t header_count;
    struct {
        const char *name;
        const char *value;
    } headers[HTTP_HEADERS_MAX];
};

static struct http_request *request_new(struct http_server *server)
{
    struct http_request *r = memory_allocate_zeroed(sizeof *r);
    r->server = server;
    buf_init(&r->body, server->body_bytes_max);
    buf_init(&r->unpacked, server->body_bytes_max);
    buf_init(&r->answer, 64 * 1024 * 1024);
    arena_init(&r->arena, 512);
    return r;
}

static void request_free(struct http_request *r)
{
    buf_done(&r->body);
    buf_done(&r->unpacked);
    buf_done(&r->answer);
    arena_done(&r->arena);
    free(r);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)connection;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = request_new(cls);
    } else if (*socket_context != NULL) {
        request_free(*socket_context);
        *socket_context = NULL;
    }
}

static void shrink(struct buf *buf)
{
    if (buf->capacity > KEEP_BODY_BYTES) {
        buf_done(buf);
    }
    buf_clear(buf);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *con_cls;
    (void)cls;
    (void)connection;
    (void)code;
    if (r == NULL) {
        return;
    }
    if (r->suspended) {
        atomic_fetch_sub(&r->server->unsent, 1);
    }
    shrink(&r->body);
    shrink(&r->unpacked);
    shrink(&r->answer);
    arena_clear(&r->arena);
    r->begun = false;
    *con_cls = NULL;
}

static void begin(struct http_request *r, struct MHD_Connection *connection, const char *url,
                  const char *method)
{
    r->connection = connection;
    r->method = method;
    r->path = url;
    r->received = 0;
    r->started_ns = clock_monotonic_ns(&clock_real);
    r->begun = true;
    r->handled = false;
    r->suspended = false;
    r->status = 0;
    r->header_count = 0;
    r->answer_static = slice_make(NULL, 0);
    r->is_gzip = slice_is(http_header(r, "Content-Encoding"), "gzip");
}

static enum MHD_Result receive(struct http_request *r, const char *data, size_t *size)
{
    int64_t spent_ms = (clock_monotonic_ns(&clock_real) - r->started_ns) / 1000000;
    r->received += *size;
    if (spent_ms > r->server->request_ms_max ||
        r->received > r->server->body_bytes_max * DISCARD_FACTOR) {
        return MHD_NO;
    }
    /* Past the limit the rest is only counted; finish() answers 413. */
    if (r->received <= r->server->body_bytes_max) {
        buf_put(&r->body, data, *size);
    }
    *size = 0;
    return MHD_YES;
}

/* Inflate the body within the limit. False: damaged (ERROR_CORRUPT) or too large (ERROR_FULL). */
static bool unpack(struct http_request *r, struct error *err)
{
    z_stream z = {.next_in = r->body.data, .avail_in = (uInt)r->body.len};
    int rv = inflateInit2(&z, 15 + 16);
    ensure(rv == Z_OK);
    buf_clear(&r->unpacked);
    while (rv == Z_OK) {
        size_t want = r->unpacked.len == 0 ? r->body.len * 4 + 1024 : r->unpacked.len;
        size_t room = r->unpacked.len_max - r->unpacked.len;
        want = want < room ? want : room;
        if (want == 0 || !buf_reserve(&r->unpacked, want)) {
            inflateEnd(&z);
            return error_set(err, ERROR_FULL, "unpacks to more than the limit");
        }
        z.next_out = r->unpacked.data + r->unpacked.len;
        z.avail_out = (uInt)want;
        rv = inflate(&z, Z_NO_FLUSH);
        r->unpacked.len += want - z.avail_out;
        if (rv == Z_BUF_ERROR || (rv == Z_OK && z.avail_in == 0 && z.avail_out > 0)) {
            break;
        }
    }
    inflateEnd(&z);
    return rv == Z_STREAM_END || error_set(err, ERROR_CORRUPT, "is not gzip");
}

static struct MHD_Response *make_response(struct slice body, const char *content_type)
{
    union {
        const uint8_t *from;
        void *to;
    } cast = {.from = body.data};
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, cast.to, MHD_RESPMEM_PERSISTENT);
    ensure(response != NULL);
    if (content_type != NULL) {
        MHD_add_response_header(response, "Content-Type", content_type);
    }
    return response;
}

static enum MHD_Result queue_answer(struct http_request *r)
{
    bool is_static = r->answer_static.data != NULL;
    if (is_static && r->header_count == 0 && r->answer_static.data == r->server->common_body.data) {
        return MHD_queue_response(r->connection, r->status, r->server->common);
    }
    struct slice body = is_static ? r->answer_static : buf_slice(&r->answer);
    /* The answer's buffer belongs to the connection and lives until it is sent. */
    struct MHD_Response *response = make_response(body, r->content_type);
    for (size_t i = 0; i < r->header_count; i++) {
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    }
    enum MHD_Result result = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result finish(struct http_request *r)
{
    struct error err;
    if (!r->handled) {
        r->handled = true;
        if (r->received > r->server->body_bytes_max) {
            http_answer_error(r, 413, "request-too-large", "The request is over the size limit.",
                              NULL);
        } else if (r->is_gzip && r->body.len > 0 && !unpack(r, &err)) {
            bool large = err.kind == ERROR_FULL;
            http_answer_error(r, large ? 413 : 400, large ? "request-too-large" : "invalid-gzip",
                              large ? "The request unpacks to more than the size limit."
                                    : "The body is labelled gzip but does not unpack.",
                              NULL);
        } else {
            r->server->handler(r->server->user, r);
        }
        if (r->suspended) {
            return MHD_YES; /* libmicrohttpd calls again after the resume */
        }
    }
    ensure(r->status != 0);
    return queue_answer(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **con_cls)
{
    struct http_request *r = *con_cls;
    (void)cls;
    (void)version;
    if (r == NULL) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        r = info->socket_context;
        *con_cls = r;
        begin(r, connection, url, method);
        return MHD_YES;
    }
    return *size > 0 ? receive(r, data, size) : finish(r);
}

static bool parse_listen(const char *listen, struct sockaddr_storage *ret, socklen_t *ret_len,
                         struct error *err)
{
    char host[256];
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(listen, ':');
    if (colon == NULL || (size_t)(colon - listen) >= sizeof host) {
        return error_set(err, ERROR_INVALID, "\"%s\" is not address:port", listen);
    }
    bool bracketed = listen[0] == '[' && colon > listen + 1 && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen) - (bracketed ? 2 : 0),
             listen + (bracketed ? 1 : 0));
    int rv = getaddrinfo(host[0] == 0 ? NULL : host, colon + 1, &hints, &found);
    if (rv != 0) {
        return error_set(err, ERROR_INVALID, "\"%s\" is not address:port: %s", listen,
                         gai_strerror(rv));
    }
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static void free_server(struct http_server *server)
{
    if (server->common != NULL) {
        MHD_destroy_response(server->common);
    }
    free(server);
}

bool http_server_open(const struct http_options *o, http_handler *handler, void *user,
                      struct http_server **ret, struct error *err)
{
    struct sockaddr_storage address;
    socklen_t address_len;
    if (!parse_listen(o->listen, &address, &address_len, err)) {
        return false;
    }
    struct http_server *server = memory_allocate_zeroed(sizeof *server);
    server->handler = handler;
    server->user = user;
    server->body_bytes_max = o->body_bytes_max;
    server->request_ms_max = o->request_ms_max;
    if (o->common_body.data != NULL) {
        server->common_body = o->common_body;
        server->common = make_response(o->common_body, o->common_type);
    }
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, server, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, server, MHD_OPTION_CONNECTION_LIMIT, o->connections_max,
        MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POOL_BYTES, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_LISTEN_BACKLOG_SIZE,
        1024U, o->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, o->threads,
        MHD_OPTION_END);
    if (server->daemon == NULL) {
        free_server(server);
        return error_set(err, ERROR_UNAVAILABLE, "cannot listen on %s (is the port taken?)",
                         o->listen);
    }
    *ret = server;
    return true;
}

uint16_t http_server_port(const struct http_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info == NULL ? 0 : info->port;
}

void http_server_quiesce(struct http_server *server)
{
    MHD_socket listening = MHD_quiesce_daemon(server->daemon);
    if (listening != MHD_INVALID_SOCKET) {
        shutdown(listening, SHUT_RDWR);
    }
}

void http_server_close(struct http_server **server)
{
    if (*server != NULL) {
        for (int ms = 0; ms < SEND_MS_MAX && atomic_load(&(*server)->unsent) > 0; ms++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        MHD_stop_daemon((*server)->daemon);
        free_server(*server);
        *server = NULL;
    }
}

static struct slice optional(const char *text)
{
    return text == NULL ? slice_make(NULL, 0) : slice_text(text);
}

struct slice http_method(const struct http_request *r)
{
    return slice_text(r->method);
}

struct slice http_path(const struct http_request *r)
{
    return slice_text(r->path);
}

struct slice http_body(const struct http_request *r)
{
    return r->is_gzip ? buf_slice(&r->unpacked) : buf_slice(&r->body);
}

struct slice http_header(const struct http_request *r, const char *name)
{
    return optional(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name));
}

struct slice http_query(const struct http_request *r, const char *name)
{
    return optional(MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name));
}

struct slice http_cookie(const struct http_request *r, const char *name)
{
    return optional(MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, name));
}

struct each_query {
    void (*each)(void *user, struct slice name, struct slice value);
    void *user;
};

static enum MHD_Result on_query(void *cls, enum MHD_ValueKind kind, const char *key,
                                const char *value)
{
    struct each_query *q = cls;
    (void)kind;
    q->each(q->user, slice_text(key), optional(value));
    return MHD_YES;
}

void http_each_query(const struct http_request *r,
                     void (*each)(void *user, struct slice name, struct slice value), void *user)
{
    struct each_query q = {each, user};
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, on_query, &q);
}

static const char *keep_text(struct http_request *r, struct slice text)
{
    char *copy = arena_allocate(&r->arena, text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return copy;
}

void http_add_header(struct http_request *r, const char *name, struct slice value)
{
    ensure(r->header_count < HTTP_HEADERS_MAX);
    r->headers[r->header_count].name = keep_text(r, slice_text(name));
    r->headers[r->header_count].value = keep_text(r, value);
    r->header_count++;
}

void http_answer(struct http_request *r, unsigned status, const char *content_type,
                 struct slice body)
{
    buf_clear(&r->answer);
    buf_put_slice(&r->answer, body);
    r->content_type = content_type;
    r->answer_static = slice_make(NULL, 0);
    r->status = status;
}

void http_answer_static(struct http_request *r, unsigned status, const char *content_type,
                        struct slice body)
{
    r->content_type = content_type;
    r->answer_static = body;
    r->status = status;
}

void http_answer_error(struct http_request *r, unsigned status, const char *code,
                       const char *message, const char *field)
{
    struct json_writer w;
    struct buf body;
    buf_init(&body, 64 * 1024);
    json_writer_init(&w, &body);
    json_open_object(&w);
    json_key(&w, "error");
    json_open_object(&w);
    json_key(&w, "code");
    json_cstr(&w, code);
    json_key(&w, "message");
    json_cstr(&w, message);
    if (field != NULL) {
        json_key(&w, "field");
        json_cstr(&w, field);
    }
    json_close_object(&w);
    json_close_object(&w);
    http_answer(r, status, "application/json", buf_slice(&body));
    buf_done(&body);
}

void http_suspend(struct http_request *r)
{
    r->suspended = true;
    atomic_fetch_add(&r->server->unsent, 1);
    MHD_suspend_connection(r->connection);
}

void http_resume(struct http_request *r)
{
    MHD_resume_connection(r->connection);
}
