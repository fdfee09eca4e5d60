#include "collector/snowplow_event.h"

#include <sodium.h>
#include <stdlib.h>
#include "shared/json.h"
#include "shared/utf8.h"

/* Where in an event a parameter goes. */
enum place {
    PLACE_HEAD, /* read by name, below */
    PLACE_PROPERTIES,
    PLACE_PAGE,
    PLACE_SCREEN,
    PLACE_CONTEXT,
    PLACE_SNOWPLOW,
};

enum head {
    HEAD_NONE,
    HEAD_E,
    HEAD_EID,
    HEAD_UID,
    HEAD_DUID,
    HEAD_DTM,
    HEAD_STM,
    HEAD_TTM,
    HEAD_ACTION,
    HEAD_CO,
    HEAD_CX,
    HEAD_UE_PR,
    HEAD_UE_PX,
    HEADS
};

enum form { FORM_TEXT, FORM_NUMBER, FORM_SIZE };

struct row {
    const char *name;
    enum place place;
    const char *member; /* of a size two names, one behind the other */
    enum form form;
    enum head head;
};

/* In the order of the names: searched by halving. */
static const struct row rows[] = {
    {"cd", PLACE_SNOWPLOW, "cd", FORM_NUMBER, HEAD_NONE},
    {"co", PLACE_HEAD, NULL, FORM_TEXT, HEAD_CO},
    {"cx", PLACE_HEAD, NULL, FORM_TEXT, HEAD_CX},
    {"dtm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_DTM},
    {"duid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_DUID},
    {"e", PLACE_HEAD, NULL, FORM_TEXT, HEAD_E},
    {"eid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_EID},
    {"ip", PLACE_CONTEXT, "ip", FORM_TEXT, HEAD_NONE},
    {"lang", PLACE_CONTEXT, "locale", FORM_TEXT, HEAD_NONE},
    {"page", PLACE_PAGE, "title", FORM_TEXT, HEAD_NONE},
    {"pp_max", PLACE_PROPERTIES, "max_x", FORM_NUMBER, HEAD_NONE},
    {"pp_may", PLACE_PROPERTIES, "max_y", FORM_NUMBER, HEAD_NONE},
    {"pp_mix", PLACE_PROPERTIES, "min_x", FORM_NUMBER, HEAD_NONE},
    {"pp_miy", PLACE_PROPERTIES, "min_y", FORM_NUMBER, HEAD_NONE},
    {"refr", PLACE_PAGE, "referrer", FORM_TEXT, HEAD_NONE},
    {"res", PLACE_SCREEN, "width\0height", FORM_SIZE, HEAD_NONE},
    {"se_ac", PLACE_HEAD, NULL, FORM_TEXT, HEAD_ACTION},
    {"se_ca", PLACE_PROPERTIES, "category", FORM_TEXT, HEAD_NONE},
    {"se_la", PLACE_PROPERTIES, "label", FORM_TEXT, HEAD_NONE},
    {"se_pr", PLACE_PROPERTIES, "property", FORM_TEXT, HEAD_NONE},
    {"se_va", PLACE_PROPERTIES, "value", FORM_NUMBER, HEAD_NONE},
    {"stm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_STM},
    {"ti_ca", PLACE_PROPERTIES, "category", FORM_TEXT, HEAD_NONE},
    {"ti_cu", PLACE_PROPERTIES, "currency", FORM_TEXT, HEAD_NONE},
    {"ti_id", PLACE_PROPERTIES, "order_id", FORM_TEXT, HEAD_NONE},
    {"ti_nm", PLACE_PROPERTIES, "name", FORM_TEXT, HEAD_NONE},
    {"ti_pr", PLACE_PROPERTIES, "price", FORM_NUMBER, HEAD_NONE},
    {"ti_qu", PLACE_PROPERTIES, "quantity", FORM_NUMBER, HEAD_NONE},
    {"ti_sk", PLACE_PROPERTIES, "sku", FORM_TEXT, HEAD_NONE},
    {"tr_af", PLACE_PROPERTIES, "affiliation", FORM_TEXT, HEAD_NONE},
    {"tr_ci", PLACE_PROPERTIES, "city", FORM_TEXT, HEAD_NONE},
    {"tr_co", PLACE_PROPERTIES, "country", FORM_TEXT, HEAD_NONE},
    {"tr_cu", PLACE_PROPERTIES, "currency", FORM_TEXT, HEAD_NONE},
    {"tr_id", PLACE_PROPERTIES, "order_id", FORM_TEXT, HEAD_NONE},
    {"tr_sh", PLACE_PROPERTIES, "shipping", FORM_NUMBER, HEAD_NONE},
    {"tr_st", PLACE_PROPERTIES, "state", FORM_TEXT, HEAD_NONE},
    {"tr_tt", PLACE_PROPERTIES, "total", FORM_NUMBER, HEAD_NONE},
    {"tr_tx", PLACE_PROPERTIES, "tax", FORM_NUMBER, HEAD_NONE},
    {"ttm", PLACE_HEAD, NULL, FORM_TEXT, HEAD_TTM},
    {"tz", PLACE_CONTEXT, "timezone", FORM_TEXT, HEAD_NONE},
    {"ua", PLACE_CONTEXT, "userAgent", FORM_TEXT, HEAD_NONE},
    {"ue_pr", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UE_PR},
    {"ue_px", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UE_PX},
    {"uid", PLACE_HEAD, NULL, FORM_TEXT, HEAD_UID},
    {"url", PLACE_PAGE, "url", FORM_TEXT, HEAD_NONE},
    {"vid", PLACE_SNOWPLOW, "vid", FORM_NUMBER, HEAD_NONE},
    {"vp", PLACE_SCREEN, "innerWidth\0innerHeight", FORM_SIZE, HEAD_NONE},
};

static int compare_name(const void *name, const void *row)
{
    return slice_compare(*(const struct slice *)name, slice_text(((const struct row *)row)->name));
}

/* NULL: a parameter that has no place of its own. */
static const struct row *find_row(struct slice name)
{
    return bsearch(&name, rows, sizeof rows / sizeof *rows, sizeof *rows, compare_name);
}

struct member {
    const struct row *row;
    struct slice name;
    struct slice value;
};

/* The event that is being read. */
struct reading {
    struct snowplow_reader *reader;
    struct request_event *event;
    struct slice heads[HEADS];
    struct member members[SNOWPLOW_PARAMETERS_MAX];
    size_t count;
    const msgpack_object *contexts; /* array or NULL */
    struct slice schema;            /* of a self-describing event */
    const msgpack_object *data;     /* its properties, a map or NULL */
    struct json_packer packer;
    enum json_fault fault;
};

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

static bool refuse(struct reading *r, const char *code, const char *message, const char *field)
{
    r->event->refusal = (struct refusal){code, message, field};
    return false;
}

/* ---- The parameters ---- */

static bool sort_parameters(struct reading *r, const struct snowplow_parameter *parameters,
                            size_t count)
{
    if (count > SNOWPLOW_PARAMETERS_MAX) {
        return refuse(r, "invalid-shape", "The event has more than 256 parameters.", NULL);
    }
    for (size_t i = 0; i < count; i++) {
        struct slice value = parameters[i].value;
        const struct row *row = find_row(parameters[i].name);
        if (!utf8_is_valid(value)) {
            return refuse(r, "invalid-utf8", "A text is not valid UTF-8.", NULL);
        }
        if (row != NULL && row->place == PLACE_HEAD) {
            r->heads[row->head] = value;
        } else if (value.len > 0) {
            r->members[r->count++] = (struct member){row, parameters[i].name, value};
        }
        if (slice_is(parameters[i].name, "aid") && r->reader->request->write_key.len == 0) {
            r->reader->request->write_key = arena_copy(&r->reader->request->arena, value);
        }
    }
    return true;
}

/* Milliseconds since 1970. */
static bool take_time(struct reading *r, enum head head, const char *pointer, int64_t *ret)
{
    struct slice text = r->heads[head];
    int64_t ms = 0;
    bool fine = text.len <= 15; /* LIMIT_TIME_MS has as many digits */
    for (size_t i = 0; fine && i < text.len; i++) {
        fine = text.data[i] >= '0' && text.data[i] <= '9';
        ms = ms * 10 + (text.data[i] - '0');
    }
    if (!fine || ms > LIMIT_TIME_MS) {
        return refuse(r, "invalid-time", "A time is not in milliseconds since 1970.", pointer);
    }
    *ret = text.len == 0 ? TIME_ABSENT : ms;
    return true;
}

static bool take_times(struct reading *r)
{
    struct request_event *e = r->event;
    if (!take_time(r, HEAD_TTM, "/ttm", &e->timestamp_ms) ||
        !take_time(r, HEAD_DTM, "/dtm", &e->original_ms) ||
        !take_time(r, HEAD_STM, "/stm", &e->sent_ms)) {
        return false;
    }
    if (e->timestamp_ms != TIME_ABSENT) {
        e->original_ms = TIME_ABSENT;
        e->sent_ms = TIME_ABSENT;
    }
    return true;
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
static bool take_json(struct reading *r, enum head plain, enum head encoded, struct buf *bytes,
                      const char *pointer, const msgpack_object **ret)
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

static bool take_contexts(struct reading *r)
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

static bool take_self_describing(struct reading *r)
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

static void add_preference(struct reading *r, struct slice category, bool granted)
{
    struct request_event *e = r->event;
    if (category.len > 0 && e->preference_count < LIMIT_CONSENT_CATEGORIES) {
        e->preferences[e->preference_count++] =
            (struct consent_preference){arena_copy(&r->reader->request->arena, category), granted};
        e->has_preferences = true;
    }
}

/* A decision about scopes; one that is still pending says nothing. */
static void take_scopes(struct reading *r, const msgpack_object *data)
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

static void take_consent(struct reading *r)
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

/* ---- The body ---- */

static void put_text(struct reading *r, struct slice text)
{
    if (r->fault == JSON_FINE) {
        r->fault = json_packer_text(&r->packer, text);
    }
}

static void put_value(struct reading *r, const msgpack_object *value)
{
    if (r->fault == JSON_FINE) {
        r->fault = json_packer_value(&r->packer, value);
    }
}

static void put_open(struct reading *r, const char *name)
{
    put_text(r, slice_text(name));
    if (r->fault == JSON_FINE) {
        r->fault = json_packer_open(&r->packer, true);
    }
}

static void put_close(struct reading *r)
{
    if (r->fault == JSON_FINE) {
        json_packer_close(&r->packer);
    }
}

static size_t skip_digits(struct slice text, size_t at)
{
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9') {
        at++;
    }
    return at;
}

/* Digits, a fraction, an exponent: what JSON calls a number, of a sane length. */
static bool is_number(struct slice text)
{
    size_t start = text.len > 0 && text.data[0] == '-';
    size_t at = skip_digits(text, start);
    bool fine = at > start && text.len <= 32;
    if (at < text.len && text.data[at] == '.') {
        size_t fraction = at + 1;
        at = skip_digits(text, fraction);
        fine = fine && at > fraction;
    }
    return fine && at == text.len;
}

/* What should be a number and is none stays the text it is. */
static void put_number(struct reading *r, struct slice text)
{
    if (!is_number(text)) {
        put_text(r, text);
    } else if (r->fault == JSON_FINE) {
        r->fault = json_packer_number(&r->packer, text);
    }
}

/* "1920x1080", for two members. */
static void put_size(struct reading *r, const struct member *m)
{
    const uint8_t *x = memchr(m->value.data, 'x', m->value.len);
    if (x != NULL) {
        size_t width = (size_t)(x - m->value.data);
        const char *name = m->row->member;
        put_text(r, slice_text(name));
        put_number(r, slice_make(m->value.data, width));
        put_text(r, slice_text(name + strlen(name) + 1));
        put_number(r, slice_skip(m->value, width + 1));
    }
}

static void put_member(struct reading *r, const struct member *m)
{
    if (m->row != NULL && m->row->form == FORM_SIZE) {
        put_size(r, m);
        return;
    }
    put_text(r, m->row == NULL ? m->name : slice_text(m->row->member));
    if (m->row != NULL && m->row->form == FORM_NUMBER) {
        put_number(r, m->value);
    } else {
        put_text(r, m->value);
    }
}

static bool is_at(const struct member *m, enum place place)
{
    return (m->row == NULL ? PLACE_SNOWPLOW : m->row->place) == place;
}

static void put_members(struct reading *r, enum place place)
{
    for (size_t i = 0; i < r->count; i++) {
        if (is_at(&r->members[i], place)) {
            put_member(r, &r->members[i]);
        }
    }
}

static bool has_members(const struct reading *r, enum place place)
{
    bool found = false;
    for (size_t i = 0; i < r->count && !found; i++) {
        found = is_at(&r->members[i], place);
    }
    return found;
}

static struct slice value_of(const struct reading *r, const char *name)
{
    for (size_t i = r->count; i-- > 0;) {
        if (slice_is(r->members[i].name, name)) {
            return r->members[i].value;
        }
    }
    return slice_make(NULL, 0);
}

/* Where in the text one of these characters stands first, or its end. */
static size_t find_any(struct slice text, size_t from, const char *characters)
{
    while (from < text.len && strchr(characters, text.data[from]) == NULL) {
        from++;
    }
    return from;
}

/* The path and the query of the address, which Segment's clients send beside it. */
static void put_address_parts(struct reading *r, struct slice url)
{
    const uint8_t *scheme = url.len == 0 ? NULL : memmem(url.data, url.len, "://", 3);
    if (scheme == NULL) {
        return;
    }
    size_t path = find_any(url, (size_t)(scheme - url.data) + 3, "/?#");
    size_t query = find_any(url, path, "?#");
    size_t end = find_any(url, query, "#");
    put_text(r, slice_text("path"));
    put_text(r, query > path ? slice_make(url.data + path, query - path) : slice_text("/"));
    if (end > query) {
        put_text(r, slice_text("search"));
        put_text(r, slice_make(url.data + query, end - query));
    }
}

static void put_page(struct reading *r)
{
    put_members(r, PLACE_PAGE);
    put_address_parts(r, value_of(r, "url"));
}

static void put_consent(struct reading *r)
{
    const struct request_event *e = r->event;
    put_open(r, "consent");
    put_open(r, "categoryPreferences");
    for (size_t i = 0; i < e->preference_count; i++) {
        put_text(r, e->preferences[i].category);
        if (r->fault == JSON_FINE) {
            r->fault = json_packer_bool(&r->packer, e->preferences[i].granted);
        }
    }
    put_close(r);
    put_close(r);
}

static void put_context(struct reading *r)
{
    put_open(r, "context");
    if (has_members(r, PLACE_PAGE)) {
        put_open(r, "page");
        put_page(r);
        put_close(r);
    }
    if (has_members(r, PLACE_SCREEN)) {
        put_open(r, "screen");
        put_members(r, PLACE_SCREEN);
        put_close(r);
    }
    put_members(r, PLACE_CONTEXT);
    if (r->reader->user_agent.len > 0 && value_of(r, "ua").len == 0) {
        put_text(r, slice_text("userAgent"));
        put_text(r, r->reader->user_agent);
    }
    if (r->contexts != NULL) {
        put_text(r, slice_text("contexts"));
        put_value(r, r->contexts);
    }
    if (r->event->has_preferences) {
        put_consent(r);
    }
    put_open(r, "snowplow");
    if (r->schema.len > 0) {
        put_text(r, slice_text("schema"));
        put_text(r, r->schema);
    }
    put_members(r, PLACE_SNOWPLOW);
    put_close(r);
    put_close(r);
}

static void put_properties(struct reading *r)
{
    if (r->data != NULL) {
        put_text(r, slice_text("properties"));
        put_value(r, r->data);
        return;
    }
    put_open(r, "properties");
    if (r->event->event.type == EVENT_PAGE) {
        put_page(r);
    } else {
        put_members(r, PLACE_PROPERTIES);
    }
    put_close(r);
}

static bool write_body(struct reading *r)
{
    struct buf *bodies = &r->reader->request->bodies;
    json_packer_init(&r->packer, bodies);
    r->fault = json_packer_open(&r->packer, true);
    put_context(r);
    put_properties(r);
    put_close(r);
    r->event->body_len = bodies->len - r->event->body_at;
    if (r->fault != JSON_FINE) {
        return refuse(r, json_fault_code(r->fault), json_fault_sentence(r->fault), NULL);
    }
    return r->event->body_len <= LIMIT_EVENT_BYTES ||
           refuse(r, "event-too-large", "The event is over 32 KiB.", NULL);
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

static bool take_kind(struct reading *r)
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

static void take_names(struct reading *r)
{
    struct request *request = r->reader->request;
    struct request_event *e = r->event;
    e->event_name = arena_copy(&request->arena, e->event_name);
    e->event.message_id = arena_copy(&request->arena, r->heads[HEAD_EID]);
    e->event.user_id = request_take_id(request, r->heads[HEAD_UID]);
    e->event.anonymous_id = request_take_id(request, r->heads[HEAD_DUID]);
}

void snowplow_read_event(struct snowplow_reader *reader, struct request_event *event,
                         const struct snowplow_parameter *parameters, size_t count)
{
    struct reading r;
    memset(&r, 0, offsetof(struct reading, members));
    r.reader = reader;
    r.event = event;
    r.count = 0;
    r.contexts = NULL;
    r.schema = slice_make(NULL, 0);
    r.data = NULL;
    msgpack_zone_clear(&reader->request->zone);
    bool fine = sort_parameters(&r, parameters, count) && take_times(&r) && take_contexts(&r) &&
                take_kind(&r);
    if (fine) {
        take_names(&r);
        take_consent(&r);
        fine = write_body(&r);
    }
    if (!fine) {
        reader->request->bodies.len = event->body_at;
        event->body_len = 0;
    }
}
