/* What Snowplow's trackers send, as the JSON of a POST and as the parameters of a GET ("name=value"
 * lines): every event that is not refused has what request.h promises, and can be stored. */
#include "collector/request/snowplow.h"

#include "shared/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct request request;
static bool is_ready;

/* Within the depth of JSON, and stored and read back the same. */
static void check_event(const struct request_event *e)
{
    msgpack_zone zone;
    struct event back;
    struct error err;
    struct buf stored;
    struct buf again;
    struct json_packer packer;
    const struct event *event = &e->event;
    ensure(event->type == EVENT_TRACK || event->type == EVENT_PAGE);
    ensure(event->message_id.len > 0 && event->message_id.len <= LIMIT_MESSAGE_ID_BYTES);
    ensure(event->user_id.len <= LIMIT_IDENTIFIER_BYTES);
    ensure(event->anonymous_id.len <= LIMIT_IDENTIFIER_BYTES);
    ensure(event->user_id.len > 0 || event->anonymous_id.len > 0);
    ensure(event->body.len > 0 && event->body.len <= LIMIT_EVENT_BYTES);
    ensure(event->timestamp_ms >= 0 && event->timestamp_ms <= LIMIT_TIME_MS);
    ensure(e->preference_count <= LIMIT_CONSENT_CATEGORIES);
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    buf_init(&stored, 8 * LIMIT_EVENT_BYTES);
    event_pack(event, &stored);
    bool fine = event_unpack(buf_slice(&stored), &zone, &back, &err);
    ensure(fine && slice_equal(back.message_id, event->message_id));
    buf_init(&again, 8 * LIMIT_EVENT_BYTES);
    json_packer_init(&packer, &again);
    ensure(json_packer_value(&packer, &back.body_map) == JSON_FINE);
    buf_done(&again);
    buf_done(&stored);
    msgpack_zone_destroy(&zone);
}

static void check_request(void)
{
    ensure(request.count <= LIMIT_BATCH_EVENTS);
    ensure(request.refusal.code == NULL || request.count == 0);
    request_adopt(&request, slice_text("visitor"));
    request_stamp(&request, slice_text("source"), 1795292103120);
    for (size_t i = 0; i < request.count; i++) {
        if (request.events[i].refusal.code == NULL) {
            check_event(&request.events[i]);
        }
    }
}

static size_t read_lines(struct slice text, struct snowplow_parameter *ret)
{
    size_t count = 0;
    while (text.len > 0 && count < SNOWPLOW_PARAMETERS_MAX) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        const uint8_t *equals = memchr(text.data, '=', len);
        size_t name = equals == NULL ? len : (size_t)(equals - text.data);
        ret[count].name = slice_make(text.data, name);
        ret[count].value = slice_make(text.data + (equals == NULL ? len : name + 1),
                                      equals == NULL ? 0 : len - name - 1);
        count++;
        text = slice_skip(text, end == NULL ? len : len + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snowplow_parameter parameters[SNOWPLOW_PARAMETERS_MAX];
    struct slice text = slice_make(data, size);
    struct rand rand;
    if (!is_ready) {
        request_init(&request);
        is_ready = true;
    }
    if (size > LIMIT_REQUEST_BYTES) {
        return 0;
    }
    rand_seeded_init(&rand, 1);
    snowplow_parse(&request, text, slice_text("Browser/1"), &rand);
    check_request();
    snowplow_parse_query(&request, parameters, read_lines(text, parameters), slice_make(NULL, 0),
                         &rand);
    check_request();
    return 0;
}
