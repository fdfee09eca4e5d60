/* JSON from outside: what is accepted reads back as a value, and what is written of it is JSON that
 * reads as the same again. */
#include "shared/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Compared as text: a double between 2^53 and 10^17 without a fraction comes back as the whole
 * number that it is. */
static void write_value(const struct buf *bytes, struct buf *ret_text)
{
    msgpack_zone zone;
    msgpack_object value;
    struct json_writer w;
    struct error err;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    bool fine = value_unpack(buf_slice(bytes), &zone, &value, &err);
    ensure(fine);
    (void)value_path(&value, slice_text("a.b.c"));
    buf_clear(ret_text);
    json_writer_init(&w, ret_text);
    json_value(&w, &value);
    msgpack_zone_destroy(&zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes;
    struct buf text;
    struct buf again;
    buf_init(&bytes, 4 * LIMIT_REQUEST_BYTES);
    buf_init(&text, 64 * LIMIT_REQUEST_BYTES);
    buf_init(&again, 64 * LIMIT_REQUEST_BYTES);
    if (json_read(slice_make(data, size), &bytes) == JSON_FINE) {
        write_value(&bytes, &text);
        buf_clear(&bytes);
        enum json_fault fault = json_read(buf_slice(&text), &bytes);
        ensure(fault == JSON_FINE);
        write_value(&bytes, &again);
        ensure(slice_equal(buf_slice(&text), buf_slice(&again)));
    }
    buf_done(&bytes);
    buf_done(&text);
    buf_done(&again);
    return 0;
}
