/* The events of a request, whatever protocol they came by. */
#include <stdlib.h>
#include "collector/request/request_internal.h"
#include "shared/identifier.h"
#include "shared/utf8.h"
#include "shared/uuid.h"

enum { KEPT_BYTES = 256 * 1024 };

void request_init(struct request *request)
{
    *request = (struct request){0};
    request->parser = json_parser_new();
    arena_init(&request->arena, 4096);
    buf_init(&request->bodies, LIMIT_REQUEST_BYTES * 4);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        buf_init(&request->outer[i], LIMIT_EVENT_BYTES);
    }
    bool made =
        msgpack_zone_init(&request->zone, 8192) && msgpack_zone_init(&request->outer_zone, 8192);
    ensure(made);
}

void request_done(struct request *request)
{
    json_parser_free(&request->parser);
    arena_done(&request->arena);
    buf_done(&request->bodies);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        buf_done(&request->outer[i]);
    }
    msgpack_zone_destroy(&request->zone);
    msgpack_zone_destroy(&request->outer_zone);
    free(request->events);
}

void request_trim(struct request *request)
{
    json_parser_trim(request->parser);
    if (request->bodies.capacity > KEPT_BYTES) {
        buf_done(&request->bodies);
    }
}

void request_reset(struct request *r)
{
    arena_clear(&r->arena);
    buf_clear(&r->bodies);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        buf_clear(&r->outer[i]);
    }
    r->refusal = refusal_make(NULL, NULL, NULL);
    r->write_key = slice_make(NULL, 0);
    r->sent_ms = TIME_ABSENT;
    r->is_batch = false;
    r->count = 0;
    r->without_anonymous_id = 0;
}

struct request_event *request_add(struct request *r)
{
    if (r->count == LIMIT_BATCH_EVENTS) {
        r->refusal =
            refusal_make("batch-too-long", "The batch has more than 2,500 events.", "/batch");
        return NULL;
    }
    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? 64 : r->capacity * 2;
        r->events = memory_resize(r->events, r->capacity * sizeof *r->events);
    }
    struct request_event *event = &r->events[r->count++];
    /* The preferences behind preference_count are never read: not clearing them saves half a KiB
     * an event. */
    memset(event, 0, offsetof(struct request_event, preferences));
    event->body_at = r->bodies.len;
    event->body_len = 0;
    event->timestamp_ms = TIME_ABSENT;
    event->original_ms = TIME_ABSENT;
    event->sent_ms = TIME_ABSENT;
    return event;
}

struct slice request_take_id(struct request *r, struct slice text)
{
    bool is_too_long = text.len > LIMIT_IDENTIFIER_BYTES; /* check_ids() refuses it */
    return is_too_long ? text : identifier_normalize(NORMALIZE_TRIM, text, &r->arena);
}

/* Is there an external id that the hub could use: a type, and an id as text or number? */
static bool has_external_id(struct request *r, const struct request_event *e)
{
    struct error err;
    msgpack_object body;
    bool found = false;
    msgpack_zone_clear(&r->zone);
    bool fine =
        value_unpack(slice_make(r->bodies.data + e->body_at, e->body_len), &r->zone, &body, &err);
    ensure(fine);
    const msgpack_object *ids = value_member_c(value_member_c(&body, "context"), "externalIds");
    uint32_t count = value_is(ids, MSGPACK_OBJECT_ARRAY) ? ids->via.array.size : 0;
    for (uint32_t i = 0; i < count && i < LIMIT_EXTERNAL_IDS && !found; i++) {
        const msgpack_object *id = value_member_c(&ids->via.array.ptr[i], "id");
        struct slice type;
        struct slice text;
        int64_t number;
        found = value_text(value_member_c(&ids->via.array.ptr[i], "type"), &type) && type.len > 0 &&
                ((value_text(id, &text) && text.len > 0) || value_int(id, &number));
    }
    return found;
}

/* Its type, and the name that an event of this type has. */
static struct refusal check_type(struct request_event *e, enum event_type type)
{
    struct event *event = &e->event;
    if (type != EVENT_TYPES) {
        event->type = type;
    } else if (!e->has_type || event->type == EVENT_TYPES) {
        return refusal_make("invalid-type",
                            "\"type\" is none of track, identify, page, screen, group, alias.",
                            "/type");
    }
    bool is_view = event->type == EVENT_PAGE || event->type == EVENT_SCREEN;
    event->name = event->type == EVENT_TRACK ? e->event_name : is_view ? e->page_name : event->name;
    if (event->type == EVENT_TRACK && event->name.len == 0) {
        return refusal_make("missing-event-name", "A track event needs its name in \"event\".",
                            "/event");
    }
    if (event->name.len > LIMIT_EVENT_BYTES / 8) {
        return refusal_make("event-too-large", "The name of the event is over 4 KiB.", "/event");
    }
    return refusal_make(NULL, NULL, NULL);
}

static struct refusal check_ids(struct request *r, struct request_event *e)
{
    const struct event *event = &e->event;
    if (event->message_id.len > LIMIT_MESSAGE_ID_BYTES) {
        return refusal_make("invalid-message-id", "\"messageId\" is longer than 128 bytes.",
                            "/messageId");
    }
    if (event->user_id.len > LIMIT_IDENTIFIER_BYTES ||
        event->anonymous_id.len > LIMIT_IDENTIFIER_BYTES) {
        return refusal_make("identifier-too-long", "An identifier is longer than 256 bytes.",
                            event->user_id.len > LIMIT_IDENTIFIER_BYTES ? "/userId"
                                                                        : "/anonymousId");
    }
    r->without_anonymous_id += event->anonymous_id.len == 0;
    e->has_external_id =
        event->user_id.len == 0 && event->anonymous_id.len == 0 && has_external_id(r, e);
    e->lacks_identifier =
        event->user_id.len == 0 && event->anonymous_id.len == 0 && !e->has_external_id;
    if (e->lacks_identifier) {
        return refusal_make("missing-identifier",
                            "The event has neither userId nor anonymousId nor an external id.",
                            NULL);
    }
    return refusal_make(NULL, NULL, NULL);
}

static struct slice make_message_id(struct request *r, struct rand *rand)
{
    uint8_t uuid[UUID_BYTES];
    char *text = arena_allocate(&r->arena, UUID_TEXT_BYTES);
    uuid_random(rand, uuid);
    uuid_format(uuid, text);
    return slice_make(text, UUID_TEXT_BYTES);
}

static void finish_event(struct request *r, struct request_event *e, enum event_type type,
                         struct rand *rand)
{
    e->refusal = check_type(e, type);
    if (e->refusal.code == NULL) {
        e->refusal = check_ids(r, e);
    }
    if (e->event.message_id.len == 0) {
        e->event.message_id = make_message_id(r, rand);
    }
    e->event.body = slice_make(r->bodies.data + e->body_at, e->body_len);
}

void request_finish(struct request *r, enum event_type type, struct rand *rand)
{
    if (r->refusal.code == NULL && r->count == 0) {
        r->refusal = refusal_make("invalid-shape", "The request has no event.", "/batch");
    }
    if (r->refusal.code != NULL) {
        r->count = 0;
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->events[i].refusal.code == NULL) {
            finish_event(r, &r->events[i], type, rand);
        }
    }
}

void request_adopt(struct request *r, struct slice anonymous_id)
{
    struct slice id = utf8_is_valid(anonymous_id)
                          ? request_take_id(r, arena_copy(&r->arena, anonymous_id))
                          : slice_make(NULL, 0);
    if (id.len == 0 || id.len > LIMIT_IDENTIFIER_BYTES) {
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        struct request_event *e = &r->events[i];
        if (e->lacks_identifier) {
            e->lacks_identifier = false;
            e->refusal = refusal_make(NULL, NULL, NULL);
        }
        if (e->refusal.code == NULL && e->event.anonymous_id.len == 0) {
            e->event.anonymous_id = id;
        }
    }
    r->without_anonymous_id = 0;
}
