#include "collector/request.h"

#include <stdlib.h>
#include <yajl/yajl_parse.h>
#include "shared/identifier.h"
#include "shared/json.h"
#include "shared/timetext.h"
#include "shared/utf8.h"
#include "shared/uuid.h"

enum { FUTURE_MS_MAX = 23 * 3600 * 1000, BODY_SPARE = 64 };

/* Members of an event that are taken out of its body. */
enum field {
    FIELD_NONE,
    FIELD_TYPE,
    FIELD_EVENT,
    FIELD_NAME,
    FIELD_MESSAGE_ID,
    FIELD_ANONYMOUS_ID,
    FIELD_USER_ID,
    FIELD_TIMESTAMP,
    FIELD_ORIGINAL,
    FIELD_SENT,
    FIELD_WRITE_KEY,
};

/* Where each stands in an event. */
static const char *const field_pointers[] = {
    [FIELD_NONE] = NULL,
    [FIELD_TYPE] = "/type",
    [FIELD_EVENT] = "/event",
    [FIELD_NAME] = "/name",
    [FIELD_MESSAGE_ID] = "/messageId",
    [FIELD_ANONYMOUS_ID] = "/anonymousId",
    [FIELD_USER_ID] = "/userId",
    [FIELD_TIMESTAMP] = "/timestamp",
    [FIELD_ORIGINAL] = "/originalTimestamp",
    [FIELD_SENT] = "/sentAt",
    [FIELD_WRITE_KEY] = "/writeKey",
};

/* Where in an event's body the parser stands, as far as the gate cares. */
enum step {
    STEP_OTHER,
    STEP_CONTEXT,     /* depth 1: context */
    STEP_CONSENT,     /* depth 2: context.consent */
    STEP_PREFERENCES, /* depth 3: context.consent.categoryPreferences */
};

enum place {
    PLACE_TOP,   /* outside everything */
    PLACE_BATCH, /* in the object that holds the batch */
    PLACE_ITEMS, /* in the batch array */
    PLACE_EVENT,
    PLACE_OUTER, /* in the context or integrations of a batch */
};

struct parser {
    struct request *request;
    enum event_type type;
    enum place place;
    struct json_packer packer;
    struct request_event *event;
    enum field field;
    bool skips;     /* the current event is refused, or the value is of no interest */
    int skip_depth; /* containers open below where skipping began */
    enum step steps[6];
    struct slice category;
    const char *object_pointer; /* not NULL: the next value must be an object or null */
    int outer; /* the next value is this one of the batch's maps; -1: another member */
    bool is_batch_key;
};

void request_init(struct request *request)
{
    *request = (struct request){0};
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
    arena_done(&request->arena);
    buf_done(&request->bodies);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        buf_done(&request->outer[i]);
    }
    msgpack_zone_destroy(&request->zone);
    msgpack_zone_destroy(&request->outer_zone);
    free(request->events);
}

static struct refusal refuse(const char *code, const char *message, const char *field)
{
    return (struct refusal){code, message, field};
}

/* Give up the event: whatever follows of it is skipped. */
static void refuse_event(struct parser *p, struct refusal refusal)
{
    if (p->event->refusal.code == NULL) {
        p->event->refusal = refusal;
    }
    p->skips = true;
}

static int refuse_request(struct parser *p, const char *message)
{
    p->request->refusal = refuse("invalid-shape", message, NULL);
    return 0;
}

static struct request_event *add_event(struct parser *p)
{
    struct request *r = p->request;
    if (r->count == r->capacity) {
        r->capacity = r->capacity == 0 ? 64 : r->capacity * 2;
        r->events = memory_resize(r->events, r->capacity * sizeof *r->events);
    }
    struct request_event *event = &r->events[r->count++];
    /* The preferences behind preference_count are never read: not clearing them saves half a KiB
     * an event. */
    memset(event, 0, offsetof(struct request_event, preferences));
    event->body_at = 0;
    event->body_len = 0;
    event->timestamp_ms = TIME_ABSENT;
    event->original_ms = TIME_ABSENT;
    event->sent_ms = TIME_ABSENT;
    p->event = event;
    return event;
}

static void begin_event(struct parser *p)
{
    add_event(p);
    p->event->body_at = p->request->bodies.len;
    p->place = PLACE_EVENT;
    p->skips = false;
    p->skip_depth = 0;
    p->field = FIELD_NONE;
    memset(p->steps, 0, sizeof p->steps);
    json_packer_init(&p->packer, &p->request->bodies);
    if (json_packer_open(&p->packer, true) != JSON_FINE) {
        refuse_event(p, refuse("request-too-large", "The request is over the size limit.", NULL));
    }
}

static void end_event(struct parser *p)
{
    if (!p->skips) {
        json_packer_close(&p->packer);
        p->event->body_len = p->request->bodies.len - p->event->body_at;
    } else {
        p->request->bodies.len = p->event->body_at;
    }
    p->skips = false;
    p->skip_depth = 0;
    p->place = p->request->is_batch ? PLACE_ITEMS : PLACE_TOP;
}

static bool is_full(struct parser *p)
{
    if (p->request->count < LIMIT_BATCH_EVENTS) {
        return false;
    }
    p->request->refusal =
        refuse("batch-too-long", "The batch has more than 2,500 events.", "/batch");
    return true;
}

/* An item of a batch that is no object. */
static void add_misfit(struct parser *p)
{
    if (!is_full(p)) {
        add_event(p);
        p->event->refusal = refuse("invalid-shape", "An item of the batch is no object.", NULL);
    }
}

/* These three are objects wherever they are: whoever reads them later may rely on it. */
static const char *pointer_to_object(struct slice key)
{
    static const char *const pointers[] = {"/properties", "/traits", "/context"};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (slice_is(key, pointers[i] + 1)) {
            return pointers[i];
        }
    }
    return NULL;
}

/* A value that is no object stands where one must be: the event is refused. */
static bool is_no_object(struct parser *p)
{
    if (p->place != PLACE_EVENT || p->packer.depth != 1 || p->object_pointer == NULL) {
        return false;
    }
    refuse_event(
        p, refuse("invalid-shape", "A member of the event must be an object.", p->object_pointer));
    return true;
}

static void after_packing(struct parser *p, enum json_fault fault)
{
    if (p->place != PLACE_EVENT) {
        if (fault != JSON_FINE) {
            p->request->refusal = refuse(json_fault_code(fault), json_fault_sentence(fault), NULL);
        }
        return;
    }
    if (fault != JSON_FINE) {
        refuse_event(p, refuse(json_fault_code(fault), json_fault_sentence(fault), NULL));
    } else if (p->request->bodies.len - p->event->body_at > LIMIT_EVENT_BYTES) {
        refuse_event(p, refuse("event-too-large", "The event is over 32 KiB.", NULL));
    }
}

static void take_time(struct parser *p, struct slice text, int64_t *ret)
{
    if (!time_text_parse(text, ret)) {
        refuse_event(p, refuse("invalid-time", "A time is not RFC 3339 of the years 1970 to 9999.",
                               field_pointers[p->field]));
    }
}

/* White space around an id is nobody's intention; an id of nothing else is none. */
static struct slice take_id(struct arena *arena, struct slice text)
{
    bool is_too_long = text.len > LIMIT_IDENTIFIER_BYTES; /* check_event() refuses it */
    text = arena_copy(arena, text);
    return is_too_long ? text : identifier_normalize(NORMALIZE_TRIM, text, arena);
}

static void take_text_field(struct parser *p, struct slice text)
{
    struct request_event *e = p->event;
    struct arena *arena = &p->request->arena;
    switch (p->field) {
    case FIELD_TYPE:
        e->event.type = event_type_from(text);
        e->has_type = true;
        break;
    case FIELD_EVENT:
        e->event_name = arena_copy(arena, text);
        break;
    case FIELD_NAME:
        e->page_name = arena_copy(arena, text);
        break;
    case FIELD_MESSAGE_ID:
        e->event.message_id = arena_copy(arena, text);
        break;
    case FIELD_ANONYMOUS_ID:
        e->event.anonymous_id = take_id(arena, text);
        break;
    case FIELD_USER_ID:
        e->event.user_id = take_id(arena, text);
        break;
    case FIELD_TIMESTAMP:
        take_time(p, text, &e->timestamp_ms);
        break;
    case FIELD_ORIGINAL:
        take_time(p, text, &e->original_ms);
        break;
    case FIELD_SENT:
        take_time(p, text, &e->sent_ms);
        break;
    case FIELD_WRITE_KEY:
        p->request->write_key = arena_copy(arena, text);
        break;
    case FIELD_NONE:
        break;
    }
}

/* Ids come as numbers from some clients. */
static bool takes_number(enum field field)
{
    return field == FIELD_USER_ID || field == FIELD_ANONYMOUS_ID || field == FIELD_MESSAGE_ID;
}

static void misplaced(struct parser *p)
{
    refuse_event(p, refuse("invalid-shape", "A member of the event has the wrong type.",
                           field_pointers[p->field]));
    p->field = FIELD_NONE;
}

/* Members of the object around a batch. */
static void batch_text(struct parser *p, struct slice text)
{
    if (p->field == FIELD_WRITE_KEY) {
        p->request->write_key = arena_copy(&p->request->arena, text);
    } else if (p->field == FIELD_SENT) {
        int64_t ms;
        p->request->sent_ms = time_text_parse(text, &ms) ? ms : TIME_ABSENT;
    }
    p->field = FIELD_NONE;
}

/* A value that is no text begins or stands here: true where it needs no further care. */
static bool passes_over(struct parser *p)
{
    if (p->skips) {
        return true;
    }
    if (p->place == PLACE_BATCH) {
        p->field = FIELD_NONE;
        p->outer = -1;
        return true;
    }
    return false;
}

static int on_null(void *ctx)
{
    struct parser *p = ctx;
    if (p->place == PLACE_TOP) {
        return refuse_request(p, "The body is no JSON object.");
    }
    if (p->place == PLACE_ITEMS) {
        add_misfit(p);
    } else if (!passes_over(p)) {
        if (p->place == PLACE_EVENT && p->field != FIELD_NONE) {
            p->field = FIELD_NONE; /* null: as if absent */
        } else {
            after_packing(p, json_packer_null(&p->packer));
        }
    }
    return p->request->refusal.code == NULL;
}

static int on_boolean(void *ctx, int value)
{
    struct parser *p = ctx;
    if (p->place == PLACE_TOP) {
        return refuse_request(p, "The body is no JSON object.");
    }
    if (p->place == PLACE_ITEMS) {
        add_misfit(p);
    } else if (!passes_over(p)) {
        if (p->place == PLACE_EVENT && p->field != FIELD_NONE) {
            misplaced(p);
            return 1;
        }
        if (p->place == PLACE_EVENT && p->packer.depth == 4 && p->packer.open[3].is_map &&
            p->steps[3] == STEP_PREFERENCES &&
            p->event->preference_count < LIMIT_CONSENT_CATEGORIES) {
            p->event->preferences[p->event->preference_count++] =
                (struct consent_preference){p->category, value != 0};
        }
        if (is_no_object(p)) {
            return 1;
        }
        after_packing(p, json_packer_bool(&p->packer, value != 0));
    }
    return p->request->refusal.code == NULL;
}

static int on_number(void *ctx, const char *text, size_t len)
{
    struct parser *p = ctx;
    if (p->place == PLACE_TOP) {
        return refuse_request(p, "The body is no JSON object.");
    }
    if (p->place == PLACE_ITEMS) {
        add_misfit(p);
    } else if (!passes_over(p)) {
        if (p->place == PLACE_EVENT && p->field != FIELD_NONE) {
            if (takes_number(p->field)) {
                take_text_field(p, slice_make(text, len));
                p->field = FIELD_NONE;
            } else {
                misplaced(p);
            }
            return 1;
        }
        if (is_no_object(p)) {
            return 1;
        }
        after_packing(p, json_packer_number(&p->packer, slice_make(text, len)));
    }
    return p->request->refusal.code == NULL;
}

static int on_string(void *ctx, const unsigned char *data, size_t len)
{
    struct parser *p = ctx;
    struct slice text = slice_make(data, len);
    if (p->place == PLACE_TOP) {
        return refuse_request(p, "The body is no JSON object.");
    }
    if (p->place == PLACE_ITEMS) {
        add_misfit(p);
        return p->request->refusal.code == NULL;
    }
    if (p->place == PLACE_BATCH) {
        batch_text(p, text);
        p->outer = -1;
        return 1;
    }
    if (p->skips) {
        return 1;
    }
    if (p->place == PLACE_EVENT && p->field != FIELD_NONE) {
        if (!utf8_is_valid(text)) {
            refuse_event(
                p, refuse("invalid-utf8", "A text is not valid UTF-8.", field_pointers[p->field]));
        } else {
            take_text_field(p, text);
        }
        p->field = FIELD_NONE;
        return 1;
    }
    if (is_no_object(p)) {
        return 1;
    }
    after_packing(p, json_packer_text(&p->packer, text));
    return p->request->refusal.code == NULL;
}

/* Spelled out, so that the compiler knows each length: this runs for every member of every event.
 */
static enum field field_from(struct slice key)
{
    switch (key.len) {
    case 4:
        return slice_is(key, "type") ? FIELD_TYPE : slice_is(key, "name") ? FIELD_NAME : FIELD_NONE;
    case 5:
        return slice_is(key, "event") ? FIELD_EVENT : FIELD_NONE;
    case 6:
        return slice_is(key, "userId")   ? FIELD_USER_ID
               : slice_is(key, "sentAt") ? FIELD_SENT
                                         : FIELD_NONE;
    case 8:
        return slice_is(key, "writeKey") ? FIELD_WRITE_KEY : FIELD_NONE;
    case 9:
        return slice_is(key, "messageId")   ? FIELD_MESSAGE_ID
               : slice_is(key, "timestamp") ? FIELD_TIMESTAMP
                                            : FIELD_NONE;
    case 11:
        return slice_is(key, "anonymousId") ? FIELD_ANONYMOUS_ID : FIELD_NONE;
    case 17:
        return slice_is(key, "originalTimestamp") ? FIELD_ORIGINAL : FIELD_NONE;
    default:
        return FIELD_NONE;
    }
}

/* Follow the path that the gate looks at. */
static void follow(struct parser *p, struct slice key)
{
    enum step step = STEP_OTHER;
    switch (p->packer.depth) {
    case 1:
        step = slice_is(key, "context") ? STEP_CONTEXT : STEP_OTHER;
        break;
    case 2:
        if (p->steps[1] == STEP_CONTEXT && slice_is(key, "consent")) {
            step = STEP_CONSENT;
        }
        break;
    case 3:
        if (p->steps[1] == STEP_CONTEXT && p->steps[2] == STEP_CONSENT &&
            slice_is(key, "categoryPreferences")) {
            step = STEP_PREFERENCES;
        }
        break;
    case 4:
        if (p->steps[3] == STEP_PREFERENCES) {
            p->category = arena_copy(&p->request->arena, key);
        }
        break;
    default:
        return;
    }
    if (step != STEP_OTHER) {
        /* Of a member given twice the last counts, for the hub as well. */
        p->event->preference_count = 0;
        p->event->has_preferences = step == STEP_PREFERENCES;
    }
    p->steps[p->packer.depth] = step;
    for (int i = p->packer.depth + 1; i < 5; i++) {
        p->steps[i] = STEP_OTHER;
    }
}

static int on_key(void *ctx, const unsigned char *data, size_t len)
{
    struct parser *p = ctx;
    struct slice key = slice_make(data, len);
    if (p->place == PLACE_BATCH) {
        p->field = field_from(key);
        p->is_batch_key = slice_is(key, "batch");
        p->outer = slice_is(key, "context") ? 0 : slice_is(key, "integrations") ? 1 : -1;
        return 1;
    }
    if (p->skips) {
        return 1;
    }
    if (p->place == PLACE_EVENT) {
        if (p->packer.depth == 1 && (p->field = field_from(key)) != FIELD_NONE) {
            return 1;
        }
        p->object_pointer = p->packer.depth == 1 ? pointer_to_object(key) : NULL;
        follow(p, key);
    }
    after_packing(p, json_packer_text(&p->packer, key));
    return p->request->refusal.code == NULL;
}

static int open_in_batch(struct parser *p, bool is_map)
{
    if (p->is_batch_key) {
        if (is_map) {
            return refuse_request(p, "\"batch\" is no array.");
        }
        p->place = PLACE_ITEMS;
        p->is_batch_key = false;
        return 1;
    }
    p->place = PLACE_OUTER;
    p->skips = p->outer < 0 || !is_map;
    p->skip_depth = 1;
    p->field = FIELD_NONE;
    if (!p->skips) {
        buf_clear(&p->request->outer[p->outer]); /* of a member given twice the last counts */
        json_packer_init(&p->packer, &p->request->outer[p->outer]);
        after_packing(p, json_packer_open(&p->packer, true));
    }
    return p->request->refusal.code == NULL;
}

static int on_open(struct parser *p, bool is_map)
{
    switch (p->place) {
    case PLACE_TOP:
        if (!is_map || p->request->count > 0) {
            return refuse_request(p, "The body is no JSON object.");
        }
        if (p->request->is_batch) {
            p->place = PLACE_BATCH;
        } else {
            begin_event(p);
        }
        return 1;
    case PLACE_BATCH:
        return open_in_batch(p, is_map);
    case PLACE_ITEMS:
        if (is_full(p)) {
            return 0;
        }
        begin_event(p);
        if (!is_map) {
            refuse_event(p, refuse("invalid-shape", "An item of the batch is no object.", NULL));
        }
        return 1;
    case PLACE_OUTER:
        p->skip_depth++;
        if (!p->skips) {
            after_packing(p, json_packer_open(&p->packer, is_map));
        }
        return p->request->refusal.code == NULL;
    case PLACE_EVENT:
        p->skip_depth++;
        if (!p->skips && p->field != FIELD_NONE) {
            misplaced(p);
        } else if (!p->skips && (is_map || !is_no_object(p))) {
            after_packing(p, json_packer_open(&p->packer, is_map));
        }
        return 1;
    }
    return 0;
}

static int on_start_map(void *ctx)
{
    return on_open(ctx, true);
}

static int on_start_array(void *ctx)
{
    return on_open(ctx, false);
}

static int on_end(void *ctx)
{
    struct parser *p = ctx;
    switch (p->place) {
    case PLACE_EVENT:
        if (p->skip_depth == 0) {
            end_event(p);
            return 1;
        }
        p->skip_depth--;
        break;
    case PLACE_OUTER:
        p->skip_depth--;
        break;
    case PLACE_ITEMS:
        p->place = PLACE_BATCH;
        return 1;
    case PLACE_BATCH:
    case PLACE_TOP:
        p->place = PLACE_TOP;
        return 1;
    }
    if (!p->skips) {
        json_packer_close(&p->packer);
    }
    if (p->place == PLACE_OUTER && p->skip_depth == 0) {
        p->place = PLACE_BATCH;
        p->skips = false;
    }
    return 1;
}

static void run_parser(struct parser *p, struct slice json)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_start_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_start_array,
        .yajl_end_array = on_end,
    };
    yajl_handle handle = yajl_alloc(&callbacks, NULL, p);
    ensure(handle != NULL);
    yajl_config(handle, yajl_dont_validate_strings, 1);
    yajl_status status = yajl_parse(handle, json.data, json.len);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    if (p->request->refusal.code == NULL && status != yajl_status_ok) {
        p->request->refusal = refuse("invalid-json", "The body is not valid JSON.", NULL);
    }
}

static const char *const request_outer_names[REQUEST_OUTER_MAPS] = {"context", "integrations"};

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
            value_bool(&kv->val, &to->granted)) {
            /* The bytes it was read from move when the next event is merged. */
            to->category = arena_copy(&r->arena, to->category);
            e->preference_count++;
        }
    }
}

/* The batch's member that belongs into an event's member of this name, or NULL. */
static const msgpack_object *outer_member(const struct outer_map outer[REQUEST_OUTER_MAPS],
                                          struct slice name)
{
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        if (outer[i].is_given && slice_is(name, request_outer_names[i])) {
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
        count += outer[i].is_given && value_member_c(own, request_outer_names[i]) == NULL;
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
        if (outer[i].is_given && value_member_c(own, request_outer_names[i]) == NULL) {
            value_pack_cstr(p, request_outer_names[i]);
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
        e->refusal = refuse("request-too-large", "The request is over the size limit.", NULL);
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
    if (e->body_len > LIMIT_EVENT_BYTES) {
        e->refusal = refuse("event-too-large", "The event is over 32 KiB.", NULL);
    }
}

/* Put the batch's context and integrations into each event: written into a second buffer, because
 * few clients send them and those events may grow. */
static void merge_outer(struct request *r)
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

static void check_event(struct request *r, struct request_event *e, enum event_type type,
                        struct rand *rand)
{
    struct event *event = &e->event;
    if (type != EVENT_TYPES) {
        event->type = type;
    } else if (!e->has_type || event->type == EVENT_TYPES) {
        e->refusal =
            refuse("invalid-type",
                   "\"type\" is none of track, identify, page, screen, group, alias.", "/type");
        return;
    }
    e->has_external_id =
        event->user_id.len == 0 && event->anonymous_id.len == 0 && has_external_id(r, e);
    bool is_view = event->type == EVENT_PAGE || event->type == EVENT_SCREEN;
    event->name = event->type == EVENT_TRACK ? e->event_name : is_view ? e->page_name : event->name;
    if (event->type == EVENT_TRACK && event->name.len == 0) {
        e->refusal =
            refuse("missing-event-name", "A track event needs its name in \"event\".", "/event");
    } else if (event->message_id.len > LIMIT_MESSAGE_ID_BYTES) {
        e->refusal =
            refuse("invalid-message-id", "\"messageId\" is longer than 128 bytes.", "/messageId");
    } else if (event->name.len > LIMIT_EVENT_BYTES / 8) {
        e->refusal = refuse("event-too-large", "The name of the event is over 4 KiB.", "/event");
    } else if (event->user_id.len > LIMIT_IDENTIFIER_BYTES ||
               event->anonymous_id.len > LIMIT_IDENTIFIER_BYTES) {
        e->refusal =
            refuse("identifier-too-long", "An identifier is longer than 256 bytes.",
                   event->user_id.len > LIMIT_IDENTIFIER_BYTES ? "/userId" : "/anonymousId");
    } else if (event->user_id.len == 0 && event->anonymous_id.len == 0 && !e->has_external_id) {
        e->refusal =
            refuse("missing-identifier",
                   "The event has neither userId nor anonymousId nor an external id.", NULL);
    } else if (event->message_id.len == 0) {
        uint8_t uuid[UUID_BYTES];
        char *text = arena_allocate(&r->arena, UUID_TEXT_BYTES);
        uuid_random(rand, uuid);
        uuid_format(uuid, text);
        event->message_id = slice_make(text, UUID_TEXT_BYTES);
    }
}

void request_parse(struct request *r, enum event_type type, struct slice json, struct rand *rand)
{
    struct parser p = {.request = r, .type = type};
    arena_clear(&r->arena);
    buf_clear(&r->bodies);
    for (int i = 0; i < REQUEST_OUTER_MAPS; i++) {
        buf_clear(&r->outer[i]);
    }
    r->refusal = refuse(NULL, NULL, NULL);
    r->write_key = slice_make(NULL, 0);
    r->sent_ms = TIME_ABSENT;
    r->added_bytes = 0;
    r->count = 0;
    r->is_batch = type == EVENT_TYPES;
    run_parser(&p, json);
    if (r->refusal.code == NULL && r->count == 0) {
        r->refusal = refuse("invalid-shape", "The request has no event.", "/batch");
    }
    if (r->refusal.code != NULL) {
        r->count = 0;
        return;
    }
    if (r->outer[0].len > 0 || r->outer[1].len > 0) {
        merge_outer(r);
    }
    for (size_t i = 0; i < r->count; i++) {
        struct request_event *e = &r->events[i];
        if (e->refusal.code == NULL) {
            check_event(r, e, type, rand);
            e->event.body = slice_make(r->bodies.data + e->body_at, e->body_len);
        }
    }
}

static int64_t stamp(const struct request_event *e, int64_t sent_ms, int64_t received_ms)
{
    int64_t original = e->original_ms != TIME_ABSENT ? e->original_ms : e->timestamp_ms;
    int64_t sent = e->sent_ms != TIME_ABSENT ? e->sent_ms : sent_ms;
    int64_t timestamp = original == TIME_ABSENT ? received_ms
                        : sent == TIME_ABSENT   ? original
                                                : received_ms - (sent - original);
    bool is_sane = timestamp >= 0 && timestamp <= received_ms + FUTURE_MS_MAX;
    return is_sane ? timestamp : received_ms;
}

void request_stamp(struct request *r, struct slice source, int64_t received_ms)
{
    for (size_t i = 0; i < r->count; i++) {
        struct event *event = &r->events[i].event;
        event->source = source;
        event->received_ms = received_ms;
        event->timestamp_ms = stamp(&r->events[i], r->sent_ms, received_ms);
    }
}
