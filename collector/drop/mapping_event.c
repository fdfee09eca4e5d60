/* Reading the event with holes of a mapping file. */
#include "collector/drop/mapping_internal.h"
#include "shared/json.h"
#include "shared/members.h"

/* ---- Holes ---- */

bool mapping_read_column(struct reader *r, const msgpack_object *value, struct node *node)
{
    const struct mapping *m = r->mapping;
    int64_t number;
    node->kind = NODE_COLUMN;
    node->is_named = true;
    if (m->is_csv && value_int(value, &number)) {
        if (number < 1 || number > LIMIT_REQUEST_BYTES) {
            return mapping_wrong(r, "columns are counted from 1");
        }
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)number);
        node->column = slice_text(mapping_keep_text(r, slice_text(text)));
        node->index = (size_t)number - 1;
        node->is_named = false;
        return true;
    }
    if (!value_is(value, MSGPACK_OBJECT_STR)) {
        return mapping_wrong(r, "a column is named by a text, or counted from 1 in CSV");
    }
    if (m->is_csv && !m->has_header) {
        return mapping_wrong(r, "without a header columns have numbers, from 1");
    }
    return mapping_take_text(r, value, &node->column);
}

static bool read_type(struct reader *r, const msgpack_object *value, struct node *node)
{
    struct slice text;
    int type = value_text(value, &text) ? cell_type_from(text) : CELL_TYPES;
    if (type == CELL_TYPES) {
        return mapping_wrong(r, "must be text, number, integer, boolean or date");
    }
    node->type = (enum cell_type)type;
    node->has_type = true;
    return true;
}

static bool read_format(struct reader *r, const msgpack_object *value, struct node *node)
{
    struct slice text;
    if (!mapping_take_text(r, value, &text)) {
        return false;
    }
    node->format = mapping_keep_text(r, text);
    bool is_epoch = slice_is(text, "epoch") || slice_is(text, "epoch-ms");
    return is_epoch || local_format_is_valid(node->format) ||
           mapping_wrong(r,
                         "must be epoch, epoch-ms, or a form with a day such as %d/%m/%Y %H:%M:%S "
                         "(conversions of strptime)");
}

static bool wrong_beside_column(struct reader *r, struct slice key)
{
    static const char *const known[] = {"column", "as", "format", "required"};
    char text[240];
    members_tell_unknown(key, known, sizeof known / sizeof *known, text, sizeof text);
    return mapping_wrong(r, text);
}

static bool read_hole(struct reader *r, const msgpack_object *hole, struct node *node)
{
    for (uint32_t i = 0; i < hole->via.map.size; i++) {
        const msgpack_object *value = &hole->via.map.ptr[i].val;
        struct slice key = slice_text("");
        (void)value_text(&hole->via.map.ptr[i].key, &key);
        mapping_enter(r, key);
        bool fine = slice_is(key, "column")     ? mapping_read_column(r, value, node)
                    : slice_is(key, "as")       ? read_type(r, value, node)
                    : slice_is(key, "format")   ? read_format(r, value, node)
                    : slice_is(key, "required") ? value_bool(value, &node->is_required) ||
                                                      mapping_wrong(r, "must be true or false")
                                                : wrong_beside_column(r, key);
        if (!mapping_leave(r, fine)) {
            return false;
        }
    }
    return node->format == NULL || node->type == CELL_DATE ||
           mapping_wrong(r, "format belongs to \"as\": \"date\"");
}

/* ---- The event with holes ---- */

static struct slice render(struct reader *r, const msgpack_object *value, const char *behind)
{
    struct json_writer w;
    struct buf text;
    buf_init(&text, 8 * MAPPING_BYTES_MAX);
    json_writer_init(&w, &text);
    json_value(&w, value);
    buf_put_slice(&text, slice_text(behind));
    struct slice copy = arena_copy(&r->mapping->arena, buf_slice(&text));
    buf_done(&text);
    return copy;
}

static bool read_node(struct reader *r, const msgpack_object *value, struct node *node);

bool mapping_read_object(struct reader *r, const msgpack_object *map, struct node *node)
{
    node->kind = NODE_OBJECT;
    node->count = map->via.map.size;
    node->children = arena_allocate(&r->mapping->arena, (node->count + 1) * sizeof *node->children);
    memset(node->children, 0, node->count * sizeof *node->children);
    for (size_t i = 0; i < node->count; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        struct slice key = slice_text("");
        (void)value_text(&kv->key, &key);
        node->children[i].key = render(r, &kv->key, ":");
        mapping_enter(r, key);
        if (!mapping_leave(r, read_node(r, &kv->val, &node->children[i]))) {
            return false;
        }
    }
    return true;
}

static bool read_array(struct reader *r, const msgpack_object *array, struct node *node)
{
    node->kind = NODE_ARRAY;
    node->count = array->via.array.size;
    node->children = arena_allocate(&r->mapping->arena, (node->count + 1) * sizeof *node->children);
    memset(node->children, 0, node->count * sizeof *node->children);
    for (size_t i = 0; i < node->count; i++) {
        if (!read_node(r, &array->via.array.ptr[i], &node->children[i])) {
            return false;
        }
    }
    return true;
}

/* {"each_line": {…}}: an element for each line of an order. */
static const msgpack_object *each_line(const msgpack_object *map)
{
    const msgpack_object *item = map->via.map.size == 1 ? value_member_c(map, "each_line") : NULL;
    return value_is(item, MSGPACK_OBJECT_MAP) && value_member_c(item, "column") == NULL ? item
                                                                                        : NULL;
}

static bool read_lines(struct reader *r, const msgpack_object *item, struct node *node)
{
    r->mapping->has_lines = true;
    node->kind = NODE_LINES;
    node->count = 1;
    node->children = arena_allocate(&r->mapping->arena, sizeof *node->children);
    memset(node->children, 0, sizeof *node->children);
    return mapping_read_object(r, item, &node->children[0]);
}

/* Not deeper than the JSON, which has a limit. */
static bool read_node(struct reader *r, const msgpack_object *value, struct node *node)
{
    if (value_is(value, MSGPACK_OBJECT_MAP) && each_line(value) != NULL) {
        return read_lines(r, each_line(value), node);
    }
    if (value_is(value, MSGPACK_OBJECT_MAP)) {
        return value_member_c(value, "column") != NULL ? read_hole(r, value, node)
                                                       : mapping_read_object(r, value, node);
    }
    if (value_is(value, MSGPACK_OBJECT_ARRAY)) {
        return read_array(r, value, node);
    }
    node->kind = NODE_CONSTANT;
    node->constant = render(r, value, "");
    return true;
}
