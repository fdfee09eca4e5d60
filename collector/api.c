#include "collector/api.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "collector/tag.h"
#include "shared/json.h"
#include "shared/log.h"
#include "shared/metrics.h"
#include "shared/timetext.h"

enum { LOOKUP_MS_MAX = 2000, ANSWER_BYTES_MAX = 8 * 1024 * 1024 };

static const char success[] = "{\"success\":true}";

/* What one request needs to be parsed and answered, kept for the next. */
struct scratch {
    struct request request;
    struct arena arena;
    struct buf body;
    struct buf card;
    msgpack_zone zone;
    struct scratch *next;
};

struct api {
    struct collector *collector;
    struct http_server *server;
    struct tag *tag;
    pthread_mutex_t lock;
    struct scratch *spare;
    bool closing;
    unsigned lookups; /* under way: requests that the link will resume */
    pthread_cond_t lookups_done;
    _Atomic uint64_t requests;
};

static struct scratch *scratch_take(struct api *api)
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

static void scratch_give(struct api *api, struct scratch *s)
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

/* ---- Events ---- */

/* The user name of Basic authorization, decoded into `ret`. */
static struct slice basic_user(struct http_request *http, char *ret, size_t size)
{
    struct slice header = http_header(http, "Authorization");
    struct slice basic = slice_text("Basic ");
    size_t len = 0;
    if (!slice_starts_with(header, basic)) {
        return slice_make(NULL, 0);
    }
    header = slice_skip(header, basic.len);
    if (sodium_base642bin((uint8_t *)ret, size, (const char *)header.data, header.len, " \r\n",
                          &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        return slice_make(NULL, 0);
    }
    const char *colon = memchr(ret, ':', len);
    return slice_make(ret, colon == NULL ? len : (size_t)(colon - ret));
}

static struct slice find_write_key(struct http_request *http, const struct request *request,
                                   char *scratch, size_t size)
{
    struct slice key = basic_user(http, scratch, size);
    if (key.len == 0) {
        key = http_header(http, "X-Write-Key");
    }
    if (key.len == 0) {
        key = request->write_key;
    }
    return key.len > 0 ? key : http_query(http, "writeKey");
}

static bool is_cookie_safe(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '-' || c == '_' || c == '.' || c == '~';
        if (!fine) {
            return false;
        }
    }
    return id.len > 0 && id.len <= 128;
}

/* The server sets the cookie, because browsers keep those of scripts for a week only. Servers and
 * tills, which send no Origin and no cookie, get none. */
static void set_cookie(struct api *api, struct http_request *http, const struct request *request)
{
    const struct settings *settings = &api->collector->settings;
    char cookie[1024];
    struct slice id = slice_make(NULL, 0);
    for (size_t i = 0; i < request->count; i++) {
        const struct request_event *e = &request->events[i];
        id = e->refusal.code == NULL && e->event.anonymous_id.len > 0 ? e->event.anonymous_id : id;
    }
    struct slice has = http_cookie(http, settings->cookie_name);
    bool is_browser = http_header(http, "Origin").len > 0 || has.len > 0 ||
                      http_header(http, "Sec-Fetch-Site").len > 0;
    if (!is_browser || slice_equal(has, id) || !is_cookie_safe(id)) {
        return;
    }
    bool has_domain = settings->cookie_domain[0] != 0;
    bool is_secure = slice_is(http_header(http, "X-Forwarded-Proto"), "https");
    snprintf(cookie, sizeof cookie, "%s=%.*s; Path=/; Max-Age=%lld; SameSite=Lax%s%.*s%s",
             settings->cookie_name, SLICE_ARGS(id),
             (long long)(settings->cookie_lifetime_ms / 1000), has_domain ? "; Domain=" : "", 255,
             settings->cookie_domain, is_secure ? "; Secure" : "");
    http_add_header(http, "Set-Cookie", slice_text(cookie));
}

static void write_refusal(struct json_writer *w, const struct refusal *refusal)
{
    json_key(w, "code");
    json_cstr(w, refusal->code);
    json_key(w, "message");
    json_cstr(w, refusal->message);
    if (refusal->field != NULL) {
        json_key(w, "field");
        json_cstr(w, refusal->field);
    }
}

/* The answer where some events of a batch were refused, or the only one. */
static void answer_refused(struct http_request *http, struct scratch *s, size_t refused)
{
    const struct request *request = &s->request;
    bool nothing_taken = refused == request->count;
    struct json_writer w;
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    if (nothing_taken) {
        json_key(&w, "error");
        json_open_object(&w);
        write_refusal(&w, &request->events[0].refusal);
        json_close_object(&w);
    } else {
        json_key(&w, "success");
        json_bool(&w, true);
    }
    if (request->is_batch) {
        json_key(&w, "rejected");
        json_open_array(&w);
        for (size_t i = 0; i < request->count; i++) {
            if (request->events[i].refusal.code != NULL) {
                json_open_object(&w);
                json_key(&w, "index");
                json_int(&w, (int64_t)i);
                write_refusal(&w, &request->events[i].refusal);
                json_close_object(&w);
            }
        }
        json_close_array(&w);
    }
    json_close_object(&w);
    http_answer(http, nothing_taken ? 400 : 200, "application/json", buf_slice(&s->body));
}

/* Pass each event through the gate; how many are refused in all. */
static size_t pass_gate(struct api *api, const struct gate_source *source, struct request *request)
{
    size_t refused = 0;
    for (size_t i = 0; i < request->count; i++) {
        struct request_event *e = &request->events[i];
        if (e->refusal.code == NULL) {
            e->refusal = gate_check(source, e);
        }
        if (e->refusal.code != NULL) {
            refusals_count(api->collector->refusals, gate_source_key(source), e->refusal.code);
            refused++;
        }
    }
    return refused;
}

static void refuse_request(struct api *api, struct http_request *http, unsigned status,
                           const struct refusal *refusal)
{
    refusals_count(api->collector->refusals, slice_make(NULL, 0), refusal->code);
    http_answer_error(http, status, refusal->code, refusal->message, refusal->field);
}

/* Inside the gate's read lock, because events refer to the source's key. */
static void take_events(struct api *api, struct http_request *http, struct scratch *s)
{
    char scratch[256];
    struct error err;
    struct request *request = &s->request;
    struct slice key = find_write_key(http, request, scratch, sizeof scratch);
    const struct gate_source *source = gate_find_source(api->collector->gate, key);
    if (source == NULL) {
        refuse_request(api, http, 401,
                       &(struct refusal){"unknown-write-key",
                                         key.len == 0 ? "The request has no write key."
                                                      : "No source has this write key.",
                                         NULL});
        return;
    }
    request_stamp(request, gate_source_key(source), clock_now_ms(&clock_real));
    size_t refused = pass_gate(api, source, request);
    if (refused > 0) {
        answer_refused(http, s, refused);
    } else {
        http_answer_static(http, 200, "application/json", slice_text(success));
    }
    if (refused == request->count) {
        return;
    }
    set_cookie(api, http, request);
    if (!committer_add(api->collector->committer, request, http, &err)) {
        http_add_header(http, "Retry-After", slice_text("1"));
        http_answer_error(http, 503, "overloaded", "The disk cannot follow; try again later.",
                          NULL);
    }
}

static void post_events(struct api *api, struct http_request *http, enum event_type type)
{
    struct scratch *s = scratch_take(api);
    request_parse(&s->request, type, http_body(http), &rand_secure);
    if (s->request.refusal.code != NULL) {
        bool large = strcmp(s->request.refusal.code, "request-too-large") == 0;
        refuse_request(api, http, large ? 413 : 400, &s->request.refusal);
    } else {
        pthread_rwlock_rdlock(&api->collector->gate_lock);
        take_events(api, http, s);
        pthread_rwlock_unlock(&api->collector->gate_lock);
    }
    scratch_give(api, s);
}

/* ---- Reading the edge cache ---- */

static bool read_card(struct api *api, struct identifier id, struct scratch *s,
                      struct wire_card *ret)
{
    struct error err;
    msgpack_object object;
    bool found = false;
    if (!edge_find(api->collector->edge, id, &s->card, &found, &err) ||
        (found && !value_unpack(buf_slice(&s->card), &s->zone, &object, &err))) {
        log_error("edge-failed", "%s", err.message);
        return false;
    }
    return found && wire_read_card(&object, ret);
}

static void write_segments(struct json_writer *w, const msgpack_object *segments)
{
    json_open_array(w);
    for (uint32_t i = 0; segments != NULL && i < segments->via.array.size; i++) {
        const msgpack_object *pair = &segments->via.array.ptr[i];
        if (pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size == 2) {
            json_value(w, &pair->via.array.ptr[0]);
        }
    }
    json_close_array(w);
}

static void get_me(struct api *api, struct http_request *http)
{
    struct scratch *s = scratch_take(api);
    struct wire_card card = {0};
    struct json_writer w;
    struct slice id = http_query(http, "anonymousId");
    if (id.len == 0) {
        id = http_cookie(http, api->collector->settings.cookie_name);
    }
    bool found =
        id.len > 0 && read_card(api, (struct identifier){slice_text("anonymous_id"), id}, s, &card);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "anonymousId");
    if (id.len > 0) {
        json_text(&w, id);
    } else {
        json_null(&w);
    }
    json_key(&w, "segments");
    write_segments(&w, card.segments);
    json_key(&w, "traits");
    if (found) {
        json_value(&w, card.traits);
    } else {
        json_open_object(&w);
        json_close_object(&w);
    }
    json_key(&w, "version");
    json_int(&w, (int64_t)card.version);
    json_close_object(&w);
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    scratch_give(api, s);
}

static void write_consents(struct json_writer *w, const msgpack_object *consents)
{
    static const char *const names[] = {"granted", "at", "source"};
    json_open_object(w);
    for (uint32_t i = 0; i < consents->via.map.size; i++) {
        const msgpack_object *triple = &consents->via.map.ptr[i].val;
        struct slice category;
        int64_t at = 0;
        if (!value_text(&consents->via.map.ptr[i].key, &category) ||
            triple->type != MSGPACK_OBJECT_ARRAY || triple->via.array.size != 3) {
            continue;
        }
        json_key_slice(w, category);
        json_open_object(w);
        json_key(w, names[0]);
        json_value(w, &triple->via.array.ptr[0]);
        json_key(w, names[1]);
        (void)value_int(&triple->via.array.ptr[1], &at);
        json_time(w, at);
        json_key(w, names[2]);
        json_value(w, &triple->via.array.ptr[2]);
        json_close_object(w);
    }
    json_close_object(w);
}

static void write_identifiers(struct json_writer *w, const msgpack_object *identifiers)
{
    json_open_array(w);
    for (uint32_t i = 0; i < identifiers->via.array.size; i++) {
        const msgpack_object *pair = &identifiers->via.array.ptr[i];
        if (pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size == 2) {
            json_open_object(w);
            json_key(w, "type");
            json_value(w, &pair->via.array.ptr[0]);
            json_key(w, "value");
            json_value(w, &pair->via.array.ptr[1]);
            json_close_object(w);
        }
    }
    json_close_array(w);
}

static void answer_customer(struct http_request *http, struct scratch *s,
                            const struct wire_card *card)
{
    struct json_writer w;
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "profileId");
    msgpack_object id = {.type = MSGPACK_OBJECT_BIN};
    id.via.bin.ptr = (const char *)card->profile_id.data;
    id.via.bin.size = (uint32_t)card->profile_id.len;
    json_value(&w, &id);
    json_key(&w, "identifiers");
    write_identifiers(&w, card->identifiers);
    json_key(&w, "segments");
    write_segments(&w, card->segments);
    json_key(&w, "traits");
    json_value(&w, card->traits);
    json_key(&w, "consents");
    write_consents(&w, card->consents);
    json_key(&w, "asOf");
    json_time(&w, card->as_of_ms);
    json_close_object(&w);
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    http_answer(http, 200, "application/json", buf_slice(&s->body));
}

static bool is_authorized(const struct api *api, const struct http_request *http)
{
    struct slice given = http_header(http, "Authorization");
    struct slice bearer = slice_text("Bearer ");
    struct slice wanted = slice_text(api->collector->enrolment.customer_token);
    if (!slice_starts_with(given, bearer) || wanted.len == 0) {
        return false;
    }
    given = slice_skip(given, bearer.len);
    return given.len == wanted.len && sodium_memcmp(given.data, wanted.data, wanted.len) == 0;
}

struct first_query {
    struct slice name;
    struct slice value;
    unsigned count;
};

static void on_query(void *user, struct slice name, struct slice value)
{
    struct first_query *q = user;
    if (q->count++ == 0) {
        q->name = name;
        q->value = value;
    }
}

struct waiting {
    struct api *api;
    struct http_request *http;
    struct identifier id; /* in `arena`: the request's memory may go */
    struct arena arena;
};

static void answer_unknown(struct http_request *http, bool reachable)
{
    http_answer_error(http, 404, "unknown-customer",
                      reachable
                          ? "Nobody has this identifier."
                          : "This edge does not know the identifier and cannot reach the hub.",
                      NULL);
}

static void on_looked_up(void *user, enum downlink_lookup result)
{
    struct waiting *waiting = user;
    struct api *api = waiting->api;
    struct wire_card card;
    struct scratch *s = scratch_take(api);
    if (result == DOWNLINK_FOUND && read_card(api, waiting->id, s, &card)) {
        answer_customer(waiting->http, s, &card);
    } else {
        answer_unknown(waiting->http, result != DOWNLINK_UNREACHABLE);
    }
    scratch_give(api, s);
    http_resume(waiting->http);
    arena_done(&waiting->arena);
    free(waiting);
    pthread_mutex_lock(&api->lock);
    api->lookups--;
    pthread_cond_signal(&api->lookups_done);
    pthread_mutex_unlock(&api->lock);
}

static void ask_hub(struct api *api, struct http_request *http, struct identifier id)
{
    struct waiting *waiting = memory_allocate_zeroed(sizeof *waiting);
    waiting->api = api;
    waiting->http = http;
    arena_init(&waiting->arena, 512);
    waiting->id = (struct identifier){arena_copy(&waiting->arena, id.type),
                                      arena_copy(&waiting->arena, id.value)};
    pthread_mutex_lock(&api->lock);
    api->lookups++;
    pthread_mutex_unlock(&api->lock);
    http_suspend(http);
    downlink_look_up(api->collector->downlink, waiting->id, LOOKUP_MS_MAX, on_looked_up, waiting);
}

static void get_customer(struct api *api, struct http_request *http)
{
    struct first_query q = {0};
    struct wire_card card;
    if (!is_authorized(api, http)) {
        http_add_header(http, "WWW-Authenticate", slice_text("Bearer"));
        http_answer_error(http, 401, "unauthorized", "A valid customer token is needed.", NULL);
        return;
    }
    http_each_query(http, on_query, &q);
    if (q.count != 1 || q.name.len == 0 || q.name.len > LIMIT_NAME_BYTES || q.value.len == 0) {
        http_answer_error(http, 400, "invalid-query",
                          "Ask for one identifier, as in ?email=jane@example.com.", NULL);
        return;
    }
    struct scratch *s = scratch_take(api);
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    enum identifier_normalizer normalizer = gate_normalizer(api->collector->gate, q.name);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    struct identifier id = {q.name, identifier_normalize(normalizer, q.value, &s->arena)};
    if (id.value.len == 0) {
        answer_unknown(http, true);
    } else if (read_card(api, id, s, &card)) {
        answer_customer(http, s, &card);
    } else {
        ask_hub(api, http, id);
    }
    scratch_give(api, s);
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
    struct scratch *s = scratch_take(api);
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
    scratch_give(api, s);
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
    struct scratch *s = scratch_take(api);
    put_metrics(api, &s->body);
    http_answer(http, 200, "text/plain; version=0.0.4", buf_slice(&s->body));
    scratch_give(api, s);
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
            post_events(api, http, event_routes[i].type);
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
        get_me(api, http);
    } else if (slice_is(path, "/v1/customers")) {
        get_customer(api, http);
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
    };
    api->collector = collector;
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->lookups_done, NULL);
    api->tag = tag_load(settings->tag_file);
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
    http_server_close(&a->server);
    tag_free(&a->tag);
    scratch_free(a->spare);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->lookups_done);
    free(a);
    *api = NULL;
}
