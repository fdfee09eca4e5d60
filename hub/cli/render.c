#include "hub/cli/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <utf8proc.h>
#include "shared/json.h"
#include "shared/timetext.h"

enum { INLINE_JSON_BYTES = 76, JSON_INDENT = 2, TABLE_GAP = 2 };

/* Of U+0080 to U+009F, which some terminals obey as well, the second byte decides. */
static bool is_control(struct slice text, size_t at)
{
    uint8_t c = text.data[at];
    return c < 0x20 || c == 0x7f ||
           (c == 0xc2 && at + 1 < text.len && text.data[at + 1] >= 0x80 &&
            text.data[at + 1] < 0xa0);
}

void render_text(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_control(text, i)) {
            buf_put_u8(out, text.data[i]);
        } else if (text.data[i] == 0xc2) {
            buf_put_format(out, "\\x%02x", text.data[++i]);
        } else {
            buf_put_format(out, "\\x%02x", text.data[i]);
        }
    }
}

void render_print(FILE *out, struct slice text)
{
    struct buf shown;
    buf_init(&shown, SIZE_MAX);
    render_text(&shown, text);
    fwrite(shown.data, 1, shown.len, out);
    buf_done(&shown);
}

void render_duration(struct buf *out, int64_t ms)
{
    int64_t s = ms / 1000;
    if (s < 120) {
        buf_put_format(out, "%" PRId64 "s", s);
    } else if (s < 120 * 60) {
        buf_put_format(out, "%" PRId64 "m", s / 60);
    } else if (s < 48 * 3600) {
        buf_put_format(out, "%" PRId64 "h", s / 3600);
    } else {
        buf_put_format(out, "%" PRId64 "d", s / 86400);
    }
}

void render_age(struct buf *out, const msgpack_object *time, int64_t now_ms)
{
    struct slice text;
    int64_t ms;
    if (!value_text(time, &text)) {
        buf_put_format(out, "never");
    } else if (!time_text_parse(text, &ms)) {
        render_text(out, text);
    } else if (ms > now_ms + 1000) {
        buf_put_format(out, "in ");
        render_duration(out, ms - now_ms);
    } else {
        render_duration(out, ms > now_ms ? 0 : now_ms - ms);
        buf_put_format(out, " ago");
    }
}

void render_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;
    if (bytes < 1024) {
        buf_put_format(out, "%" PRIu64 " B", bytes);
        return;
    }
    for (; value >= 1023.95 && unit < 4; unit++) {
        value /= 1024;
    }
    buf_put_format(out, "%.1f %s", value, units[unit]);
}

void render_number(struct buf *out, int64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64,
                       value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0) {
        buf_put_u8(out, '-');
    }
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            buf_put_u8(out, ',');
        }
        buf_put_u8(out, (uint8_t)digits[i]);
    }
}

/* JSON escapes what is below space; what lies above ASCII is left to render_text(). */
static void put_plain_json(struct buf *out, const msgpack_object *value)
{
    struct json_writer w;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    json_writer_init(&w, &text);
    json_value(&w, value);
    render_text(out, buf_slice(&text));
    buf_done(&text);
}

void render_value(struct buf *out, const msgpack_object *value)
{
    struct slice text;
    int64_t whole;
    if (value_text(value, &text)) {
        render_text(out, text);
    } else if (value_int(value, &whole)) {
        render_number(out, whole);
    } else if (value != NULL && value->type != MSGPACK_OBJECT_NIL) {
        put_plain_json(out, value);
    } else {
        buf_put_u8(out, '-');
    }
}

void render_audience(struct buf *out, const msgpack_object *edge)
{
    uint32_t count = value_is(edge, MSGPACK_OBJECT_ARRAY) ? edge->via.array.size : 0;
    for (uint32_t i = 0; i < count; i++) {
        buf_put_format(out, i > 0 ? ", " : "");
        render_value(out, &edge->via.array.ptr[i]);
    }
    if (count == 0) {
        buf_put_format(out, "nobody");
    }
}

static void put_spaces(struct buf *out, int count)
{
    for (int i = 0; i < count; i++) {
        buf_put_u8(out, ' ');
    }
}

static void put_line(struct buf *out, int indent)
{
    buf_put_u8(out, '\n');
    put_spaces(out, indent);
}

/* On one line, if it is short; *out is as before otherwise. */
static bool put_inline(struct buf *out, const msgpack_object *value, int indent)
{
    size_t before = out->len;
    put_plain_json(out, value);
    if (value->type != MSGPACK_OBJECT_MAP && value->type != MSGPACK_OBJECT_ARRAY) {
        return true;
    }
    if (out->len - before + (size_t)indent <= INLINE_JSON_BYTES) {
        return true;
    }
    out->len = before;
    return false;
}

void render_json(struct buf *out, const msgpack_object *value, int indent)
{
    if (put_inline(out, value, indent)) {
        return;
    }
    bool is_map = value->type == MSGPACK_OBJECT_MAP;
    uint32_t count = is_map ? value->via.map.size : value->via.array.size;
    buf_put_u8(out, is_map ? '{' : '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_put_u8(out, ',');
        }
        put_line(out, indent + JSON_INDENT);
        if (is_map) {
            put_plain_json(out, &value->via.map.ptr[i].key);
            buf_put_format(out, ": ");
        }
        render_json(out, is_map ? &value->via.map.ptr[i].val : &value->via.array.ptr[i],
                    indent + JSON_INDENT);
    }
    put_line(out, indent);
    buf_put_u8(out, is_map ? '}' : ']');
}

struct table {
    const char *const *heads;
    size_t columns;
    struct buf *cells; /* row by row */
    size_t count;
    size_t capacity;
};

struct table *table_new(const char *const *heads, size_t columns)
{
    struct table *table = memory_allocate_zeroed(sizeof *table);
    table->heads = heads;
    table->columns = columns;
    return table;
}

void table_free(struct table **table)
{
    if (*table != NULL) {
        for (size_t i = 0; i < (*table)->count; i++) {
            buf_done(&(*table)->cells[i]);
        }
        free((*table)->cells);
        free(*table);
        *table = NULL;
    }
}

struct buf *table_cell(struct table *table)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        table->cells = memory_resize(table->cells, table->capacity * sizeof *table->cells);
    }
    struct buf *cell = &table->cells[table->count++];
    buf_init(cell, SIZE_MAX);
    return cell;
}

void table_text(struct table *table, struct slice text)
{
    render_text(table_cell(table), text);
}

void table_cstr(struct table *table, const char *text)
{
    table_text(table, slice_text(text));
}

/* How many columns of a terminal the text takes. */
static int width_of(struct slice text)
{
    int width = 0;
    while (text.len > 0) {
        utf8proc_int32_t codepoint;
        utf8proc_ssize_t used = utf8proc_iterate(text.data, (utf8proc_ssize_t)text.len, &codepoint);
        width += used < 1 ? 1 : utf8proc_charwidth(codepoint);
        text = slice_skip(text, used < 1 ? 1 : (size_t)used);
    }
    return width;
}

static const char *title(const struct table *table, size_t column)
{
    const char *head = table->heads[column];
    return head[0] == '>' ? head + 1 : head;
}

static void print_cell(const struct table *table, size_t column, struct slice text, int width,
                       FILE *out)
{
    bool is_last = column + 1 == table->columns;
    bool is_right = table->heads[column][0] == '>';
    int pad = width - width_of(text);
    if (is_right) {
        fprintf(out, "%*s", pad, "");
    }
    fwrite(text.data, 1, text.len, out);
    if (!is_last) {
        fprintf(out, "%*s", TABLE_GAP + (is_right ? 0 : pad), "");
    }
}

void table_print(const struct table *table, int indent, FILE *out)
{
    int *widths = memory_allocate_zeroed(table->columns * sizeof *widths);
    bool has_titles = false;
    ensure(table->columns > 0);
    for (size_t i = 0; i < table->columns; i++) {
        widths[i] = width_of(slice_text(title(table, i)));
        has_titles = has_titles || widths[i] > 0;
    }
    for (size_t i = 0; i < table->count; i++) {
        int width = width_of(buf_slice(&table->cells[i]));
        int *widest = &widths[i % table->columns];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t i = 0; has_titles && i < table->columns; i++) {
        fprintf(out, "%*s", i == 0 ? indent : 0, "");
        print_cell(table, i, slice_text(title(table, i)), widths[i], out);
    }
    fprintf(out, "%s", has_titles ? "\n" : "");
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        fprintf(out, "%*s", column == 0 ? indent : 0, "");
        print_cell(table, column, buf_slice(&table->cells[i]), widths[column], out);
        if (column + 1 == table->columns) {
            fputc('\n', out);
        }
    }
    free(widths);
}
