/* Events: from a request of Segment's API through the gate to the committer. */
#include <sodium.h>
#include <stdio.h>
#include "collector/api_internal.h"

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

/* The anonymous id of the newest event that is taken; empty where there is none. */
static struct slice visitor_of(const struct request *request)
{
    for (size_t i = request->count; i-- > 0;) {
        const struct request_event *e = &request->events[i];
        if (e->refusal.code == NULL && e->event.anonymous_id.len > 0) {
            return e->event.anonymous_id;
        }
    }
    return slice_make(NULL, 0);
}

/* The newest event, taken or not, says that the visitor consents to nothing any more. */
static bool is_withdrawal(const struct request *request)
{
    if (request->count == 0) {
        return false;
    }
    const struct request_event *e = &request->events[request->count - 1];
    size_t granted = 0;
    for (size_t i = 0; i < e->preference_count; i++) {
        granted += e->preferences[i].granted;
    }
    return e->preference_count > 0 && granted == 0;
}

/* The server sets the cookie, because browsers keep those of scripts for a week only, and removes
 * it after a withdrawal. Servers and tills, which send no Origin and no cookie, get none. */
static void set_cookie(struct api *api, struct http_request *http, const struct request *request)
{
    const struct settings *settings = &api->collector->settings;
    char cookie[1024];
    struct slice id = visitor_of(request);
    struct slice has = http_cookie(http, settings->cookie_name);
    bool is_browser = http_header(http, "Origin").len > 0 || has.len > 0 ||
                      http_header(http, "Sec-Fetch-Site").len > 0;
    bool remove = is_browser && is_withdrawal(request);
    if (remove ? has.len == 0 : !is_browser || slice_equal(has, id) || !is_cookie_safe(id)) {
        return;
    }
    id = remove ? slice_text("") : id;
    bool has_domain = settings->cookie_domain[0] != 0;
    bool is_secure = slice_is(http_header(http, "X-Forwarded-Proto"), "https");
    snprintf(cookie, sizeof cookie, "%s=%.*s; Path=/; Max-Age=%lld; SameSite=Lax%s%.*s%s",
             settings->cookie_name, SLICE_ARGS(id),
             remove ? 0LL : (long long)(settings->cookie_lifetime_ms / 1000),
             has_domain ? "; Domain=" : "", 255, settings->cookie_domain,
             is_secure ? "; Secure" : "");
    http_add_header(http, "Set-Cookie", slice_text(cookie));
}

/* The browser asked with ?me=1 to be told about its visitor too. */
static void put_me(struct api *api, struct http_request *http, struct scratch *s,
                   struct json_writer *w)
{
    if (http_query(http, "me").len > 0) {
        json_key(w, "me");
        (void)api_write_me(api, s, visitor_of(&s->request), w);
    }
}

static void answer_taken(struct api *api, struct http_request *http, struct scratch *s)
{
    struct json_writer w;
    if (http_query(http, "me").len == 0) {
        http_answer_static(http, 200, "application/json", slice_text(api_success));
        return;
    }
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "success");
    json_bool(&w, true);
    put_me(api, http, s, &w);
    json_close_object(&w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
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
static void answer_refused(struct api *api, struct http_request *http, struct scratch *s,
                           size_t refused)
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
        put_me(api, http, s, &w);
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
    set_cookie(api, http, request);
    if (refused > 0) {
        answer_refused(api, http, s, refused);
    } else {
        answer_taken(api, http, s);
    }
    if (refused == request->count) {
        return;
    }
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
