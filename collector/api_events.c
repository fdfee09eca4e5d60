/* Events: from a request of Segment's API through the gate to the committer. */
#include <sodium.h>
#include <stdio.h>
#include "collector/api_internal.h"
#include "collector/plan.h"

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

/* Consent, suppression, tracking plan. */
static void pass_event(struct collector *c, const struct gate_source *source,
                       struct request *request, struct request_event *e)
{
    e->refusal = gate_check(source, e);
    if (e->refusal.code == NULL &&
        suppression_refuses(c->suppression, gate_identifier_types(c->gate), &e->event,
                            &request->arena)) {
        e->refusal = (struct refusal){"suppressed", "This person's events are not taken.", NULL};
    }
    if (e->refusal.code == NULL && gate_source_plan(source) != NULL) {
        plan_pass(gate_source_plan(source), request, e);
    }
}

/* Pass each event through the gate; how many are refused in all. The last refusals are kept to be
 * looked at; of one request no more than would stay. */
static size_t pass_gate(struct api *api, const struct gate_source *source, struct request *request)
{
    struct collector *c = api->collector;
    size_t refused = 0;
    for (size_t i = 0; i < request->count; i++) {
        struct request_event *e = &request->events[i];
        if (e->refusal.code == NULL) {
            pass_event(c, source, request, e);
        }
        if (e->refusal.code != NULL) {
            refusals_count(c->refusals, gate_source_key(source), e->refusal.code);
            if (refused++ < REFUSALS_LAST_OF_SOURCE) {
                refusals_note(c->refusals, gate_source_key(source), &e->refusal, e);
            }
        }
    }
    return refused;
}

static void refuse_request(struct api *api, struct http_request *http, unsigned status,
                           const struct refusal *refusal)
{
    refusals_count(api->collector->refusals, slice_make(NULL, 0), refusal->code);
    refusals_note(api->collector->refusals, slice_make(NULL, 0), refusal, NULL);
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
        http_answer_static(http, 200, "application/json", slice_text(api_success));
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

void api_post_events(struct api *api, struct http_request *http, enum event_type type)
{
    struct scratch *s = api_take_scratch(api);
    request_parse(&s->request, type, http_body(http), &rand_secure);
    if (s->request.refusal.code != NULL) {
        bool large = strcmp(s->request.refusal.code, "request-too-large") == 0;
        refuse_request(api, http, large ? 413 : 400, &s->request.refusal);
    } else {
        pthread_rwlock_rdlock(&api->collector->gate_lock);
        take_events(api, http, s);
        pthread_rwlock_unlock(&api->collector->gate_lock);
    }
    api_give_scratch(api, s);
}
