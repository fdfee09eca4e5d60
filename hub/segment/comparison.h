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

/* Does the value (NULL or nil: absent) satisfy it? An array satisfies only `exists`. */
bool comparison_holds(const struct comparison *comparison, const msgpack_object *value);

/* The same of all values that a name leads to, such as products[].product_id: they satisfy it if
 * one does; `ne` and `not_in` where one is of the operand's type and none equals (is in) it;
 * `exists: false` where there is none. Begin with zeros but for the comparison. */
struct comparison_tally {
    const struct comparison *comparison;
    bool has_value;
    bool holds;  /* some value does */
    bool equals; /* of ne and not_in: some value equals (is in) the operand */
};
void comparison_take(struct comparison_tally *tally, const msgpack_object *value);
bool comparison_result(const struct comparison_tally *tally);

#endif
