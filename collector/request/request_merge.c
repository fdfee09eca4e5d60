/* A batch's own context and integrations, put into its events. */
#include "collector/request/request_internal.h"

enum { BODY_SPARE = 64 };

static const char *const outer_names[REQUEST_OUTER_MAPS] = {"context", "integrations"};

struct outer_map {
    bool is_given;
    msgpack_object map;
};

/* Shallow: each member of the outer map that the event does not have itself. */
static void pack_merged(msgpack_packer *p, const msgpack_object *own, const msgpack_object *outer)
{
    uint32_t count = own->via.map.size;
    for (uint32_t i = 0; i < outer->via.map.size; i++) {
        struct slice key;
        count += value_text(&outer->via.map.ptr[i].key, &key) && value_member(own, key) == NULL;
    }
    msgpack_pack_map(p, count);
    for (uint32_t i = 0; i < own->via.map.size; i++) {
        msgpack_pack_object(p, own->via.map.ptr[i].key);
        msgpack_pack_object(p, own->via.map.ptr[i].val);
    }
    for (uint32_t i = 0; i < outer->via.map.size; i++) {
        struct slice key;
        if (value_text(&outer->via.map.ptr[i].key, &key) && value_member(own, key) == NULL) {
            value_pack_text(p, key);
            msgpack_pack_object(p, outer->via.map.ptr[i].val);
        }
    }
}

/* What the gate looks at, where it came from the outer context. */
static void take_outer_consent(struct request *r, struct request_event *e,
                               const msgpack_object *body)
{
    const msgpack_object *context = value_member_c(body, "context");
    const msgpack_object *preferences =
        value_member_c(value_member_c(context, "consent"), "categoryPreferences");
    if (e->has_preferences || !value_is(preferences, MSGPACK_OBJECT_MAP)) {
        return;
    }
    e->has_preferences = true;
    for (uint32_t i = 0; i < preferences->via.map.size; i++) {
        struct consent_preference *to = &e->preferences[e->preference_count];
        const msgpack_object_kv *kv = &preferences->via.map.ptr[i];
        if (e->preference_count < LIMIT_CONSENT_CATEGORIES && value_text(&kv->key, &to->category) &&
            event_consent_from(&kv->val, &to->granted)) {
            /* The bytes it was read from move when the next event is merged. */
            to->category = arena_copy(&r->arena, to->category);
            e->preference_count++;
        }
    }
}

/* The same for the user agent, which stands elsewhere in the merged body in any case. */
static void take_merged_user_agent(struct request_event *e, const msgpack_object *body,
                                   const uint8_t *start)
{
    struct slice text = slice_make(start, 0);
    (void)value_text(value_member_c(value_member_c(body, "context"), "userAgent"), &text);
    e->user_agent_at = (size_t)(text.data - start);
    e->user_agent_len = text.len;
}

/* The batch's member that belongs into an event's member of this name, or NULL. */
static const msgpack_object *outer_member(const struct outer_map outer[REQUEST_OUTER_MAPS],
                                          struct slice name)
{
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        if (outer[i].is_given && slice_is(name, outer_names[i])) {
            return &outer[i].map;
        }
    }
    return NULL;
}

/* The event's body with the batch's context and integrations merged in, one level deep. */
static void pack_body(msgpack_packer *p, const msgpack_object *own,
                      const struct outer_map outer[REQUEST_OUTER_MAPS])
{
    uint32_t count = own->via.map.size;
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        count += outer[i].is_given && value_member_c(own, outer_names[i]) == NULL;
    }
    msgpack_pack_map(p, count);
    for (uint32_t i = 0; i < own->via.map.size; i++) {
        const msgpack_object_kv *kv = &own->via.map.ptr[i];
        struct slice name = slice_make(NULL, 0);
        (void)value_text(&kv->key, &name);
        const msgpack_object *other = outer_member(outer, name);
        value_pack_text(p, name);
        if (other != NULL && kv->val.type == MSGPACK_OBJECT_MAP) {
            pack_merged(p, &kv->val, other);
        } else {
            msgpack_pack_object(p, kv->val);
        }
    }
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        if (outer[i].is_given && value_member_c(own, outer_names[i]) == NULL) {
            value_pack_cstr(p, outer_names[i]);
            msgpack_pack_object(p, outer[i].map);
        }
    }
}

static void merge_event(struct request *r, struct request_event *e,
                        const struct outer_map outer[REQUEST_OUTER_MAPS], struct buf *merged)
{
    msgpack_object own;
    msgpack_object whole;
    msgpack_packer p;
    struct error err;
    size_t start = merged->len;
    size_t room = e->body_len + r->outer[0].len + r->outer[1].len + BODY_SPARE;
    if (e->body_len > LIMIT_EVENT_BYTES || !buf_reserve(merged, room)) {
        e->refusal = refusal_make("request-too-large", "The request is over the size limit.", NULL);
        return;
    }
    msgpack_zone_clear(&r->zone);
    bool fine =
        value_unpack(slice_make(r->bodies.data + e->body_at, e->body_len), &r->zone, &own, &err);
    ensure(fine);
    value_packer_init(&p, merged);
    pack_body(&p, &own, outer);
    e->body_at = start;
    e->body_len = merged->len - start;
    fine = value_unpack(slice_make(merged->data + start, e->body_len), &r->zone, &whole, &err);
    ensure(fine);
    take_outer_consent(r, e, &whole);
    take_merged_user_agent(e, &whole, merged->data + start);
    if (e->body_len > LIMIT_EVENT_BYTES) {
        e->refusal = refusal_make("event-too-large", "The event is over 32 KiB.", NULL);
    }
}

/* Written into a second buffer, because few clients send them and those events may grow. */
void request_merge_outer(struct request *r)
{
    struct outer_map outer[REQUEST_OUTER_MAPS] = {0};
    struct buf merged;
    struct error err;
    msgpack_zone_clear(&r->outer_zone);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        outer[i].is_given = r->outer[i].len > 0;
        if (outer[i].is_given) {
            bool fine = value_unpack(buf_slice(&r->outer[i]), &r->outer_zone, &outer[i].map, &err);
            ensure(fine);
        }
    }
    buf_init(&merged, r->bodies.len_max);
    for (size_t i = 0; i < r->count; i++) {
        if (r->events[i].refusal.code == NULL) {
            merge_event(r, &r->events[i], outer, &merged);
        }
    }
    buf_done(&r->bodies);
    r->bodies = merged;
}
