#include "shared/schema_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "shared/timetext.h"

struct schema *schema_new(void)
{
    struct schema *schema = memory_allocate_zeroed(sizeof *schema);
    arena_init(&schema->arena, 1024);
    return schema;
}

void schema_free(struct schema **schema)
{
    if (*schema != NULL) {
        arena_done(&(*schema)->arena);
        free((*schema)->nodes);
        free(*schema);
        *schema = NULL;
    }
}

/* ---- Where the check stands ---- */

/* From the value upwards to the whole. */
struct step {
    const struct step *parent;
    struct slice name; /* no data: an index */
    uint32_t index;
};

struct check {
    const struct schema *schema;
    struct slice prefix;
    struct schema_violations *found;
};

static void put_escaped(struct buf *out, struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char *text = name.data[i] == '~' ? "~0" : name.data[i] == '/' ? "~1" : NULL;
        size_t len = text == NULL ? 1 : 2;
        if (!buf_append(out, text == NULL ? (const void *)&name.data[i] : text, len)) {
            return; /* cut: the reader sees where it begins */
        }
    }
}

static void put_step(struct buf *out, const struct step *step)
{
    char digits[16];
    int len = snprintf(digits, sizeof digits, "%u", step->index);
    if (buf_append(out, "/", 1)) {
        put_escaped(out, step->name.data == NULL ? slice_make(digits, (size_t)len) : step->name);
    }
}

/* A pointer that is cut ends with a whole character. */
static size_t whole_characters(const uint8_t *text, size_t len)
{
    size_t at = len;
    while (at > 0 && (text[at - 1] & 0xc0) == 0x80) {
        at--;
    }
    if (at == 0 || text[at - 1] < 0x80) {
        return len;
    }
    size_t wanted = text[at - 1] >= 0xf0 ? 4 : text[at - 1] >= 0xe0 ? 3 : 2;
    return len - (at - 1) < wanted ? at - 1 : len;
}

static void violate(const struct check *c, const struct step *at, const char *rule)
{
    const struct step *steps[SCHEMA_DEPTH_MAX + 2];
    size_t depth = 0;
    if (c->found->count == SCHEMA_VIOLATIONS_MAX) {
        return;
    }
    struct schema_violation *v = &c->found->list[c->found->count++];
    struct buf out = {.data = (uint8_t *)v->pointer,
                      .capacity = sizeof v->pointer - 1,
                      .len_max = sizeof v->pointer - 1};
    for (; at != NULL && depth < sizeof steps / sizeof *steps; at = at->parent) {
        steps[depth++] = at;
    }
    ensure(c->prefix.len < sizeof v->pointer);
    buf_put_slice(&out, c->prefix);
    while (depth > 0) {
        put_step(&out, steps[--depth]);
    }
    v->pointer[whole_characters(out.data, out.len)] = 0;
    v->rule = rule;
}

void schema_violations_add(struct schema_violations *violations, const char *pointer,
                           const char *rule)
{
    struct check check = {.prefix = slice_text(pointer), .found = violations};
    violate(&check, NULL, rule);
}

/* ---- Values ---- */

static double number_of(const struct token *token)
{
    return token->kind == TOKEN_INTEGER ? (double)token->integer : token->number;
}

static bool is_number(const struct token *token)
{
    return token->kind == TOKEN_INTEGER || token->kind == TOKEN_DOUBLE;
}

static unsigned types_of(const struct token *token)
{
    switch (token->kind) {
    case TOKEN_NIL:
        return TYPE_NULL;
    case TOKEN_BOOL:
        return TYPE_BOOLEAN;
    case TOKEN_INTEGER:
        return TYPE_INTEGER | TYPE_NUMBER;
    case TOKEN_DOUBLE:
        return token->number == floor(token->number) ? TYPE_INTEGER | TYPE_NUMBER : TYPE_NUMBER;
    case TOKEN_TEXT:
        return TYPE_STRING;
    case TOKEN_ARRAY:
        return TYPE_ARRAY;
    case TOKEN_MAP:
        return TYPE_OBJECT;
    case TOKEN_BYTES:
        break;
    }
    return 0; /* JSON has no such value */
}

static bool is_same(const struct token *a, const struct token *b)
{
    if (is_number(a) && is_number(b)) {
        return a->kind == TOKEN_INTEGER && b->kind == TOKEN_INTEGER ? a->integer == b->integer
                                                                    : number_of(a) == number_of(b);
    }
    if (a->kind != b->kind) {
        return false;
    }
    return a->kind == TOKEN_NIL || (a->kind == TOKEN_BOOL && a->boolean == b->boolean) ||
           (a->kind == TOKEN_TEXT && slice_equal(a->text, b->text));
}

static bool is_listed(const struct node *node, const struct token *token)
{
    for (uint32_t i = 0; i < node->literal_count; i++) {
        if (is_same(&node->literals[i], token)) {
            return true;
        }
    }
    return false;
}

static uint32_t characters_in(struct slice text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += (text.data[i] & 0xc0) != 0x80;
    }
    return count;
}

static void check_text(const struct check *c, const struct node *node, const struct token *token,
                       const struct step *at)
{
    if (node->length_min > 0 || node->length_max < UINT32_MAX) {
        uint32_t length = characters_in(token->text);
        if (length < node->length_min) {
            violate(c, at, "minLength");
        }
        if (length > node->length_max) {
            violate(c, at, "maxLength");
        }
    }
    if (node->is_date_time && !time_text_is_valid(token->text)) {
        violate(c, at, "format");
    }
}

static void check_scalar(const struct check *c, const struct node *node, const struct token *token,
                         const struct step *at)
{
    if (node->has_enum && !is_listed(node, token)) {
        violate(c, at, node->is_const ? "const" : "enum");
    }
    if (is_number(token)) {
        if (node->has_minimum && !(number_of(token) >= node->minimum)) {
            violate(c, at, "minimum");
        }
        if (node->has_maximum && !(number_of(token) <= node->maximum)) {
            violate(c, at, "maximum");
        }
    } else if (token->kind == TOKEN_TEXT) {
        check_text(c, node, token, at);
    }
}

static const struct property *find_property(const struct node *node, struct slice name,
                                            uint32_t *ret_at)
{
    uint32_t low = 0;
    uint32_t high = node->property_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = slice_compare(node->properties[middle].name, name);
        if (order == 0) {
            *ret_at = middle;
            return &node->properties[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return NULL;
}

static bool check_value(const struct check *c, uint32_t number, struct cursor *value,
                        const struct step *at);

struct seen {
    uint64_t bits[SCHEMA_PROPERTIES_MAX / 64];
};

static void check_missing(const struct check *c, const struct node *node, const struct seen *seen,
                          const struct step *at)
{
    for (uint32_t i = 0; i < node->property_count; i++) {
        if (node->properties[i].is_required && (seen->bits[i / 64] >> (i % 64) & 1) == 0) {
            struct step member = {at, node->properties[i].name, 0};
            violate(c, &member, "required");
        }
    }
}

/* Recursion is as deep as the schema, which is bounded. */
static bool check_object(const struct check *c, const struct node *node, uint32_t count,
                         struct cursor *value, const struct step *at)
{
    struct seen seen = {{0}};
    struct token key;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = 0;
        if (!cursor_next(value, &key) || key.kind != TOKEN_TEXT) {
            return false;
        }
        const struct property *property = find_property(node, key.text, &place);
        struct step member = {at, key.text, 0};
        if (property != NULL) {
            seen.bits[place / 64] |= (uint64_t)1 << (place % 64);
        }
        uint32_t schema = property != NULL ? property->node : node->additional;
        if (schema == NODE_NOTHING) {
            violate(c, &member, "additionalProperties");
        }
        if (!check_value(c, schema, value, &member)) {
            return false;
        }
    }
    if (node->required_count > 0) {
        check_missing(c, node, &seen, at);
    }
    return true;
}

static bool check_array(const struct check *c, const struct node *node, uint32_t count,
                        struct cursor *value, const struct step *at)
{
    for (uint32_t i = 0; i < count; i++) {
        struct step member = {at, {NULL, 0}, i};
        if (!check_value(c, node->items, value, &member)) {
            return false;
        }
    }
    return true;
}

/* Check and pass over one value; false where it is no MessagePack of JSON. */
static bool check_value(const struct check *c, uint32_t number, struct cursor *value,
                        const struct step *at)
{
    struct token token;
    if (number == NODE_ANYTHING || number == NODE_NOTHING ||
        c->found->count == SCHEMA_VIOLATIONS_MAX) {
        return cursor_skip(value);
    }
    const struct node *node = &c->schema->nodes[number];
    if (!cursor_next(value, &token)) {
        return false;
    }
    if ((types_of(&token) & node->types) == 0) {
        violate(c, at, "type");
    }
    check_scalar(c, node, &token, at);
    if (token.kind == TOKEN_MAP) {
        return check_object(c, node, token.count, value, at);
    }
    return token.kind != TOKEN_ARRAY || check_array(c, node, token.count, value, at);
}

void schema_check(const struct schema *schema, uint32_t root, struct slice value,
                  struct slice prefix, struct schema_violations *ret)
{
    struct check check = {schema, prefix, ret};
    struct cursor at = cursor_of(value);
    if (!check_value(&check, root, &at, NULL)) {
        violate(&check, NULL, "type");
    }
}
