/* /v1/refusals: what the collectors have refused, as they report it. */
#include "hub/api/internal.h"

/* Beyond it nothing more is told: ask for one collector. */
enum { ANSWER_BYTES_MAX = 32 * 1024 * 1024 };

struct refusals {
    struct json_writer *w;
    struct slice source; /* no data: all */
};

static bool is_wanted(const struct refusals *r, struct slice source)
{
    return r->w->out->len < ANSWER_BYTES_MAX &&
           (r->source.data == NULL || slice_equal(r->source, source));
}

static void write_text(struct json_writer *w, const char *name, struct slice text)
{
    json_key(w, name);
    json_text(w, text);
}

static void write_count(void *user, const struct report_count *count)
{
    const struct refusals *r = user;
    if (!is_wanted(r, count->source)) {
        return;
    }
    json_open_object(r->w);
    write_text(r->w, "collector", count->collector);
    write_text(r->w, "source", count->source);
    write_text(r->w, "code", count->code);
    json_key(r->w, "lastHour");
    json_int(r->w, (int64_t)count->last_hour);
    json_key(r->w, "sinceStart");
    json_int(r->w, (int64_t)count->since_start);
    json_key(r->w, "total");
    json_int(r->w, (int64_t)count->total);
    json_close_object(r->w);
}

static void write_refusal(void *user, const struct report_refusal *refusal)
{
    const struct refusals *r = user;
    const struct {
        const char *name;
        struct slice text;
    } optional[] = {{"field", refusal->field},
                    {"type", refusal->type},
                    {"event", refusal->event},
                    {"sample", refusal->sample}};
    if (!is_wanted(r, refusal->source)) {
        return;
    }
    json_open_object(r->w);
    write_text(r->w, "collector", refusal->collector);
    write_text(r->w, "source", refusal->source);
    json_key(r->w, "at");
    json_time(r->w, refusal->at_ms);
    write_text(r->w, "code", refusal->code);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        if (optional[i].text.len > 0) {
            write_text(r->w, optional[i].name, optional[i].text);
        }
    }
    json_close_object(r->w);
}

void api_refusals(struct call *call, struct slice method)
{
    struct refusals r = {&call->w, http_query(call->http, "source")};
    struct slice collector = http_query(call->http, "collector");
    if (!slice_is(method, "GET")) {
        http_answer_error(call->http, 405, "method-not-allowed", "Refusals can be read only.",
                          NULL);
        return;
    }
    json_open_object(&call->w);
    json_key(&call->w, "refusals");
    json_open_array(&call->w);
    reports_each_count(call->hub->reports, collector, clock_now_ms(&clock_real), write_count, &r);
    json_close_array(&call->w);
    json_key(&call->w, "last");
    json_open_array(&call->w);
    reports_each_refusal(call->hub->reports, collector, write_refusal, &r);
    json_close_array(&call->w);
    json_close_object(&call->w);
    call_answer(call, 200);
}

/* The sums over the sources; there are few reasons. */
enum { REASONS_MAX = 64 };
struct sums {
    size_t count;
    struct arena *arena;
    struct {
        struct slice code;
        uint64_t count;
    } reasons[REASONS_MAX];
};

static void add_up(void *user, const struct report_count *count)
{
    struct sums *sums = user;
    size_t at = 0;
    while (at < sums->count && !slice_equal(sums->reasons[at].code, count->code)) {
        at++;
    }
    if (count->last_hour == 0 || at == REASONS_MAX) {
        return;
    }
    if (at == sums->count) {
        sums->reasons[sums->count++].code = arena_copy(sums->arena, count->code);
        sums->reasons[at].count = 0;
    }
    sums->reasons[at].count += count->last_hour;
}

void api_write_refusal_sums(struct call *call, struct slice collector)
{
    struct sums sums = {.arena = &call->arena};
    reports_each_count(call->hub->reports, collector, clock_now_ms(&clock_real), add_up, &sums);
    json_key(&call->w, "refusalsLastHour");
    json_open_object(&call->w);
    for (size_t i = 0; i < sums.count; i++) {
        json_key_slice(&call->w, sums.reasons[i].code);
        json_int(&call->w, (int64_t)sums.reasons[i].count);
    }
    json_close_object(&call->w);
}
