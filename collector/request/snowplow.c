#include "collector/request/snowplow.h"

#include "collector/request/request_internal.h"
#include "shared/json.h"

struct parser {
    struct snowplow_reader reader;
    const struct json_doc *doc;
    size_t count; /* may be over the maximum: the event is then refused */
    struct snowplow_parameter parameters[SNOWPLOW_PARAMETERS_MAX];
};

/* A parameter's value as text; an empty one is as if it were absent. */
static struct slice scalar_text(struct parser *p, size_t at)
{
    switch ((int)json_doc_kind(p->doc, at)) {
    case JSON_TEXT:
    case JSON_NO_UTF8: /* the reader checks */
        return json_doc_text(p->doc, at);
    case JSON_TRUE:
        return slice_text("1");
    case JSON_FALSE:
        return slice_text("0");
    case JSON_NULL:
        return slice_make(NULL, 0);
    default:
        return json_number_text(p->doc, at, &p->reader.request->arena);
    }
}

static bool is_container(const struct json_doc *doc, size_t at)
{
    return json_doc_kind(doc, at) == JSON_OBJECT || json_doc_kind(doc, at) == JSON_ARRAY;
}

static void read_item(struct parser *p, size_t at)
{
    const struct json_doc *doc = p->doc;
    struct request_event *event = request_add(p->reader.request);
    if (event == NULL) {
        return;
    }
    if (json_doc_kind(doc, at) != JSON_OBJECT) {
        event->refusal = refusal_make("invalid-shape", "An item of \"data\" is no object.", NULL);
        return;
    }
    p->count = 0;
    for (size_t key = json_doc_first(at); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        if (is_container(doc, key + 1)) {
            continue; /* no parameter */
        }
        if (p->count < SNOWPLOW_PARAMETERS_MAX) {
            p->parameters[p->count] =
                (struct snowplow_parameter){json_doc_text(doc, key), scalar_text(p, key + 1)};
        }
        p->count++;
    }
    snowplow_read_event(&p->reader, event, p->parameters, p->count);
}

/* {"schema": ..., "data": [{parameters}, ...]} */
static void read_envelope(struct parser *p)
{
    const struct json_doc *doc = p->doc;
    struct request *r = p->reader.request;
    if (json_doc_kind(doc, JSON_ROOT) != JSON_OBJECT) {
        r->refusal =
            refusal_make("invalid-shape", "The body is no object with an array \"data\".", NULL);
        return;
    }
    for (size_t key = json_doc_first(JSON_ROOT); !json_doc_is_end(doc, key);
         key = json_doc_next(doc, key + 1)) {
        size_t data = key + 1;
        if (!slice_is(json_doc_text(doc, key), "data") || json_doc_kind(doc, data) != JSON_ARRAY) {
            continue;
        }
        for (size_t at = json_doc_first(data); r->refusal.code == NULL && !json_doc_is_end(doc, at);
             at = json_doc_next(doc, at)) {
            read_item(p, at);
        }
    }
}

void snowplow_parse(struct request *request, struct slice json, struct slice user_agent,
                    struct rand *rand)
{
    struct json_doc doc;
    struct parser p;
    memset(&p, 0, offsetof(struct parser, parameters));
    request_reset(request);
    request->is_batch = true;
    if (json_parse(request->parser, json, &doc)) {
        p.doc = &doc;
        snowplow_reader_init(&p.reader, request, user_agent);
        read_envelope(&p);
        snowplow_reader_done(&p.reader);
    } else {
        request->refusal = refusal_make("invalid-json", "The body is not valid JSON.", NULL);
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
