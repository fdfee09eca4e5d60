/* To whom segments and traits are shown at the edge: visitors' pages, the staff of a shop, both, or
 * nobody, which is what a definition means that does not say. In JSON and MessagePack a list of
 * names: "edge": [], ["page"], ["staff"] or ["page","staff"].
 *
 * Pure; any thread.
 */
#ifndef TRIBUTARY_SHARED_AUDIENCE_H
#define TRIBUTARY_SHARED_AUDIENCE_H

#include "shared/value.h"

/* Bits of a set. stored: never renumber */
enum audience {
    AUDIENCE_NOBODY = 0,
    AUDIENCE_PAGE = 1,  /* GET /v1/me, and answers to events */
    AUDIENCE_STAFF = 2, /* GET /v1/customers */
    AUDIENCE_ALL = AUDIENCE_PAGE | AUDIENCE_STAFF,
};

/* What is stored or was sent: names that are not known, and whatever is no list, show nothing to
 * anybody. Versions before 0.2 stored `true` for a trait that went to the edge, and showed it to
 * all. NULL: nobody. */
enum audience audience_read(const msgpack_object *edge);

/* A mistake of whoever defines: ERROR_INVALID says what is wrong, and *ret_at is the place in the
 * list, or -1 for the list itself. NULL is fine. */
MUST_CHECK bool audience_check(const msgpack_object *edge, int *ret_at, struct error *err);

/* As a list of names. */
void audience_pack(msgpack_packer *packer, enum audience audience);
/* The name of one bit, for who writes a list in another form; NULL behind the last. */
const char *audience_name(size_t at);

#endif
