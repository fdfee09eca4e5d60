/* How cards are read, and what of them is written for whom. */
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

const struct shown_one *api_segment_at(const struct wire_card *card, uint32_t at,
                                       const struct gate *gate, enum audience audience)
{
    const msgpack_object *pair = &card->segments->via.array.ptr[at];
    struct slice key;
    return pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size >= 2 &&
                   value_text(&pair->via.array.ptr[0], &key)
               ? shown_find(gate_segments(gate), key, audience)
               : NULL;
}

void api_write_segments(struct json_writer *w, const struct wire_card *card,
                        const struct gate *gate, enum audience audience)
{
    json_open_array(w);
    for (uint32_t i = 0; card != NULL && i < card->segments->via.array.size; i++) {
        const struct shown_one *segment = api_segment_at(card, i, gate, audience);
        if (segment != NULL) {
            json_text(w, segment->key);
        }
    }
    json_close_array(w);
}

void api_write_traits(struct json_writer *w, const struct wire_card *card, const struct gate *gate,
                      enum audience audience)
{
    json_open_object(w);
    for (uint32_t i = 0; card != NULL && i < card->traits->via.map.size; i++) {
        const msgpack_object_kv *kv = &card->traits->via.map.ptr[i];
        struct slice name;
        if (value_text(&kv->key, &name) && shown_find(gate_traits(gate), name, audience) != NULL) {
            json_key_slice(w, name);
            json_value(w, &kv->val);
        }
    }
    json_close_object(w);
}
