/* Events: from a request, parsed, through the gate to the committer. */
#include <sodium.h>
#include "collector/api/api_internal.h"
#include "shared/timetext.h"

/* The user name of Basic authorization, decoded into `ret`. */
static struct slice basic_user(struct http_request *http, char *ret, size_t size)
{
    struct slice header = http_credentials(http, "Basic");
    size_t len = 0;
    if (sodium_base642bin((uint8_t *)ret, size, (const char *)header.data, header.len, " \r\n",
                          &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        return slice_make(NULL, 0);
    }
    const char *colon = memchr(ret, ':', len);
    return slice_make(ret, colon == NULL ? len : (size_t)(colon - ret));
}

struct slice api_write_key(struct http_request *http, const struct request *request,
                           char scratch[API_WRITE_KEY_BYTES])
{
    struct slice key = basic_user(http, scratch, API_WRITE_KEY_BYTES);
    if (key.len == 0) {
        key = http_header(http, "X-Write-Key");
    }
    if (key.len == 0 && request != NULL) {
        key = request->write_key;
    }
    return key.len > 0 ? key : http_query(http, "writeKey");
}

/* A page of another site may not use the cookie, unless a source names it: it could tie its
 * visitors' ids to an account of its choice. SameSite does not keep a link there from sending the
 * cookie; Sec-Fetch-Site tells of it. */
bool api_is_trusted(const struct api *api, const struct http_request *http)
{
    struct slice site = http_header(http, "Sec-Fetch-Site");
    bool is_here = slice_is(site, "same-origin") || slice_is(site, "same-site");
    bool is_elsewhere = slice_is(site, "cross-site") ||
                        strcmp(api->collector->settings.cookie_same_site, "none") == 0;
    return is_here || !is_elsewhere ||
           gate_allows_origin(api->collector->gate, http_header(http, "Origin"));
}

/* The anonymous id that RudderStack's SDK sends in a header, in base64. */
static struct slice header_id(const struct http_request *http, char *ret, size_t size)
{
    struct slice header = http_header(http, "AnonymousId");
    size_t len = 0;
    bool fine = sodium_base642bin((uint8_t *)ret, size, (const char *)header.data, header.len, NULL,
                                  &len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
    return slice_make(ret, fine ? len : 0);
}

/* Fill in what the body does not say and the request's headers do. */
static void take_headers(const struct api *api, struct http_request *http, struct request *request,
                         const struct api_protocol *protocol, bool may_identify)
{
    char scratch[LIMIT_IDENTIFIER_BYTES];
    const struct request_event *first = &request->events[0];
    bool has_time = first->timestamp_ms != TIME_ABSENT || first->original_ms != TIME_ABSENT;
    if (protocol->reads_headers && request->sent_ms == TIME_ABSENT && has_time &&
        first->sent_ms == TIME_ABSENT &&
        !time_text_parse(http_header(http, "SentAt"), &request->sent_ms)) {
        request->sent_ms = TIME_ABSENT;
    }
    if (request->without_anonymous_id == 0) {
        return;
    }
    struct slice id = slice_make(NULL, 0);
    if (protocol->reads_headers) {
        id = header_id(http, scratch, sizeof scratch);
    }
    if (id.len == 0 && may_identify && api_is_trusted(api, http)) {
        id = cookie_id(http, protocol->cookie_name);
    }
    request_adopt(request, id);
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

/* Set the cookie, take it away, or leave it as it is. */
static void set_cookie(const struct api *api, struct http_request *http,
                       const struct request *request, const char *name)
{
    char cookie[COOKIE_BYTES];
    const struct settings *settings = &api->collector->settings;
    bool is_secure = api_is_secure(http);
    bool is_due = cookie_withdraw(settings, name, request, is_secure, http, cookie) ||
                  cookie_follow(settings, name, request, is_secure, http, cookie);
    if (is_due && api_is_trusted(api, http)) {
        http_add_header(http, "Set-Cookie", slice_text(cookie));
    }
}

/* The browser asked with ?me=1 to be told about its visitor too. */
static void put_me(struct api *api, struct http_request *http, struct scratch *s,
                   struct json_writer *w)
{
    if (http_query(http, "me").len > 0) {
        json_key(w, "me");
        (void)api_write_me(api, s, api_me_asker(api, http, visitor_of(&s->request)), w);
    }
}

static void answer_taken(struct api *api, struct http_request *http, struct scratch *s,
                         const struct api_protocol *protocol)
{
    struct json_writer w;
    if (protocol->is_lenient || http_query(http, "me").len == 0) {
        http_answer_static(http, 200, protocol->content_type, protocol->body);
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

/* The tag tells of a withdrawal by an event that is refused, and what is kept of it is what the
 * visitor wanted: no failure, of which the browser would write a red line. */
static bool is_withdrawal(const struct request *request, struct http_request *http)
{
    return http_query(http, "me").len > 0 && request_is_stored(request);
}

/* The answer where some events of a batch were refused, or the only one. */
static void answer_refused(struct api *api, struct http_request *http, struct scratch *s,
                           size_t refused)
{
    const struct request *request = &s->request;
    bool nothing_taken = refused == request->count && !is_withdrawal(request, http);
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
static size_t pass_gate(struct api *api, const struct gate_source *source,
                        struct http_request *http, struct scratch *s)
{
    const struct collector *collector = api->collector;
    s->visit.bots = collector->bots;
    s->visit.suppression = collector->suppression;
    s->visit.arena = &s->request.arena;
    visit_begin(&s->visit, gate_rules(source), http, collector->settings.cookie_name,
                &collector->trusted_proxies);
    return gate_pass_all(source, &s->visit, &s->request, collector->refusals);
}

void api_note_refused_request(struct api *api, const struct refusal *refusal)
{
    refusals_count(api->collector->refusals, slice_make(NULL, 0), refusal->code);
    refusals_note(api->collector->refusals, slice_make(NULL, 0), refusal, NULL);
}

static void refuse_request(struct api *api, struct http_request *http, unsigned status,
                           const struct refusal *refusal)
{
    api_note_refused_request(api, refusal);
    http_answer_error(http, status, refusal->code, refusal->message, refusal->field);
}

/* Count a request of a known source by its events; `is_noted`: and let it be looked at. */
static void count_request(struct api *api, struct slice source, size_t events,
                          const struct refusal *refusal, bool is_noted)
{
    refusals_add(api->collector->refusals, source, refusal->code, events);
    if (is_noted) {
        refusals_note(api->collector->refusals, source, refusal, NULL);
    }
}

/* All events of a request or none: a batch that was cut in two would come again whole. */
static bool is_over_rate(struct api *api, const struct gate_source *source,
                         struct http_request *http, size_t events)
{
    static const struct refusal refusal = {
        "rate-limited", "The source sends more events than it may; try again later.", NULL};
    char seconds[24];
    int64_t wait_ns;
    if (gate_take_rate(source, events, clock_monotonic_ns(&clock_real), &wait_ns)) {
        return false;
    }
    count_request(api, gate_source_id(source), events, &refusal, true);
    snprintf(seconds, sizeof seconds, "%lld", (long long)((wait_ns + 999999999) / 1000000000));
    http_add_header(http, "Retry-After", slice_text(seconds));
    http_answer_error(http, 429, refusal.code, refusal.message, NULL);
    return true;
}

/* What is taken from nobody at the hub would never arrive: the client had better keep it. */
static bool is_refused_by_hub(struct api *api, const struct gate_source *source,
                              struct http_request *http, size_t events)
{
    struct standing_refusal why = standing_refusal(api->collector->standing);
    struct refusal refusal = {why.code, why.message, NULL};
    if (why.code == NULL) {
        return false;
    }
    count_request(api, gate_source_id(source), events, &refusal, true);
    http_add_header(http, "Retry-After", slice_text("60"));
    http_answer_error(http, 503, refusal.code, refusal.message, NULL);
    return true;
}

/* The committer took none of so many events. */
static void answer_not_taken(struct api *api, struct http_request *http, struct slice source,
                             size_t events, const struct error *err)
{
    static const struct refusal large = {
        "request-too-large", "With what the source's rules add the request is too large.", NULL};
    static const struct refusal later = {"overloaded", "The disk cannot follow; try again later.",
                                         NULL};
    bool is_large = err->kind == ERROR_INVALID;
    const struct refusal *refusal = is_large ? &large : &later;
    count_request(api, source, events, refusal, is_large);
    if (!is_large) {
        http_add_header(http, "Retry-After", slice_text("1"));
    }
    http_answer_error(http, is_large ? 413 : 503, refusal->code, refusal->message, NULL);
}

/* A page with the key of a server: whoever looks at the page has it. */
static bool is_leaked_key(const struct gate_source *source, const struct http_request *http)
{
    struct slice origin = http_header(http, "Origin");
    return gate_source_is_server(source) && origin.len > 0 &&
           !gate_source_allows_origin(source, origin);
}

/* Inside the gate's read lock, because events refer to the source's id. */
static void take_events(struct api *api, struct http_request *http, struct scratch *s,
                        const struct api_protocol *protocol, bool may_identify)
{
    char scratch[API_WRITE_KEY_BYTES];
    struct error err;
    struct request *request = &s->request;
    struct slice key = api_write_key(http, request, scratch);
    const struct gate_source *source = gate_find_source(api->collector->gate, key);
    if (source == NULL) {
        refuse_request(api, http, 401,
                       &(struct refusal){"unknown-write-key",
                                         key.len == 0 ? "The request has no write key."
                                                      : "No source has this write key.",
                                         NULL});
        return;
    }
    if (is_leaked_key(source, http)) {
        refuse_request(api, http, 403,
                       &(struct refusal){"secret-key-in-a-browser",
                                         "The write key is that of a server, and a page uses it: "
                                         "replace the key, and give the page one of its own.",
                                         NULL});
        return;
    }
    if (is_refused_by_hub(api, source, http, request->count) ||
        is_over_rate(api, source, http, request->count)) {
        return;
    }
    take_headers(api, http, request, protocol, may_identify);
    request_stamp(request, gate_source_id(source), clock_now_ms(api->collector->clock));
    size_t refused = pass_gate(api, source, http, s);
    if (may_identify) {
        set_cookie(api, http, request, protocol->cookie_name);
    }
    if (refused > 0 && !protocol->is_lenient) {
        answer_refused(api, http, s, refused);
    } else {
        answer_taken(api, http, s, protocol);
    }
    request_order(request); /* the answer, which names events by their index, is made */
    if (request_is_stored(request) &&
        !committer_add(api->collector->committer, request, http, &err)) {
        answer_not_taken(api, http, gate_source_id(source), request->count - refused, &err);
    }
}

void api_take_request(struct api *api, struct http_request *http, struct scratch *s,
                      const struct api_protocol *protocol, bool may_identify)
{
    if (s->request.refusal.code != NULL) {
        bool large = strcmp(s->request.refusal.code, "request-too-large") == 0;
        refuse_request(api, http, large ? 413 : 400, &s->request.refusal);
        return;
    }
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    take_events(api, http, s, protocol, may_identify);
    pthread_rwlock_unlock(&api->collector->gate_lock);
}

void api_post_events(struct api *api, struct http_request *http, enum event_type type)
{
    const struct api_protocol protocol = {
        .cookie_name = api->collector->settings.cookie_name,
        .body = slice_text(api_success),
        .content_type = "application/json",
        .reads_headers = true,
    };
    struct scratch *s = api_take_scratch(api);
    request_parse(&s->request, type, http_body(http), &rand_secure);
    api_take_request(api, http, s, &protocol, true);
    api_give_scratch(api, s);
}
