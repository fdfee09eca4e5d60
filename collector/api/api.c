#include "collector/api/api_internal.h"

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
        visit_init(&s->visit);
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
    request_trim(&s->request);
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
        visit_done(&s->visit);
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

/* Libraries that trace requests add headers to every fetch of a page (traceparent, baggage, b3 and
 * many more), and without our leave the browser sends no event at all. We read none that we do not
 * know, so any name may come; but not those by which proxies speak of the client. */
static bool may_send(struct slice names)
{
    static const char of_names[] = "abcdefghijklmnopqrstuvwxyz0123456789-_, ";
    for (size_t i = 0; i < names.len; i++) {
        if (memchr(of_names, names.data[i], sizeof of_names - 1) == NULL) {
            return false;
        }
    }
    return names.len > 0 && names.len <= 1024 &&
           memmem(names.data, names.len, "forwarded", strlen("forwarded")) == NULL &&
           memmem(names.data, names.len, "x-real-ip", strlen("x-real-ip")) == NULL;
}

static void answer_preflight(struct http_request *http)
{
    struct slice asked = http_header(http, "Access-Control-Request-Headers");
    http_add_header(http, "Access-Control-Allow-Methods", slice_text("GET, POST, OPTIONS"));
    http_add_header(http, "Access-Control-Allow-Headers",
                    slice_text("authorization, content-type, x-retry-count, x-write-key, "
                               "anonymousid, sentat, sp-anonymous, rsa-recovered, "
                               "rsa-retry-attempt, rsa-retry-reason, rsa-since-last-attempt, "
                               "rsa-since-first-attempt"));
    if (may_send(asked)) {
        http_add_header(http, "Access-Control-Allow-Headers", asked);
    }
    http_add_header(http, "Access-Control-Max-Age", slice_text("7200"));
    http_answer_static(http, 204, NULL, slice_text(""));
}

/* ---- Health, metrics ---- */

static void put_drop_metrics(struct drop_folder *folder, struct buf *out)
{
    struct drop_stats d = drop_folder_stats(folder);
    static const char files[] = "tributary_drop_files_total";
    static const char rows[] = "tributary_drop_rows_total";
    struct slice none = slice_text("");
    metrics_put_head(out, files, "counter", "Files of the drop folder, by how they ended.");
    metrics_put_sample(out, files, "result", slice_text("done"), NULL, none, (double)d.files_done);
    metrics_put_sample(out, files, "result", slice_text("rejected"), NULL, none,
                       (double)d.files_rejected);
    metrics_put_head(out, rows, "counter", "Rows of those files.");
    metrics_put_sample(out, rows, "result", slice_text("taken"), NULL, none, (double)d.rows_taken);
    metrics_put_sample(out, rows, "result", slice_text("rejected"), NULL, none,
                       (double)d.rows_rejected);
    metrics_put(out, "tributary_drop_files_waiting", "gauge",
                "Files in the drop folder that have a mapping.", (double)d.files_waiting);
    metrics_put(out, "tributary_drop_files_unmatched", "gauge",
                "Files in the drop folder that have none.", (double)d.files_unmatched);
    metrics_put(out, "tributary_drop_file_bytes", "gauge",
                "Size of the file that is being taken; 0: none is.", (double)d.file_bytes);
    metrics_put(out, "tributary_drop_file_read_bytes", "gauge", "How much of it was taken.",
                (double)d.file_bytes_read);
}

static void put_connection_metrics(struct api *api, struct buf *out)
{
    struct http_server_stats http = http_server_stats(api->server);
    struct http_server_stats https = {0};
    if (api->https_server != NULL) {
        https = http_server_stats(api->https_server);
    }
    metrics_put(out, "tributary_http_connections", "gauge", "Connections open on all ports.",
                (double)(http.connections + https.connections));
    metrics_put(out, "tributary_http_slow_connections_total", "counter",
                "Connections cut off for missing a deadline.",
                (double)(http.too_slow + https.too_slow));
    metrics_put(out, "tributary_http_crowded_connections_total", "counter",
                "Connections closed because too many were open, in all or of one address.",
                (double)(http.crowded + https.crowded));
    metrics_put(out, "tributary_http_connections_max", "gauge",
                "How many the settings and the limit of open files allow, on all ports.",
                (double)api->connections_max);
}

static void put_block_metrics(struct collector *c, struct buf *out)
{
    struct uplink_stats u = uplink_stats(c->uplink);
    metrics_put_head(out, "tributary_blocks_total", "counter", "The hub's answers to blocks.");
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("stored"), NULL,
                       slice_text(""), (double)u.blocks_stored);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("replayed"), NULL,
                       slice_text(""), (double)u.blocks_replayed);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("refused"), NULL,
                       slice_text(""), (double)u.blocks_refused);
    metrics_put_sample(out, "tributary_blocks_total", "answer", slice_text("none"), NULL,
                       slice_text(""), (double)u.blocks_unanswered);
}

static void put_metrics(struct api *api, struct buf *out)
{
    struct collector *c = api->collector;
    struct committer_stats k = committer_stats(c->committer);
    metrics_put_build_info(out);
    metrics_put(out, "tributary_http_requests_total", "counter", "Requests received.",
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
    metrics_put_head(out, "tributary_collector_events_dropped_total", "counter",
                     "Events dropped from a full spool.");
    for (int lane = 0; lane < LANES; lane++) {
        metrics_put_sample(out, "tributary_collector_events_dropped_total", "class",
                           slice_text(lane_name((enum lane)lane)), NULL, slice_text(""),
                           (double)spool_dropped(c->spool, (enum lane)lane));
    }
    put_block_metrics(c, out);
    metrics_put(out, "tributary_me_waiting", "gauge", "Requests that wait for news of a visitor.",
                (double)watch_waiters(api->watch));
    metrics_put(out, "tributary_hub_connected", "gauge", "1 when the hub answers.",
                downlink_is_connected(c->downlink));
    int64_t offset_ms;
    (void)clock_offset_get(c->clock_offset, &offset_ms);
    metrics_put(out, "tributary_hub_clock_offset_milliseconds", "gauge",
                "The hub's clock minus the collector's logical clock.", (double)offset_ms);
    put_connection_metrics(api, out);
    if (api->certificate != NULL) {
        certificate_put_metrics(api->certificate, out);
    }
    if (c->drop_folder != NULL) {
        put_drop_metrics(c->drop_folder, out);
    }
    metrics_put(out, "tributary_refused_by_hub", "gauge",
                "1 while the hub takes nothing from this collector: it was revoked or replaced.",
                standing_refusal(c->standing).code != NULL);
    metrics_put(out, "tributary_suppressed_identifiers", "gauge",
                "Identifiers on the suppression list.", (double)suppression_count(c->suppression));
    refusals_put_metrics(c->refusals, out);
}

static void get_metrics(struct api *api, struct http_request *http)
{
    struct scratch *s = api_take_scratch(api);
    put_metrics(api, &s->body);
    http_answer(http, 200, "text/plain; version=0.0.4", buf_slice(&s->body));
    api_give_scratch(api, s);
}

/* ---- Routes ---- */

/* Under /v1/ or the setting events_path_prefix. */
static const struct {
    const char *path;
    enum event_type type; /* EVENT_TYPES: a batch */
} event_routes[] = {
    {"track", EVENT_TRACK},   {"identify", EVENT_IDENTIFY}, {"page", EVENT_PAGE},
    {"screen", EVENT_SCREEN}, {"group", EVENT_GROUP},       {"alias", EVENT_ALIAS},
    {"t", EVENT_TRACK},       {"i", EVENT_IDENTIFY},        {"p", EVENT_PAGE},
    {"s", EVENT_SCREEN},      {"g", EVENT_GROUP},           {"a", EVENT_ALIAS},
    {"batch", EVENT_TYPES},   {"b", EVENT_TYPES},           {"import", EVENT_TYPES},
};

/* "/v1/" or the prefix that the settings put beside it, whichever the path begins with; empty for
 * another path. */
static struct slice find_prefix(const struct api *api, struct slice path)
{
    struct slice other = slice_text(api->collector->settings.events_path_prefix);
    struct slice usual = slice_text("/v1/");
    if (slice_starts_with(path, usual)) {
        return usual;
    }
    return slice_starts_with(path, other) ? other : slice_make(NULL, 0);
}

static bool route_post(struct api *api, struct http_request *http, struct slice path)
{
    struct slice prefix = find_prefix(api, path);
    struct slice rest = slice_skip(path, prefix.len);
    for (size_t i = 0; prefix.len > 0 && i < sizeof event_routes / sizeof *event_routes; i++) {
        if (slice_is(rest, event_routes[i].path)) {
            api_post_events(api, http, event_routes[i].type);
            return true;
        }
    }
    if (slice_is(path, "/com.snowplowanalytics.snowplow/tp2") ||
        (prefix.len > 0 && slice_is(rest, "tp2"))) {
        api_post_snowplow(api, http);
        return true;
    }
    return false;
}

/* What stands between the two in the path; empty where they do not enclose it. */
static struct slice enclosed(struct slice path, const char *before, const char *after)
{
    size_t start = strlen(before);
    size_t end = strlen(after);
    if (!slice_starts_with(path, slice_text(before)) || path.len <= start + end ||
        !slice_is(slice_skip(path, path.len - end), after)) {
        return slice_make(NULL, 0);
    }
    return slice_make(path.data + start, path.len - start - end);
}

/* What SDKs and pages ask for; the cross-origin headers are there already. */
static bool route_get_cors(struct api *api, struct http_request *http, struct slice path)
{
    struct slice prefix = find_prefix(api, path);
    struct slice rest = slice_skip(path, prefix.len);
    struct slice key = enclosed(rest, "projects/", "/settings");
    if (slice_is(path, "/i") && slice_is(http_method(http), "GET")) {
        api_get_snowplow(api, http);
    } else if (slice_is(path, "/sourceConfig/") || slice_is(path, "/sourceConfig")) {
        api_get_source_config(api, http);
    } else if (prefix.len == 0) {
        return false;
    } else if (key.len > 0) {
        api_get_settings(api, http, key, prefix);
    } else if (slice_is(rest, "sourceConfig/")) {
        api_get_source_config(api, http);
    } else if (slice_is(rest, "me")) {
        api_get_me(api, http);
    } else if (slice_is(rest, "link")) {
        api_get_link(api, http);
    } else if (slice_is(rest, "customers")) {
        api_get_customer(api, http);
    } else if (slice_is(rest, "refusals")) {
        api_get_refusals(api, http);
    } else {
        return false;
    }
    return true;
}

static bool route_get(struct api *api, struct http_request *http, struct slice path)
{
    if (slice_is(path, api->collector->settings.tag_path)) {
        tag_answer(api->tag, http);
        return true;
    }
    if (slice_is(path, api->tag_more_path)) {
        tag_answer(api->tag_more, http);
        return true;
    }
    if (api->analytics_js != NULL &&
        enclosed(path, "/analytics.js/v1/", "/analytics.min.js").len > 0) {
        tag_answer(api->analytics_js, http);
        return true;
    }
    if (slice_is(path, "/customers")) {
        customers_page_answer(api->customers_page, http);
        return true;
    }
    if (slice_is(path, "/metrics") && api->collector->settings.metrics_listen[0] == 0) {
        get_metrics(api, http);
        return true;
    }
    if (slice_is(path, "/healthz")) {
        http_answer_static(http, 200, "application/json", slice_text("{\"ok\":true}"));
        return true;
    }
    if (slice_is(path, "/readyz")) {
        api_get_ready(api, http);
        return true;
    }
    add_cors(api, http);
    return route_get_cors(api, http, path);
}

static void answer_no_such_path(struct http_request *http)
{
    http_answer_error(http, 404, "no-such-path", "There is nothing at this path and method.", NULL);
}

/* At the port of the setting metrics_listen. */
static void on_metrics_request(void *user, struct http_request *http)
{
    if (slice_is(http_path(http), "/metrics") && slice_is(http_method(http), "GET")) {
        get_metrics(user, http);
    } else {
        answer_no_such_path(http);
    }
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
        answer_no_such_path(http);
    }
}

/* A page of another origin may read only an answer that has the headers for it. */
static void on_refused(void *user, struct http_request *http, const char *code, const char *message)
{
    struct api *api = user;
    atomic_fetch_add_explicit(&api->requests, 1, memory_order_relaxed);
    add_cors(api, http);
    api_note_refused_request(api, &(struct refusal){code, message, NULL});
}

enum { METRICS_CONNECTIONS_MAX = 64 };

static bool open_metrics(struct api *api, const struct http_options *plain, struct error *err)
{
    struct http_options options = *plain;
    options.listen = api->collector->settings.metrics_listen;
    options.socket_name = "metrics";
    options.threads = 1;
    options.connections_max = METRICS_CONNECTIONS_MAX;
    options.refused = NULL;
    options.gone = NULL;
    return options.listen[0] == 0 ||
           http_server_open(&options, on_metrics_request, api, &api->metrics_server, err) ||
           error_add_context(err, "metrics_listen");
}

static bool open_https(struct api *api, const struct http_options *plain, struct error *err)
{
    const struct settings *settings = &api->collector->settings;
    struct http_options options = *plain;
    if (api->certificate == NULL) {
        return true;
    }
    options.listen = settings->https_listen;
    options.socket_name = "https";
    options.tls = certificate_tls(api->certificate);
    return http_server_open(&options, on_request, api, &api->https_server, err);
}

/* On the doorkeeper's thread: whose client has hung up frees its place. */
static void on_gone(void *user, void *waiter)
{
    watch_cancel(((struct api *)user)->watch, waiter);
}

/* Where the limit of open files is lower than what the settings ask for, it counts. */
static void bound_connections(struct api *api, struct http_options *options)
{
    size_t ports = api->collector->settings.https_listen[0] != 0 ? 2 : 1;
    size_t room = api->collector->files_for_connections / ports;
    if (room < options->connections_max) {
        log_warn("files-low",
                 "The limit of open files allows less connections than connections_max: raise "
                 "LimitNOFILE of systemd, or ulimit -Hn. connections_max=%zu ports=%zu",
                 room, ports);
        options->connections_max = (unsigned)room;
    }
    api->connections_max = options->connections_max * (unsigned)ports;
}

/* On a thread of the link. */
static void on_visitor_changed(void *user, struct slice anonymous_id)
{
    struct watch *watch = ((struct api *)user)->watch;
    if (anonymous_id.len == 0) {
        watch_changed_all(watch);
    } else {
        watch_changed(watch, anonymous_id);
    }
}

static void load_tag(struct api *api, const struct settings *settings)
{
    char second[sizeof api->tag_more_path];
    api->tag = tag_load(settings->tag_file);
    tag_second_name(settings->tag_file, second, sizeof second);
    api->tag_more = tag_load(second);
    tag_second_name(settings->tag_path, api->tag_more_path, sizeof api->tag_more_path);
}

bool api_open(struct collector *collector, struct api **ret, struct error *err)
{
    const struct settings *settings = &collector->settings;
    struct api *api = memory_allocate_zeroed(sizeof *api);
    struct http_options options = {
        .listen = settings->http_listen,
        .socket_name = "http",
        .threads = (unsigned)settings->http_threads,
        .connections_max = (unsigned)settings->connections_max,
        .body_bytes_max = (size_t)settings->request_bytes_max,
        .idle_seconds_max = (unsigned)(settings->idle_ms_max / 1000),
        .request_ms_max = settings->request_ms_max,
        .common_body = slice_text(api_success),
        .common_type = "application/json",
        .refused = on_refused,
        .gone = on_gone,
        .exempt = &collector->trusted_proxies,
        .connections_per_address_max = (unsigned)settings->connections_per_address_max,
    };
    api->collector = collector;
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->lookups_done, NULL);
    load_tag(api, settings);
    if (settings->analytics_js_file[0] != 0) {
        api->analytics_js = tag_load(settings->analytics_js_file);
    }
    api->customers_page = customers_page_new();
    api->token_guard = token_guard_new();
    api->watch =
        watch_open((size_t)settings->waiters_max, (size_t)settings->waiters_per_address_max,
                   &clock_real, api_wake_me, api);
    edge_on_change(collector->edge, on_visitor_changed, api);
    bool has_https = settings->https_listen[0] != 0;
    bound_connections(api, &options);
    if ((has_https &&
         !certificate_open(settings->tls_certificate, settings->tls_key, &api->certificate, err)) ||
        !open_metrics(api, &options, err) ||
        !http_server_open(&options, on_request, api, &api->server, err) ||
        !open_https(api, &options, err)) {
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

uint16_t api_https_port(const struct api *api)
{
    return api->https_server == NULL ? 0 : http_server_port(api->https_server);
}

void api_look(struct api *api)
{
    if (api->certificate != NULL) {
        certificate_look(api->certificate);
    }
}

void api_drain(struct api *api)
{
    atomic_store(&api->is_stopping, true);
    http_server_quiesce(api->server);
    if (api->https_server != NULL) {
        http_server_quiesce(api->https_server);
        http_server_drain(api->https_server);
    }
    http_server_drain(api->server);
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
    watch_stop(a->watch); /* answers whoever waits; requests under way still ask it */
    http_server_close(&a->server);
    http_server_close(&a->https_server);
    http_server_close(&a->metrics_server);
    watch_close(&a->watch);
    certificate_close(&a->certificate);
    tag_free(&a->tag);
    tag_free(&a->tag_more);
    tag_free(&a->analytics_js);
    customers_page_free(&a->customers_page);
    token_guard_free(&a->token_guard);
    scratch_free(a->spare);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->lookups_done);
    free(a);
    *api = NULL;
}
