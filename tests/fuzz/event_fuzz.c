/* Stored events: what is accepted is within its bounds and can be shown as JSON. */
#include "shared/event.h"

#include "shared/json.h"
#include "shared/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msgpack_zone zone;
    struct event event;
    struct error err;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    if (event_unpack(slice_make(data, size), &zone, &event, &err)) {
        struct buf text;
        struct json_writer w;
        buf_init(&text, SIZE_MAX / 2);
        json_writer_init(&w, &text);
        ensure(event.message_id.len > 0 && event_type_name(event.type) != NULL);
        ensure(event.timestamp_ms >= 0 && event.timestamp_ms <= LIMIT_TIME_MS);
        ensure(event.received_ms >= 0 && event.received_ms <= LIMIT_TIME_MS);
        json_value(&w, &event.body_map);
        (void)event_properties(&event);
        buf_done(&text);
    } else {
        ensure(err.kind == ERROR_CORRUPT);
    }
    msgpack_zone_destroy(&zone);
    return 0;
}
