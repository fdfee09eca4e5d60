/* The values that a name of the segment language leads to: `total`, `address.city`,
 * `products[].product_id`.
 *
 * A member whose own name has dots or brackets is found first, else the name is stepped. `x[]`
 * leads to each element of an array, of another value to nothing; `x.y` leads from an array to
 * nothing. A value that is null is absent. Pure; the recursion ends with the name.
 */
#ifndef TRIBUTARY_HUB_SEGMENT_PROPERTY_PATH_H
#define TRIBUTARY_HUB_SEGMENT_PROPERTY_PATH_H

#include "shared/value.h"

/* False: no more values are wanted. */
typedef bool property_visit(void *user, const msgpack_object *value);

/* Visit each value in the order of the arrays. True: the name led somewhere, be it to null or to an
 * array without elements. */
bool property_each(const msgpack_object *map, struct slice name, property_visit *visit, void *user);

/* The same from a value that a name has led to so far; `rest` is empty or begins with . or []. */
bool property_each_behind(const msgpack_object *value, struct slice rest, property_visit *visit,
                          void *user);

/* The place in `name`, from `from` on, where a step may begin: of a dot, or of []; name.len where
 * there is none. */
size_t property_next_step(struct slice name, size_t from);

#endif
