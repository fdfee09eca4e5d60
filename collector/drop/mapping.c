#include "collector/drop/mapping.h"

#include <fnmatch.h>
#include <sodium.h>
#include <stdlib.h>
#include "collector/drop/mapping_internal.h"
#include "shared/identifier.h"
#include "shared/json.h"
#include "shared/limits.h"

static const char message_id_key[] = "messageId";

bool mapping_new(struct slice name, struct slice json, struct mapping **ret, struct error *err)
{
    struct mapping *m = memory_allocate_zeroed(sizeof *m);
    arena_init(&m->arena, 4096);
    buf_init(&m->scratch, 4 * LIMIT_REQUEST_BYTES);
    buf_init(&m->line, 4 * LIMIT_REQUEST_BYTES);
    buf_init(&m->other, 4 * LIMIT_REQUEST_BYTES);
    bool made = msgpack_zone_init(&m->zone, 8192);
    ensure(made);
    m->style.to_utf8 = (iconv_t)-1;
    m->name = arena_copy(&m->arena, name);
    if (json.len > MAPPING_BYTES_MAX) {
        mapping_free(&m);
        return error_set(err, ERROR_INVALID, "%.*s.mapping:1: the mapping is over %d bytes",
                         SLICE_ARGS(name), MAPPING_BYTES_MAX);
    }
    if (!mapping_read(m, json, err)) {
        mapping_free(&m);
        return false;
    }
    *ret = m;
    return true;
}

void mapping_free(struct mapping **mapping)
{
    struct mapping *m = *mapping;
    if (m == NULL) {
        return;
    }
    if (m->style.to_utf8 != (iconv_t)-1) {
        iconv_close(m->style.to_utf8);
    }
    arena_done(&m->arena);
    buf_done(&m->scratch);
    buf_done(&m->line);
    buf_done(&m->other);
    msgpack_zone_destroy(&m->zone);
    free(m);
    *mapping = NULL;
}

struct slice mapping_name(const struct mapping *mapping)
{
    return mapping->name;
}

struct slice mapping_source(const struct mapping *mapping)
{
    return mapping->source;
}

bool mapping_matches(const struct mapping *mapping, const char *file)
{
    return fnmatch(mapping->files, file, FNM_NOESCAPE) == 0;
}

bool mapping_is_csv(const struct mapping *mapping)
{
    return mapping->is_csv;
}

bool mapping_has_header(const struct mapping *mapping)
{
    return mapping->has_header;
}

void mapping_prepare(const struct mapping *mapping, struct csv_record *record)
{
    record->delimiter = mapping->delimiter;
    record->quote = mapping->quote;
}

/* ---- Columns ---- */

static bool find_column(struct mapping *m, const struct csv_record *header, struct node *node,
                        struct error *err)
{
    for (size_t i = 0; i < header->count; i++) {
        struct slice name;
        struct error ignored;
        if (cell_decode(&m->style, csv_cell(header, i), &m->scratch, &name, &ignored) &&
            slice_equal(name, node->column)) {
            node->index = i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "the header has no column \"%.*s\"",
                     node->column.len > 64 ? 64 : (int)node->column.len,
                     (const char *)node->column.data);
}

static bool bind_node(struct mapping *m, const struct csv_record *header, struct node *node,
                      struct error *err)
{
    if (node->kind == NODE_COLUMN && node->is_named && !find_column(m, header, node, err)) {
        return false;
    }
    if (node->kind == NODE_COLUMN && node->index >= header->count) {
        return error_set(err, ERROR_INVALID, "the header has only %zu columns, not %.*s",
                         header->count, SLICE_ARGS(node->column));
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!bind_node(m, header, &node->children[i], err)) {
            return false;
        }
    }
    return true;
}

bool mapping_bind(struct mapping *m, const struct csv_record *header, struct error *err)
{
    m->cell_count = header->count;
    while (m->cell_count > 1 && identifier_trim(csv_cell(header, m->cell_count - 1)).len == 0) {
        m->cell_count--;
    }
    for (size_t i = 0; i < m->id_count; i++) {
        if (!bind_node(m, header, &m->ids[i], err)) {
            return false;
        }
    }
    return bind_node(m, header, &m->event, err);
}

/* ---- Filling the holes ---- */

struct filler {
    struct mapping *mapping;
    struct mapping_lines lines; /* of CSV, or */
    const msgpack_object *line;
    struct buf *out;
    struct slice column; /* to blame */
    struct error *err;
};

enum filled { FILLED, LEFT_OUT, WRONG };

static bool add(struct filler *f, struct slice text)
{
    return buf_append(f->out, text.data, text.len) ||
           error_set(f->err, ERROR_FULL, "the row makes an event that is too large");
}

/* Of the lines of an order the first that says something. */
static bool read_record_cell(struct filler *f, const struct node *node, struct slice *ret)
{
    for (size_t i = 0; i < f->lines.count && ret->len == 0; i++) {
        const struct csv_record *record = &f->lines.records[i];
        if (node->index >= record->count) {
            return error_set(f->err, ERROR_INVALID, "the row has only %zu cells", record->count);
        }
        if (!cell_decode(&f->mapping->style, csv_cell(record, node->index), &f->mapping->scratch,
                         ret, f->err)) {
            return false;
        }
    }
    return true;
}

/* The text of a cell or of a member of a line; empty where there is none. *ret_json: a value of a
 * line that is no text, as it is. */
static bool read_cell(struct filler *f, const struct node *node, struct slice *ret, bool *ret_json)
{
    struct mapping *m = f->mapping;
    struct json_writer w;
    *ret_json = false;
    *ret = slice_text("");
    if (f->lines.count > 0) {
        return read_record_cell(f, node, ret);
    }
    const msgpack_object *value = value_path(f->line, node->column);
    if (value == NULL || value->type == MSGPACK_OBJECT_NIL) {
        return true;
    }
    if (value_text(value, ret)) {
        return cell_decode(&m->style, *ret, &m->scratch, ret, f->err);
    }
    buf_clear(&m->scratch);
    json_writer_init(&w, &m->scratch);
    json_value(&w, value);
    *ret = buf_slice(&m->scratch);
    *ret_json = true;
    return true;
}

/* May a JSON value of a line stand for this type as it is? */
static bool is_ready(const struct node *node, struct slice json)
{
    bool is_plain_number = (json.data[0] >= '0' && json.data[0] <= '9') || json.data[0] == '-';
    return !node->has_type || (node->type == CELL_NUMBER && is_plain_number) ||
           (node->type == CELL_INTEGER && is_plain_number &&
            memchr(json.data, '.', json.len) == NULL && memchr(json.data, 'e', json.len) == NULL) ||
           (node->type == CELL_BOOLEAN && (slice_is(json, "true") || slice_is(json, "false")));
}

static enum filled fill_column(struct filler *f, const struct node *node)
{
    struct slice text;
    bool is_json;
    f->column = node->column;
    if (!read_cell(f, node, &text, &is_json)) {
        return WRONG;
    }
    if (text.len == 0) {
        if (node->is_required) {
            error_set(f->err, ERROR_INVALID, "this is required and empty");
        }
        return node->is_required ? WRONG : LEFT_OUT;
    }
    bool fine = add(f, node->key);
    if (fine && is_json && is_ready(node, text)) {
        fine = add(f, text);
    } else if (fine) {
        fine = cell_put(&f->mapping->style, node->type, node->format, text, f->out, f->err);
    }
    return fine ? FILLED : WRONG;
}

static enum filled fill(struct filler *f, const struct node *node, bool *ret_incomplete);

/* The members between the brackets. What is left out of an object is just not there; a list drops
 * the whole element, since half of it would be another thing. */
static bool fill_children(struct filler *f, const struct node *node, bool needs_comma,
                          bool *ret_incomplete)
{
    for (size_t i = 0; i < node->count; i++) {
        size_t start = f->out->len;
        bool is_incomplete = false;
        if (needs_comma && !add(f, slice_text(","))) {
            return false;
        }
        enum filled filled = fill(f, &node->children[i], &is_incomplete);
        if (filled == WRONG) {
            return false;
        }
        bool drops = filled == LEFT_OUT || (node->kind == NODE_ARRAY && is_incomplete);
        if (drops) {
            f->out->len = start;
        }
        needs_comma = needs_comma || !drops;
        *ret_incomplete =
            *ret_incomplete || (node->kind == NODE_OBJECT && (drops || is_incomplete));
    }
    return true;
}

/* One element for each line of the order, of the node's children that `is_of_line` lets through; a
 * line that has none of them makes none. */
static bool fill_lines(struct filler *f, const struct node *item,
                       bool (*is_of_line)(struct mapping *m, struct mapping_lines all,
                                          const struct node *node))
{
    struct mapping_lines all = f->lines;
    bool fine = add(f, slice_text("["));
    bool needs_comma = false;
    for (size_t i = 0; fine && i < all.count; i++) {
        size_t start = f->out->len;
        bool has_member = false;
        f->lines = (struct mapping_lines){all.records + i, 1};
        fine = add(f, slice_text(needs_comma ? ",{" : "{"));
        for (size_t c = 0; fine && c < item->count; c++) {
            bool is_incomplete = false;
            size_t before = f->out->len;
            if (!is_of_line(f->mapping, all, &item->children[c])) {
                continue;
            }
            enum filled filled = has_member && !add(f, slice_text(","))
                                     ? WRONG
                                     : fill(f, &item->children[c], &is_incomplete);
            fine = filled != WRONG;
            has_member = has_member || filled == FILLED;
            f->out->len = filled == LEFT_OUT ? before : f->out->len;
        }
        fine = fine && add(f, slice_text("}"));
        f->out->len = has_member || !fine ? f->out->len : start;
        needs_comma = needs_comma || has_member;
    }
    f->lines = all;
    return fine && add(f, slice_text("]"));
}

static bool is_always_of_line(struct mapping *m, struct mapping_lines all, const struct node *node)
{
    (void)m, (void)all, (void)node;
    return true;
}

static bool has_child(const struct node *node, const char *key)
{
    for (size_t i = 0; i < node->count; i++) {
        if (slice_is(node->children[i].key, key)) {
            return true;
        }
    }
    return false;
}

static bool fill_object(struct filler *f, const struct node *node, bool *ret_incomplete)
{
    if (!add(f, slice_text("{")) || !fill_children(f, node, false, ret_incomplete)) {
        return false;
    }
    bool has_products = node == f->mapping->properties && f->lines.count > 1 &&
                        !f->mapping->has_lines && !has_child(node, "\"products\":");
    if (has_products) {
        bool needs_comma = f->out->data[f->out->len - 1] != '{';
        if (!add(f, slice_text(needs_comma ? ",\"products\":" : "\"products\":")) ||
            !fill_lines(f, node, mapping_is_of_products)) {
            return false;
        }
    }
    return add(f, slice_text("}"));
}

static enum filled fill(struct filler *f, const struct node *node, bool *ret_incomplete)
{
    bool fine = false;
    if (node->kind == NODE_COLUMN) {
        return fill_column(f, node);
    }
    if (!add(f, node->key)) {
        return WRONG;
    }
    switch (node->kind) {
    case NODE_CONSTANT:
        fine = add(f, node->constant);
        break;
    case NODE_OBJECT:
        fine = fill_object(f, node, ret_incomplete);
        break;
    case NODE_ARRAY:
        fine = add(f, slice_text("[")) && fill_children(f, node, false, ret_incomplete) &&
               add(f, slice_text("]"));
        break;
    case NODE_LINES:
        fine = fill_lines(f, &node->children[0], is_always_of_line);
        break;
    case NODE_COLUMN:
        break;
    }
    return fine ? FILLED : WRONG;
}

/* ---- Message ids ---- */

static void hash_piece(crypto_generichash_state *hash, struct slice piece)
{
    uint8_t len[8];
    for (size_t i = 0; i < sizeof len; i++) {
        len[i] = (uint8_t)(piece.len >> (8 * i));
    }
    crypto_generichash_update(hash, len, sizeof len);
    crypto_generichash_update(hash, piece.data, piece.len);
}

static bool hash_columns(struct filler *f, crypto_generichash_state *hash)
{
    size_t given = 0;
    for (size_t i = 0; i < f->mapping->id_count; i++) {
        struct slice text;
        bool is_json;
        f->column = f->mapping->ids[i].column;
        if (!read_cell(f, &f->mapping->ids[i], &text, &is_json)) {
            return false;
        }
        given += text.len > 0;
        hash_piece(hash, text);
    }
    return given > 0 || error_set(f->err, ERROR_INVALID, "the message id needs this; it is empty");
}

/* Tills begin their numbers again, each year or each morning: the time is part of the name. */
static bool hash_time(struct filler *f, crypto_generichash_state *hash)
{
    struct slice text;
    bool is_json;
    if (f->mapping->time == NULL) {
        return true;
    }
    f->column = f->mapping->time->column;
    if (!read_cell(f, f->mapping->time, &text, &is_json)) {
        return false;
    }
    hash_piece(hash, text);
    return true;
}

static void hash_place(const struct mapping_row *row, crypto_generichash_state *hash)
{
    char line[24];
    snprintf(line, sizeof line, "%llu", (unsigned long long)row->line);
    hash_piece(hash, row->file);
    hash_piece(hash, slice_text(line));
    hash_piece(hash, row->bytes);
}

/* A UUID of version 8, whose bits are the application's (RFC 9562). */
static bool add_message_id(struct filler *f, const struct mapping_row *row)
{
    crypto_generichash_state hash;
    uint8_t uuid[UUID_BYTES];
    char text[UUID_TEXT_BYTES];
    crypto_generichash_init(&hash, NULL, 0, sizeof uuid);
    hash_piece(&hash, f->mapping->name);
    if (f->mapping->id_count == 0) {
        hash_place(row, &hash);
    } else if (!hash_columns(f, &hash) || !hash_time(f, &hash)) {
        return false;
    }
    crypto_generichash_final(&hash, uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    uuid_format(uuid, text);
    return add(f, slice_text("{\"messageId\":\"")) && add(f, slice_make(text, sizeof text)) &&
           add(f, slice_text("\""));
}

/* ---- Rows ---- */

static bool put_event(struct filler *f, const struct mapping_row *row, struct slice *ret_column)
{
    size_t start = f->out->len;
    bool is_incomplete = false;
    f->column = slice_make(NULL, 0);
    bool fine = add_message_id(f, row);
    if (fine) {
        f->column = slice_make(NULL, 0);
        fine =
            fill_children(f, &f->mapping->event, true, &is_incomplete) && add(f, slice_text("}"));
    }
    if (!fine) {
        f->out->len = start;
        *ret_column = f->err->kind == ERROR_FULL ? slice_make(NULL, 0) : f->column;
    }
    return fine;
}

bool mapping_put_lines(struct mapping *m, struct mapping_lines lines, const struct mapping_row *row,
                       struct buf *out, struct slice *ret_column, struct error *err)
{
    struct filler f = {.mapping = m, .lines = lines, .out = out, .err = err};
    *ret_column = slice_make(NULL, 0);
    if (m->has_header && !mapping_has_cells(m, &lines.records[0])) {
        return error_set(err, ERROR_INVALID, "the row has %zu cells, the header %zu",
                         lines.records[0].count, m->cell_count);
    }
    return put_event(&f, row, ret_column);
}

/* The line's event has an id that the collector would take. */
static bool has_message_id(const msgpack_object *line)
{
    const msgpack_object *id = value_member_c(line, message_id_key);
    struct slice text;
    double number;
    return value_text(id, &text) ? text.len > 0 : value_number(id, &number);
}

/* A whole event that lacks an id: written anew with one. */
static bool put_with_id(struct filler *f, const struct mapping_row *row)
{
    struct json_writer w = {.out = f->out, .needs_comma = true};
    size_t start = f->out->len;
    if (!add_message_id(f, row)) {
        f->out->len = start;
        return false;
    }
    for (uint32_t i = 0; i < f->line->via.map.size; i++) {
        const msgpack_object_kv *kv = &f->line->via.map.ptr[i];
        struct slice key;
        if (value_text(&kv->key, &key) && !slice_is(key, message_id_key)) {
            json_key_slice(&w, key);
            json_value(&w, &kv->val);
        }
    }
    return add(f, slice_text("}"));
}

bool mapping_put_line(struct mapping *m, const struct mapping_row *row, struct buf *out,
                      struct slice *ret_column, struct error *err)
{
    msgpack_object line;
    struct filler f = {.mapping = m, .line = &line, .out = out, .err = err};
    *ret_column = slice_make(NULL, 0);
    buf_clear(&m->line);
    msgpack_zone_clear(&m->zone);
    enum json_fault fault = json_read(row->bytes, &m->line);
    if (fault != JSON_FINE) {
        return error_set(err, ERROR_INVALID, "%s",
                         fault == JSON_NOT_JSON ? "the line is no JSON"
                                                : json_fault_sentence(fault));
    }
    if (!value_unpack(buf_slice(&m->line), &m->zone, &line, err)) {
        return false;
    }
    if (!value_is(&line, MSGPACK_OBJECT_MAP)) {
        return error_set(err, ERROR_INVALID, "the line is no JSON object");
    }
    /* Escapes make a byte six at most. */
    if (!buf_reserve(out, row->bytes.len * 6 + 128) ||
        !buf_reserve(&m->scratch, row->bytes.len * 6 + 128)) {
        return error_set(err, ERROR_FULL, "the row makes an event that is too large");
    }
    if (m->event.kind == NODE_OBJECT) {
        return put_event(&f, row, ret_column);
    }
    return has_message_id(&line) ? add(&f, row->bytes) : put_with_id(&f, row);
}
