/* What every command of `tributary` is made of: its description, its arguments and its outcome.
 *
 * A command prints its result on standard output. Where it fails it fills *err and prints nothing
 * about that: main.c writes the one line on standard error. One thread.
 */
#ifndef TRIBUTARY_HUB_CLI_CLI_H
#define TRIBUTARY_HUB_CLI_CLI_H

#include "shared/error.h"
#include "shared/slice.h"

/* The exit code of the program. */
enum cli_outcome {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_MISUSED = 2,
};

/* The options before the command. */
struct cli {
    const char *hub;        /* URL */
    const char *token_file; /* NULL: from the environment */
};

struct cli_command {
    const char *name;
    const char *usage;    /* what stands behind the name; lines separated by '\n' */
    const char *sentence; /* for the list of all commands */
    const char *help;     /* the rest that --help tells */
    enum cli_outcome (*run)(const struct cli *cli, int argc, char *const *argv, struct error *err);
};

/* One option of a command: with a value, or a flag (the other is NULL). */
struct cli_option {
    const char *name;
    const char **value;
    bool *flag;
};

/* Read arguments: `--name value`, `--name=value`, flags, and from `min` to `max` others, which are
 * put into `others` in their order. "--" ends the options; "_" and "-" in names are the same.
 * `argv` begins with the first argument, without the command. */
MUST_CHECK bool cli_read_arguments(int argc, char *const *argv, const struct cli_option *options,
                                   size_t option_count, const char **others, size_t min, size_t max,
                                   struct error *err);

/* Read leading options only; *ret_used: how many elements of argv they take. */
MUST_CHECK bool cli_read_options(int argc, char *const *argv, const struct cli_option *options,
                                 size_t option_count, int *ret_used, struct error *err);

/* A variable of the environment; NULL also where it is empty. */
const char *cli_environment(const char *name);

/* A whole number from min to max out of an option's text; NULL leaves *ret as it is. */
MUST_CHECK bool cli_read_number(const char *name, const char *text, int64_t min, int64_t max,
                                int64_t *ret, struct error *err);

/* Names of collectors: 1 to 64 of a-z, 0-9, '.', '_' and '-', and not "." or "..". */
MUST_CHECK bool cli_check_collector_name(const char *name, struct error *err);

#endif
