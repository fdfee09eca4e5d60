/* What a source's definition may say about its gate. */
#ifndef TRIBUTARY_HUB_API_SOURCE_RULES_H
#define TRIBUTARY_HUB_API_SOURCE_RULES_H

#include "shared/value.h"

/* A sentence about the first member of a source that is wrong, and the pointer to it; NULL: none
 * is. `origins` is not looked at. Pure; any thread. */
const char *source_rules_mistake(const msgpack_object *source, const char **ret_field);

#endif
