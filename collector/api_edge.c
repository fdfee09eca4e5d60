/* What the edge knows of the visitor who asks. */
#include "collector/api_internal.h"
#include "shared/log.h"

bool api_read_card(struct api *api, struct identifier id, struct scratch *s, struct wire_card *ret)
{
    struct error err;
    struct slice card;
    msgpack_object object;
    if (!edge_find(api->collector->edge, id, &s->card, &card, &err) ||
        (card.len > 0 && !value_unpack(card, &s->zone, &object, &err))) {
        log_error("edge-failed", "%s", err.message);
        return false;
    }
    return card.len > 0 && wire_read_card(&object, ret);
}

void api_write_segments(struct json_writer *w, const msgpack_object *segments)
{
    json_open_array(w);
    for (uint32_t i = 0; segments != NULL && i < segments->via.array.size; i++) {
        const msgpack_object *pair = &segments->via.array.ptr[i];
        if (pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size >= 2) {
            json_value(w, &pair->via.array.ptr[0]);
        }
    }
    json_close_array(w);
}

void api_get_me(struct api *api, struct http_request *http)
{
    struct scratch *s = api_take_scratch(api);
    struct wire_card card = {0};
    struct json_writer w;
    struct slice id = http_query(http, "anonymousId");
    if (id.len == 0) {
        id = http_cookie(http, api->collector->settings.cookie_name);
    }
    if (id.len == 0) {
        id = http_cookie(http, API_SNOWPLOW_COOKIE);
    }
    bool found = id.len > 0 &&
                 api_read_card(api, (struct identifier){slice_text("anonymous_id"), id}, s, &card);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "anonymousId");
    if (id.len > 0) {
        json_text(&w, id);
    } else {
        json_null(&w);
    }
    json_key(&w, "segments");
    api_write_segments(&w, card.segments);
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
    api_give_scratch(api, s);
}
