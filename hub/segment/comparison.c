#include "hub/segment/comparison.h"

#include "shared/timetext.h"
#include "shared/utf8.h"

static const char *const op_names[OPS] = {
    [OP_EQ] = "eq",
    [OP_NE] = "ne",
    [OP_GT] = "gt",
    [OP_GTE] = "gte",
    [OP_LT] = "lt",
    [OP_LTE] = "lte",
    [OP_IN] = "in",
    [OP_NOT_IN] = "not_in",
    [OP_CONTAINS] = "contains",
    [OP_STARTS_WITH] = "starts_with",
    [OP_EXISTS] = "exists",
};

const char *comparison_op_name(enum comparison_op op)
{
    return op_names[op];
}

enum comparison_op comparison_op_from(struct slice name)
{
    for (enum comparison_op op = 0; op < OPS; op++) {
        if (slice_is(name, op_names[op])) {
            return op;
        }
    }
    return OPS;
}

static bool is_scalar(const msgpack_object *value)
{
    double number;
    return value->type == MSGPACK_OBJECT_STR || value->type == MSGPACK_OBJECT_BOOLEAN ||
           value_number(value, &number);
}

static bool fits(enum comparison_op op, const msgpack_object *value, struct error *err)
{
    switch (op) {
    case OP_IN:
    case OP_NOT_IN:
        if (value->type != MSGPACK_OBJECT_ARRAY) {
            return error_set(err, ERROR_INVALID, "\"%s\" needs an array", op_names[op]);
        }
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            if (!is_scalar(&value->via.array.ptr[i])) {
                return error_set(err, ERROR_INVALID, "\"%s\" takes text, numbers and booleans",
                                 op_names[op]);
            }
        }
        return true;
    case OP_STARTS_WITH:
        return value->type == MSGPACK_OBJECT_STR ||
               error_set(err, ERROR_INVALID, "\"starts_with\" needs a text");
    case OP_EXISTS:
        return value->type == MSGPACK_OBJECT_BOOLEAN ||
               error_set(err, ERROR_INVALID, "\"exists\" needs true or false");
    case OP_EQ:
    case OP_NE:
    case OP_GT:
    case OP_GTE:
    case OP_LT:
    case OP_LTE:
    case OP_CONTAINS:
        break;
    case OPS:
        return false;
    }
    return is_scalar(value) ||
           error_set(err, ERROR_INVALID, "\"%s\" needs a text, a number or a boolean",
                     op_names[op]);
}

bool comparison_read(const msgpack_object *condition, struct comparison *ret, struct error *err)
{
    bool found = false;
    for (uint32_t i = 0; i < condition->via.map.size; i++) {
        struct slice key;
        enum comparison_op op =
            value_text(&condition->via.map.ptr[i].key, &key) ? comparison_op_from(key) : OPS;
        if (op == OPS) {
            continue;
        }
        if (found) {
            return error_set(err, ERROR_INVALID, "there is more than one operator");
        }
        found = true;
        *ret = (struct comparison){op, &condition->via.map.ptr[i].val};
    }
    if (!found) {
        return error_set(err, ERROR_INVALID,
                         "an operator is missing (eq ne gt gte lt lte in not_in contains "
                         "starts_with exists)");
    }
    return fits(ret->op, ret->value, err);
}

/* Normal form for one comparison; the arena is freed by the caller. */
static struct slice normal(const msgpack_object *text, struct arena *arena)
{
    return utf8_normalize(slice_make(text->via.str.ptr, text->via.str.size), arena);
}

static int compare_texts(const msgpack_object *a, const msgpack_object *b)
{
    int64_t time_a;
    int64_t time_b;
    struct slice raw_a = slice_make(a->via.str.ptr, a->via.str.size);
    struct slice raw_b = slice_make(b->via.str.ptr, b->via.str.size);
    /* The year is looked at first: texts that are no times are told apart cheaply. */
    if (raw_a.len >= 20 && raw_b.len >= 20 && time_text_parse(raw_a, &time_a) &&
        time_text_parse(raw_b, &time_b)) {
        return (time_a > time_b) - (time_a < time_b);
    }
    struct arena arena;
    arena_init(&arena, 256);
    int order = slice_compare(normal(a, &arena), normal(b, &arena));
    arena_done(&arena);
    return order;
}

static bool is_whole(const msgpack_object *value)
{
    return value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
           value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
}

/* Not as doubles, in which large ones that differ (they may be ids) would be equal. */
static int compare_wholes(const msgpack_object *a, const msgpack_object *b)
{
    if (a->type != b->type) {
        return a->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? 1 : -1;
    }
    return a->type == MSGPACK_OBJECT_POSITIVE_INTEGER
               ? (a->via.u64 > b->via.u64) - (a->via.u64 < b->via.u64)
               : (a->via.i64 > b->via.i64) - (a->via.i64 < b->via.i64);
}

/* False: the two do not compare. */
static bool compare(const msgpack_object *a, const msgpack_object *b, int *ret_order)
{
    double number_a;
    double number_b;
    if (a->type == MSGPACK_OBJECT_STR && b->type == MSGPACK_OBJECT_STR) {
        *ret_order = compare_texts(a, b);
        return true;
    }
    if (is_whole(a) && is_whole(b)) {
        *ret_order = compare_wholes(a, b);
        return true;
    }
    if (value_number(a, &number_a) && value_number(b, &number_b)) {
        *ret_order = (number_a > number_b) - (number_a < number_b);
        return true;
    }
    return false;
}

static bool equals(const msgpack_object *a, const msgpack_object *b)
{
    int order;
    if (a->type == MSGPACK_OBJECT_BOOLEAN && b->type == MSGPACK_OBJECT_BOOLEAN) {
        return a->via.boolean == b->via.boolean;
    }
    return compare(a, b, &order) && order == 0;
}

static bool differs(const msgpack_object *a, const msgpack_object *b)
{
    int order;
    if (a->type == MSGPACK_OBJECT_BOOLEAN && b->type == MSGPACK_OBJECT_BOOLEAN) {
        return a->via.boolean != b->via.boolean;
    }
    return compare(a, b, &order) && order != 0;
}

static bool any(const msgpack_object *list, const msgpack_object *value,
                bool (*test)(const msgpack_object *, const msgpack_object *))
{
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (test(&list->via.array.ptr[i], value)) {
            return true;
        }
    }
    return false;
}

static bool text_holds(enum comparison_op op, const msgpack_object *value,
                       const msgpack_object *wanted)
{
    struct arena arena;
    if (value->type != MSGPACK_OBJECT_STR || wanted->type != MSGPACK_OBJECT_STR) {
        return false;
    }
    arena_init(&arena, 256);
    struct slice text = normal(value, &arena);
    struct slice part = normal(wanted, &arena);
    bool holds = op == OP_STARTS_WITH
                     ? slice_starts_with(text, part)
                     : part.len == 0 || memmem(text.data, text.len, part.data, part.len) != NULL;
    arena_done(&arena);
    return holds;
}

bool comparison_holds(const struct comparison *c, const msgpack_object *value)
{
    bool present = value != NULL && value->type != MSGPACK_OBJECT_NIL;
    int order;
    if (c->op == OP_EXISTS) {
        return present == c->value->via.boolean;
    }
    if (!present) {
        return false;
    }
    switch (c->op) {
    case OP_EQ:
        return equals(value, c->value);
    case OP_NE:
        return differs(value, c->value);
    case OP_GT:
        return compare(value, c->value, &order) && order > 0;
    case OP_GTE:
        return compare(value, c->value, &order) && order >= 0;
    case OP_LT:
        return compare(value, c->value, &order) && order < 0;
    case OP_LTE:
        return compare(value, c->value, &order) && order <= 0;
    case OP_IN:
        return any(c->value, value, equals);
    case OP_NOT_IN:
        return any(c->value, value, differs) && !any(c->value, value, equals);
    case OP_CONTAINS:
    case OP_STARTS_WITH:
        return text_holds(c->op, value, c->value);
    case OP_EXISTS:
    case OPS:
        break;
    }
    return false;
}

void comparison_take(struct comparison_tally *t, const msgpack_object *value)
{
    const struct comparison *c = t->comparison;
    bool is_negative = c->op == OP_NE || c->op == OP_NOT_IN;
    struct comparison opposite = {c->op == OP_NE ? OP_EQ : OP_IN, c->value};
    t->has_value = true;
    t->holds = t->holds || comparison_holds(c, value);
    t->equals = t->equals || (is_negative && comparison_holds(&opposite, value));
}

bool comparison_result(const struct comparison_tally *t)
{
    return t->comparison->op == OP_EXISTS ? t->has_value == t->comparison->value->via.boolean
                                          : t->holds && !t->equals;
}
