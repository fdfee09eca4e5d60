#include <sodium.h>
#include "collector/request/snowplow_internal.h"
#include "shared/json.h"
#include "shared/utf8.h"

void snowplow_reader_init(struct snowplow_reader *reader, struct request *request,
                          struct slice user_agent)
{
    reader->request = request;
    reader->user_agent = user_agent;
    buf_init(&reader->contexts, 2 * LIMIT_EVENT_BYTES);
    buf_init(&reader->data, 2 * LIMIT_EVENT_BYTES);
}

void snowplow_reader_done(struct snowplow_reader *reader)
{
    buf_done(&reader->contexts);
    buf_done(&reader->data);
}

static bool refuse(struct snowplow_reading *r, const char *code, const char *message,
                   const char *field)
{
    r->event->refusal = (struct refusal){code, message, field};
    return false;
}

/* ---- The parameters ---- */

static bool sort_parameters(struct snowplow_reading *r, const struct snowplow_parameter *parameters,
                            size_t count)
{
    if (count > SNOWPLOW_PARAMETERS_MAX) {
        return refuse(r, "invalid-shape", "The event has more than 256 parameters.", NULL);
    }
    for (size_t i = 0; i < count; i++) {
        struct slice name = parameters[i].name;
        struct slice value = parameters[i].value;
        const struct snowplow_row *row = snowplow_find_row(name);
        if (!utf8_is_valid(name) || !utf8_is_valid(value)) {
            return refuse(r, "invalid-utf8", "A text is not valid UTF-8.", NULL);
        }
        if (row != NULL && row->place == PLACE_HEAD) {
            r->heads[row->head] = value;
        } else if (value.len > 0) {
            r->members[r->count++] = (struct snowplow_member){row, name, value};
        }
        if (slice_is(name, "aid") && r->reader->request->write_key.len == 0) {
            r->reader->request->write_key = arena_copy(&r->reader->request->arena, value);
        }
    }
    return true;
}

/* Milliseconds since 1970. */
static int64_t take_time(struct snowplow_reading *r, enum snowplow_head head)
{
    struct slice text = r->heads[head];
    int64_t ms = 0;
    bool fine = text.len > 0 && text.len <= 15; /* LIMIT_TIME_MS has as many digits */
    for (size_t i = 0; fine && i < text.len; i++) {
        fine = text.data[i] >= '0' && text.data[i] <= '9';
        ms = ms * 10 + (text.data[i] - '0');
    }
    fine = fine && ms <= LIMIT_TIME_MS;
    r->event->has_unreadable_time = r->event->has_unreadable_time || (!fine && text.len > 0);
    return fine ? ms : TIME_ABSENT;
}

static void take_times(struct snowplow_reading *r)
{
    struct request_event *e = r->event;
    e->timestamp_ms = take_time(r, HEAD_TTM);
    e->original_ms = take_time(r, HEAD_DTM);
    e->sent_ms = take_time(r, HEAD_STM);
    if (e->timestamp_ms != TIME_ABSENT) {
        e->original_ms = TIME_ABSENT;
        e->sent_ms = TIME_ABSENT;
    }
}

/* ---- JSON in parameters ---- */

static struct slice decode_base64(struct arena *arena, struct slice text)
{
    size_t len = 0;
    while (text.len > 0 && text.data[text.len - 1] == '=') {
        text.len--;
    }
    bool is_standard =
        memchr(text.data, '+', text.len) != NULL || memchr(text.data, '/', text.len) != NULL;
    uint8_t *bytes = arena_allocate(arena, text.len + 1);
    bool fine =
        sodium_base642bin(bytes, text.len, (const char *)text.data, text.len, NULL, &len, NULL,
                          is_standard ? sodium_base64_VARIANT_ORIGINAL_NO_PADDING
                                      : sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
    return fine ? slice_make(bytes, len) : slice_make(NULL, 0);
}

/* The JSON of two parameters, one of which is in base64; *ret is NULL where there is neither. */
static bool take_json(struct snowplow_reading *r, enum snowplow_head plain,
                      enum snowplow_head encoded, struct buf *bytes, const char *pointer,
                      const msgpack_object **ret)
{
    struct request *request = r->reader->request;
    struct slice text = r->heads[plain];
    struct error err;
    *ret = NULL;
    if (text.len == 0 && r->heads[encoded].len == 0) {
        return true;
    }
    if (text.len == 0) {
        text = decode_base64(&request->arena, r->heads[encoded]);
    }
    buf_clear(bytes);
    enum json_fault fault = json_read(text, bytes);
    if (fault != JSON_FINE) {
        return refuse(r, json_fault_code(fault),
                      fault == JSON_NOT_JSON ? "A parameter is not valid JSON."
                                             : json_fault_sentence(fault),
                      pointer);
    }
    msgpack_object *object = arena_allocate(&request->arena, sizeof *object);
    bool fine = value_unpack(buf_slice(bytes), &request->zone, object, &err);
    ensure(fine);
    *ret = object;
    return true;
}

/* "iglu:VENDOR/NAME/FORMAT/VERSION"; empty where the text is none of Snowplow's form. */
static struct slice schema_name(struct slice schema)
{
    const uint8_t *end = schema.data + schema.len;
    const uint8_t *start = schema.len == 0 ? NULL : memchr(schema.data, '/', schema.len);
    if (start == NULL) {
        return slice_make(NULL, 0);
    }
    start++;
    const uint8_t *stop = memchr(start, '/', (size_t)(end - start));
    return stop == NULL ? slice_make(NULL, 0) : slice_make(start, (size_t)(stop - start));
}

static bool is_snowplows(struct slice schema, const char *name)
{
    return slice_starts_with(schema, slice_text("iglu:com.snowplowanalytics.snowplow/")) &&
           slice_is(schema_name(schema), name);
}

static bool take_contexts(struct snowplow_reading *r)
{
    const msgpack_object *json;
    if (!take_json(r, HEAD_CO, HEAD_CX, &r->reader->contexts, "/co", &json)) {
        return false;
    }
    r->contexts = value_member_c(json, "data");
    if (json != NULL && !value_is(r->contexts, MSGPACK_OBJECT_ARRAY)) {
        return refuse(r, "invalid-shape", "The contexts are no self-describing array.", "/co");
    }
    return true;
}

static bool take_self_describing(struct snowplow_reading *r)
{
    const msgpack_object *json;
    if (!take_json(r, HEAD_UE_PR, HEAD_UE_PX, &r->reader->data, "/ue_pr", &json)) {
        return false;
    }
    const msgpack_object *inner = value_member_c(json, "data");
    r->data = value_member_c(inner, "data");
    if (!value_text(value_member_c(inner, "schema"), &r->schema) ||
        schema_name(r->schema).len == 0 ||
        (r->data != NULL && !value_is(r->data, MSGPACK_OBJECT_MAP))) {
        return refuse(r, "invalid-shape", "The event does not describe itself by schema and data.",
                      "/ue_pr");
    }
    return true;
}

/* ---- Consent ---- */

static void add_preference(struct snowplow_reading *r, struct slice category, bool granted)
{
    struct request_event *e = r->event;
    if (category.len > 0 && e->preference_count < LIMIT_CONSENT_CATEGORIES) {
        e->preferences[e->preference_count++] =
            (struct consent_preference){arena_copy(&r->reader->request->arena, category), granted};
        e->has_preferences = true;
    }
}

/* A decision about scopes; one that is still pending says nothing. */
static void take_scopes(struct snowplow_reading *r, const msgpack_object *data)
{
    const msgpack_object *scopes = value_member_c(data, "consentScopes");
    struct slice decision = slice_make(NULL, 0);
    (void)value_text(value_member_c(data, "eventType"), &decision);
    bool granted = slice_is(decision, "allow_all") || slice_is(decision, "allow_selected") ||
                   slice_is(decision, "implicit_consent");
    bool denied = slice_is(decision, "deny_all") || slice_is(decision, "withdrawn") ||
                  slice_is(decision, "expired");
    uint32_t count = value_is(scopes, MSGPACK_OBJECT_ARRAY) ? scopes->via.array.size : 0;
    for (uint32_t i = 0; (granted || denied) && i < count; i++) {
        struct slice scope;
        if (value_text(&scopes->via.array.ptr[i], &scope)) {
            add_preference(r, scope, granted);
        }
    }
}

static void take_consent(struct snowplow_reading *r)
{
    bool withdraws = is_snowplows(r->schema, "consent_withdrawn");
    uint32_t count = r->contexts == NULL ? 0 : r->contexts->via.array.size;
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *entity = &r->contexts->via.array.ptr[i];
        const msgpack_object *data = value_member_c(entity, "data");
        struct slice schema;
        struct slice category;
        if (!value_text(value_member_c(entity, "schema"), &schema)) {
            continue;
        }
        if (is_snowplows(schema, "consent_preferences")) {
            take_scopes(r, data);
        } else if (is_snowplows(schema, "consent_document") &&
                   (value_text(value_member_c(data, "name"), &category) ||
                    value_text(value_member_c(data, "id"), &category))) {
            add_preference(r, category, !withdraws);
        }
    }
    if (is_snowplows(r->schema, "consent_preferences")) {
        take_scopes(r, r->data); /* the decision itself goes before what is attached to it */
    }
}

/* ---- Proof ---- */

bool snowplow_is_proof(const msgpack_object *entity, struct slice *ret_token)
{
    struct slice schema;
    return value_text(value_member_c(entity, "schema"), &schema) &&
           slice_starts_with(schema, slice_text("iglu:tributary/proof/")) &&
           value_text(value_member_c(value_member_c(entity, "data"), "token"), ret_token);
}

/* Trackers have no field for it, so it comes as an entity (TRUST.md). Of several the last counts.
 */
static void take_proof(struct snowplow_reading *r)
{
    uint32_t count = r->contexts == NULL ? 0 : r->contexts->via.array.size;
    r->proof = slice_make(NULL, 0);
    for (uint32_t i = 0; i < count; i++) {
        (void)snowplow_is_proof(&r->contexts->via.array.ptr[i], &r->proof);
    }
}

/* ---- The event ---- */

static const struct {
    const char *e;
    enum event_type type;
    const char *event_name; /* NULL: it has its own, or none */
} kinds[] = {
    {"pv", EVENT_PAGE, NULL},
    {"se", EVENT_TRACK, NULL},
    {"ue", EVENT_TRACK, NULL},
    {"pp", EVENT_TRACK, "Page Ping"},
    {"tr", EVENT_TRACK, "Order Completed"},
    {"ti", EVENT_TRACK, "Product Purchased"},
};

static bool take_kind(struct snowplow_reading *r)
{
    struct request_event *e = r->event;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (slice_is(r->heads[HEAD_E], kinds[i].e)) {
            e->event.type = kinds[i].type;
            e->has_type = true;
            e->event_name = kinds[i].event_name == NULL ? r->heads[HEAD_ACTION]
                                                        : slice_text(kinds[i].event_name);
        }
    }
    if (!e->has_type) {
        return refuse(r, "invalid-type", "\"e\" is none of pv, pp, se, ue, tr, ti.", "/e");
    }
    if (!slice_is(r->heads[HEAD_E], "ue")) {
        return true;
    }
    if (!take_self_describing(r)) {
        return false;
    }
    e->event_name = schema_name(r->schema);
    return true;
}

static void take_names(struct snowplow_reading *r)
{
    struct request *request = r->reader->request;
    struct request_event *e = r->event;
    struct arena *arena = &request->arena;
    e->event_name = arena_copy(arena, e->event_name);
    e->event.message_id = arena_copy(arena, r->heads[HEAD_EID]);
    e->event.user_id = request_take_id(request, e, arena_copy(arena, r->heads[HEAD_UID]));
    e->event.anonymous_id = request_take_id(request, e, arena_copy(arena, r->heads[HEAD_DUID]));
}

void snowplow_read_event(struct snowplow_reader *reader, struct request_event *event,
                         const struct snowplow_parameter *parameters, size_t count)
{
    struct snowplow_reading r;
    memset(&r, 0, offsetof(struct snowplow_reading, members));
    r.reader = reader;
    r.event = event;
    r.count = 0;
    r.contexts = NULL;
    r.schema = slice_make(NULL, 0);
    r.data = NULL;
    msgpack_zone_clear(&reader->request->zone);
    bool fine = sort_parameters(&r, parameters, count) && take_contexts(&r) && take_kind(&r);
    if (fine) {
        take_times(&r);
        take_names(&r);
        take_consent(&r);
        take_proof(&r);
        fine = snowplow_write_body(&r);
    }
    if (!fine) {
        reader->request->bodies.len = event->body_at;
        event->body_len = 0;
    }
}
