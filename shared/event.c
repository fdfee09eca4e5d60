#include "shared/event.h"

#include "shared/cursor.h"
#include "shared/limits.h"
#include "shared/utf8.h"

enum { MEMBERS = 9 };

/* Of a packed event's first member. */
enum { TYPE_BITS = 8, TYPE_MASK = (1 << TYPE_BITS) - 1, PACKED_TYPE_MAX = (1 << 24) - 1 };

static const char *const type_names[EVENT_TYPES] = {
    [EVENT_TRACK] = "track",   [EVENT_IDENTIFY] = "identify", [EVENT_PAGE] = "page",
    [EVENT_SCREEN] = "screen", [EVENT_GROUP] = "group",       [EVENT_ALIAS] = "alias",
};

const char event_withdrawal_name[] = "Consent Withdrawn";

const char *event_type_name(enum event_type type)
{
    return type_names[type];
}

enum event_type event_type_from(struct slice text)
{
    for (enum event_type type = 0; type < EVENT_TYPES; type++) {
        if (slice_is(text, type_names[type])) {
            return type;
        }
    }
    return EVENT_TYPES;
}

static void pack_optional(msgpack_packer *p, struct slice text)
{
    if (text.len == 0) {
        msgpack_pack_nil(p);
    } else {
        value_pack_text(p, text);
    }
}

void event_pack(const struct event *event, struct buf *out)
{
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_array(&p, MEMBERS);
    msgpack_pack_int(&p, (int)event->type | event->place << TYPE_BITS);
    msgpack_pack_int64(&p, event->timestamp_ms);
    msgpack_pack_int64(&p, event->received_ms);
    value_pack_text(&p, event->source);
    value_pack_text(&p, event->message_id);
    pack_optional(&p, event->anonymous_id);
    pack_optional(&p, event->user_id);
    pack_optional(&p, event->name);
    buf_put_slice(out, event->body);
}

void event_add_verdict(struct buf *packed, struct slice verdict)
{
    enum { ARRAY = 0x90 }; /* of up to 15, in MessagePack */
    ensure(packed->len > 0 && packed->data[0] == (ARRAY | MEMBERS));
    packed->data[0] = ARRAY | (MEMBERS + 1);
    buf_put_slice(packed, verdict);
}

static bool read_optional(const msgpack_object *object, struct slice *ret)
{
    *ret = slice_make(NULL, 0);
    return object->type == MSGPACK_OBJECT_NIL || value_text(object, ret);
}

bool event_unpack(struct slice bytes, msgpack_zone *zone, struct event *ret, struct error *err)
{
    msgpack_object root;
    int64_t type;
    if (!value_unpack(bytes, zone, &root, err)) {
        return error_add_context(err, "reading an event");
    }
    *ret = (struct event){0};
    if (root.type != MSGPACK_OBJECT_ARRAY || root.via.array.size < MEMBERS ||
        root.via.array.size > MEMBERS + 1) {
        return error_set(err, ERROR_CORRUPT, "an event is no array of 9 or 10");
    }
    const msgpack_object *at = root.via.array.ptr;
    bool fine = value_int(&at[0], &type) && type >= 0 && type <= PACKED_TYPE_MAX &&
                (type & TYPE_MASK) < EVENT_TYPES && value_int(&at[1], &ret->timestamp_ms) &&
                value_int(&at[2], &ret->received_ms) && value_text(&at[3], &ret->source) &&
                value_text(&at[4], &ret->message_id) && read_optional(&at[5], &ret->anonymous_id) &&
                read_optional(&at[6], &ret->user_id) && read_optional(&at[7], &ret->name) &&
                at[8].type == MSGPACK_OBJECT_MAP && ret->timestamp_ms >= 0 &&
                ret->timestamp_ms <= LIMIT_TIME_MS && ret->received_ms >= 0 &&
                ret->received_ms <= LIMIT_TIME_MS && ret->message_id.len > 0;
    if (!fine) {
        return error_set(err, ERROR_CORRUPT, "an event has a member of the wrong type");
    }
    ret->type = (enum event_type)(type & TYPE_MASK);
    ret->place = (uint16_t)(type >> TYPE_BITS);
    ret->body_map = at[8];
    ret->verdict = root.via.array.size > MEMBERS ? &root.via.array.ptr[MEMBERS] : NULL;
    return true;
}

struct slice event_raw_body(struct slice bytes)
{
    struct cursor at = cursor_of(bytes);
    struct token head;
    bool fine = cursor_next(&at, &head) && head.kind == TOKEN_ARRAY && head.count == 9;
    for (int i = 0; fine && i < 8; i++) {
        fine = cursor_skip(&at);
    }
    return fine ? slice_make(at.at, (size_t)(at.end - at.at)) : slice_make(NULL, 0);
}

const msgpack_object *event_properties(const struct event *event)
{
    bool is_identify = event->type == EVENT_IDENTIFY;
    const msgpack_object *found = value_member_c(
        &event->body_map, is_identify || event->type == EVENT_GROUP ? "traits" : "properties");
    if (found == NULL && is_identify) {
        found = value_member_c(value_member_c(&event->body_map, "context"), "traits");
    }
    return value_is(found, MSGPACK_OBJECT_MAP) ? found : NULL;
}

static bool is_clean_value(const msgpack_object *value)
{
    struct slice text;
    switch (value->type) {
    case MSGPACK_OBJECT_STR:
        return value_text(value, &text) && utf8_is_valid(text);
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            if (!is_clean_value(&value->via.array.ptr[i])) {
                return false;
            }
        }
        return true;
    case MSGPACK_OBJECT_MAP:
        for (uint32_t i = 0; i < value->via.map.size; i++) {
            if (value->via.map.ptr[i].key.type != MSGPACK_OBJECT_STR ||
                !is_clean_value(&value->via.map.ptr[i].key) ||
                !is_clean_value(&value->via.map.ptr[i].val)) {
                return false;
            }
        }
        return true;
    case MSGPACK_OBJECT_BIN:
    case MSGPACK_OBJECT_EXT:
        return false;
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_BOOLEAN:
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
    default:
        return true;
    }
}

bool event_is_clean(const struct event *event)
{
    return utf8_is_valid(event->source) && utf8_is_valid(event->message_id) &&
           utf8_is_valid(event->anonymous_id) && utf8_is_valid(event->user_id) &&
           utf8_is_valid(event->name) && is_clean_value(&event->body_map);
}
