/* Requests in Segment's API, as one event and as a batch: every event that is not refused has what
 * request.h promises, and can be stored and read back. */
#include "collector/request/request.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request request;
static bool is_ready;

static void check_body(struct slice body)
{
    msgpack_zone zone;
    msgpack_object value;
    struct error err;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    bool fine = value_unpack(body, &zone, &value, &err);
    ensure(fine && value.type == MSGPACK_OBJECT_MAP);
    msgpack_zone_destroy(&zone);
}

static void check_event(const struct request_event *e)
{
    const struct event *event = &e->event;
    ensure(event->type < EVENT_TYPES);
    ensure(event->message_id.len > 0 && event->message_id.len <= LIMIT_MESSAGE_ID_BYTES);
    ensure(event->user_id.len <= LIMIT_IDENTIFIER_BYTES);
    ensure(event->anonymous_id.len <= LIMIT_IDENTIFIER_BYTES);
    ensure(event->user_id.len > 0 || event->anonymous_id.len > 0 || e->has_external_id);
    ensure(event->body.len > 0 && event->body.len <= LIMIT_EVENT_BYTES);
    ensure(event->timestamp_ms >= 0 && event->timestamp_ms <= LIMIT_TIME_MS);
    ensure(e->preference_count <= LIMIT_CONSENT_CATEGORIES);
    check_body(event->body);
}

static void check_storing(const struct event *event)
{
    msgpack_zone zone;
    struct event back;
    struct error err;
    struct buf stored;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    buf_init(&stored, 4 * LIMIT_EVENT_BYTES);
    event_pack(event, &stored);
    bool fine = event_unpack(buf_slice(&stored), &zone, &back, &err);
    ensure(fine && slice_equal(back.message_id, event->message_id));
    buf_done(&stored);
    msgpack_zone_destroy(&zone);
}

static void try_as(enum event_type type, struct slice json)
{
    struct rand rand;
    rand_seeded_init(&rand, 1);
    request_parse(&request, type, json, &rand);
    ensure(request.count <= LIMIT_BATCH_EVENTS);
    ensure(request.refusal.code == NULL || request.count == 0);
    request_stamp(&request, slice_text("source"), 1795292103120);
    for (size_t i = 0; i < request.count; i++) {
        if (request.events[i].refusal.code == NULL) {
            check_event(&request.events[i]);
            check_storing(&request.events[i].event);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!is_ready) {
        request_init(&request);
        is_ready = true;
    }
    if (size <= LIMIT_REQUEST_BYTES) {
        try_as(EVENT_TRACK, slice_make(data, size));
        try_as(EVENT_PAGE, slice_make(data, size));
        try_as(EVENT_TYPES, slice_make(data, size));
    }
    return 0;
}
