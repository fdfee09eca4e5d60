/* Settings of a program, described by one table row each.
 *
 * The row drives everything: parsing of `name = value` files and of `--name value` arguments, the
 * error that names file and line, --help and --print-config. Unknown names are errors. A later
 * place wins: defaults, then files in the order given, then arguments. Not thread-safe; read once
 * at the start.
 */
#ifndef TRIBUTARY_SHARED_CONFIG_H
#define TRIBUTARY_SHARED_CONFIG_H

#include <stdio.h>
#include "shared/error.h"
#include "shared/slice.h"

enum config_type { CONFIG_TEXT, CONFIG_NUMBER, CONFIG_BYTES, CONFIG_DURATION, CONFIG_FLAG };

struct config_row {
    const char *name;
    enum config_type type;
    size_t offset;       /* of the field: char[CONFIG_TEXT_BYTES] for text, int64_t otherwise */
    const char *initial; /* as it would be written in the file; NULL for no default */
    int64_t min;         /* numbers; bytes; milliseconds */
    int64_t max;
    const char *sentence;
};

/* Long enough for a path, an address, or the state in an enrolment file is kept apart. */
enum { CONFIG_TEXT_BYTES = 512 };

/* Fill *settings with the defaults of the rows. */
void config_defaults(const struct config_row *rows, size_t count, void *settings);

/* Read a file of `name = value` lines; '#' begins a comment. */
MUST_CHECK bool config_read_file(const struct config_row *rows, size_t count, const char *path,
                                 void *settings, struct error *err);

/* Read text in the form of such a file; `name` is what errors call it. */
MUST_CHECK bool config_read_text(const struct config_row *rows, size_t count, const char *name,
                                 struct slice text, void *settings, struct error *err);

/* Take the leading `--name value` and `--name=value` arguments (`--config FILE` reads a file).
 * *ret_used: how many elements of argv were taken, argv[0] included; the first that is no option
 * ends it. */
MUST_CHECK bool config_read_arguments(const struct config_row *rows, size_t count, int argc,
                                      char *const *argv, void *settings, int *ret_used,
                                      struct error *err);

/* The table as the manual of the settings: a commented configuration file with the values of
 * *settings, which gives these values again when it is read. */
void config_print(const struct config_row *rows, size_t count, const void *settings, FILE *out);

#endif
