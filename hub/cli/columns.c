#include "hub/cli/columns.h"

#include <math.h>
#include <stdlib.h>
#include "shared/json.h"
#include "shared/utf8.h"

enum { DEPTH_MAX = LIMIT_JSON_DEPTH - 4, COLUMNS_MAX = 4096, DIGITS_MAX = 18, NONE = -1 };

/* A name on the way to columns: the tree of the object that each row becomes. */
struct node {
    struct slice name;
    int column; /* NONE for objects */
    int parent;
    int first_child;
    int next; /* with the same parent */
    bool is_text;
    bool is_filled; /* in the row at hand */
};

struct columns {
    struct buf names;   /* what the nodes' names refer to */
    struct node *nodes; /* [0] is the event */
    int node_count;
    int node_capacity;
    int *leaves; /* of each column, its node */
    size_t count;
};

static int add_node(struct columns *columns, int parent, struct slice name)
{
    if (columns->node_count == columns->node_capacity) {
        columns->node_capacity = columns->node_capacity == 0 ? 32 : columns->node_capacity * 2;
        columns->nodes =
            memory_resize(columns->nodes, (size_t)columns->node_capacity * sizeof *columns->nodes);
    }
    int at = columns->node_count++;
    columns->nodes[at] = (struct node){
        .name = name, .column = NONE, .parent = parent, .first_child = NONE, .next = NONE};
    if (parent != NONE) {
        int *link = &columns->nodes[parent].first_child;
        while (*link != NONE) {
            link = &columns->nodes[*link].next;
        }
        *link = at;
    }
    return at;
}

static int find_child(const struct columns *columns, int parent, struct slice name)
{
    int at = columns->nodes[parent].first_child;
    while (at != NONE && !slice_equal(columns->nodes[at].name, name)) {
        at = columns->nodes[at].next;
    }
    return at;
}

static bool ends_with(struct slice text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && slice_is(slice_skip(text, text.len - len), end);
}

static bool is_listed(const char *list, struct slice name)
{
    while (list != NULL && *list != 0) {
        size_t len = strcspn(list, ",");
        if (slice_equal(slice_make(list, len), name)) {
            return true;
        }
        list += len + (list[len] == ',');
    }
    return false;
}

/* The first name of a dotted path; *path goes on behind it. */
static struct slice take_name(struct slice *path)
{
    const uint8_t *dot = memchr(path->data, '.', path->len);
    size_t len = dot == NULL ? path->len : (size_t)(dot - path->data);
    struct slice name = slice_make(path->data, len);
    *path = slice_skip(*path, dot == NULL ? len : len + 1);
    return name;
}

/* Put one column into the tree. */
static bool add_column(struct columns *columns, int column, struct slice path,
                       const char *text_columns, struct error *err)
{
    struct slice rest = path;
    int at = 0;
    int depth = 0;
    do {
        bool dot_follows = memchr(rest.data, '.', rest.len) != NULL;
        struct slice name = take_name(&rest);
        if (name.len == 0 || (dot_follows && rest.len == 0) || ++depth > DEPTH_MAX) {
            return error_set(err, ERROR_INVALID, "column %d: \"%.*s\" is no dotted name",
                             column + 1, SLICE_ARGS(path));
        }
        int child = find_child(columns, at, name);
        if (child != NONE && (rest.len == 0 || columns->nodes[child].column != NONE)) {
            return error_set(err, ERROR_INVALID,
                             "column %d: \"%.*s\" is there twice, or is both a value and an object",
                             column + 1, SLICE_ARGS(path));
        }
        at = child == NONE ? add_node(columns, at, name) : child;
    } while (rest.len > 0);
    struct node *leaf = &columns->nodes[at];
    leaf->column = column;
    leaf->is_text = depth == 1 || slice_is(leaf->name, "phone") || slice_is(leaf->name, "id") ||
                    ends_with(leaf->name, "_id") || ends_with(leaf->name, "Id") ||
                    is_listed(text_columns, path);
    columns->leaves[column] = at;
    return true;
}

static bool read_header(struct columns *columns, const struct csv_record *header,
                        const char *text_columns, struct error *err)
{
    if (header->count > COLUMNS_MAX) {
        return error_set(err, ERROR_INVALID, "the header has more than %d columns", COLUMNS_MAX);
    }
    buf_put_slice(&columns->names, buf_slice(&header->text));
    columns->count = header->count;
    columns->leaves = memory_allocate(header->count * sizeof *columns->leaves);
    add_node(columns, NONE, slice_make(NULL, 0));
    for (size_t i = 0; i < header->count; i++) {
        struct slice path =
            slice_make(columns->names.data + header->cells[i].at, header->cells[i].len);
        if (path.len == 0 || !utf8_is_valid(path)) {
            return error_set(err, ERROR_INVALID, "column %zu has no name in UTF-8", i + 1);
        }
        if (!add_column(columns, (int)i, path, text_columns, err)) {
            return false;
        }
    }
    return true;
}

bool columns_open(const struct csv_record *header, const char *text_columns, struct columns **ret,
                  struct error *err)
{
    *ret = memory_allocate_zeroed(sizeof **ret);
    buf_init(&(*ret)->names, SIZE_MAX);
    if (!read_header(*ret, header, text_columns, err)) {
        columns_close(ret);
        return error_add_context(err, "the header row");
    }
    return true;
}

void columns_close(struct columns **columns)
{
    if (*columns != NULL) {
        buf_done(&(*columns)->names);
        free((*columns)->nodes);
        free((*columns)->leaves);
        free(*columns);
        *columns = NULL;
    }
}

static size_t digits_at(struct slice text, size_t at)
{
    size_t count = 0;
    while (at + count < text.len && text.data[at + count] >= '0' && text.data[at + count] <= '9') {
        count++;
    }
    return count;
}

/* As JSON writes numbers: so 007 and +33 are text. */
static bool is_number(struct slice text, bool *ret_whole)
{
    size_t at = text.len > 0 && text.data[0] == '-';
    size_t digits = digits_at(text, at);
    *ret_whole = true;
    if (digits == 0 || (digits > 1 && text.data[at] == '0') || text.len > 40) {
        return false;
    }
    at += digits;
    if (at < text.len && text.data[at] == '.') {
        digits = digits_at(text, at + 1);
        at += 1 + digits;
        *ret_whole = false;
    }
    if (digits > 0 && at < text.len && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        at += at < text.len && (text.data[at] == '-' || text.data[at] == '+');
        digits = digits_at(text, at);
        at += digits;
        *ret_whole = false;
    }
    return digits > 0 && at == text.len;
}

static void put_cell(struct json_writer *w, struct slice text, bool is_text)
{
    char digits[64];
    bool is_whole;
    if (!is_text && (slice_is(text, "true") || slice_is(text, "false"))) {
        json_bool(w, slice_is(text, "true"));
        return;
    }
    if (is_text || !is_number(text, &is_whole) || (is_whole && text.len > DIGITS_MAX)) {
        json_text(w, text);
        return;
    }
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    double value = strtod(digits, NULL);
    if (is_whole) {
        json_int(w, strtoll(digits, NULL, 10));
    } else if (isfinite(value)) {
        json_double(w, value);
    } else {
        json_text(w, text);
    }
}

static void put_node(const struct columns *columns, int at, const struct csv_record *row,
                     struct json_writer *w)
{
    const struct node *node = &columns->nodes[at];
    if (node->column != NONE) {
        put_cell(w, csv_cell(row, (size_t)node->column), node->is_text);
        return;
    }
    json_open_object(w);
    for (int child = node->first_child; child != NONE; child = columns->nodes[child].next) {
        if (columns->nodes[child].is_filled) {
            json_key_slice(w, columns->nodes[child].name);
            put_node(columns, child, row, w);
        }
    }
    json_close_object(w);
}

/* Mark the nodes that lead to a cell with something in it. */
static void mark_filled(struct columns *columns, const struct csv_record *row)
{
    for (int i = 0; i < columns->node_count; i++) {
        columns->nodes[i].is_filled = false;
    }
    for (size_t i = 0; i < row->count; i++) {
        if (csv_cell(row, i).len > 0) {
            for (int at = columns->leaves[i]; at != NONE; at = columns->nodes[at].parent) {
                columns->nodes[at].is_filled = true;
            }
        }
    }
}

bool columns_put_event(struct columns *columns, const struct csv_record *row, struct buf *out,
                       struct error *err)
{
    struct json_writer w;
    if (row->count > columns->count) {
        return error_set(err, ERROR_INVALID, "the row has %zu cells, the header only %zu",
                         row->count, columns->count);
    }
    if (!utf8_is_valid(buf_slice(&row->text))) {
        return error_set(err, ERROR_INVALID, "the row is not UTF-8");
    }
    mark_filled(columns, row);
    if (columns->nodes[0].is_filled) {
        json_writer_init(&w, out);
        put_node(columns, 0, row, &w);
    }
    return true;
}
