#include "hub/cli/replay_sender.h"

#include <stdlib.h>
#include <time.h>
#include "hub/cli/client.h"
#include "shared/clock.h"
#include "shared/json.h"
#include "shared/rand.h"

enum {
    BATCH_EVENTS = 100,
    BATCH_BYTES = 400 * 1000,
    PAUSE_MS_MIN = 100,
    PAUSE_MS_MAX = 10 * 1000,
    TROUBLE_MS = 500,
    BATCHES_PER_SECOND = 10, /* at a given rate, so that it flows evenly */
};

struct replay_sender {
    const struct replay_sender_options *options;
    struct replay_progress *progress;
    struct client *client;
    struct client_reply reply;
    struct buf events; /* each with a comma behind it */
    size_t ends[BATCH_EVENTS];
    size_t count;
    size_t batch_events;
    struct buf body;
    struct buf json;
    msgpack_zone zone;
    int64_t due_ns;    /* when the next batch may go */
    bool told_trouble; /* the operator knows that it is being tried again */
    struct replay_counts counts;
};

bool replay_sender_open(const struct replay_sender_options *options,
                        struct replay_progress *progress, struct replay_sender **ret,
                        struct error *err)
{
    struct replay_sender *sender = memory_allocate_zeroed(sizeof *sender);
    int64_t portion = options->events_per_second / BATCHES_PER_SECOND;
    sender->options = options;
    sender->progress = progress;
    sender->batch_events = options->events_per_second == 0 || portion > BATCH_EVENTS ? BATCH_EVENTS
                           : portion < 1                                             ? 1
                                         : (size_t)portion;
    sender->due_ns = clock_monotonic_ns(&clock_real);
    client_reply_init(&sender->reply);
    buf_init(&sender->events, SIZE_MAX);
    buf_init(&sender->body, SIZE_MAX);
    buf_init(&sender->json, SIZE_MAX);
    bool made = msgpack_zone_init(&sender->zone, 8192);
    ensure(made);
    *ret = sender;
    if (!client_open_collector(options->collector, options->write_key, &sender->client, err)) {
        replay_sender_close(ret);
        return false;
    }
    return true;
}

void replay_sender_close(struct replay_sender **sender)
{
    struct replay_sender *s = *sender;
    if (s != NULL) {
        client_close(&s->client);
        client_reply_done(&s->reply);
        msgpack_zone_destroy(&s->zone);
        buf_done(&s->events);
        buf_done(&s->body);
        buf_done(&s->json);
        free(s);
        *sender = NULL;
    }
}

const struct replay_counts *replay_sender_counts(const struct replay_sender *sender)
{
    return &sender->counts;
}

static void count_rejected(struct replay_sender *s, struct slice code)
{
    size_t i = 0;
    if (code.len == 0 || code.len >= REPLAY_CODE_BYTES) {
        code = slice_text("other");
    }
    while (i < REPLAY_CODES_MAX - 1 && s->counts.codes[i].count > 0 &&
           !slice_is(code, s->counts.codes[i].code)) {
        i++;
    }
    if (s->counts.codes[i].count == 0) {
        code = i == REPLAY_CODES_MAX - 1 ? slice_text("other") : code;
        memcpy(s->counts.codes[i].code, code.data, code.len);
        s->counts.codes[i].code[code.len] = 0;
    }
    s->counts.codes[i].count++;
    s->counts.rejected++;
}

static void sleep_ns(int64_t ns)
{
    struct timespec left = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (ns > 0 && nanosleep(&left, &left) != 0) {
    }
}

/* Events from `from` up to `to` as a batch. Nothing says when it was sent, so that each event's
 * time is taken as it is. */
static void build_body(struct replay_sender *s, size_t from, size_t to)
{
    size_t start = from == 0 ? 0 : s->ends[from - 1];
    buf_clear(&s->body);
    buf_put_format(&s->body, "{\"batch\":[");
    buf_put(&s->body, s->events.data + start, s->ends[to - 1] - start - 1); /* no last comma */
    buf_put_format(&s->body, "]}");
}

/* The list of rejected items in the reply, NULL where there is none. Valid until the next. */
static const msgpack_object *rejected_items(struct replay_sender *s, msgpack_object *json)
{
    struct error unread;
    buf_clear(&s->json);
    msgpack_zone_clear(&s->zone);
    if (!json_read_value(buf_slice(&s->reply.body), &s->json, &s->zone, json, &unread)) {
        return NULL;
    }
    const msgpack_object *list = value_member_c(json, "rejected");
    return value_is(list, MSGPACK_OBJECT_ARRAY) ? list : NULL;
}

static void count_items(struct replay_sender *s, const msgpack_object *items)
{
    for (uint32_t i = 0; i < items->via.array.size; i++) {
        struct slice code = {0};
        value_text(value_member_c(&items->via.array.ptr[i], "code"), &code);
        count_rejected(s, code);
    }
}

static bool is_passing(long status)
{
    return status == 408 || status == 429 || status >= 500;
}

/* Wait before trying again; false when it has been tried for too long. */
static bool pause_before_retry(struct replay_sender *s, int attempt, int64_t since_ns,
                               const struct error *reason, struct error *err)
{
    int64_t pause_ms = PAUSE_MS_MAX;
    int64_t waited_ms = (clock_monotonic_ns(&clock_real) - since_ns) / 1000000;
    if (waited_ms >= s->options->give_up_ms) {
        *err = *reason;
        return error_add_context(err, "given up after %d tries in %d s", attempt,
                                 (int)(waited_ms / 1000));
    }
    /* What passes at once is not worth a line. */
    if (waited_ms >= TROUBLE_MS && !s->told_trouble) {
        s->told_trouble = true;
        replay_progress_say(s->progress, "%s; trying again", reason->message);
    }
    if (attempt < 8) {
        pause_ms = (int64_t)PAUSE_MS_MIN << attempt;
        pause_ms = pause_ms > PAUSE_MS_MAX ? PAUSE_MS_MAX : pause_ms;
    }
    /* Half of it by chance, so that many that were turned away do not return together. */
    pause_ms = pause_ms / 2 + (int64_t)rand_below(&rand_secure, (uint64_t)pause_ms / 2 + 1);
    if (s->reply.retry_after_ms > pause_ms) {
        pause_ms = s->reply.retry_after_ms;
    }
    if (pause_ms > s->options->give_up_ms - waited_ms) {
        pause_ms = s->options->give_up_ms - waited_ms;
    }
    sleep_ns(pause_ms * 1000000);
    return true;
}

/* Post s->body until there is an answer that will not change. */
static bool post(struct replay_sender *s, struct error *err)
{
    int64_t since_ns = clock_monotonic_ns(&clock_real);
    for (int attempt = 1;; attempt++) {
        struct error reason = {0};
        s->reply.retry_after_ms = -1;
        if (client_request(s->client, "POST", "/v1/batch", buf_slice(&s->body), &s->reply,
                           &reason) &&
            !is_passing(s->reply.status)) {
            if (s->told_trouble) {
                s->told_trouble = false;
                replay_progress_say(s->progress, "%s answers again", s->options->collector);
            }
            return true;
        }
        if (reason.kind == ERROR_NONE && client_check(&s->reply, &reason)) {
            return true;
        }
        if (!pause_before_retry(s, attempt, since_ns, &reason, err)) {
            return false;
        }
    }
}

static bool send_range(struct replay_sender *s, size_t from, size_t to, struct error *err)
{
    msgpack_object json = {.type = MSGPACK_OBJECT_NIL};
    struct error refusal;
    build_body(s, from, to);
    if (!post(s, err)) {
        return false;
    }
    const msgpack_object *items = rejected_items(s, &json);
    if (client_check(&s->reply, &refusal)) {
        uint32_t rejected = items == NULL ? 0 : items->via.array.size;
        s->counts.accepted += to - from > rejected ? to - from - rejected : 0;
        if (items != NULL) {
            count_items(s, items);
        }
        return true;
    }
    if (s->reply.status != 400 && s->reply.status != 413 && s->reply.status != 422) {
        *err = refusal;
        return false;
    }
    if (items != NULL && items->via.array.size == to - from) {
        count_items(s, items);
        return true;
    }
    if (to - from == 1) {
        struct slice code = {0};
        value_text(value_member_c(value_member_c(&json, "error"), "code"), &code);
        count_rejected(s, code);
        return true;
    }
    size_t middle = from + (to - from) / 2;
    return send_range(s, from, middle, err) && send_range(s, middle, to, err);
}

/* Keep to the rate. What an interruption has cost is not made up for by a burst. */
static void wait_until_due(struct replay_sender *s)
{
    int64_t now = clock_monotonic_ns(&clock_real);
    if (s->options->events_per_second == 0) {
        return;
    }
    if (s->due_ns < now - 1000000000) {
        s->due_ns = now;
    }
    sleep_ns(s->due_ns - now);
    s->due_ns += (int64_t)s->count * 1000000000 / s->options->events_per_second;
}

bool replay_sender_flush(struct replay_sender *sender, struct error *err)
{
    if (sender->count == 0) {
        return true;
    }
    wait_until_due(sender);
    if (!send_range(sender, 0, sender->count, err)) {
        return false;
    }
    sender->count = 0;
    buf_clear(&sender->events);
    return true;
}

bool replay_sender_add(struct replay_sender *sender, struct slice event, struct error *err)
{
    if (sender->count > 0 && sender->events.len + event.len > BATCH_BYTES &&
        !replay_sender_flush(sender, err)) {
        return false;
    }
    buf_put_slice(&sender->events, event);
    buf_put_u8(&sender->events, ',');
    sender->ends[sender->count++] = sender->events.len;
    return sender->count < sender->batch_events || replay_sender_flush(sender, err);
}
