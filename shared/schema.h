/* JSON Schema, a documented subset, compiled into a flat program that checks a value where it
 * lies in MessagePack: without allocation, in one pass, each part of the value looked at once.
 *
 * Keywords: `type` (one or several), `enum` and `const` (of texts, numbers, true, false, null),
 * `minimum`, `maximum`, `minLength`, `maxLength` (in characters), `format` "date-time", `items`
 * (one schema for all), `properties`, `required`, `additionalProperties` (true, false or a
 * schema), and for humans `title` and `description`. Any other keyword is refused when the schema
 * is compiled, so that nobody relies on what is not checked. What a keyword means is as in draft
 * 2020-12.
 *
 * A compiled program is immutable: any thread may check with it.
 */
#ifndef TRIBUTARY_SHARED_SCHEMA_H
#define TRIBUTARY_SHARED_SCHEMA_H

#include "shared/value.h"

/* Of one schema: how deep it is nested, and per object and list of values. */
enum { SCHEMA_DEPTH_MAX = 16, SCHEMA_PROPERTIES_MAX = 256, SCHEMA_ENUM_MAX = 256 };
enum { SCHEMA_NODES_MAX = 65535, SCHEMA_VIOLATIONS_MAX = 8, SCHEMA_POINTER_BYTES = 112 };

struct schema;

/* Any number of schemas share one program. */
struct schema *schema_new(void);
void schema_free(struct schema **schema);

/* Where a definition is wrong: a JSON pointer, cut where it is too long. */
struct schema_place {
    char pointer[160];
    bool names_unknown; /* what is there is not known at all */
};

/* Compile one definition, copied; *ret_root names it. ERROR_INVALID says what is wrong and fills
 * *where, which holds the pointer to the definition when it is called. */
MUST_CHECK bool schema_add(struct schema *schema, const msgpack_object *definition,
                           struct schema_place *where, uint32_t *ret_root, struct error *err);

/* Append "/name" to a pointer, escaped; nothing where it has no room. */
void schema_place_enter(struct schema_place *place, struct slice name);

struct schema_violation {
    char pointer[SCHEMA_POINTER_BYTES]; /* into the value; of a missing member, to where it is
                                           missed */
    const char *rule;                   /* the keyword */
};
struct schema_violations {
    size_t count;
    struct schema_violation list[SCHEMA_VIOLATIONS_MAX];
};

/* Check the value, one MessagePack value, against a root; violations are added to *ret, whose
 * pointers begin with `prefix`. It stops at SCHEMA_VIOLATIONS_MAX. Bytes that are no MessagePack
 * are a violation of "type". */
void schema_check(const struct schema *schema, uint32_t root, struct slice value,
                  struct slice prefix, struct schema_violations *ret);

/* Add a violation with this very pointer, where there is room. */
void schema_violations_add(struct schema_violations *violations, const char *pointer,
                           const char *rule);

#endif
