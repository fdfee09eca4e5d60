#include "hub/api/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* The members of an event that has this body, as JSON. */
static void write_members(const char *body_json, struct buf *out)
{
    struct buf body;
    struct buf packed;
    struct event event;
    struct error err;
    struct json_writer w;
    msgpack_zone zone;
    buf_init(&body, 4096);
    buf_init(&packed, 8192);
    assert_true(msgpack_zone_init(&zone, 4096));
    assert_int_equal(json_read(slice_text(body_json), &body), JSON_FINE);
    event_pack(&(struct event){.type = EVENT_TRACK,
                               .timestamp_ms = 1795292000000,
                               .received_ms = 1795292000000,
                               .source = slice_text("web"),
                               .message_id = slice_text("m1"),
                               .name = slice_text("Seen"),
                               .body = buf_slice(&body)},
               &packed);
    assert_true(event_unpack(buf_slice(&packed), &zone, &event, &err));
    json_writer_init(&w, out);
    json_open_object(&w);
    api_write_event_members(&w, &event);
    json_close_object(&w);
    msgpack_zone_destroy(&zone);
    buf_done(&body);
    buf_done(&packed);
}

static void test_a_clients_members_do_not_stand_beside_the_hubs_own(void **state)
{
    (void)state;
    struct buf plain;
    struct buf forged;
    buf_init(&plain, 8192);
    buf_init(&forged, 8192);
    write_members("{\"properties\":{\"id\":\"x\",\"source\":\"y\"},\"groupId\":\"g\"}", &plain);
    write_members("{\"id\":\"x\",\"collector\":\"x\",\"messageId\":\"x\",\"type\":\"x\","
                  "\"event\":\"x\",\"name\":\"x\",\"timestamp\":\"x\",\"receivedAt\":\"x\","
                  "\"source\":\"x\",\"anonymousId\":\"x\",\"userId\":\"x\","
                  "\"properties\":{\"id\":\"x\",\"source\":\"y\"},\"groupId\":\"g\"}",
                  &forged);
    assert_int_equal(forged.len, plain.len);
    assert_memory_equal(forged.data, plain.data, plain.len);
    buf_put_u8(&plain, 0);
    assert_non_null(strstr((const char *)plain.data,
                           "\"properties\":{\"id\":\"x\",\"source\":\"y\"},\"groupId\":\"g\"}"));
    buf_done(&plain);
    buf_done(&forged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_clients_members_do_not_stand_beside_the_hubs_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
