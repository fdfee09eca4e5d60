/* GET /v1/customers: a customer's card, for the till, clienteling and the call centre. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "collector/api/api_internal.h"
#include "shared/blocked.h"

enum { LOOKUP_MS_MAX = 2000 };

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

/* Browsers concern nobody in a shop; cards of older versions name them here too. */
static void write_identifiers(struct json_writer *w, const struct wire_card *card)
{
    struct identifier id;
    json_open_array(w);
    for (size_t i = 0; wire_card_identifier(card, i, &id); i++) {
        if (id.type.len > 0 && !slice_is(id.type, "anonymous_id")) {
            json_open_object(w);
            json_key(w, "type");
            json_text(w, id.type);
            json_key(w, "value");
            json_text(w, id.value);
            json_close_object(w);
        }
    }
    json_close_array(w);
}

static void write_segment_names(struct json_writer *w, const struct wire_card *card,
                                const struct gate *gate)
{
    json_open_object(w);
    for (uint32_t i = 0; i < card->segments->via.array.size; i++) {
        const struct shown_one *segment = api_segment_at(card, i, gate, AUDIENCE_STAFF);
        if (segment != NULL && segment->name.len > 0) {
            json_key_slice(w, segment->key);
            json_text(w, segment->name);
        }
    }
    json_close_object(w);
}

/* Segments and traits, as far as they are shown to staff. */
static void write_shown(struct api *api, struct json_writer *w, const struct wire_card *card)
{
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    const struct gate *gate = api->collector->gate;
    json_key(w, "segments");
    api_write_segments(w, card, gate, AUDIENCE_STAFF);
    json_key(w, "segmentNames");
    write_segment_names(w, card, gate);
    json_key(w, "traits");
    api_write_traits(w, card, gate, AUDIENCE_STAFF);
    pthread_rwlock_unlock(&api->collector->gate_lock);
}

static void write_purchases(struct json_writer *w, const msgpack_object *purchases)
{
    static const char *const names[] = {"event", "total", "currency", "orderId", "source"};
    json_open_array(w);
    for (uint32_t i = 0; purchases != NULL && i < purchases->via.array.size; i++) {
        const msgpack_object *one = &purchases->via.array.ptr[i];
        int64_t at = 0;
        if (one->type != MSGPACK_OBJECT_ARRAY || one->via.array.size != CARD_PURCHASE_MEMBERS ||
            !value_int(&one->via.array.ptr[0], &at)) {
            continue;
        }
        json_open_object(w);
        json_key(w, "at");
        json_time(w, at);
        for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
            json_key(w, names[m]);
            json_value(w, &one->via.array.ptr[m + 1]);
        }
        json_close_object(w);
    }
    json_close_array(w);
}

static void add_headers(struct api *api, struct http_request *http)
{
    bool connected = downlink_is_connected(api->collector->downlink);
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    http_add_header(http, "Tributary-Hub", slice_text(connected ? "connected" : "unreachable"));
}

static void answer_customer(struct api *api, struct http_request *http, struct scratch *s,
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
    write_identifiers(&w, card);
    json_key(&w, "known");
    json_bool(&w, card->is_known);
    write_shown(api, &w, card);
    json_key(&w, "consents");
    write_consents(&w, card->consents);
    json_key(&w, "purchases");
    write_purchases(&w, card->purchases);
    json_key(&w, "asOf");
    json_time(&w, card->as_of_ms);
    json_close_object(&w);
    add_headers(api, http);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
}

static void answer_unauthorized(struct http_request *http)
{
    http_add_header(http, "WWW-Authenticate", slice_text("Bearer"));
    http_answer_error(http, 401, "unauthorized",
                      "A valid customer token is needed: customer_token of the enrolment file.",
                      NULL);
}

bool api_authorize(struct api *api, struct http_request *http)
{
    struct address client;
    int64_t wait_ms;
    /* Where a trusted proxy does not say whose it is, the request counts as the proxy's own. */
    struct slice address = visit_find_address(http, &api->collector->trusted_proxies, &client)
                               ? address_bytes(&client)
                               : http_client_address(http);
    enum token_verdict verdict =
        token_guard_judge(api->token_guard, http_header(http, "Authorization"),
                          slice_text(api->collector->enrolment.customer_token), address,
                          clock_monotonic_ns(&clock_real) / 1000000, &wait_ms);
    if (verdict == TOKEN_TOO_MANY) {
        http_answer_wait(http, wait_ms, "too-many-wrong-tokens",
                         "Too many wrong tokens came from this address; the right one is taken.");
    } else if (verdict != TOKEN_RIGHT) {
        answer_unauthorized(http);
    }
    return verdict == TOKEN_RIGHT;
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

static void answer_unknown(struct api *api, struct http_request *http, bool reachable)
{
    add_headers(api, http);
    http_answer_error(http, 404, "unknown-customer",
                      reachable
                          ? "Nobody has this identifier."
                          : "This edge does not know the identifier and cannot reach the hub.",
                      NULL);
}

static void on_looked_up(void *user, enum downlink_lookup result, const struct wire_card *card)
{
    struct waiting *waiting = user;
    struct api *api = waiting->api;
    struct scratch *s = api_take_scratch(api);
    if (card != NULL) {
        answer_customer(api, waiting->http, s, card);
    } else {
        answer_unknown(api, waiting->http, result != DOWNLINK_UNREACHABLE);
    }
    api_give_scratch(api, s);
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

/* What is wrong with the question; NULL: nothing. */
static const char *query_mistake(const struct first_query *q)
{
    if (q->count == 0) {
        return "Name an identifier, as in ?email=jane@example.com, ?phone=… or ?loyalty_id=…";
    }
    if (q->count > 1) {
        return "Ask for one identifier at a time: this request names several.";
    }
    if (q->name.len == 0 || q->name.len > LIMIT_NAME_BYTES) {
        return "The type of an identifier has 1 to 128 bytes, as in ?email=jane@example.com.";
    }
    if (q->value.len == 0) {
        return "The identifier is empty: give its value behind the \"=\".";
    }
    return q->value.len > LIMIT_IDENTIFIER_BYTES ? "An identifier has at most 256 bytes." : NULL;
}

void api_get_customer(struct api *api, struct http_request *http)
{
    struct first_query q = {0};
    struct wire_card card;
    if (!api_authorize(api, http)) {
        return;
    }
    http_each_query(http, on_query, &q);
    /* Only whether the token is right: the page asks before anybody is looked for. */
    if (q.count == 0 && slice_is(http_method(http), "HEAD")) {
        http_answer_static(http, 204, NULL, slice_text(""));
        return;
    }
    const char *mistake = query_mistake(&q);
    if (mistake != NULL) {
        http_answer_error(http, 400, "invalid-query", mistake, NULL);
        return;
    }
    struct scratch *s = api_take_scratch(api);
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    enum identifier_normalizer normalizer = gate_normalizer(api->collector->gate, q.name);
    uint16_t country = gate_phone_country(api->collector->gate);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    struct identifier id = {q.name,
                            identifier_normalize_in(normalizer, country, q.value, &s->arena)};
    if (id.value.len == 0) {
        http_answer_error(http, 400, "invalid-identifier",
                          "The value does not look like an identifier of this type.", NULL);
    } else if (blocked_value(q.name, normalizer, q.value)) {
        http_answer_error(http, 404, "unknown-customer", "A value such as this one names nobody.",
                          NULL);
    } else if (api_read_card(api, id, s, &card)) {
        answer_customer(api, http, s, &card);
    } else {
        ask_hub(api, http, id);
    }
    api_give_scratch(api, s);
}
