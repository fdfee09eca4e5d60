#include <yajl/yajl_parse.h>
#include "collector/request/request_internal.h"
#include "shared/json.h"
#include "shared/timetext.h"
#include "shared/utf8.h"

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
    STEP_USER_AGENT,  /* depth 2: context.userAgent */
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
    struct slice checked; /* the input, if it is UTF-8 as a whole */
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
    p->request->refusal = refusal_make("invalid-shape", message, NULL);
    return 0;
}

/* False: the batch is full, which the request's refusal says. */
static bool begin_event(struct parser *p)
{
    p->event = request_add(p->request);
    if (p->event == NULL) {
        return false;
    }
    p->place = PLACE_EVENT;
    p->skips = false;
    p->skip_depth = 0;
    p->field = FIELD_NONE;
    memset(p->steps, 0, sizeof p->steps);
    json_packer_init(&p->packer, &p->request->bodies);
    json_packer_trust(&p->packer, p->checked);
    if (json_packer_open(&p->packer, true) != JSON_FINE) {
        refuse_event(
            p, refusal_make("request-too-large", "The request is over the size limit.", NULL));
    }
    return true;
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

/* An item of a batch that is no object. */
static void add_misfit(struct parser *p)
{
    struct request_event *event = request_add(p->request);
    if (event != NULL) {
        event->refusal = refusal_make("invalid-shape", "An item of the batch is no object.", NULL);
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
    refuse_event(p, refusal_make("invalid-shape", "A member of the event must be an object.",
                                 p->object_pointer));
    return true;
}

static void after_packing(struct parser *p, enum json_fault fault)
{
    if (p->place != PLACE_EVENT) {
        if (fault != JSON_FINE) {
            p->request->refusal =
                refusal_make(json_fault_code(fault), json_fault_sentence(fault), NULL);
        }
        return;
    }
    if (fault != JSON_FINE) {
        refuse_event(p, refusal_make(json_fault_code(fault), json_fault_sentence(fault), NULL));
    } else if (p->request->bodies.len - p->event->body_at > LIMIT_EVENT_BYTES) {
        refuse_event(p, refusal_make("event-too-large", "The event is over 32 KiB.", NULL));
    }
}

static void take_time(struct parser *p, struct slice text, int64_t *ret)
{
    if (!time_text_parse(text, ret)) {
        refuse_event(p, refusal_make("invalid-time",
                                     "A time is not RFC 3339 of the years 1970 to 9999.",
                                     field_pointers[p->field]));
    }
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
        e->event.anonymous_id = request_take_id(p->request, text);
        break;
    case FIELD_USER_ID:
        e->event.user_id = request_take_id(p->request, text);
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
    refuse_event(p, refusal_make("invalid-shape", "A member of the event has the wrong type.",
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
        if (!json_packer_check(&p->packer, text)) {
            refuse_event(p, refusal_make("invalid-utf8", "A text is not valid UTF-8.",
                                         field_pointers[p->field]));
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
    if (p->steps[2] == STEP_USER_AGENT && p->packer.depth == 2 && p->place == PLACE_EVENT) {
        p->event->user_agent_at = p->request->bodies.len - len - p->event->body_at;
        p->event->user_agent_len = len;
    }
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
        if (p->steps[1] == STEP_CONTEXT) {
            step = slice_is(key, "consent")     ? STEP_CONSENT
                   : slice_is(key, "userAgent") ? STEP_USER_AGENT
                                                : STEP_OTHER;
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
    /* Of a member given twice the last counts, for the hub as well. */
    if (step == STEP_CONTEXT || step == STEP_USER_AGENT) {
        p->event->user_agent_len = 0;
    }
    if (step != STEP_OTHER && step != STEP_USER_AGENT) {
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
            (void)begin_event(p);
        }
        return 1;
    case PLACE_BATCH:
        return open_in_batch(p, is_map);
    case PLACE_ITEMS:
        if (!begin_event(p)) {
            return 0;
        }
        if (!is_map) {
            refuse_event(p,
                         refusal_make("invalid-shape", "An item of the batch is no object.", NULL));
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
    if (utf8_is_valid(json)) {
        p->checked = json;
    }
    yajl_status status = yajl_parse(handle, json.data, json.len);
    if (status == yajl_status_ok && p->place == PLACE_TOP) {
        /* As in json_read(): a quote finishes a token that yajl would pass over, or is itself
         * unfinished. */
        status = yajl_parse(handle, (const unsigned char *)"\"", 1);
    }
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    if (p->request->refusal.code == NULL && status != yajl_status_ok) {
        p->request->refusal = refusal_make("invalid-json", "The body is not valid JSON.", NULL);
    }
}

void request_parse(struct request *r, enum event_type type, struct slice json, struct rand *rand)
{
    struct parser p = {.request = r, .type = type};
    request_reset(r);
    r->is_batch = type == EVENT_TYPES;
    run_parser(&p, json);
    if (r->refusal.code == NULL && (r->outer[0].len > 0 || r->outer[1].len > 0)) {
        request_merge_outer(r);
    }
    request_finish(r, type, rand);
}

/* A time with a sentAt is placed by how old it was then, which no clock's error harms. One without
 * is the client's word; whether it can be right is for the hub to say, which knows what time it is.
 */
static void stamp(const struct request_event *e, int64_t sent_ms, struct event *event)
{
    int64_t original = e->original_ms != TIME_ABSENT ? e->original_ms : e->timestamp_ms;
    int64_t sent = e->sent_ms != TIME_ABSENT ? e->sent_ms : sent_ms;
    event->has_client_time = original != TIME_ABSENT && sent == TIME_ABSENT;
    int64_t timestamp = original == TIME_ABSENT ? event->received_ms
                        : sent == TIME_ABSENT   ? original
                                                : event->received_ms - (sent - original);
    bool is_sane = event->has_client_time ||
                   (timestamp >= 0 && timestamp <= event->received_ms + LIMIT_AHEAD_MS);
    event->timestamp_ms = is_sane ? timestamp : event->received_ms;
}

void request_stamp(struct request *r, struct slice source, int64_t received_ms)
{
    for (size_t i = 0; i < r->count; i++) {
        struct event *event = &r->events[i].event;
        event->source = source;
        event->received_ms = received_ms;
        stamp(&r->events[i], r->sent_ms, event);
    }
}
