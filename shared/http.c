#include "shared/http_internal.h"

#include <stdlib.h>
#include <strings.h>
#include <zlib.h>
#include "shared/http_strict.h"
#include "shared/json.h"

/* A body this many times over the limit is read and thrown away, so that the client reads the
 * 413 instead of a reset connection; beyond that the connection is cut. */
enum { DISCARD_FACTOR = 8, KEEP_ANSWER_BYTES = 64 * 1024, ANSWER_BYTES_MAX = 64 * 1024 * 1024 };

void http_request_clear(struct http_request *r)
{
    http_return_buf(r->loop, &r->body);
    http_return_buf(r->loop, &r->unpacked);
    if (r->answer.capacity > KEEP_ANSWER_BYTES) {
        buf_done(&r->answer);
    }
    buf_clear(&r->answer);
    arena_clear(&r->arena);
}

void http_request_free(struct http_request *r)
{
    buf_done(&r->answer);
    arena_done(&r->arena);
    free(r);
}

void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *con_cls;
    (void)cls;
    (void)connection;
    (void)code;
    if (r == NULL) {
        return;
    }
    *con_cls = NULL;
    r->loop->steps++;
    http_enter(r->owner, HTTP_IDLE);
    r->connection = NULL;
    if (!r->is_held) { /* otherwise whoever holds it may be making its answer */
        http_return_request(r);
    }
}

static bool is_word(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

static void begin(struct http_request *r, struct MHD_Connection *connection, const char *url,
                  const char *method)
{
    if (r->answer.len_max == 0) { /* lent for the first time */
        buf_init(&r->answer, ANSWER_BYTES_MAX);
        arena_init(&r->arena, 512);
    }
    r->connection = connection;
    r->method = method;
    r->path = url;
    r->received = 0;
    r->handled = false;
    r->suspended = false;
    r->is_watched = false;
    r->is_held = false;
    r->status = 0;
    r->header_count = 0;
    r->answer_static = slice_make(NULL, 0);
    struct slice coding = http_header(r, "Content-Encoding");
    r->is_gzip = is_word(coding, "gzip") || is_word(coding, "x-gzip"); /* RFC 9110, 8.4.1.3 */
    http_enter(r->owner, HTTP_READING);
}

static enum MHD_Result receive(struct http_request *r, const char *data, size_t *size)
{
    size_t limit = r->owner->server->body_bytes_max;
    r->loop->steps++;
    r->received += *size;
    if (r->received > limit * DISCARD_FACTOR) {
        return MHD_NO;
    }
    /* Past the limit the rest is only counted; finish() answers 413. */
    if (r->received <= limit) {
        http_lend_buf(r->loop, &r->body);
        buf_put(&r->body, data, *size);
    }
    *size = 0;
    return MHD_YES;
}

/* RFC 1952: a file may be several members, one behind the other; some clients write one a chunk.
 * True: another one begins behind the one that ended. */
static bool begin_next_member(z_stream *z)
{
    return z->avail_in > 0 && z->next_in[0] == 0x1f && inflateReset(z) == Z_OK;
}

/* Inflate the body within the limit. False: damaged (ERROR_CORRUPT) or too large (ERROR_FULL). */
static bool unpack(struct http_request *r, struct error *err)
{
    z_stream z = {.next_in = r->body.data, .avail_in = (uInt)r->body.len};
    int rv = inflateInit2(&z, 15 + 16);
    ensure(rv == Z_OK);
    http_lend_buf(r->loop, &r->unpacked);
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
        if (rv == Z_STREAM_END && begin_next_member(&z)) {
            rv = Z_OK;
            continue;
        }
        if (rv == Z_BUF_ERROR || (rv == Z_OK && z.avail_in == 0 && z.avail_out > 0)) {
            break;
        }
    }
    inflateEnd(&z);
    return rv == Z_STREAM_END || error_set(err, ERROR_CORRUPT, "is not gzip");
}

struct MHD_Response *http_make_response(struct slice body, const char *content_type)
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
    struct http_server *server = r->owner->server;
    bool is_static = r->answer_static.data != NULL;
    bool is_last = atomic_load_explicit(&server->is_ending, memory_order_relaxed);
    http_enter(r->owner, HTTP_ANSWERING);
    if (is_static && r->header_count == 0 && r->answer_static.data == server->common_body.data) {
        return MHD_queue_response(r->connection, r->status,
                                  is_last ? server->common_last : server->common);
    }
    struct slice body = is_static ? r->answer_static : buf_slice(&r->answer);
    /* The answer's buffer is lent until the answer is sent. */
    struct MHD_Response *response = http_make_response(body, r->content_type);
    for (size_t i = 0; i < r->header_count; i++) {
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    }
    if (is_last) {
        MHD_add_response_header(response, "Connection", "close");
    }
    enum MHD_Result result = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return result;
}

static void refuse(struct http_request *r, unsigned status, const char *code, const char *message)
{
    const struct http_server *server = r->owner->server;
    if (server->refused != NULL) {
        server->refused(server->user, r, code, message);
    }
    http_answer_error(r, status, code, message, NULL);
}

/* Have the request answered, now or later. */
static void handle(struct http_request *r)
{
    static const char too_large[] = "request-too-large";
    struct http_server *server = r->owner->server;
    struct error err;
    if (r->received > server->body_bytes_max) {
        refuse(r, 413, too_large, "The request is over the size limit.");
    } else if (!r->is_gzip || r->body.len == 0 || unpack(r, &err)) {
        http_enter(r->owner, HTTP_WORKING);
        server->handler(server->user, r);
    } else if (err.kind == ERROR_FULL) {
        refuse(r, 413, too_large, "The request unpacks to more than the size limit.");
    } else {
        refuse(r, 400, "invalid-gzip", "The body is labelled gzip but does not unpack.");
    }
}

static enum MHD_Result finish(struct http_request *r)
{
    if (!r->handled) {
        r->handled = true;
        handle(r);
        if (r->suspended) {
            return MHD_YES; /* libmicrohttpd calls again after the resume */
        }
    }
    if (r->is_held) {
        return MHD_YES; /* it calls again in its next turn */
    }
    r->loop->steps++;
    ensure(r->status != 0);
    return queue_answer(r);
}

void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *c = info->socket_context;
    (void)cls;
    /* Escapes are undone in place later on, so that spaces are looked for now. */
    c->uri = strchr(uri, ' ') == NULL ? slice_text(uri) : slice_make(NULL, 0);
    return NULL;
}

/* An answer before the body was read: the connection ends with it, and nothing more is read. */
static enum MHD_Result refuse_head(struct http_request *r, const char *fault)
{
    r->handled = true;
    refuse(r, 400, "malformed-request", fault);
    http_add_header(r, "Connection", slice_text("close"));
    return queue_answer(r);
}

enum MHD_Result http_on_access(void *cls, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **con_cls)
{
    struct http_request *r = *con_cls;
    (void)cls;
    if (r == NULL) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        r = http_lend_request(info->socket_context);
        *con_cls = r;
        r->loop->steps++;
        begin(r, connection, url, method);
        const char *fault = http_strict_fault(connection, method, r->owner->uri, version);
        return fault == NULL ? MHD_YES : refuse_head(r, fault);
    }
    return *size > 0 ? receive(r, data, size) : finish(r);
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

bool http_is_secure(const struct http_request *r)
{
    return r->owner->server->tls != NULL;
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

struct slice http_credentials(const struct http_request *r, const char *scheme)
{
    struct slice header = http_header(r, "Authorization");
    size_t len = strlen(scheme);
    if (header.len <= len || header.data[len] != ' ' ||
        !is_word(slice_make(header.data, len), scheme)) {
        return slice_make(NULL, 0);
    }
    header = slice_skip(header, len);
    while (header.len > 0 && header.data[0] == ' ') {
        header = slice_skip(header, 1);
    }
    return header;
}

struct slice http_cookie(const struct http_request *r, const char *name)
{
    return optional(MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, name));
}

struct slice http_client_address(const struct http_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info == NULL ? NULL : info->client_addr;
    if (address != NULL && address->sa_family == AF_INET) {
        return slice_make(&((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    }
    if (address != NULL && address->sa_family == AF_INET6) {
        return slice_make(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    }
    return slice_make(NULL, 0);
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

struct each_header {
    const char *name;
    void (*each)(void *user, struct slice value);
    void *user;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    struct each_header *h = cls;
    (void)kind;
    if (strcasecmp(key, h->name) == 0) {
        h->each(h->user, optional(value));
    }
    return MHD_YES;
}

void http_each_header(const struct http_request *r, const char *name,
                      void (*each)(void *user, struct slice value), void *user)
{
    struct each_header h = {name, each, user};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_header, &h);
}

const struct sockaddr *http_peer(const struct http_request *r)
{
    return MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
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

void http_answer_wait(struct http_request *r, int64_t wait_ms, const char *code,
                      const char *message)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_ms + 999) / 1000);
    http_add_header(r, "Retry-After", slice_text(seconds));
    http_answer_error(r, 429, code, message, NULL);
}

void http_suspend(struct http_request *r)
{
    r->suspended = true;
    MHD_suspend_connection(r->connection);
}

void http_suspend_watched(struct http_request *r, void *what)
{
    ensure(r->owner->server->gone != NULL && what != NULL);
    r->is_watched = true;
    http_watch(r->owner, what);
    http_suspend(r);
}

void http_hold(struct http_request *r)
{
    r->is_held = true;
    r->loop->held++;
    http_return_buf(r->loop, &r->body);
    http_return_buf(r->loop, &r->unpacked);
}

void http_resume(struct http_request *r)
{
    if (r->is_held) {
        http_resume_all(&r, 1);
        return;
    }
    struct http_loop *loop = r->loop;
    if (r->is_watched) {
        http_watch(r->owner, NULL);
    }
    MHD_resume_connection(r->connection); /* from here on it may be another's */
    http_loop_nudge(loop);
}
