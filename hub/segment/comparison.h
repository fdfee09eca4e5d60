/* Comparisons of the segment language: one operator and the value to compare with.
 *
 * Nothing is coerced: numbers compare with numbers, text with text (after Unicode NFC, by code
 * point), booleans with booleans, and two texts that are RFC 3339 times as instants. An absent or
 * differently typed value makes every comparison false except `exists`. Pure.
 */
#ifndef TRIBUTARY_HUB_SEGMENT_COMPARISON_H
#define TRIBUTARY_HUB_SEGMENT_COMPARISON_H

#include "shared/arena.h"
#include "shared/value.h"

enum comparison_op {
    OP_EQ,
    OP_NE,
    OP_GT,
    OP_GTE,
    OP_LT,
    OP_LTE,
    OP_IN,
    OP_NOT_IN,
    OP_CONTAINS,
    OP_STARTS_WITH,
    OP_EXISTS,
    OPS
};

struct comparison {
    enum comparison_op op;
    const msgpack_object *value;
};

const char *comparison_op_name(enum comparison_op op);
/* OPS where the name is none. */
enum comparison_op comparison_op_from(struct slice name);

/* The one operator among the members of a condition. ERROR_INVALID where there is none or more
 * than one, or its value cannot be compared. */
MUST_CHECK bool comparison_read(const msgpack_object *condition, struct comparison *ret,
                                struct error *err);

/* Does the value (NULL or nil: absent) satisfy it? */
bool comparison_holds(const struct comparison *comparison, const msgpack_object *value);

#endif
