#include <stdlib.h>
#include "collector/request/request_internal.h"
#include "shared/json.h"
#include "shared/timetext.h"

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

/* What is read at the moment. */
struct parser {
    struct request *request;
    const struct json_doc *doc;
    struct request_event *event;
    struct buf *bodies;
};

static bool is_kind(const struct parser *p, size_t at, enum json_kind kind)
{
    return json_doc_kind(p->doc, at) == kind;
}

static void refuse_request(struct parser *p, const char *message)
{
    p->request->refusal = refusal_make("invalid-shape", message, NULL);
}

/* These say whether the event is fine so far. */
static bool refuse_event(struct parser *p, const char *code, const char *message,
                         const char *pointer)
{
    p->event->refusal = refusal_make(code, message, pointer);
    return false;
}

static bool refuse_for(struct parser *p, enum json_fault fault, const char *pointer)
{
    return refuse_event(p, json_fault_code(fault), json_fault_sentence(fault), pointer);
}

static bool check_fault(struct parser *p, enum json_fault fault)
{
    return fault == JSON_FINE || refuse_for(p, fault, NULL);
}

static bool pack(struct parser *p, size_t at, int depth)
{
    return check_fault(p, json_pack(p->doc, at, LIMIT_JSON_DEPTH - depth, p->bodies));
}

/* ---- Members that are taken out: the document's texts, which stay as long as the request ---- */

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

/* An event is never lost for a time that nobody can read: request_finish() marks it. */
static void take_time(struct parser *p, struct slice text, int64_t *ret)
{
    if (!time_text_read(text, ret)) {
        *ret = TIME_ABSENT;
        p->event->has_unreadable_time = true;
    } else if (ret != &p->event->sent_ms) {
        p->event->micros = time_text_micros(text);
    }
}

static void take_text(struct parser *p, enum field field, struct slice text)
{
    struct request_event *e = p->event;
    switch (field) {
    case FIELD_TYPE:
        e->event.type = event_type_from(text);
        e->has_type = true;
        break;
    case FIELD_EVENT:
        e->event_name = text;
        break;
    case FIELD_NAME:
        e->page_name = text;
        break;
    case FIELD_MESSAGE_ID:
        e->event.message_id = text;
        break;
    case FIELD_ANONYMOUS_ID:
        e->event.anonymous_id = request_take_id(p->request, e, text);
        break;
    case FIELD_USER_ID:
        e->event.user_id = request_take_id(p->request, e, text);
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
        p->request->write_key = text;
        break;
    case FIELD_NONE:
        break;
    }
}

static bool is_id(enum field field)
{
    return field == FIELD_USER_ID || field == FIELD_ANONYMOUS_ID;
}

static bool is_time(enum field field)
{
    return field == FIELD_TIMESTAMP || field == FIELD_ORIGINAL || field == FIELD_SENT;
}

/* Ids and times come as numbers from some clients. */
static bool takes_numbers(enum field field)
{
    return is_id(field) || is_time(field) || field == FIELD_MESSAGE_ID;
}

/* What is neither text nor number: false, [] or {} in place of an id name nobody, and are no time.
 */
static bool take_other(struct parser *p, enum field field)
{
    if (is_id(field)) {
        p->event->names_nobody = true;
    } else if (is_time(field)) {
        p->event->has_unreadable_time = true;
    } else {
        return refuse_event(p, "invalid-shape", "A member of the event has the wrong type.",
                            field_pointers[field]);
    }
    return true;
}

static bool take_field(struct parser *p, enum field field, size_t at)
{
    switch ((int)json_doc_kind(p->doc, at)) {
    case JSON_NULL:
        return true; /* as if absent */
    case JSON_TEXT:
        take_text(p, field, json_doc_text(p->doc, at));
        return true;
    case JSON_NO_UTF8:
        return refuse_for(p, JSON_BAD_TEXT, field_pointers[field]);
    case JSON_INT:
    case JSON_UINT:
    case JSON_DIGITS:
    case JSON_DOUBLE:
        if (takes_numbers(field)) {
            take_text(p, field, json_number_text(p->doc, at, &p->request->arena));
            return true;
        }
        break;
    case JSON_HUGE:
        if (takes_numbers(field) && !is_time(field)) {
            return refuse_for(p, JSON_BAD_NUMBER, field_pointers[field]);
        }
        break;
    default:
        break;
    }
    return take_other(p, field);
}

/* ---- The body: all other members ---- */

/* context.consent.categoryPreferences, for the gate. Of a member given twice the last counts, for
 * the hub as well. */
static void take_preferences(struct parser *p, size_t consent)
{
    const struct json_doc *doc = p->doc;
    struct request_event *e = p->event;
    e->has_preferences = false;
    e->preference_count = 0;
    if (!is_kind(p, consent, JSON_OBJECT)) {
        return;
    }
    size_t preferences = 0;
    for (size_t key = json_doc_first(consent); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        if (slice_is(json_doc_text(doc, key), "categoryPreferences")) {
            preferences = key + 1;
        }
    }
    e->has_preferences = preferences != 0;
    if (preferences == 0 || !is_kind(p, preferences, JSON_OBJECT)) {
        return;
    }
    for (size_t key = json_doc_first(preferences); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        /* Only true grants (event_consent_from()); null says nothing. */
        if (!is_kind(p, key + 1, JSON_NULL) && e->preference_count < LIMIT_CONSENT_CATEGORIES) {
            e->preferences[e->preference_count++] = (struct consent_preference){
                json_doc_text(doc, key), is_kind(p, key + 1, JSON_TRUE)};
        }
    }
}

/* What the gate looks at, in a member of the context that was packed. */
static void note_context(struct parser *p, size_t key)
{
    struct request_event *e = p->event;
    struct slice name = json_doc_text(p->doc, key);
    if (slice_is(name, "userAgent")) {
        bool is_text = is_kind(p, key + 1, JSON_TEXT);
        e->user_agent_len = is_text ? json_doc_text(p->doc, key + 1).len : 0;
        e->user_agent_at = p->bodies->len - e->user_agent_len - e->body_at;
    } else if (slice_is(name, "consent")) {
        take_preferences(p, key + 1);
    }
}

static bool pack_context(struct parser *p, size_t context)
{
    const struct json_doc *doc = p->doc;
    if (!check_fault(p, json_pack_map(p->bodies, json_doc_count(doc, context)))) {
        return false;
    }
    for (size_t key = json_doc_first(context); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        if (!pack(p, key, 2) || !pack(p, key + 1, 2)) {
            return false;
        }
        note_context(p, key);
    }
    return true;
}

/* These four are objects, or null: whoever reads them later may rely on it. */
static const char *pointer_to_object(struct slice key)
{
    static const char *const pointers[] = {"/properties", "/traits", "/context", "/integrations"};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (slice_is(key, pointers[i] + 1)) {
            return pointers[i];
        }
    }
    return NULL;
}

/* PHP's way to write an empty map. */
static bool is_empty_array(const struct parser *p, size_t at)
{
    return is_kind(p, at, JSON_ARRAY) && json_doc_count(p->doc, at) == 0;
}

static bool pack_member(struct parser *p, size_t key)
{
    struct slice name = json_doc_text(p->doc, key);
    size_t value = key + 1;
    const char *pointer = pointer_to_object(name);
    bool is_object = is_kind(p, value, JSON_OBJECT);
    bool is_context = slice_is(name, "context");
    if (pointer != NULL && is_empty_array(p, value)) {
        return pack(p, key, 1) && check_fault(p, json_pack_map(p->bodies, 0));
    }
    if (pointer != NULL && !is_object && !is_kind(p, value, JSON_NULL)) {
        return refuse_event(p, "invalid-shape", "A member of the event must be an object.",
                            pointer);
    }
    if (is_context) { /* of two the last counts */
        p->event->user_agent_len = 0;
        p->event->has_preferences = false;
        p->event->preference_count = 0;
    }
    return pack(p, key, 1) &&
           (is_context && is_object ? pack_context(p, value) : pack(p, value, 1));
}

static bool read_members(struct parser *p, size_t object)
{
    const struct json_doc *doc = p->doc;
    size_t count = 0;
    if (!check_fault(p, json_pack_map(p->bodies, 0))) {
        return false;
    }
    for (size_t key = json_doc_first(object); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        enum field field = field_from(json_doc_text(doc, key));
        if (!(field == FIELD_NONE ? pack_member(p, key) : take_field(p, field, key + 1))) {
            return false;
        }
        count += field == FIELD_NONE;
        if (p->bodies->len - p->event->body_at > LIMIT_EVENT_BYTES) {
            return refuse_event(p, "event-too-large", "The event is over 32 KiB.", NULL);
        }
    }
    json_set_count(p->bodies->data + p->event->body_at, count);
    return true;
}

/* ---- The request ---- */

static void read_event(struct parser *p, size_t at)
{
    p->event = request_add(p->request);
    if (p->event == NULL) {
        return;
    }
    if (!is_kind(p, at, JSON_OBJECT)) {
        (void)refuse_event(p, "invalid-shape", "An item of the batch is no object.", NULL);
    } else if (read_members(p, at)) {
        p->event->body_len = p->bodies->len - p->event->body_at;
    } else {
        p->bodies->len = p->event->body_at;
    }
}

static void read_items(struct parser *p, size_t array)
{
    if (!is_kind(p, array, JSON_ARRAY)) {
        refuse_request(p, "\"batch\" is no array.");
        return;
    }
    for (size_t at = json_doc_first(array);
         p->request->refusal.code == NULL && !json_doc_is_end(p->doc, at);
         at = json_doc_next(p->doc, at)) {
        read_event(p, at);
    }
}

/* The context or integrations of a batch. */
static void read_outer(struct parser *p, size_t object, struct buf *ret)
{
    if (!is_kind(p, object, JSON_OBJECT)) {
        return;
    }
    buf_clear(ret); /* of a member given twice the last counts */
    enum json_fault fault = json_pack(p->doc, object, LIMIT_JSON_DEPTH, ret);
    if (fault != JSON_FINE) {
        p->request->refusal =
            refusal_make(json_fault_code(fault), json_fault_sentence(fault), NULL);
    }
}

/* A member of the object around a batch. */
static void read_batch_member(struct parser *p, struct slice name, size_t value)
{
    struct request *r = p->request;
    bool is_text = is_kind(p, value, JSON_TEXT);
    if (slice_is(name, "batch")) {
        read_items(p, value);
    } else if (slice_is(name, "context")) {
        read_outer(p, value, &r->outer[0]);
    } else if (slice_is(name, "integrations")) {
        read_outer(p, value, &r->outer[1]);
    } else if (slice_is(name, "writeKey") && is_text) {
        r->write_key = json_doc_text(p->doc, value);
    } else if (slice_is(name, "sentAt") && is_text) {
        int64_t ms;
        r->sent_ms = time_text_parse(json_doc_text(p->doc, value), &ms) ? ms : TIME_ABSENT;
    }
}

static void read_request(struct parser *p)
{
    struct request *r = p->request;
    if (!is_kind(p, JSON_ROOT, JSON_OBJECT)) {
        refuse_request(p, "The body is no JSON object.");
    } else if (!r->is_batch) {
        read_event(p, JSON_ROOT);
    } else {
        for (size_t key = json_doc_first(JSON_ROOT);
             r->refusal.code == NULL && !json_doc_is_end(p->doc, key);
             key = json_doc_next(p->doc, key + 1)) {
            read_batch_member(p, json_doc_text(p->doc, key), key + 1);
        }
    }
}

/* By its mark, or by the zero that is half of its first character. */
static bool is_utf16(struct slice text)
{
    return text.len >= 2 && ((text.data[0] == 0xff && text.data[1] == 0xfe) ||
                             (text.data[0] == 0xfe && text.data[1] == 0xff) ||
                             (text.data[0] == 0) != (text.data[1] == 0));
}

void request_parse(struct request *r, enum event_type type, struct slice json, struct rand *rand)
{
    struct json_doc doc;
    struct parser p = {.request = r, .doc = &doc, .bodies = &r->bodies};
    request_reset(r);
    r->is_batch = type == EVENT_TYPES;
    if (json_parse(r->parser, json, &doc)) {
        read_request(&p);
    } else {
        r->refusal = refusal_make("invalid-json",
                                  is_utf16(json) ? "The body is UTF-16; JSON is sent in UTF-8."
                                                 : "The body is not valid JSON.",
                                  NULL);
    }
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

/* ---- Order ---- */

struct moment {
    int64_t ms;
    unsigned micros;
    uint32_t at;
};

static int compare_moments(const void *x, const void *y)
{
    const struct moment *a = x;
    const struct moment *b = y;
    if (a->ms != b->ms) {
        return a->ms < b->ms ? -1 : 1;
    }
    if (a->micros != b->micros) {
        return a->micros < b->micros ? -1 : 1;
    }
    return (a->at > b->at) - (a->at < b->at);
}

static bool is_in_order(const struct request *r)
{
    for (size_t i = 1; i < r->count; i++) {
        const struct request_event *before = &r->events[i - 1];
        const struct request_event *e = &r->events[i];
        if (e->micros != before->micros &&
            (e->event.timestamp_ms < before->event.timestamp_ms ||
             (e->event.timestamp_ms == before->event.timestamp_ms && e->micros < before->micros))) {
            return false;
        }
    }
    return true;
}

void request_order(struct request *r)
{
    if (is_in_order(r)) {
        return;
    }
    struct moment *moments = memory_allocate(r->count * sizeof *moments);
    struct request_event *sorted = memory_allocate(r->capacity * sizeof *sorted);
    for (size_t i = 0; i < r->count; i++) {
        const struct request_event *e = &r->events[i];
        moments[i] = (struct moment){e->event.timestamp_ms, e->micros, (uint32_t)i};
    }
    qsort(moments, r->count, sizeof *moments, compare_moments);
    for (size_t i = 0; i < r->count; i++) {
        memcpy(&sorted[i], &r->events[moments[i].at], sizeof *sorted);
    }
    free(moments);
    free(r->events);
    r->events = sorted;
}
