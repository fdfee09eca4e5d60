/* /v1/quarantine, /v1/quarantine/release, /v1/quarantine/discard */
#include "hub/api/internal.h"

#include "shared/log.h"

/* What one request looks at, at most; it says where to go on. */
enum { SCANNED_MAX = 20000, LIST_MAX = 500 };

/* Which events: those of a source, a name, or both. */
struct filter {
    struct slice source;
    struct slice event;
};

/* Goes through the quarantine and picks events. */
struct scan {
    struct call *call;
    struct filter filter;
    size_t limit;
    size_t scanned;
    bool more;
    struct quarantine_id last; /* looked at */
    struct quarantine_id *ids; /* of what was picked; NULL: written as JSON */
    size_t count;
};

static bool is_wanted(const struct filter *filter, const struct event *event)
{
    return (filter->source.len == 0 || slice_equal(filter->source, event->source)) &&
           (filter->event.len == 0 || slice_equal(filter->event, event->name));
}

static void write_entry(struct json_writer *w, const struct quarantine_entry *entry,
                        const struct event *event)
{
    json_open_object(w);
    json_key(w, "id");
    json_cstr(w, quarantine_id_format(entry->id).text);
    json_key(w, "collector");
    json_text(w, entry->collector_id);
    api_write_event_members(w, event);
    json_close_object(w);
}

static bool look_at(void *user, const struct quarantine_entry *entry)
{
    struct scan *s = user;
    struct event event;
    struct error err;
    s->more = s->count == s->limit || s->scanned == SCANNED_MAX;
    if (s->more) {
        return false;
    }
    s->scanned++;
    s->last = entry->id;
    msgpack_zone_clear(&s->call->zone);
    if (event_unpack(entry->bytes, &s->call->zone, &event, &err) && is_wanted(&s->filter, &event)) {
        if (s->ids != NULL) {
            s->ids[s->count] = entry->id;
        } else {
            write_entry(&s->call->w, entry, &event);
        }
        s->count++;
    }
    return true;
}

/* Where to begin: behind the "next" of an earlier answer. False: answered with 400. */
static bool read_cursor(struct call *call, struct slice text, struct quarantine_id *ret)
{
    *ret = (struct quarantine_id){0, 0};
    if (text.len > 0 && !quarantine_id_parse(text, ret)) {
        http_answer_error(call->http, 400, "invalid-query",
                          "\"cursor\" must be the \"next\" of an earlier answer.", NULL);
        return false;
    }
    return true;
}

/* Where to go on; null at the end. */
static void write_next(struct json_writer *w, const struct scan *s)
{
    json_key(w, "next");
    if (s->more) {
        json_cstr(w, quarantine_id_format(s->last).text);
    } else {
        json_null(w);
    }
}

static void list(struct call *call)
{
    struct scan s = {.call = call,
                     .filter = {http_query(call->http, "source"), http_query(call->http, "event")}};
    struct quarantine_id after;
    struct error err;
    if (!call_read_limit(call, 100, LIST_MAX, &s.limit) ||
        !read_cursor(call, http_query(call->http, "cursor"), &after)) {
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, "events");
    json_open_array(&call->w);
    if (!quarantine_each(call->hub->quarantine, after, look_at, &s, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    json_close_array(&call->w);
    write_next(&call->w, &s);
    json_close_object(&call->w);
    call_answer(call, 200);
}

static bool refuse(struct call *call, const char *message, const char *field)
{
    http_answer_error(call->http, 400, "invalid-selection", message, field);
    return false;
}

static bool read_ids(struct call *call, const msgpack_object *list, struct scan *s)
{
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > QUARANTINE_BATCH_MAX) {
        return refuse(call, "\"ids\" must be an array of up to 1,000 ids.", "/ids");
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        struct slice text;
        if (!value_text(&list->via.array.ptr[i], &text) ||
            !quarantine_id_parse(text, &s->ids[s->count])) {
            return refuse(call, "An id must be one of the quarantine's listing.", "/ids");
        }
        s->count++;
    }
    return true;
}

/* {"ids":[…]}, or {"source":…, "event":…} with one or both, or {"all":true}; the latter two with
 * the "cursor" that an earlier answer gave as "next". */
static bool select_events(struct call *call, struct scan *s)
{
    msgpack_object body;
    struct slice cursor = slice_make(NULL, 0);
    struct quarantine_id after;
    struct error err;
    bool all = false;
    if (!call_read_json(call, known_members_of_selections, &body)) {
        return false;
    }
    const msgpack_object *ids = value_member_c(&body, "ids");
    if (ids != NULL) {
        return read_ids(call, ids, s);
    }
    (void)value_bool(value_member_c(&body, "all"), &all);
    if (value_text(value_member_c(&body, "source"), &s->filter.source)) {
        s->filter.source = arena_copy(&call->arena, s->filter.source);
    }
    if (value_text(value_member_c(&body, "event"), &s->filter.event)) {
        s->filter.event = arena_copy(&call->arena, s->filter.event);
    }
    if (!all && s->filter.source.len == 0 && s->filter.event.len == 0) {
        return refuse(call, "Name \"ids\", a \"source\", an \"event\", or say \"all\":true.", NULL);
    }
    (void)value_text(value_member_c(&body, "cursor"), &cursor);
    if (!read_cursor(call, cursor, &after)) {
        return false;
    }
    if (!quarantine_each(call->hub->quarantine, after, look_at, s, &err)) {
        call_answer_failure(call, &err);
        return false;
    }
    return true;
}

static void take(struct call *call, bool release)
{
    struct scan s = {.call = call, .limit = QUARANTINE_BATCH_MAX};
    struct error err;
    size_t count;
    s.ids = arena_allocate(&call->arena, QUARANTINE_BATCH_MAX * sizeof *s.ids);
    if (!select_events(call, &s)) {
        return;
    }
    if (!quarantine_take(call->hub->quarantine, s.ids, s.count, release, &count, &err)) {
        call_answer_failure(call, &err);
        return;
    }
    log_info(release ? "quarantine-released" : "quarantine-discarded",
             "Events left the quarantine. events=%zu source=%.*s event=%.*s", count,
             SLICE_ARGS(s.filter.source), SLICE_ARGS(s.filter.event));
    json_open_object(&call->w);
    json_key(&call->w, release ? "released" : "discarded");
    json_int(&call->w, (int64_t)count);
    json_key(&call->w, "more");
    json_bool(&call->w, s.more);
    write_next(&call->w, &s);
    json_close_object(&call->w);
    call_answer(call, 200);
}

void api_quarantine(struct call *call, struct slice method, struct slice rest)
{
    bool release = slice_is(rest, "release");
    if (rest.len > 0 && !release && !slice_is(rest, "discard")) {
        call_answer_not_found(call, "path");
    } else if (rest.len == 0 && slice_is(method, "GET")) {
        list(call);
    } else if (rest.len > 0 && slice_is(method, "POST")) {
        take(call, release);
    } else {
        http_answer_error(call->http, 405, "method-not-allowed",
                          "The quarantine takes GET; its release and discard take POST.", NULL);
    }
}
