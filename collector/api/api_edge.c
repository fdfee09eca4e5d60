/* How cards are read and written. */
#include "collector/api/api_internal.h"
#include "shared/log.h"

bool api_read_card(struct api *api, struct identifier id, struct scratch *s, struct wire_card *ret)
{
    struct error err;
    struct slice card;
    msgpack_object object;
    if (!edge_find(api->collector->edge, id, &s->card, &card, &err) ||
        (card.len > 0 && !value_unpack(card, &s->zone, &object, &err))) {
        log_error_limited("edge-failed", "%s", err.message);
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
