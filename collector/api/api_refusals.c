/* GET /v1/refusals: what was refused, for whoever debugs a source, with the hub up or down. */
#include "collector/api/api_internal.h"

struct refusals_answer {
    struct json_writer *w;
    struct slice source; /* only this one; no data: all */
};

static bool is_wanted(const struct refusals_answer *a, struct slice source)
{
    return a->source.data == NULL || slice_equal(a->source, source);
}

static void write_count(void *user, struct slice source, const char *code, uint64_t count)
{
    struct refusals_answer *a = user;
    if (is_wanted(a, source)) {
        json_open_object(a->w);
        json_key(a->w, "source");
        json_text(a->w, source);
        json_key(a->w, "code");
        json_cstr(a->w, code);
        json_key(a->w, "count");
        json_int(a->w, (int64_t)count);
        json_close_object(a->w);
    }
}

static void write_optional(struct json_writer *w, const char *name, const char *text)
{
    if (text != NULL && text[0] != 0) {
        json_key(w, name);
        json_cstr(w, text);
    }
}

static bool write_seen(void *user, struct slice source, const struct refusal_seen *seen)
{
    struct refusals_answer *a = user;
    if (is_wanted(a, source)) {
        json_open_object(a->w);
        json_key(a->w, "source");
        json_text(a->w, source);
        json_key(a->w, "at");
        json_time(a->w, seen->at_ms);
        json_key(a->w, "code");
        json_cstr(a->w, seen->code);
        write_optional(a->w, "field", seen->field);
        write_optional(a->w, "type", seen->type);
        write_optional(a->w, "event", seen->event);
        write_optional(a->w, "sample", seen->sample);
        json_close_object(a->w);
    }
    return true;
}

void api_get_refusals(struct api *api, struct http_request *http)
{
    struct json_writer w;
    if (!api_authorize(api, http)) {
        return;
    }
    struct scratch *s = api_take_scratch(api);
    struct refusals_answer answer = {&w, http_query(http, "source")};
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "refusals");
    json_open_array(&w);
    refusals_each_count(api->collector->refusals, write_count, &answer);
    json_close_array(&w);
    json_key(&w, "last");
    json_open_array(&w);
    refusals_each_last(api->collector->refusals, write_seen, &answer);
    json_close_array(&w);
    json_close_object(&w);
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}
