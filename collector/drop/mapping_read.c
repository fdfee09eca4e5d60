/* Reading a mapping file: JSON into a struct mapping, with errors that name line and member. */
#include <yajl/yajl_parse.h>
#include "collector/drop/mapping_internal.h"
#include "shared/event.h"
#include "shared/json.h"
#include "shared/members.h"

static unsigned line_at(struct slice text, size_t at)
{
    unsigned line = 1;
    for (size_t i = 0; i < at && i < text.len; i++) {
        line += text.data[i] == '\n';
    }
    return line;
}

/* Where `"key"` stands in the text at or behind `from`; `from` where it does not. */
static size_t find_key(struct slice text, struct slice key, size_t from)
{
    for (size_t at = from; at + key.len + 2 <= text.len; at++) {
        if (text.data[at] == '"' && text.data[at + 1 + key.len] == '"' &&
            slice_equal(slice_make(text.data + at + 1, key.len), key)) {
            return at;
        }
    }
    return from;
}

bool mapping_wrong(struct reader *r, const char *reason)
{
    char path[128] = "";
    size_t at = 0;
    for (size_t i = 0; i < r->depth; i++) {
        size_t len = strlen(path);
        at = find_key(r->text, r->path[i], at);
        snprintf(path + len, sizeof path - len, "%s%.*s", i == 0 ? "" : ".",
                 SLICE_ARGS(r->path[i]));
    }
    return error_set(r->err, ERROR_INVALID, "%.*s.mapping:%u: %s%s%s", SLICE_ARGS(r->mapping->name),
                     line_at(r->text, at), path, r->depth > 0 ? ": " : "", reason);
}

void mapping_enter(struct reader *r, struct slice key)
{
    ensure(r->depth < sizeof r->path / sizeof *r->path);
    r->path[r->depth++] = key;
}

bool mapping_leave(struct reader *r, bool fine)
{
    r->depth--;
    return fine;
}

/* ---- Values ---- */

const char *mapping_keep_text(struct reader *r, struct slice text)
{
    char *copy = arena_allocate(&r->mapping->arena, text.len + 1);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = 0;
    return copy;
}

bool mapping_take_text(struct reader *r, const msgpack_object *value, struct slice *ret)
{
    if (!value_text(value, ret) || memchr(ret->data, 0, ret->len) != NULL) {
        return mapping_wrong(r, "must be a text");
    }
    *ret = arena_copy(&r->mapping->arena, *ret);
    return true;
}

/* One ASCII character; 0 for the empty text. */
static bool take_char(struct reader *r, const msgpack_object *value, char *ret)
{
    struct slice text;
    if (!value_text(value, &text) || text.len > 1 || (text.len == 1 && text.data[0] >= 0x80)) {
        return mapping_wrong(r, "must be one character");
    }
    *ret = text.len == 0 ? 0 : (char)text.data[0];
    return true;
}

static bool take_words(struct reader *r, const msgpack_object *value, const struct slice **ret,
                       size_t *ret_count)
{
    if (!value_is(value, MSGPACK_OBJECT_ARRAY) || value->via.array.size == 0) {
        return mapping_wrong(r, "must be a list of texts");
    }
    struct slice *words = arena_allocate(&r->mapping->arena, value->via.array.size * sizeof *words);
    for (uint32_t i = 0; i < value->via.array.size; i++) {
        if (!mapping_take_text(r, &value->via.array.ptr[i], &words[i])) {
            return false;
        }
    }
    *ret = words;
    *ret_count = value->via.array.size;
    return true;
}

/* ---- Members of the mapping, read in the order of the table below ---- */

static bool read_files(struct reader *r, const msgpack_object *value)
{
    struct slice text;
    if (!mapping_take_text(r, value, &text)) {
        return false;
    }
    r->mapping->files = mapping_keep_text(r, text);
    return (text.len > 0 && memchr(text.data, '/', text.len) == NULL) ||
           mapping_wrong(r, "must be the name of a file without its folder, such as orders*.csv");
}

static bool read_form(struct reader *r, const msgpack_object *value)
{
    struct slice text;
    if (!value_text(value, &text) || !(slice_is(text, "csv") || slice_is(text, "ndjson"))) {
        return mapping_wrong(r, "must be csv or ndjson");
    }
    r->mapping->is_csv = slice_is(text, "csv");
    r->mapping->has_header = r->mapping->is_csv;
    return true;
}

static bool read_header(struct reader *r, const msgpack_object *value)
{
    return (value_bool(value, &r->mapping->has_header) && r->mapping->is_csv) ||
           mapping_wrong(r, "must be true or false, and belongs to csv");
}

static bool read_delimiter(struct reader *r, const msgpack_object *value)
{
    struct slice text;
    if (value_text(value, &text) && slice_is(text, "tab")) {
        r->mapping->delimiter = '\t';
        return true;
    }
    return take_char(r, value, &r->mapping->delimiter) &&
           ((r->mapping->delimiter != 0 && strchr("\r\n", r->mapping->delimiter) == NULL) ||
            mapping_wrong(r, "must be one character, or tab"));
}

static bool read_quote(struct reader *r, const msgpack_object *value)
{
    struct mapping *m = r->mapping;
    return take_char(r, value, &m->quote) &&
           ((m->quote != m->delimiter && m->quote != '\n' && m->quote != '\r') ||
            mapping_wrong(r, "must be another character than the delimiter; empty for none"));
}

static bool read_encoding(struct reader *r, const msgpack_object *value)
{
    struct slice text;
    return (value_text(value, &text) && cell_encoding_open(text, &r->mapping->style.to_utf8)) ||
           mapping_wrong(r, "must be utf-8, iso-8859-1, iso-8859-15 or windows-1252");
}

static bool read_decimal(struct reader *r, const msgpack_object *value)
{
    return take_char(r, value, &r->mapping->style.decimal) &&
           (strchr(".,", r->mapping->style.decimal) != NULL && r->mapping->style.decimal != 0
                ? true
                : mapping_wrong(r, "must be \".\" or \",\""));
}

static bool read_thousands(struct reader *r, const msgpack_object *value)
{
    struct cell_style *style = &r->mapping->style;
    return mapping_take_text(r, value, &style->thousands) &&
           ((style->thousands.len <= 4 &&
             !slice_equal(style->thousands, slice_make(&style->decimal, 1))) ||
            mapping_wrong(r, "must be one character, another than the decimal mark"));
}

static bool read_zone(struct reader *r, const msgpack_object *value)
{
    struct slice text;
    return (value_text(value, &text) && local_zone_parse(text, &r->mapping->style.zone)) ||
           mapping_wrong(
               r, "must be local, utc or an offset such as +01:00; the name of the local zone "
                  "is the collector's setting drop_zone");
}

static bool read_true(struct reader *r, const msgpack_object *value)
{
    return take_words(r, value, &r->mapping->style.true_words, &r->mapping->style.true_count);
}

static bool read_false(struct reader *r, const msgpack_object *value)
{
    return take_words(r, value, &r->mapping->style.false_words, &r->mapping->style.false_count);
}

static bool read_source(struct reader *r, const msgpack_object *value)
{
    return mapping_take_text(r, value, &r->mapping->source) &&
           (r->mapping->source.len > 0 || mapping_wrong(r, "must be the write key of a source"));
}

static bool read_message_id(struct reader *r, const msgpack_object *value)
{
    struct mapping *m = r->mapping;
    if (!value_is(value, MSGPACK_OBJECT_ARRAY) || value->via.array.size == 0) {
        return mapping_wrong(r, "must be a list of columns that together name a row for ever");
    }
    m->id_count = value->via.array.size;
    m->ids = arena_allocate(&m->arena, m->id_count * sizeof *m->ids);
    memset(m->ids, 0, m->id_count * sizeof *m->ids);
    for (size_t i = 0; i < m->id_count; i++) {
        if (!mapping_read_column(r, &value->via.array.ptr[i], &m->ids[i])) {
            return false;
        }
    }
    return true;
}

static bool read_event(struct reader *r, const msgpack_object *value)
{
    const msgpack_object *type = value_member_c(value, "type");
    struct slice text;
    if (!value_is(value, MSGPACK_OBJECT_MAP) || type == NULL) {
        return mapping_wrong(r, "must be an event, with a \"type\" such as track");
    }
    if (value_text(type, &text) && event_type_from(text) == EVENT_TYPES) {
        return mapping_wrong(r, "\"type\" is none of track, identify, page, screen, group, alias");
    }
    if (value_member_c(value, "messageId") != NULL) {
        return mapping_wrong(r, "name the columns of messageId beside the event, not in it");
    }
    if (!mapping_read_object(r, value, &r->mapping->event)) {
        return false;
    }
    for (size_t i = 0; i < r->mapping->event.count; i++) {
        const struct node *child = &r->mapping->event.children[i];
        if (slice_is(child->key, "\"timestamp\":") && child->kind == NODE_COLUMN) {
            r->mapping->time = child;
        }
        if (slice_is(child->key, "\"properties\":") && child->kind == NODE_OBJECT) {
            r->mapping->properties = child;
        }
    }
    return true;
}

static const struct {
    const char *name;
    bool (*read)(struct reader *r, const msgpack_object *value);
    bool is_required;
} members[] = {
    {"files", read_files, true},
    {"source", read_source, true},
    {"format", read_form, false},
    {"header", read_header, false},
    {"delimiter", read_delimiter, false},
    {"quote", read_quote, false},
    {"encoding", read_encoding, false},
    {"decimal", read_decimal, false},
    {"thousands", read_thousands, false},
    {"zone", read_zone, false},
    {"true", read_true, false},
    {"false", read_false, false},
    {"messageId", read_message_id, false},
    {"event", read_event, false},
};
enum { MEMBERS = sizeof members / sizeof *members };

static bool wrong_member(struct reader *r, struct slice key)
{
    const char *known[MEMBERS];
    char text[240];
    for (size_t i = 0; i < MEMBERS; i++) {
        known[i] = members[i].name;
    }
    members_tell_unknown(key, known, MEMBERS, text, sizeof text);
    mapping_enter(r, key);
    return mapping_leave(r, mapping_wrong(r, text));
}

static bool check_names(struct reader *r, const msgpack_object *root)
{
    for (uint32_t i = 0; i < root->via.map.size; i++) {
        struct slice key = slice_text("");
        size_t at = 0;
        (void)value_text(&root->via.map.ptr[i].key, &key);
        while (at < MEMBERS && !slice_is(key, members[at].name)) {
            at++;
        }
        if (at == MEMBERS) {
            return wrong_member(r, key);
        }
    }
    return true;
}

static bool read_members(struct reader *r, const msgpack_object *root)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        const msgpack_object *value = value_member_c(root, members[i].name);
        mapping_enter(r, slice_text(members[i].name));
        bool fine = value != NULL ? members[i].read(r, value)
                                  : !members[i].is_required || mapping_wrong(r, "is missing");
        if (!mapping_leave(r, fine)) {
            return false;
        }
    }
    if (r->mapping->has_lines && (!r->mapping->is_csv || r->mapping->id_count == 0)) {
        return mapping_wrong(r,
                             "\"each_line\" belongs to csv, and needs \"messageId\": the columns "
                             "that name an order on all its lines");
    }
    bool is_lines = r->mapping->event.kind == NODE_CONSTANT;
    if (is_lines && (r->mapping->is_csv || r->mapping->id_count > 0)) {
        return mapping_wrong(r, "\"event\" is missing: it says what becomes of the columns");
    }
    return true;
}

/* The text is no JSON: where it stops being so. */
static bool wrong_json(struct reader *r)
{
    yajl_handle handle = yajl_alloc(NULL, NULL, NULL);
    ensure(handle != NULL);
    size_t at = r->text.len;
    if (yajl_parse(handle, r->text.data, r->text.len) != yajl_status_ok) {
        at = yajl_get_bytes_consumed(handle);
    }
    yajl_free(handle);
    return error_set(r->err, ERROR_INVALID, "%.*s.mapping:%u: this is no JSON from here on",
                     SLICE_ARGS(r->mapping->name), line_at(r->text, at));
}

bool mapping_read(struct mapping *m, struct slice json, struct error *err)
{
    static const struct slice yes[] = {
        {(const uint8_t *)"true", 4}, {(const uint8_t *)"1", 1}, {(const uint8_t *)"yes", 3}};
    static const struct slice no[] = {
        {(const uint8_t *)"false", 5}, {(const uint8_t *)"0", 1}, {(const uint8_t *)"no", 2}};
    struct reader r = {.mapping = m, .text = json, .err = err};
    msgpack_object root;
    struct buf packed;
    m->is_csv = true;
    m->has_header = true;
    m->delimiter = ',';
    m->quote = '"';
    m->style = (struct cell_style){.to_utf8 = (iconv_t)-1,
                                   .decimal = '.',
                                   .zone.is_local = true,
                                   .true_words = yes,
                                   .true_count = sizeof yes / sizeof *yes,
                                   .false_words = no,
                                   .false_count = sizeof no / sizeof *no};
    buf_init(&packed, 4 * MAPPING_BYTES_MAX);
    enum json_fault fault = json_read(json, &packed);
    bool fine = false;
    if (fault == JSON_NOT_JSON) {
        fine = wrong_json(&r);
    } else if (fault != JSON_FINE) {
        fine = mapping_wrong(&r, json_fault_sentence(fault));
    } else if (!value_unpack(buf_slice(&packed), &m->zone, &root, err) ||
               !value_is(&root, MSGPACK_OBJECT_MAP)) {
        fine = mapping_wrong(&r, "a mapping is a JSON object");
    } else {
        fine = check_names(&r, &root) && read_members(&r, &root);
    }
    buf_done(&packed);
    msgpack_zone_clear(&m->zone);
    return fine;
}
