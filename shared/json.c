#include "shared/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/timetext.h"

const char *json_fault_code(enum json_fault fault)
{
    switch (fault) {
    case JSON_FINE:
        return "fine";
    case JSON_TOO_DEEP:
        return "too-deep";
    case JSON_TOO_LARGE:
        return "event-too-large";
    case JSON_BAD_TEXT:
        return "invalid-utf8";
    case JSON_BAD_NUMBER:
        return "number-out-of-range";
    case JSON_NOT_JSON:
        return "invalid-json";
    }
    return "";
}

const char *json_fault_sentence(enum json_fault fault)
{
    switch (fault) {
    case JSON_FINE:
        return "";
    case JSON_TOO_DEEP:
        return "The JSON is nested deeper than 24 levels.";
    case JSON_TOO_LARGE:
        return "The JSON is larger than is accepted here.";
    case JSON_BAD_TEXT:
        return "A text is not valid UTF-8.";
    case JSON_BAD_NUMBER:
        return "A number is NaN, Infinity, or too large to be kept as a 64-bit float.";
    case JSON_NOT_JSON:
        return "The body is not valid JSON.";
    }
    return "";
}

void json_packer_init(struct json_packer *p, struct buf *out)
{
    p->out = out;
    p->depth = 0;
    value_packer_init(&p->packer, out);
}

/* Room for one item of `len` content bytes and its MessagePack head, in the buf and in the 16-bit
 * count of its container. */
static bool begin_item(struct json_packer *p, size_t len)
{
    if (len + 9 > p->out->capacity - p->out->len && !buf_reserve(p->out, len + 9)) {
        return false;
    }
    if (p->depth > 0) {
        uint32_t count_max = p->open[p->depth - 1].is_map ? 2 * UINT16_MAX : UINT16_MAX;
        if (p->open[p->depth - 1].count == count_max) {
            return false;
        }
        p->open[p->depth - 1].count++;
    }
    return true;
}

enum json_fault json_packer_bool(struct json_packer *p, bool value)
{
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    if (value) {
        msgpack_pack_true(&p->packer);
    } else {
        msgpack_pack_false(&p->packer);
    }
    return JSON_FINE;
}

/* A whole number that is exact as a double. */
static bool is_whole(double value)
{
    return value == floor(value) && fabs(value) < 9007199254740992.0;
}

static enum json_fault pack_bits(struct buf *out, enum json_kind kind, uint64_t bits)
{
    msgpack_packer packer;
    double value;
    if (!buf_reserve(out, 9)) {
        return JSON_TOO_LARGE;
    }
    if (kind == JSON_INT) {
        value_put_int(out, (int64_t)bits);
        return JSON_FINE;
    }
    value_packer_init(&packer, out);
    if (kind == JSON_UINT) {
        msgpack_pack_uint64(&packer, bits);
        return JSON_FINE;
    }
    memcpy(&value, &bits, sizeof value);
    if (kind == JSON_HUGE || !isfinite(value)) {
        return JSON_BAD_NUMBER;
    }
    if (is_whole(value)) {
        msgpack_pack_int64(&packer, (int64_t)value);
    } else {
        msgpack_pack_double(&packer, value);
    }
    return JSON_FINE;
}

enum json_fault json_packer_number(struct json_packer *p, struct slice text)
{
    char zero_ended[33];
    uint64_t bits;
    ensure(text.len < sizeof zero_ended);
    memcpy(zero_ended, text.data, text.len);
    zero_ended[text.len] = 0;
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    enum json_kind kind = json_number_from(zero_ended, &bits);
    return pack_bits(p->out, kind, bits);
}

enum json_fault json_packer_text(struct json_packer *p, struct slice text)
{
    if (!begin_item(p, text.len)) {
        return JSON_TOO_LARGE;
    }
    value_put_text(p->out, text);
    return JSON_FINE;
}

enum json_fault json_packer_open(struct json_packer *p, bool is_map)
{
    if (p->depth == LIMIT_JSON_DEPTH) {
        return JSON_TOO_DEEP;
    }
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    buf_put_u8(p->out, is_map ? 0xde : 0xdc);
    p->open[p->depth].count_at = p->out->len;
    p->open[p->depth].count = 0;
    p->open[p->depth].is_map = is_map;
    p->depth++;
    buf_put_u16(p->out, 0);
    return JSON_FINE;
}

void json_packer_close(struct json_packer *p)
{
    ensure(p->depth > 0);
    p->depth--;
    uint32_t count = p->open[p->depth].count;
    count = p->open[p->depth].is_map ? count / 2 : count;
    /* begin_item() lets no container have more. */
    ensure(count <= UINT16_MAX);
    uint8_t *at = p->out->data + p->open[p->depth].count_at;
    at[0] = (uint8_t)(count >> 8);
    at[1] = (uint8_t)count;
}

/* What json_read() makes is never anything else. */
static enum json_fault pack_scalar(struct json_packer *p, const msgpack_object *value)
{
    struct slice text;
    if (value_text(value, &text)) {
        return json_packer_text(p, text);
    }
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    msgpack_pack_object(&p->packer, *value);
    return JSON_FINE;
}

enum json_fault json_packer_value(struct json_packer *p, const msgpack_object *value)
{
    bool is_map = value->type == MSGPACK_OBJECT_MAP;
    if (!is_map && value->type != MSGPACK_OBJECT_ARRAY) {
        return pack_scalar(p, value);
    }
    uint32_t count = is_map ? value->via.map.size : value->via.array.size;
    enum json_fault fault = json_packer_open(p, is_map);
    for (uint32_t i = 0; fault == JSON_FINE && i < count; i++) {
        if (is_map) {
            fault = json_packer_value(p, &value->via.map.ptr[i].key);
        }
        if (fault == JSON_FINE) {
            fault = json_packer_value(p, is_map ? &value->via.map.ptr[i].val
                                                : &value->via.array.ptr[i]);
        }
    }
    if (fault == JSON_FINE) {
        json_packer_close(p);
    }
    return fault;
}

void json_set_count(uint8_t *head, size_t count)
{
    ensure(count <= UINT16_MAX);
    head[1] = (uint8_t)(count >> 8);
    head[2] = (uint8_t)count;
}

static enum json_fault pack_head(struct buf *out, uint8_t kind, size_t count)
{
    uint8_t head[3] = {kind};
    if (count > UINT16_MAX) {
        return JSON_TOO_LARGE;
    }
    json_set_count(head, count);
    return buf_append(out, head, sizeof head) ? JSON_FINE : JSON_TOO_LARGE;
}

enum json_fault json_pack_map(struct buf *out, size_t count)
{
    return pack_head(out, 0xde, count);
}

/* Short texts, which are nearly all, are copied as if they were the longest: that is cheaper than
 * to copy as many bytes as there are. */
static bool pack_text(struct slice text, struct buf *out)
{
    if (text.len < JSON_TEXT_SLACK && out->capacity - out->len > JSON_TEXT_SLACK) {
        uint8_t *to = out->data + out->len;
        to[0] = (uint8_t)(0xa0 | text.len);
        memcpy(to + 1, text.data, JSON_TEXT_SLACK);
        out->len += 1 + text.len;
        return true;
    }
    if (!buf_reserve(out, text.len + 5)) {
        return false;
    }
    value_put_text(out, text);
    return true;
}

static enum json_fault pack_byte(uint8_t byte, struct buf *out)
{
    return buf_append(out, &byte, 1) ? JSON_FINE : JSON_TOO_LARGE;
}

/* A value, or of a container its head. */
static enum json_fault pack_one(const struct json_doc *doc, size_t at, struct buf *out)
{
    switch (json_doc_kind(doc, at)) {
    case JSON_TEXT:
        return pack_text(json_doc_text(doc, at), out) ? JSON_FINE : JSON_TOO_LARGE;
    case JSON_INT:
    case JSON_UINT:
    case JSON_DOUBLE:
    case JSON_DIGITS:
        return pack_bits(out, json_doc_kind(doc, at), (uint64_t)json_doc_int(doc, at));
    case JSON_NULL:
        return pack_byte(0xc0, out);
    case JSON_FALSE:
        return pack_byte(0xc2, out);
    case JSON_TRUE:
        return pack_byte(0xc3, out);
    case JSON_OBJECT:
        return pack_head(out, 0xde, json_doc_count(doc, at));
    case JSON_ARRAY:
        return pack_head(out, 0xdc, json_doc_count(doc, at));
    case JSON_NO_UTF8:
        return JSON_BAD_TEXT;
    case JSON_HUGE:
        return JSON_BAD_NUMBER;
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        break;
    }
    return JSON_FINE;
}

enum json_fault json_pack(const struct json_doc *doc, size_t at, int depth_max, struct buf *out)
{
    size_t end = json_doc_next(doc, at);
    int depth = 0;
    while (at < end) {
        enum json_fault fault = pack_one(doc, at, out);
        if (fault != JSON_FINE) {
            return fault;
        }
        enum json_kind kind = json_doc_kind(doc, at);
        if (kind == JSON_OBJECT || kind == JSON_ARRAY) {
            depth++;
            at++;
        } else {
            depth -= kind == JSON_OBJECT_END || kind == JSON_ARRAY_END;
            at = json_doc_next(doc, at);
        }
        if (depth > depth_max) {
            return JSON_TOO_DEEP;
        }
    }
    return JSON_FINE;
}

enum json_fault json_read(struct slice text, struct buf *out)
{
    struct json_parser *parser = json_parser_new();
    struct json_doc doc;
    enum json_fault fault = json_parse(parser, text, &doc)
                                ? json_pack(&doc, JSON_ROOT, LIMIT_JSON_DEPTH, out)
                                : JSON_NOT_JSON;
    json_parser_free(&parser);
    return fault;
}

bool json_read_value(struct slice text, struct buf *bytes, msgpack_zone *zone, msgpack_object *ret,
                     struct error *err)
{
    enum json_fault fault = json_read(text, bytes);
    if (fault != JSON_FINE) {
        return error_set(err, ERROR_INVALID, "%s", json_fault_sentence(fault));
    }
    return value_unpack(buf_slice(bytes), zone, ret, err);
}

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

static void separate(struct json_writer *w)
{
    if (w->needs_comma) {
        buf_put_u8(w->out, ',');
    }
    w->needs_comma = true;
}

static void open_with(struct json_writer *w, char bracket)
{
    separate(w);
    buf_put_u8(w->out, (uint8_t)bracket);
    w->needs_comma = false;
}

static void close_with(struct json_writer *w, char bracket)
{
    buf_put_u8(w->out, (uint8_t)bracket);
    w->needs_comma = true;
}

void json_open_object(struct json_writer *w)
{
    open_with(w, '{');
}

void json_close_object(struct json_writer *w)
{
    close_with(w, '}');
}

void json_open_array(struct json_writer *w)
{
    open_with(w, '[');
}

void json_close_array(struct json_writer *w)
{
    close_with(w, ']');
}

static void put_escaped(struct buf *out, struct slice text)
{
    size_t start = 0;
    buf_put_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buf_put(out, text.data + start, i - start);
        start = i + 1;
        if (c >= 0x20) {
            buf_put_format(out, "\\%c", c);
        } else {
            buf_put_format(out, "\\u%04x", c);
        }
    }
    if (start < text.len) {
        buf_put(out, text.data + start, text.len - start);
    }
    buf_put_u8(out, '"');
}

void json_text(struct json_writer *w, struct slice text)
{
    separate(w);
    put_escaped(w->out, text);
}

void json_cstr(struct json_writer *w, const char *text)
{
    json_text(w, slice_text(text));
}

void json_key_slice(struct json_writer *w, struct slice name)
{
    json_text(w, name);
    buf_put_u8(w->out, ':');
    w->needs_comma = false;
}

void json_key(struct json_writer *w, const char *name)
{
    json_key_slice(w, slice_text(name));
}

void json_int(struct json_writer *w, int64_t value)
{
    separate(w);
    buf_put_format(w->out, "%lld", (long long)value);
}

static void json_uint(struct json_writer *w, uint64_t value)
{
    separate(w);
    buf_put_format(w->out, "%llu", (unsigned long long)value);
}

/* The shortest of 15 to 17 digits that reads back as the same double. */
void json_double(struct json_writer *w, double value)
{
    char text[40];
    if (!isfinite(value)) {
        json_null(w); /* JSON has no word for infinity; a sum may reach it */
        return;
    }
    separate(w);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_put(w->out, text, strlen(text));
}

struct slice json_number_text(const struct json_doc *doc, size_t at, struct arena *arena)
{
    uint8_t bytes[40];
    struct buf text = {.data = bytes, .capacity = sizeof bytes, .len_max = sizeof bytes};
    struct json_writer w;
    json_writer_init(&w, &text);
    switch ((int)json_doc_kind(doc, at)) {
    case JSON_INT:
        json_int(&w, json_doc_int(doc, at));
        break;
    case JSON_UINT:
        json_uint(&w, (uint64_t)json_doc_int(doc, at));
        break;
    case JSON_DIGITS:
        return json_doc_text(doc, at);
    case JSON_DOUBLE:
        if (is_whole(json_doc_double(doc, at))) {
            json_int(&w, (int64_t)json_doc_double(doc, at));
        } else {
            json_double(&w, json_doc_double(doc, at));
        }
        break;
    default:
        break;
    }
    return arena_copy(arena, buf_slice(&text));
}

void json_bool(struct json_writer *w, bool value)
{
    separate(w);
    buf_put_format(w->out, "%s", value ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    separate(w);
    buf_put_format(w->out, "null");
}

void json_time(struct json_writer *w, int64_t ms)
{
    json_cstr(w, time_text_format(ms).text);
}

static void put_hex(struct json_writer *w, struct slice bytes)
{
    separate(w);
    buf_put_u8(w->out, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        buf_put_format(w->out, "%02x", bytes.data[i]);
    }
    buf_put_u8(w->out, '"');
}

static void put_map(struct json_writer *w, const msgpack_object_map *map)
{
    json_open_object(w);
    for (uint32_t i = 0; i < map->size; i++) {
        struct slice key;
        if (value_text(&map->ptr[i].key, &key)) {
            json_key_slice(w, key);
            json_value(w, &map->ptr[i].val);
        }
    }
    json_close_object(w);
}

void json_value(struct json_writer *w, const msgpack_object *value)
{
    switch (value->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        json_bool(w, value->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        json_uint(w, value->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        json_int(w, value->via.i64);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        json_double(w, value->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        json_text(w, slice_make(value->via.str.ptr, value->via.str.size));
        break;
    case MSGPACK_OBJECT_BIN:
        put_hex(w, slice_make(value->via.bin.ptr, value->via.bin.size));
        break;
    case MSGPACK_OBJECT_ARRAY:
        json_open_array(w);
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            json_value(w, &value->via.array.ptr[i]);
        }
        json_close_array(w);
        break;
    case MSGPACK_OBJECT_MAP:
        put_map(w, &value->via.map);
        break;
    case MSGPACK_OBJECT_NIL:
    case MSGPACK_OBJECT_EXT:
    default:
        json_null(w);
        break;
    }
}
