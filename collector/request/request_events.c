/* The events of a request, whatever protocol they came by. */
#include <stdlib.h>
#include "collector/request/request_internal.h"
#include "collector/request/body.h"
#include "shared/blocked.h"
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

struct slice request_take_id(struct request *r, struct request_event *e, struct slice text)
{
    if (text.len > LIMIT_IDENTIFIER_BYTES) {
        return text; /* check_ids() refuses it */
    }
    text = identifier_normalize(NORMALIZE_TRIM, text, &r->arena);
    if (text.len > 0 && !blocked_value(slice_text("user_id"), NORMALIZE_TRIM, text)) {
        return text;
    }
    e->names_nobody = e->names_nobody || text.len > 0;
    return slice_make(NULL, 0);
}

/* Is it an external id that names somebody, in text or number? */
static bool is_somebody(const msgpack_object *pair, bool *ret_nobody)
{
    const msgpack_object *id = value_member_c(pair, "id");
    struct slice type;
    struct slice text = slice_make(NULL, 0);
    int64_t number;
    if (!value_text(value_member_c(pair, "type"), &type) || type.len == 0) {
        return false;
    }
    bool is_number = value_int(id, &number);
    bool is_taken = is_number ? number != 0
                              : value_text(id, &text) &&
                                    !blocked_value(type, identifier_normalizer_default(type), text);
    *ret_nobody = *ret_nobody || (!is_taken && (is_number || text.len > 0));
    return is_taken;
}

/* Is there an external id that the hub could use? */
static bool has_external_id(struct request *r, struct request_event *e)
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
        found = is_somebody(&ids->via.array.ptr[i], &e->names_nobody);
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
    if (e->lacks_identifier && e->names_nobody) {
        return refusal_make("nobody",
                            "The event's ids name nobody: they are what programs write where there "
                            "is no value, such as null, None, 0 or N/A.",
                            NULL);
    }
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

static bool is_time_lost(const struct request_event *e)
{
    return e->has_unreadable_time && e->timestamp_ms == TIME_ABSENT &&
           e->original_ms == TIME_ABSENT;
}

/* context.timeUnreadable: true, in a copy of the body behind the others. */
static void mark_unreadable_time(struct request *r, struct request_event *e)
{
    const struct slice names[] = {slice_text("context"), slice_text("timeUnreadable")};
    const struct slice agent_names[] = {slice_text("context"), slice_text("userAgent")};
    const uint8_t yes = 0xc3;
    struct slice agent;
    struct slice old = arena_copy(&r->arena, slice_make(r->bodies.data + e->body_at, e->body_len));
    size_t start = r->bodies.len;
    if (!body_put(old, (struct body_path){names, 2}, slice_make(&yes, 1), &r->bodies)) {
        r->bodies.len = start;
        e->refusal = refusal_make("request-too-large", "The request is over the size limit.", NULL);
        return;
    }
    e->body_at = start;
    e->body_len = r->bodies.len - start;
    struct slice body = slice_make(r->bodies.data + start, e->body_len);
    if (e->user_agent_len > 0 && body_get(body, (struct body_path){agent_names, 2}, &agent) &&
        body_text(agent, &agent)) {
        e->user_agent_at = (size_t)(agent.data - body.data);
    }
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
        if (r->events[i].refusal.code == NULL && is_time_lost(&r->events[i])) {
            mark_unreadable_time(r, &r->events[i]);
        }
    }
    /* The bodies stay where they are from here on. */
    for (size_t i = 0; i < r->count; i++) {
        if (r->events[i].refusal.code == NULL) {
            finish_event(r, &r->events[i], type, rand);
        }
    }
}

void request_adopt(struct request *r, struct slice anonymous_id)
{
    struct request_event nobodys = {0};
    struct slice id = utf8_is_valid(anonymous_id)
                          ? request_take_id(r, &nobodys, arena_copy(&r->arena, anonymous_id))
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
