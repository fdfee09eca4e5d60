/* What the edge knows of a customer, for the till; and how a card is read and written. */
#include <sodium.h>
#include <stdlib.h>
#include "collector/api_internal.h"
#include "shared/log.h"

enum { LOOKUP_MS_MAX = 2000 };

bool api_read_card(struct api *api, struct identifier id, struct scratch *s, struct wire_card *ret)
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

void api_write_segments(struct json_writer *w, const msgpack_object *segments)
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
    api_write_segments(&w, card->segments);
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
    struct scratch *s = api_take_scratch(api);
    if (result == DOWNLINK_FOUND && api_read_card(api, waiting->id, s, &card)) {
        answer_customer(waiting->http, s, &card);
    } else {
        answer_unknown(waiting->http, result != DOWNLINK_UNREACHABLE);
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

void api_get_customer(struct api *api, struct http_request *http)
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
    struct scratch *s = api_take_scratch(api);
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    enum identifier_normalizer normalizer = gate_normalizer(api->collector->gate, q.name);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    struct identifier id = {q.name, identifier_normalize(normalizer, q.value, &s->arena)};
    if (id.value.len == 0) {
        answer_unknown(http, true);
    } else if (api_read_card(api, id, s, &card)) {
        answer_customer(http, s, &card);
    } else {
        ask_hub(api, http, id);
    }
    api_give_scratch(api, s);
}
