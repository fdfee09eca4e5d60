/* The body of an event: context and properties, made of what the parameters said. */
#include "collector/request/body.h"
#include "collector/request/snowplow_internal.h"
#include "shared/json.h"

struct writer {
    const struct snowplow_reading *from;
    struct json_packer packer;
    enum json_fault fault; /* the first; nothing is written after it */
};

/* The text is UTF-8. */
static void put_text(struct writer *w, struct slice text)
{
    if (w->fault == JSON_FINE) {
        w->fault = json_packer_text(&w->packer, text);
    }
}

static void put_value(struct writer *w, const msgpack_object *value)
{
    if (w->fault == JSON_FINE) {
        w->fault = json_packer_value(&w->packer, value);
    }
}

static void put_open(struct writer *w, const char *name)
{
    put_text(w, slice_text(name));
    if (w->fault == JSON_FINE) {
        w->fault = json_packer_open(&w->packer, true);
    }
}

static void put_close(struct writer *w)
{
    if (w->fault == JSON_FINE) {
        json_packer_close(&w->packer);
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
static void put_number(struct writer *w, struct slice text)
{
    if (!is_number(text)) {
        put_text(w, text);
    } else if (w->fault == JSON_FINE) {
        w->fault = json_packer_number(&w->packer, text);
    }
}

/* "1920x1080", for two members. */
static void put_size(struct writer *w, const struct snowplow_member *m)
{
    const uint8_t *x = memchr(m->value.data, 'x', m->value.len);
    if (x != NULL) {
        size_t width = (size_t)(x - m->value.data);
        const char *name = m->row->member;
        put_text(w, slice_text(name));
        put_number(w, slice_make(m->value.data, width));
        put_text(w, slice_text(name + strlen(name) + 1));
        put_number(w, slice_skip(m->value, width + 1));
    }
}

static void put_member(struct writer *w, const struct snowplow_member *m)
{
    if (m->row != NULL && m->row->form == FORM_SIZE) {
        put_size(w, m);
        return;
    }
    put_text(w, m->row == NULL ? m->name : slice_text(m->row->member));
    if (m->row != NULL && m->row->form == FORM_NUMBER) {
        put_number(w, m->value);
    } else {
        put_text(w, m->value);
    }
}

static bool is_at(const struct snowplow_member *m, enum snowplow_place place)
{
    return (m->row == NULL ? PLACE_SNOWPLOW : m->row->place) == place;
}

static void put_members(struct writer *w, enum snowplow_place place)
{
    for (size_t i = 0; i < w->from->count; i++) {
        if (is_at(&w->from->members[i], place)) {
            put_member(w, &w->from->members[i]);
        }
    }
}

static bool has_members(const struct writer *w, enum snowplow_place place)
{
    bool found = false;
    for (size_t i = 0; i < w->from->count && !found; i++) {
        found = is_at(&w->from->members[i], place);
    }
    return found;
}

static struct slice value_of(const struct writer *w, const char *name)
{
    for (size_t i = w->from->count; i-- > 0;) {
        if (slice_is(w->from->members[i].name, name)) {
            return w->from->members[i].value;
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
static void put_address_parts(struct writer *w, struct slice url)
{
    const uint8_t *scheme = url.len == 0 ? NULL : memmem(url.data, url.len, "://", 3);
    if (scheme == NULL) {
        return;
    }
    size_t path = find_any(url, (size_t)(scheme - url.data) + 3, "/?#");
    size_t query = find_any(url, path, "?#");
    size_t end = find_any(url, query, "#");
    put_text(w, slice_text("path"));
    put_text(w, query > path ? slice_make(url.data + path, query - path) : slice_text("/"));
    if (end > query) {
        put_text(w, slice_text("search"));
        put_text(w, slice_make(url.data + query, end - query));
    }
}

static void put_page(struct writer *w)
{
    put_members(w, PLACE_PAGE);
    put_address_parts(w, value_of(w, "url"));
}

static void put_consent(struct writer *w)
{
    const struct request_event *e = w->from->event;
    put_open(w, "consent");
    put_open(w, "categoryPreferences");
    for (size_t i = 0; i < e->preference_count; i++) {
        put_text(w, e->preferences[i].category);
        if (w->fault == JSON_FINE) {
            w->fault = json_packer_bool(&w->packer, e->preferences[i].granted);
        }
    }
    put_close(w);
    put_close(w);
}

/* The entities, but for those that are a proof: a token is kept in one place. */
static void put_contexts(struct writer *w, const msgpack_object *contexts)
{
    struct slice token;
    put_text(w, slice_text("contexts"));
    if (w->fault == JSON_FINE) {
        w->fault = json_packer_open(&w->packer, false);
    }
    for (uint32_t i = 0; i < contexts->via.array.size; i++) {
        if (!snowplow_is_proof(&contexts->via.array.ptr[i], &token)) {
            put_value(w, &contexts->via.array.ptr[i]);
        }
    }
    put_close(w);
}

static void put_context(struct writer *w)
{
    put_open(w, "context");
    if (has_members(w, PLACE_PAGE)) {
        put_open(w, "page");
        put_page(w);
        put_close(w);
    }
    if (has_members(w, PLACE_SCREEN)) {
        put_open(w, "screen");
        put_members(w, PLACE_SCREEN);
        put_close(w);
    }
    put_members(w, PLACE_CONTEXT);
    if (w->from->reader->user_agent.len > 0 && value_of(w, "ua").len == 0) {
        put_text(w, slice_text("userAgent"));
        put_text(w, w->from->reader->user_agent);
    }
    if (w->from->contexts != NULL) {
        put_contexts(w, w->from->contexts);
    }
    if (w->from->proof.len > 0) {
        put_text(w, slice_text("proof"));
        put_text(w, w->from->proof);
    }
    if (w->from->event->has_preferences) {
        put_consent(w);
    }
    put_open(w, "snowplow");
    if (w->from->schema.len > 0) {
        put_text(w, slice_text("schema"));
        put_text(w, w->from->schema);
    }
    put_members(w, PLACE_SNOWPLOW);
    put_close(w);
    put_close(w);
}

static void put_properties(struct writer *w)
{
    if (w->from->data != NULL) {
        put_text(w, slice_text("properties"));
        put_value(w, w->from->data);
        return;
    }
    put_open(w, "properties");
    if (w->from->event->event.type == EVENT_PAGE) {
        put_page(w);
    } else {
        put_members(w, PLACE_PROPERTIES);
    }
    put_close(w);
}

/* Where the gate finds the user agent. */
static void note_user_agent(struct request_event *event, struct slice body)
{
    const struct slice names[] = {slice_text("context"), slice_text("userAgent")};
    struct slice value;
    struct slice text;
    if (body_get(body, (struct body_path){names, 2}, &value) && body_text(value, &text)) {
        event->user_agent_at = (size_t)(text.data - body.data);
        event->user_agent_len = text.len;
    }
}

bool snowplow_write_body(struct snowplow_reading *reading)
{
    struct buf *bodies = &reading->reader->request->bodies;
    struct request_event *event = reading->event;
    struct writer w = {.from = reading};
    json_packer_init(&w.packer, bodies);
    w.fault = json_packer_open(&w.packer, true);
    put_context(&w);
    put_properties(&w);
    put_close(&w);
    event->body_len = bodies->len - event->body_at;
    if (w.fault != JSON_FINE) {
        event->refusal =
            (struct refusal){json_fault_code(w.fault), json_fault_sentence(w.fault), NULL};
    } else if (event->body_len > LIMIT_EVENT_BYTES) {
        event->refusal = (struct refusal){"event-too-large", "The event is over 32 KiB.", NULL};
    } else {
        note_user_agent(event, slice_make(bodies->data + event->body_at, event->body_len));
    }
    return event->refusal.code == NULL;
}
