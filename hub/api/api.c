#include "hub/api/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/token_guard.h"

enum { BODY_BYTES_MAX = 1024 * 1024, ANSWER_BYTES_MAX = 60 * 1024 * 1024 };
enum { METRICS_CONNECTIONS_MAX = 64 };

struct api {
    struct hub *hub;
    struct http_server *server;
    struct http_server *metrics_server; /* NULL: metrics are at `server` */
    struct token_guard *token_guard;
    pthread_mutex_t changing;
};

bool call_read_json(struct call *call, const struct member *known, msgpack_object *ret)
{
    enum json_fault fault = json_read(http_body(call->http), &call->json);
    struct error err;
    if (fault != JSON_FINE) {
        http_answer_error(call->http, 400, json_fault_code(fault), json_fault_sentence(fault),
                          NULL);
        return false;
    }
    bool fine = value_unpack(buf_slice(&call->json), &call->zone, ret, &err);
    if (!fine || ret->type != MSGPACK_OBJECT_MAP) {
        http_answer_error(call->http, 400, "invalid-shape", "The body must be a JSON object.",
                          NULL);
        return false;
    }
    struct members_mistake mistake;
    if (known != NULL && !members_are_known(ret, known, &mistake)) {
        http_answer_error(call->http, 400, mistake.is_unknown ? "unknown-member" : "invalid-member",
                          mistake.message, mistake.pointer);
        return false;
    }
    return true;
}

void call_answer(struct call *call, unsigned status)
{
    http_answer(call->http, status, "application/json", buf_slice(&call->body));
}

void call_answer_not_found(struct call *call, const char *what)
{
    char message[128];
    snprintf(message, sizeof message, "There is no such %s.", what);
    http_answer_error(call->http, 404, "not-found", message, NULL);
}

void call_answer_failure(struct call *call, const struct error *err)
{
    log_error_limited("api-failed", "%s", err->message);
    http_answer_error(call->http, 503, "unavailable", "The hub cannot read its store now.", NULL);
}

void call_answer_invalid(struct call *call, const struct catalog_error *where,
                         const struct error *err)
{
    if (err->kind != ERROR_INVALID) {
        call_answer_failure(call, err);
        return;
    }
    char message[sizeof err->message + sizeof where->segment + 32];
    bool names_segment = where->segment[0] != 0 && strcmp(where->segment, "preview") != 0;
    snprintf(message, sizeof message, names_segment ? "Segment \"%s\": %s" : "%s%s",
             names_segment ? where->segment : "", err->message);
    http_answer_error(call->http, 400, where->code, message,
                      where->field[0] == 0 ? NULL : where->field);
}

bool call_read_limit(struct call *call, size_t initial, size_t max, size_t *ret)
{
    struct slice text = http_query(call->http, "limit");
    size_t value = 0;
    bool fine = text.len < 10;
    for (size_t i = 0; fine && i < text.len; i++) {
        fine = text.data[i] >= '0' && text.data[i] <= '9';
        value = value * 10 + (size_t)(text.data[i] - '0');
    }
    *ret = text.len == 0 ? initial : value > max ? max : value;
    if (!fine || *ret == 0) {
        http_answer_error(call->http, 400, "invalid-query", "\"limit\" must be a number above 0.",
                          NULL);
        return false;
    }
    return true;
}

bool call_read_cursor(struct call *call, struct reader_place *ret)
{
    struct slice text = http_query(call->http, "cursor");
    uint8_t bytes[4 + PROFILE_ID_BYTES];
    size_t len = 0;
    *ret = (struct reader_place){0};
    if (text.len == 0) {
        return true;
    }
    if (sodium_hex2bin(bytes, sizeof bytes, (const char *)text.data, text.len, NULL, &len, NULL) !=
            0 ||
        len != sizeof bytes) {
        http_answer_error(call->http, 400, "invalid-query",
                          "\"cursor\" must be the \"next\" of an earlier answer.", NULL);
        return false;
    }
    ret->partition = read_u32(bytes);
    memcpy(ret->last.bytes, bytes + 4, PROFILE_ID_BYTES);
    return true;
}

void call_write_next(struct call *call, const struct reader_place *place)
{
    char text[2 * (4 + PROFILE_ID_BYTES) + 1];
    json_key(&call->w, "next");
    if (!place->more) {
        json_null(&call->w);
        return;
    }
    snprintf(text, sizeof text, "%08x%s", place->partition, profile_id_hex(place->last).text);
    json_cstr(&call->w, text);
}

struct slice api_next_part(struct slice *rest)
{
    const uint8_t *slash = rest->len == 0 ? NULL : memchr(rest->data, '/', rest->len);
    size_t len = slash == NULL ? rest->len : (size_t)(slash - rest->data);
    struct slice part = slice_make(rest->data, len);
    *rest = slice_skip(*rest, slash == NULL ? len : len + 1);
    return part;
}

/* False: answered with what is wrong. */
static bool authorize(struct api *api, struct http_request *http)
{
    int64_t wait_ms;
    enum token_verdict verdict = token_guard_judge(
        api->token_guard, http_header(http, "Authorization"), slice_text(api->hub->admin_token),
        http_client_address(http), clock_monotonic_ns(&clock_real) / 1000000, &wait_ms);
    if (verdict == TOKEN_TOO_MANY) {
        http_answer_wait(http, wait_ms, "too-many-wrong-tokens",
                         "Too many wrong tokens came from this address; the right one is taken.");
    } else if (verdict != TOKEN_RIGHT) {
        http_add_header(http, "WWW-Authenticate", slice_text("Bearer"));
        http_answer_error(http, 401, "unauthorized", "A valid API token is needed.", NULL);
    }
    return verdict == TOKEN_RIGHT;
}

static void route(struct call *call, struct slice method, struct slice rest)
{
    struct slice head = api_next_part(&rest);
    if (slice_is(head, "profiles")) {
        api_profiles(call, method, rest);
    } else if (slice_is(head, "segments")) {
        api_segments(call, method, rest);
    } else if (slice_is(head, "sources")) {
        api_definitions(call, method, REGISTRY_SOURCE, rest);
    } else if (slice_is(head, "traits")) {
        api_definitions(call, method, REGISTRY_TRAIT, rest);
    } else if (slice_is(head, "identity-rules") && rest.len == 0) {
        api_definitions(call, method, REGISTRY_RULES, slice_text("rules"));
    } else if (slice_is(head, "purchases") && rest.len == 0) {
        api_definitions(call, method, REGISTRY_PURCHASES, slice_text("purchases"));
    } else if (slice_is(head, "business-keys")) {
        api_definitions(call, method, REGISTRY_BUSINESS_KEY, rest);
    } else if (slice_is(head, "collectors")) {
        api_collectors(call, method, rest);
    } else if (slice_is(head, "tracking-plans")) {
        api_definitions(call, method, REGISTRY_PLAN, rest);
    } else if (slice_is(head, "suppressions") && rest.len == 0) {
        api_suppressions(call, method);
    } else if (slice_is(head, "quarantine")) {
        api_quarantine(call, method, rest);
    } else if (slice_is(head, "refusals") && rest.len == 0) {
        api_refusals(call, method);
    } else if (slice_is(head, "stats") && slice_is(method, "GET")) {
        api_stats(call, rest);
    } else {
        call_answer_not_found(call, "path");
    }
}

static void handle_v1(struct api *api, struct http_request *http, struct slice method,
                      struct slice rest)
{
    struct call call = {.hub = api->hub, .http = http, .changing = &api->changing};
    if (!authorize(api, http)) {
        return;
    }
    arena_init(&call.arena, 4096);
    buf_init(&call.body, ANSWER_BYTES_MAX);
    buf_init(&call.json, BODY_BYTES_MAX * 2);
    bool made = msgpack_zone_init(&call.zone, 8192);
    ensure(made);
    json_writer_init(&call.w, &call.body);
    route(&call, method, rest);
    arena_done(&call.arena);
    buf_done(&call.body);
    buf_done(&call.json);
    msgpack_zone_destroy(&call.zone);
}

/* Without a token. */
static void answer_openly(struct api *api, struct http_request *http,
                          void (*answer)(struct call *call))
{
    struct call call = {.hub = api->hub, .http = http};
    buf_init(&call.body, ANSWER_BYTES_MAX);
    json_writer_init(&call.w, &call.body);
    answer(&call);
    buf_done(&call.body);
}

static void answer_no_such_path(struct http_request *http)
{
    http_answer_error(http, 404, "no-such-path", "There is nothing at this path.", NULL);
}

/* At the port of the setting metrics_listen. */
static void on_metrics_request(void *user, struct http_request *http)
{
    if (slice_is(http_path(http), "/metrics")) {
        answer_openly(user, http, api_metrics);
    } else {
        answer_no_such_path(http);
    }
}

static void on_request(void *user, struct http_request *http)
{
    struct api *api = user;
    struct slice method = http_method(http);
    struct slice path = http_path(http);
    struct slice v1 = slice_text("/v1/");
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    if (slice_starts_with(path, v1)) {
        handle_v1(api, http, method, slice_skip(path, v1.len));
    } else if (slice_is(path, "/healthz")) {
        http_answer_static(http, 200, "application/json", slice_text("{\"ok\":true}"));
    } else if (slice_is(path, "/readyz")) {
        answer_openly(api, http, api_ready);
    } else if (slice_is(path, "/metrics") && api->hub->settings.metrics_listen[0] == 0) {
        answer_openly(api, http, api_metrics);
    } else {
        answer_no_such_path(http);
    }
}

/* Before the API itself, so that whoever asks that for metrics finds them there. */
static bool open_metrics(struct api *api, const struct http_options *of_api, struct error *err)
{
    struct http_options options = *of_api;
    options.listen = api->hub->settings.metrics_listen;
    options.threads = 1;
    options.connections_max = METRICS_CONNECTIONS_MAX;
    return options.listen[0] == 0 ||
           http_server_open(&options, on_metrics_request, api, &api->metrics_server, err) ||
           error_add_context(err, "metrics_listen");
}

bool api_open(struct hub *hub, struct api **ret, struct error *err)
{
    struct api *api = memory_allocate_zeroed(sizeof *api);
    struct http_options options = {
        .listen = hub->settings.http_listen,
        .threads = (unsigned)hub->settings.http_threads,
        .connections_max = (unsigned)hub->files.http_connections,
        .connections_per_address_max = (unsigned)hub->settings.connections_per_address_max,
        .body_bytes_max = BODY_BYTES_MAX,
        .idle_seconds_max = 75,
        .request_ms_max = 20000,
    };
    api->hub = hub;
    api->token_guard = token_guard_new();
    pthread_mutex_init(&api->changing, NULL);
    if (!open_metrics(api, &options, err) ||
        !http_server_open(&options, on_request, api, &api->server, err)) {
        api_close(&api);
        return false;
    }
    *ret = api;
    return true;
}

uint16_t api_port(const struct api *api)
{
    return http_server_port(api->server);
}

void api_close(struct api **api)
{
    if (*api != NULL) {
        http_server_close(&(*api)->server);
        http_server_close(&(*api)->metrics_server);
        token_guard_free(&(*api)->token_guard);
        pthread_mutex_destroy(&(*api)->changing);
        free(*api);
        *api = NULL;
    }
}
