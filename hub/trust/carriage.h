/* Which sources a collector may carry: the list in its definition, of ids of sources or "*" for
 * all of them, which is the default. A collector gets no definition of others, and the hub takes no
 * event of others from it: whoever takes over a till's box does not speak for the shop.
 */
#ifndef TRIBUTARY_HUB_TRUST_CARRIAGE_H
#define TRIBUTARY_HUB_TRUST_CARRIAGE_H

#include "shared/value.h"

enum { CARRIAGE_SOURCES_MAX = 256 };

/* Is it all of them? `list` is NULL where the definition has none. */
bool carriage_is_everything(const msgpack_object *list);
bool carriage_has(const msgpack_object *list, struct slice source);

/* What is wrong with a list that a definition has, as a sentence; NULL: nothing. */
const char *carriage_mistake(const msgpack_object *list);

#endif
