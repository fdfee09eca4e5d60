/* Which members the objects of a definition may have.
 *
 * A member that is not known is refused by name, with its place and the known one that looks most
 * like it: a misspelt member would otherwise pass for one that was left out, and so would one of
 * another type. Whether a value means something is checked by whoever reads it. Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_MEMBERS_H
#define TRIBUTARY_SHARED_MEMBERS_H

#include "shared/value.h"

enum member_type {
    MEMBER_TYPE_ANY, /* whoever reads it checks that */
    MEMBER_TYPE_TEXT,
    MEMBER_TYPE_FLAG,
    MEMBER_TYPE_INTEGER,
};

/* One member of a table; a table ends with MEMBERS_END. */
struct member {
    const char *name;
    const struct member *of; /* what its object, or each object of its array, may have; or NULL */
    enum member_type type;
    bool is_map; /* `of` holds for each object in its object, whose names are free */
};
/* clang-format off */
#define MEMBER(name) {(name), NULL, MEMBER_TYPE_ANY, false}
#define MEMBER_TEXT(name) {(name), NULL, MEMBER_TYPE_TEXT, false}
#define MEMBER_FLAG(name) {(name), NULL, MEMBER_TYPE_FLAG, false}
#define MEMBER_INTEGER(name) {(name), NULL, MEMBER_TYPE_INTEGER, false}
#define MEMBER_OF(name, of) {(name), (of), MEMBER_TYPE_ANY, false}
#define MEMBER_MAP_OF(name, of) {(name), (of), MEMBER_TYPE_ANY, true}
#define MEMBERS_END {NULL, NULL, MEMBER_TYPE_ANY, false}
/* clang-format on */

struct members_mistake {
    bool is_unknown;   /* else it is of another type */
    char pointer[256]; /* JSON pointer of the member; cut at the end where it is longer */
    char message[320]; /* a sentence */
};

/* True: every member of `object`, and of what is in it, is in the table and of its type. */
bool members_are_known(const msgpack_object *object, const struct member *table,
                       struct members_mistake *ret);

/* The sentence about a name that is none of `known`, of which there are `count`. */
void members_tell_unknown(struct slice name, const char *const *known, size_t count, char *ret,
                          size_t size);

#endif
