/* What the commands for sources, tracking plans, traits and identity rules have in common: their
 * verbs, the table of all, one shown whole, files applied.
 *
 * Whatever members a definition has are passed on and shown, so a newer hub's are too. One thread.
 */
#ifndef TRIBUTARY_HUB_CLI_DEFINITIONS_H
#define TRIBUTARY_HUB_CLI_DEFINITIONS_H

#include "hub/cli/apply.h"

/* One column of the table of all definitions. */
struct definitions_column {
    const char *head;
    const char *member;
    const char *initial; /* what holds where the member is absent; NULL: nothing */
    /* How it is written; NULL: as definitions_put() does. */
    void (*put)(struct buf *cell, const msgpack_object *value);
};

enum { DEFINITIONS_COLUMNS_MAX = 8 };

struct definitions_kind {
    struct apply_kind apply;
    const char *single; /* path of the only definition of its kind, which has no key; or NULL */
    size_t column_count;
    struct definitions_column columns[DEFINITIONS_COLUMNS_MAX];
};

/* Carry out `list`, `show`, `apply` or `delete`; of a single definition `show` and `apply`. */
enum cli_outcome definitions_run(const struct definitions_kind *kind, const struct cli *cli,
                                 int argc, char *const *argv, struct error *err);

/* Print a table, one row for each element of `list`. */
void definitions_print(const struct definitions_column *columns, size_t count,
                       const msgpack_object *list);

/* A value in a cell: texts of a list with commas, of a longer one the first and how many more; the
 * names of an object's members likewise; yes and no; "-" for nothing. */
void definitions_put(struct buf *cell, const msgpack_object *value);

#endif
