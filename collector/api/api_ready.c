/* Readiness: may this collector be sent events, and if not, why. */
#include <stdio.h>
#include "collector/api/api_internal.h"
#include "shared/timetext.h"

struct reason {
    bool applies;
    const char *code;
    const char *message;
};

static bool has_sources(struct collector *c)
{
    pthread_rwlock_rdlock(&c->gate_lock);
    bool has = gate_has_sources(c->gate);
    pthread_rwlock_unlock(&c->gate_lock);
    return has;
}

static void write_reason(struct json_writer *w, const struct reason *reason)
{
    json_open_object(w);
    json_key(w, "code");
    json_cstr(w, reason->code);
    json_key(w, "message");
    json_cstr(w, reason->message);
    json_close_object(w);
}

/* Information only: the collector is made for working without the hub. */
static void write_hub(struct json_writer *w, struct downlink *downlink)
{
    char text[64];
    int64_t answered_ms = downlink_answered_ms(downlink);
    json_key(w, "hub");
    if (downlink_is_connected(downlink)) {
        json_cstr(w, "connected");
    } else if (answered_ms == 0) {
        json_cstr(w, "unreachable since the start");
    } else {
        snprintf(text, sizeof text, "unreachable since %s", time_text_format(answered_ms).text);
        json_cstr(w, text);
    }
}

static void write_reasons(struct json_writer *w, const struct reason *reasons, size_t count,
                          const struct reason *first)
{
    json_key(w, "error");
    write_reason(w, first);
    json_key(w, "reasons");
    json_open_array(w);
    for (size_t i = 0; i < count; i++) {
        if (reasons[i].applies) {
            write_reason(w, &reasons[i]);
        }
    }
    json_close_array(w);
}

void api_get_ready(struct api *api, struct http_request *http)
{
    struct collector *c = api->collector;
    struct standing_refusal refusal = standing_refusal(c->standing);
    const struct reason reasons[] = {
        {atomic_load(&api->is_stopping), "stopping", "The collector is ending."},
        {refusal.code != NULL, refusal.code, refusal.message},
        {committer_stats(c->committer).is_failing, "storage-failed",
         "The disk takes no events: it is full, or it fails."},
        {spool_is_full(c->spool), "spool-full",
         "The spool is full: the hub takes nothing, or takes it too slowly."},
        {!has_sources(c), "no-source", "No source is known yet, so every event would be refused."},
    };
    enum { COUNT = sizeof reasons / sizeof *reasons };
    const struct reason *first = NULL;
    for (size_t i = COUNT; i-- > 0;) {
        first = reasons[i].applies ? &reasons[i] : first;
    }
    struct scratch *s = api_take_scratch(api);
    struct json_writer w;
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, "ready");
    json_bool(&w, first == NULL);
    write_hub(&w, c->downlink);
    if (first != NULL) {
        write_reasons(&w, reasons, COUNT, first);
    }
    json_close_object(&w);
    http_answer(http, first == NULL ? 200 : 503, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}
