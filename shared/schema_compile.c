/* Definitions of schemas into nodes. */
#include <stdio.h>
#include <stdlib.h>
#include "shared/members.h"
#include "shared/schema_internal.h"

struct compiler {
    struct schema *schema;
    struct schema_place *where;
    struct error *err;
    int depth;
};

void schema_place_enter(struct schema_place *place, struct slice name)
{
    size_t len = strlen(place->pointer);
    if (len + 2 * name.len + 2 > sizeof place->pointer) {
        return;
    }
    place->pointer[len++] = '/';
    for (size_t i = 0; i < name.len; i++) {
        char c = (char)name.data[i];
        if (c == '~' || c == '/') {
            place->pointer[len++] = '~';
            c = c == '~' ? '0' : '1';
        }
        place->pointer[len++] = c;
    }
    place->pointer[len] = 0;
}

static bool wrong(struct compiler *c, const char *what)
{
    return error_set(c->err, ERROR_INVALID, "%s", what);
}

static bool compile(struct compiler *c, const msgpack_object *definition, uint32_t *ret);

/* ---- Keywords; each reads its value into the node ---- */

static unsigned type_named(const msgpack_object *object)
{
    static const struct {
        const char *name;
        unsigned bits;
    } types[] = {{"null", TYPE_NULL},       {"boolean", TYPE_BOOLEAN}, {"number", TYPE_NUMBER},
                 {"integer", TYPE_INTEGER}, {"string", TYPE_STRING},   {"array", TYPE_ARRAY},
                 {"object", TYPE_OBJECT}};
    struct slice name;
    for (size_t i = 0; value_text(object, &name) && i < sizeof types / sizeof *types; i++) {
        if (slice_is(name, types[i].name)) {
            return types[i].bits;
        }
    }
    return 0;
}

static bool read_type(struct compiler *c, const msgpack_object *value, struct node *node)
{
    const msgpack_object *list = value;
    uint32_t count = 1;
    if (value->type == MSGPACK_OBJECT_ARRAY) {
        list = value->via.array.ptr;
        count = value->via.array.size;
    }
    node->types = 0;
    for (uint32_t i = 0; i < count; i++) {
        unsigned bits = type_named(&list[i]);
        if (bits == 0) {
            return wrong(c, "\"type\" is none of null, boolean, number, integer, string, array, "
                            "object, nor an array of these.");
        }
        node->types |= bits;
    }
    return count > 0 || wrong(c, "\"type\" names no type.");
}

static bool read_literal(struct compiler *c, const msgpack_object *value, struct token *ret)
{
    int64_t integer;
    double number;
    if (value->type == MSGPACK_OBJECT_NIL) {
        ret->kind = TOKEN_NIL;
    } else if (value_bool(value, &ret->boolean)) {
        ret->kind = TOKEN_BOOL;
    } else if (value_text(value, &ret->text)) {
        ret->kind = TOKEN_TEXT;
        ret->text = arena_copy(&c->schema->arena, ret->text);
    } else if (value_int(value, &integer)) {
        ret->kind = TOKEN_INTEGER;
        ret->integer = integer;
    } else if (value_number(value, &number)) {
        ret->kind = TOKEN_DOUBLE;
        ret->number = number;
    } else {
        return wrong(c, "\"enum\" and \"const\" take texts, numbers, true, false and null only.");
    }
    return true;
}

static bool read_literals(struct compiler *c, const msgpack_object *list, uint32_t count,
                          struct node *node)
{
    if (node->has_enum) {
        return wrong(c, "\"enum\" and \"const\" exclude each other.");
    }
    if (count == 0 || count > SCHEMA_ENUM_MAX) {
        return wrong(c, "\"enum\" has 1 to 256 values.");
    }
    struct token *literals = arena_allocate(&c->schema->arena, count * sizeof *literals);
    for (uint32_t i = 0; i < count; i++) {
        if (!read_literal(c, &list[i], &literals[i])) {
            return false;
        }
    }
    node->has_enum = true;
    node->literals = literals;
    node->literal_count = count;
    return true;
}

static bool read_enum(struct compiler *c, const msgpack_object *value, struct node *node)
{
    return value->type == MSGPACK_OBJECT_ARRAY
               ? read_literals(c, value->via.array.ptr, value->via.array.size, node)
               : wrong(c, "\"enum\" must be an array.");
}

static bool read_const(struct compiler *c, const msgpack_object *value, struct node *node)
{
    node->is_const = true;
    return read_literals(c, value, 1, node);
}

static bool read_minimum(struct compiler *c, const msgpack_object *value, struct node *node)
{
    node->has_minimum = value_number(value, &node->minimum);
    return node->has_minimum || wrong(c, "\"minimum\" must be a number.");
}

static bool read_maximum(struct compiler *c, const msgpack_object *value, struct node *node)
{
    node->has_maximum = value_number(value, &node->maximum);
    return node->has_maximum || wrong(c, "\"maximum\" must be a number.");
}

static bool read_length(struct compiler *c, const msgpack_object *value, uint32_t *ret)
{
    int64_t length;
    if (!value_int(value, &length) || length < 0 || length >= UINT32_MAX) {
        return wrong(c, "A length must be a whole number from 0 on.");
    }
    *ret = (uint32_t)length;
    return true;
}

static bool read_length_min(struct compiler *c, const msgpack_object *value, struct node *node)
{
    return read_length(c, value, &node->length_min);
}

static bool read_length_max(struct compiler *c, const msgpack_object *value, struct node *node)
{
    return read_length(c, value, &node->length_max);
}

static bool read_format(struct compiler *c, const msgpack_object *value, struct node *node)
{
    struct slice name;
    node->is_date_time = value_text(value, &name) && slice_is(name, "date-time");
    return node->is_date_time || wrong(c, "The only \"format\" is date-time.");
}

/* Recursion is bounded by SCHEMA_DEPTH_MAX. */
static bool read_items(struct compiler *c, const msgpack_object *value, struct node *node)
{
    return compile(c, value, &node->items);
}

static bool read_additional(struct compiler *c, const msgpack_object *value, struct node *node)
{
    bool is_allowed;
    if (value_bool(value, &is_allowed)) {
        node->additional = is_allowed ? NODE_ANYTHING : NODE_NOTHING;
        return true;
    }
    return compile(c, value, &node->additional);
}

static bool read_human(struct compiler *c, const msgpack_object *value, struct node *node)
{
    (void)node;
    return value->type == MSGPACK_OBJECT_STR || wrong(c, "This must be a text.");
}

/* `properties` and `required` become one list, which read_properties() makes; here `required` is
 * only looked at. */
static bool read_required(struct compiler *c, const msgpack_object *value, struct node *node)
{
    (void)node;
    bool fine =
        value->type == MSGPACK_OBJECT_ARRAY && value->via.array.size <= SCHEMA_PROPERTIES_MAX;
    for (uint32_t i = 0; fine && i < value->via.array.size; i++) {
        fine = value->via.array.ptr[i].type == MSGPACK_OBJECT_STR;
    }
    return fine || wrong(c, "\"required\" must be an array of up to 256 names.");
}

static bool skip_properties(struct compiler *c, const msgpack_object *value, struct node *node)
{
    (void)node;
    bool fine = value->type == MSGPACK_OBJECT_MAP && value->via.map.size <= SCHEMA_PROPERTIES_MAX;
    return fine || wrong(c, "\"properties\" must be an object of up to 256 schemas.");
}

static const struct {
    const char *name;
    bool (*read)(struct compiler *c, const msgpack_object *value, struct node *node);
} keywords[] = {
    {"type", read_type},
    {"enum", read_enum},
    {"const", read_const},
    {"minimum", read_minimum},
    {"maximum", read_maximum},
    {"minLength", read_length_min},
    {"maxLength", read_length_max},
    {"format", read_format},
    {"items", read_items},
    {"properties", skip_properties},
    {"required", read_required},
    {"additionalProperties", read_additional},
    {"title", read_human},
    {"description", read_human},
};

static bool fail_unknown(struct compiler *c, struct slice name)
{
    const char *known[sizeof keywords / sizeof *keywords];
    char text[240];
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        known[i] = keywords[i].name;
    }
    members_tell_unknown(name, known, sizeof known / sizeof *known, text, sizeof text);
    c->where->names_unknown = true;
    return wrong(c, text);
}

static bool read_keyword(struct compiler *c, struct slice name, const msgpack_object *value,
                         struct node *node)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (slice_is(name, keywords[i].name)) {
            return keywords[i].read(c, value, node);
        }
    }
    return fail_unknown(c, name);
}

/* ---- Properties ---- */

static int compare_properties(const void *a, const void *b)
{
    return slice_compare(((const struct property *)a)->name, ((const struct property *)b)->name);
}

static struct property *find_or_add(struct compiler *c, struct property *list, struct node *node,
                                    struct slice name)
{
    for (uint32_t i = 0; i < node->property_count; i++) {
        if (slice_equal(list[i].name, name)) {
            return &list[i];
        }
    }
    struct property *property = &list[node->property_count++];
    /* What is only required has no schema of its own: what holds for others holds for it. */
    *property =
        (struct property){.name = arena_copy(&c->schema->arena, name), .node = node->additional};
    return property;
}

static bool add_properties(struct compiler *c, const msgpack_object *properties,
                           struct property *list, struct node *node)
{
    struct schema_place here = *c->where;
    for (uint32_t i = 0; properties != NULL && i < properties->via.map.size; i++) {
        const msgpack_object_kv *kv = &properties->via.map.ptr[i];
        struct slice name;
        uint32_t schema;
        *c->where = here;
        schema_place_enter(c->where, slice_text("properties"));
        if (!value_text(&kv->key, &name)) {
            return wrong(c, "A property's name must be a text.");
        }
        schema_place_enter(c->where, name);
        if (!compile(c, &kv->val, &schema)) {
            return false;
        }
        find_or_add(c, list, node, name)->node = schema;
    }
    *c->where = here;
    return true;
}

static bool read_properties(struct compiler *c, const msgpack_object *definition, struct node *node)
{
    const msgpack_object *properties = value_member_c(definition, "properties");
    const msgpack_object *required = value_member_c(definition, "required");
    uint32_t count = (properties == NULL ? 0 : properties->via.map.size) +
                     (required == NULL ? 0 : required->via.array.size);
    if (count == 0) {
        return true;
    }
    struct property *list = arena_allocate(&c->schema->arena, count * sizeof *list);
    if (!add_properties(c, properties, list, node)) {
        return false;
    }
    for (uint32_t i = 0; required != NULL && i < required->via.array.size; i++) {
        struct slice name = slice_make(NULL, 0);
        (void)value_text(&required->via.array.ptr[i], &name);
        struct property *property = find_or_add(c, list, node, name);
        node->required_count += !property->is_required;
        property->is_required = true;
    }
    qsort(list, node->property_count, sizeof *list, compare_properties);
    node->properties = list;
    return node->property_count <= SCHEMA_PROPERTIES_MAX ||
           wrong(c, "An object has up to 256 properties, the required ones included.");
}

/* ---- A definition ---- */

static uint32_t add_node(struct schema *s)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 16 : s->capacity * 2;
        s->nodes = memory_resize(s->nodes, s->capacity * sizeof *s->nodes);
    }
    return (uint32_t)s->count++;
}

static bool read_members(struct compiler *c, const msgpack_object *definition, struct node *node)
{
    struct schema_place here = *c->where;
    for (uint32_t i = 0; i < definition->via.map.size; i++) {
        const msgpack_object_kv *kv = &definition->via.map.ptr[i];
        struct slice name;
        *c->where = here;
        if (!value_text(&kv->key, &name)) {
            return wrong(c, "A keyword must be a text.");
        }
        schema_place_enter(c->where, name);
        if (!read_keyword(c, name, &kv->val, node)) {
            return false;
        }
    }
    *c->where = here;
    return read_properties(c, definition, node);
}

static bool compile(struct compiler *c, const msgpack_object *definition, uint32_t *ret)
{
    struct node node = {.types = TYPE_ALL,
                        .length_max = UINT32_MAX,
                        .items = NODE_ANYTHING,
                        .additional = NODE_ANYTHING};
    if (definition->type != MSGPACK_OBJECT_MAP) {
        return wrong(c, "A schema must be an object.");
    }
    if (c->depth == SCHEMA_DEPTH_MAX || c->schema->count >= NODE_NOTHING) {
        return wrong(c, "The schema is nested more than 16 deep, or has too many parts.");
    }
    *ret = add_node(c->schema);
    c->depth++;
    bool fine = read_members(c, definition, &node);
    c->depth--;
    c->schema->nodes[*ret] = node;
    return fine;
}

bool schema_add(struct schema *schema, const msgpack_object *definition, struct schema_place *where,
                uint32_t *ret_root, struct error *err)
{
    struct compiler c = {.schema = schema, .where = where, .err = err};
    return compile(&c, definition, ret_root);
}
