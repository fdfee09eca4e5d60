/* Definitions out of a file, put to the hub one after the other.
 *
 * The file is JSON in any of the forms in which definitions are written or told: one definition
 * with its key, a list of them, an object of them by key, or what `list --json` printed. One
 * thread.
 */
#ifndef TRIBUTARY_HUB_CLI_APPLY_H
#define TRIBUTARY_HUB_CLI_APPLY_H

#include "hub/cli/client.h"

/* What is applied, and how to tell one definition from an object of many. */
struct apply_kind {
    const char *noun;   /* "segment" */
    const char *prefix; /* "/v1/segments/" */
    const char *list;   /* the member of the hub's list: "segments" */
    const char *needs;  /* what each of them has ("where"); NULL: nothing */
};

/* Put each definition of the file ("-": of standard input) and print a line for each. What refers
 * to another that comes later in the file is tried again. False: what failed last; what succeeded
 * stays. */
MUST_CHECK bool apply_file(struct client *client, const struct apply_kind *kind, const char *path,
                           struct error *err);

/* A whole file ("-": standard input) as one JSON value, which refers into *bytes and *zone. *bytes
 * is made here, and has to be freed also where this fails. */
MUST_CHECK bool apply_read_json(const char *path, struct buf *bytes, msgpack_zone *zone,
                                msgpack_object *ret, struct error *err);

/* PREFIX and KEY as a path; its bounds are checked. */
MUST_CHECK bool apply_key_path(const struct apply_kind *kind, const char *key, struct buf *path,
                               struct error *err);

/* DELETE it, and say so. */
MUST_CHECK bool apply_delete(struct client *client, const struct apply_kind *kind, const char *key,
                             struct error *err);

#endif
