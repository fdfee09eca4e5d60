#include "collector/api_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "shared/log.h"
#include "shared/metrics.h"

enum { ANSWER_BYTES_MAX = 8 * 1024 * 1024 };

const char api_success[] = "{\"success\":true}";

struct scratch *api_take_scratch(struct api *api)
{
    pthread_mutex_lock(&api->lock);
    struct scratch *s = api->spare;
    api->spare = s == NULL ? NULL : s->next;
    pthread_mutex_unlock(&api->lock);
    if (s == NULL) {
        s = memory_allocate_zeroed(sizeof *s);
        request_init(&s->request);
        arena_init(&s->arena, 4096);
        buf_init(&s->body, ANSWER_BYTES_MAX);
        buf_init(&s->card, LIMIT_WIRE_BYTES);
        bool made = msgpack_zone_init(&s->zone, 4096);
        ensure(made);
    }
    arena_clear(&s->arena);
    buf_clear(&s->body);
    msgpack_zone_clear(&s->zone);
    return s;
}

void api_give_scratch(struct api *api, struct scratch *s)
{
    pthread_mutex_lock(&api->lock);
    s->next = api->spare;
    api->spare = s;
    pthread_mutex_unlock(&api->lock);
}

static void scratch_free(struct scratch *s)
{
    while (s != NULL) {
        struct scratch *next = s->next;
        request_done(&s->request);
        arena_done(&s->arena);
        buf_done(&s->body);
        buf_done(&s->card);
        msgpack_zone_destroy(&s->zone);
        free(s);
        s = next;
    }
}

/* ---- Cross-origin requests ---- */

/* Credentials only for the origins that a source names: others may send events, not cookies. */
static void add_cors(struct api *api, struct http_request *http)
{
    struct slice origin = http_header(http, "Origin");
    if (origin.len == 0) {
        return;
    }
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    bool is_known = gate_allows_origin(api->collector->gate, origin);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    if (is_known) {
        http_add_header(http, "Access-Control-Allow-Origin", origin);
        http_add_header(http, "Access-Control-Allow-Credentials", slice_text("true"));
        http_add_header(http, "Vary", slice_text("Origin"));
    } else {
        http_add_header(http, "Access-Control-Allow-Origin", slice_text("*"));
    }
    http_add_header(http, "Access-Control-Expose-Headers", slice_text("Retry-After"));
}

static void answer_preflight(struct http_request *http)
{
    http_add_header(http, "Access-Control-Allow-Methods", slice_text("GET, POST, OPTIONS"));
    http_add_header(http, "Access-Control-Allow-Headers",
                    slice_text("authorization, content-type, x-retry-count, x-write-key, "
                               "anonymousid, sentat"));
    http_add_header(http, "Access-Control-Max-Age", slice_text("7200"));
    http_answer_static(http, 204, NULL, slice_text(""));
}

/* ---- Settings for analytics.js, health, metrics ---- */

static void get_settings(struct api *api, struct http_request *http, struct slice key)
{
    struct slice host = http_header(http, "Host");
    struct json_writer w;
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    bool is_known = gate_find_source(api->collector->gate, key) != NULL;
    pthread_rwlock_unlock(&api->collector->gate_lock);
    if (!is_known) {
        http_answer_error(http, 404, "unknown-write-key", "No source has this write key.", NULL);
        return;
    }
    struct scratch *s = api_take_scratch(api);
    struct slice host_v1 = arena_copy(&s->arena, host);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "integrations");
    json_open_object(&w);
    json_key(&w, "Segment.io");
    json_open_object(&w);
    json_key(&w, "apiKey");
    json_text(&w, key);
    json_key(&w, "apiHost");
    struct buf text;
    buf_init(&text, 1024);
    buf_put(&text, host_v1.data, host_v1.len > 512 ? 512 : host_v1.len);
    buf_put_slice(&text, slice_text("/v1"));
    json_text(&w, buf_slice(&text));
    buf_done(&text);
    json_close_object(&w);
    json_close_object(&w);
    json_close_object(&w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}

static void put_metrics(struct api *api, struct buf *out)
{
    struct collector *c = api->collector;
    struct committer_stats k = committer_stats(c->committer);
    struct uplink_stats u = uplink_stats(c->uplink);
    metrics_put(out, "tributary_http_requests_total", "counter", "Requests answered.",
                (double)atomic_load(&api->requests));
    metrics_put(out, "tributary_events_total", "counter", "Events accepted and durable.",
                (double)k.events);
    metrics_put(out, "tributary_commits_total", "counter", "Blocks synced to the spool.",
                (double)k.commits);
    metrics_put(out, "tributary_failed_commits_total", "counter",
                "Blocks that could not be stored.", (double)k.failed_commits);
    metrics_put(out, "tributary_event_plain_bytes_total", "counter",
                "Bytes of events before compression.", (double)k.plain_bytes);
    metrics_put(out, "tributary_event_sealed_bytes_total", "counter",
                "Bytes of events, compressed and sealed.", (double)k.sealed_bytes);
    metrics_put(out, "tributary_spool_blocks", "gauge", "Blocks that the hub does not have yet.",
                (double)spool_blocks(c->spool));
    metrics_put(out, "tributary_spool_bytes", "gauge", "Bytes of those blocks.",
                (double)spool_bytes(c->spool));
    metrics_put(out, "tributary_spool_blocks_aside", "gauge",
                "Blocks that the hub refused as damaged.", (double)spool_blocks_aside(c->spool));
    metrics_put_head(out, "tributary_blocks_total", "counter", "The hub's answers to blocks.");
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("stored"), NULL,
                       slice_text(""), (double)u.blocks_stored);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("replayed"), NULL,
                       slice_text(""), (double)u.blocks_replayed);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("refused"), NULL,
                       slice_text(""), (double)u.blocks_refused);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("none"), NULL,
                       slice_text(""), (double)u.blocks_unanswered);
    metrics_put(out, "tributary_me_waiting", "gauge", "Requests that wait for news of a visitor.",
                (double)watch_waiters(api->watch));
    metrics_put(out, "tributary_hub_connected", "gauge", "1 when the hub answers.",
                downlink_is_connected(c->downlink));
    int64_t offset_ms;
    (void)clock_offset_get(c->clock_offset, &offset_ms);
    metrics_put(out, "tributary_hub_clock_offset_milliseconds", "gauge",
                "The hub's clock minus this one's.", (double)offset_ms);
    refusals_put_metrics(c->refusals, out);
}

static void get_metrics(struct api *api, struct http_request *http)
{
    struct scratch *s = api_take_scratch(api);
    put_metrics(api, &s->body);
    http_answer(http, 200, "text/plain; version=0.0.4", buf_slice(&s->body));
    api_give_scratch(api, s);
}

static void get_ready(struct api *api, struct http_request *http)
{
    struct collector *c = api->collector;
    if (spool_is_full(c->spool)) {
        http_answer_error(http, 503, "spool-full", "The spool is full.", NULL);
    } else {
        http_answer_static(http, 200, "application/json", slice_text("{\"ready\":true}"));
    }
}

/* ---- Routes ---- */

static const struct {
    const char *path;
    enum event_type type; /* EVENT_TYPES: a batch */
} event_routes[] = {
    {"/v1/track", EVENT_TRACK},   {"/v1/identify", EVENT_IDENTIFY}, {"/v1/page", EVENT_PAGE},
    {"/v1/screen", EVENT_SCREEN}, {"/v1/group", EVENT_GROUP},       {"/v1/alias", EVENT_ALIAS},
    {"/v1/t", EVENT_TRACK},       {"/v1/i", EVENT_IDENTIFY},        {"/v1/p", EVENT_PAGE},
    {"/v1/s", EVENT_SCREEN},      {"/v1/g", EVENT_GROUP},           {"/v1/a", EVENT_ALIAS},
    {"/v1/batch", EVENT_TYPES},   {"/v1/b", EVENT_TYPES},           {"/v1/import", EVENT_TYPES},
};

static bool route_post(struct api *api, struct http_request *http, struct slice path)
{
    for (size_t i = 0; i < sizeof event_routes / sizeof *event_routes; i++) {
        if (slice_is(path, event_routes[i].path)) {
            api_post_events(api, http, event_routes[i].type);
            return true;
        }
    }
    return false;
}

/* The write key in /v1/projects/KEY/settings; empty for another path. */
static struct slice settings_key(struct slice path)
{
    struct slice before = slice_text("/v1/projects/");
    struct slice after = slice_text("/settings");
    if (!slice_starts_with(path, before) || path.len <= before.len + after.len ||
        !slice_equal(slice_skip(path, path.len - after.len), after)) {
        return slice_make(NULL, 0);
    }
    return slice_make(path.data + before.len, path.len - before.len - after.len);
}

static bool route_get(struct api *api, struct http_request *http, struct slice path)
{
    if (slice_is(path, api->collector->settings.tag_path)) {
        tag_answer(api->tag, http);
        return true;
    }
    if (slice_is(path, "/metrics")) {
        get_metrics(api, http);
        return true;
    }
    if (slice_is(path, "/healthz")) {
        http_answer_static(http, 200, "application/json", slice_text("{\"ok\":true}"));
        return true;
    }
    if (slice_is(path, "/readyz")) {
        get_ready(api, http);
        return true;
    }
    add_cors(api, http);
    struct slice key = settings_key(path);
    if (key.len > 0) {
        get_settings(api, http, key);
    } else if (slice_is(path, "/v1/me")) {
        api_get_me(api, http);
    } else if (slice_is(path, "/v1/customers")) {
        api_get_customer(api, http);
    } else {
        return false;
    }
    return true;
}

static void on_request(void *user, struct http_request *http)
{
    struct api *api = user;
    struct slice method = http_method(http);
    struct slice path = http_path(http);
    bool routed = false;
    atomic_fetch_add_explicit(&api->requests, 1, memory_order_relaxed);
    if (slice_is(method, "POST")) {
        add_cors(api, http);
        routed = route_post(api, http, path);
    } else if (slice_is(method, "GET") || slice_is(method, "HEAD")) {
        routed = route_get(api, http, path);
    } else if (slice_is(method, "OPTIONS")) {
        add_cors(api, http);
        answer_preflight(http);
        routed = true;
    }
    if (!routed) {
        http_answer_error(http, 404, "no-such-path", "There is nothing at this path and method.",
                          NULL);
    }
}

/* On a thread of the link. */
static void on_visitor_changed(void *user, struct slice anonymous_id)
{
    watch_changed(((struct api *)user)->watch, anonymous_id);
}

bool api_open(struct collector *collector, struct api **ret, struct error *err)
{
    const struct settings *settings = &collector->settings;
    struct api *api = memory_allocate_zeroed(sizeof *api);
    struct http_options options = {
        .listen = settings->http_listen,
        .threads = (unsigned)settings->http_threads,
        .connections_max = (unsigned)settings->connections_max,
        .body_bytes_max = (size_t)settings->request_bytes_max,
        .idle_seconds_max = (unsigned)(settings->idle_ms_max / 1000),
        .request_ms_max = settings->request_ms_max,
        .common_body = slice_text(api_success),
        .common_type = "application/json",
    };
    api->collector = collector;
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->lookups_done, NULL);
    api->tag = tag_load(settings->tag_file);
    api->watch = watch_open((size_t)settings->waiters_max, &clock_real, api_wake_me, api);
    edge_on_change(collector->edge, on_visitor_changed, api);
    if (!http_server_open(&options, on_request, api, &api->server, err)) {
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

void api_quiesce(struct api *api)
{
    http_server_quiesce(api->server);
}

void api_close(struct api **api)
{
    struct api *a = *api;
    if (a == NULL) {
        return;
    }
    pthread_mutex_lock(&a->lock);
    while (a->lookups > 0) {
        pthread_cond_wait(&a->lookups_done, &a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    edge_on_change(a->collector->edge, NULL, NULL);
    watch_close(&a->watch); /* answers whoever waits */
    http_server_close(&a->server);
    tag_free(&a->tag);
    scratch_free(a->spare);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->lookups_done);
    free(a);
    *api = NULL;
}
