/* JSON from outside: what is accepted reads back as a value, and what is written of it is JSON that
 * reads as the same again. What both parsers accept is the same document to both. */
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

static void check_word(const struct json_doc *a, const struct json_doc *b, size_t at)
{
    enum json_kind kind = json_doc_kind(a, at);
    ensure(kind == json_doc_kind(b, at));
    ensure(kind != JSON_TEXT || slice_equal(json_doc_text(a, at), json_doc_text(b, at)));
    ensure((kind != JSON_INT && kind != JSON_UINT && kind != JSON_DOUBLE) ||
           json_doc_int(a, at) == json_doc_int(b, at));
    if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
        ensure(json_doc_next(a, at) == json_doc_next(b, at));
        ensure(json_doc_count(a, at) == json_doc_count(b, at));
    }
}

static void compare_parsers(struct slice text)
{
    struct json_parser *quick = json_parser_new();
    struct json_parser *slow = json_parser_new();
    struct json_doc a;
    struct json_doc b;
    bool is_json = json_parse(quick, text, &a);
    ensure(is_json == json_parse_slowly(slow, text, &b));
    size_t end = is_json ? json_doc_next(&a, JSON_ROOT) : 0;
    for (size_t at = JSON_ROOT; at < end;) {
        bool opens = json_doc_kind(&a, at) == JSON_OBJECT || json_doc_kind(&a, at) == JSON_ARRAY;
        check_word(&a, &b, at);
        at = opens ? at + 1 : json_doc_next(&a, at);
    }
    json_parser_free(&quick);
    json_parser_free(&slow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    compare_parsers(slice_make(data, size));
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
