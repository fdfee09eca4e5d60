#include "shared/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>
#include "shared/timetext.h"
#include "shared/utf8.h"

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
        return "A number is too large to be kept as a 64-bit float.";
    case JSON_NOT_JSON:
        return "The body is not valid JSON.";
    }
    return "";
}

void json_packer_init(struct json_packer *p, struct buf *out)
{
    p->out = out;
    p->checked = slice_make(NULL, 0);
    p->depth = 0;
    value_packer_init(&p->packer, out);
}

void json_packer_trust(struct json_packer *p, struct slice input)
{
    p->checked = input;
}

bool json_packer_check(const struct json_packer *p, struct slice text)
{
    bool is_inside = text.data >= p->checked.data && text.data < p->checked.data + p->checked.len;
    return is_inside || utf8_is_valid(text);
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

enum json_fault json_packer_null(struct json_packer *p)
{
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    msgpack_pack_nil(&p->packer);
    return JSON_FINE;
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

/* Whole numbers of up to 18 digits, which is nearly all of them, without strtod. */
static bool small_whole_number(struct slice text, int64_t *ret)
{
    size_t i = text.data[0] == '-';
    int64_t value = 0;
    if (text.len - i > 18) {
        return false;
    }
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *ret = text.data[0] == '-' ? -value : value;
    return true;
}

/* Prices and the like: up to 15 digits of which some stand behind the point. Such a number of
 * digits and such a power of ten are exact as doubles, so that their quotient is rounded once, as
 * strtod() does it (Clinger 1990, the fast path). */
static bool short_decimal(struct slice text, double *ret)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t begin = text.data[0] == '-';
    size_t digits_behind = 0;
    bool behind = false;
    int64_t value = 0;
    if (text.len - begin > 16) {
        return false;
    }
    for (size_t i = begin; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.') {
            behind = true;
        } else if (c >= '0' && c <= '9') {
            value = value * 10 + (c - '0');
            digits_behind += behind;
        } else {
            return false;
        }
    }
    *ret = (double)(begin > 0 ? -value : value) / powers[digits_behind];
    return behind && value > 0;
}

static enum json_fault pack_double(struct json_packer *p, double value)
{
    if (!isfinite(value)) {
        return JSON_BAD_NUMBER;
    }
    if (value == floor(value) && fabs(value) < 9007199254740992.0) {
        msgpack_pack_int64(&p->packer, (int64_t)value);
    } else {
        msgpack_pack_double(&p->packer, value);
    }
    return JSON_FINE;
}

static enum json_fault pack_other_number(struct json_packer *p, struct slice text)
{
    char digits[LIMIT_NAME_BYTES];
    if (text.len >= sizeof digits) {
        return JSON_BAD_NUMBER;
    }
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    if (strpbrk(digits, ".eE") == NULL) {
        errno = 0;
        if (digits[0] == '-') {
            long long value = strtoll(digits, NULL, 10);
            if (errno == 0) {
                msgpack_pack_int64(&p->packer, value);
                return JSON_FINE;
            }
        } else {
            unsigned long long value = strtoull(digits, NULL, 10);
            if (errno == 0) {
                msgpack_pack_uint64(&p->packer, value);
                return JSON_FINE;
            }
        }
    }
    return pack_double(p, strtod(digits, NULL));
}

enum json_fault json_packer_number(struct json_packer *p, struct slice text)
{
    int64_t whole;
    double decimal;
    if (!begin_item(p, 0)) {
        return JSON_TOO_LARGE;
    }
    if (small_whole_number(text, &whole)) {
        msgpack_pack_int64(&p->packer, whole);
        return JSON_FINE;
    }
    return short_decimal(text, &decimal) ? pack_double(p, decimal) : pack_other_number(p, text);
}

enum json_fault json_packer_text(struct json_packer *p, struct slice text)
{
    if (!json_packer_check(p, text)) {
        return JSON_BAD_TEXT;
    }
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

struct reader {
    struct json_packer packer;
    enum json_fault fault;
    bool is_complete; /* the value has ended; only white space may follow */
};

static int keep(struct reader *r, enum json_fault fault)
{
    r->fault = fault;
    r->is_complete = r->packer.depth == 0;
    return fault == JSON_FINE;
}

static int on_null(void *ctx)
{
    struct reader *r = ctx;
    return keep(r, json_packer_null(&r->packer));
}

static int on_boolean(void *ctx, int value)
{
    struct reader *r = ctx;
    return keep(r, json_packer_bool(&r->packer, value != 0));
}

static int on_number(void *ctx, const char *text, size_t len)
{
    struct reader *r = ctx;
    return keep(r, json_packer_number(&r->packer, slice_make(text, len)));
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    struct reader *r = ctx;
    return keep(r, json_packer_text(&r->packer, slice_make(text, len)));
}

static int on_start_map(void *ctx)
{
    struct reader *r = ctx;
    return keep(r, json_packer_open(&r->packer, true));
}

static int on_start_array(void *ctx)
{
    struct reader *r = ctx;
    return keep(r, json_packer_open(&r->packer, false));
}

static int on_end(void *ctx)
{
    struct reader *r = ctx;
    json_packer_close(&r->packer);
    return keep(r, JSON_FINE);
}

enum json_fault json_read(struct slice text, struct buf *out)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_start_map,
        .yajl_map_key = on_string,
        .yajl_end_map = on_end,
        .yajl_start_array = on_start_array,
        .yajl_end_array = on_end,
    };
    struct reader r = {.fault = JSON_FINE};
    json_packer_init(&r.packer, out);
    if (utf8_is_valid(text)) {
        json_packer_trust(&r.packer, text);
    }
    yajl_handle handle = yajl_alloc(&callbacks, NULL, &r);
    ensure(handle != NULL);
    /* Text is checked by the packer, which can say so more precisely. */
    yajl_config(handle, yajl_dont_validate_strings, 1);
    yajl_status status = yajl_parse(handle, text.data, text.len);
    if (status == yajl_status_ok && r.is_complete) {
        /* yajl does not mind an unfinished token behind the value, such as `{}"x`. A quote finishes
         * it, or is itself unfinished. */
        status = yajl_parse(handle, (const unsigned char *)"\"", 1);
    }
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    if (r.fault != JSON_FINE) {
        return r.fault;
    }
    return status == yajl_status_ok ? JSON_FINE : JSON_NOT_JSON;
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
        separate(w);
        buf_put_format(w->out, "%llu", (unsigned long long)value->via.u64);
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
