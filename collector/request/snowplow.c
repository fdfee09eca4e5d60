#include "collector/request/snowplow.h"

#include <yajl/yajl_parse.h>

/* How deep the interesting things are: the object around all, its array "data", the events. */
enum { DEPTH_ENVELOPE = 1, DEPTH_DATA = 2, DEPTH_EVENT = 3 };

struct parser {
    struct snowplow_reader reader;
    int depth;
    bool is_data_key; /* the next value is the array */
    bool is_in_data;
    bool is_in_event;
    struct slice name;
    size_t count; /* may be over the maximum: the event is then refused */
    struct snowplow_parameter parameters[SNOWPLOW_PARAMETERS_MAX];
};

static int refuse_request(struct parser *p)
{
    p->reader.request->refusal =
        (struct refusal){"invalid-shape", "The body is no object with an array \"data\".", NULL};
    return 0;
}

/* An item of the array that is no object. */
static int add_misfit(struct parser *p)
{
    struct request_event *event = request_add(p->reader.request);
    if (event != NULL) {
        event->refusal =
            (struct refusal){"invalid-shape", "An item of \"data\" is no object.", NULL};
    }
    return event != NULL;
}

static int end_event(struct parser *p)
{
    struct request_event *event = request_add(p->reader.request);
    if (event != NULL) {
        snowplow_read_event(&p->reader, event, p->parameters, p->count);
    }
    p->is_in_event = false;
    return event != NULL;
}

/* A value that is neither object nor array; the parser's own memory holds it only now. */
static int on_scalar(struct parser *p, struct slice text)
{
    if (p->depth == 0) {
        return refuse_request(p);
    }
    if (p->is_in_data && p->depth == DEPTH_DATA) {
        return add_misfit(p);
    }
    if (p->is_in_event && p->depth == DEPTH_EVENT) {
        if (p->count < SNOWPLOW_PARAMETERS_MAX) {
            p->parameters[p->count] =
                (struct snowplow_parameter){p->name, arena_copy(&p->reader.request->arena, text)};
        }
        p->count++;
    }
    return 1;
}

static int on_null(void *ctx)
{
    return on_scalar(ctx, slice_make(NULL, 0)); /* empty is as if absent */
}

static int on_boolean(void *ctx, int value)
{
    return on_scalar(ctx, slice_text(value != 0 ? "1" : "0"));
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return on_scalar(ctx, slice_make(text, len));
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    return on_scalar(ctx, slice_make(text, len));
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    struct parser *p = ctx;
    struct slice key = slice_make(text, len);
    if (p->depth == DEPTH_ENVELOPE) {
        p->is_data_key = slice_is(key, "data");
    } else if (p->is_in_event && p->depth == DEPTH_EVENT) {
        p->name = arena_copy(&p->reader.request->arena, key);
    }
    return 1;
}

static int on_start_map(void *ctx)
{
    struct parser *p = ctx;
    if (p->is_in_data && p->depth == DEPTH_DATA) {
        p->is_in_event = true;
        p->count = 0;
    }
    p->depth++;
    return 1;
}

static int on_start_array(void *ctx)
{
    struct parser *p = ctx;
    int fine = 1;
    if (p->depth == 0) {
        return refuse_request(p);
    }
    if (p->depth == DEPTH_ENVELOPE && p->is_data_key) {
        p->is_in_data = true;
    } else if (p->is_in_data && p->depth == DEPTH_DATA) {
        fine = add_misfit(p);
    }
    p->depth++;
    return fine;
}

static int on_end(void *ctx)
{
    struct parser *p = ctx;
    p->depth--;
    if (p->is_in_event && p->depth == DEPTH_DATA) {
        return end_event(p);
    }
    if (p->depth == DEPTH_ENVELOPE) {
        p->is_in_data = false;
    }
    return 1;
}

void snowplow_parse(struct request *request, struct slice json, struct slice user_agent,
                    struct rand *rand)
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
    struct parser p;
    memset(&p, 0, offsetof(struct parser, parameters));
    request_reset(request);
    request->is_batch = true;
    snowplow_reader_init(&p.reader, request, user_agent);
    yajl_handle handle = yajl_alloc(&callbacks, NULL, &p);
    ensure(handle != NULL);
    /* Text is checked event by event. */
    yajl_config(handle, yajl_dont_validate_strings, 1);
    yajl_status status = yajl_parse(handle, json.data, json.len);
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    snowplow_reader_done(&p.reader);
    if (request->refusal.code == NULL && status != yajl_status_ok) {
        request->refusal = (struct refusal){"invalid-json", "The body is not valid JSON.", NULL};
    }
    request_finish(request, EVENT_TYPES, rand);
}

void snowplow_parse_query(struct request *request, const struct snowplow_parameter *parameters,
                          size_t count, struct slice user_agent, struct rand *rand)
{
    struct snowplow_reader reader;
    request_reset(request);
    snowplow_reader_init(&reader, request, user_agent);
    snowplow_read_event(&reader, request_add(request), parameters, count);
    snowplow_reader_done(&reader);
    request_finish(request, EVENT_TYPES, rand);
}
