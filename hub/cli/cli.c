#include "hub/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "shared/seal.h"

/* "-" and "_" are the same, so that --write-key finds write_key. */
static bool is_name(const char *name, struct slice text)
{
    if (strlen(name) != text.len) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i] == '-' ? '_' : (char)text.data[i];
        if (c != name[i]) {
            return false;
        }
    }
    return true;
}

static const struct cli_option *find_option(const struct cli_option *options, size_t count,
                                            struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (is_name(options[i].name, name)) {
            return &options[i];
        }
    }
    return NULL;
}

/* Take the option at argv[0]; *ret_used: the elements that it takes. */
static bool read_option(int argc, char *const *argv, const struct cli_option *options, size_t count,
                        int *ret_used, struct error *err)
{
    const char *text = argv[0] + 2;
    const char *equals = strchr(text, '=');
    struct slice name = slice_make(text, equals == NULL ? strlen(text) : (size_t)(equals - text));
    const struct cli_option *option = find_option(options, count, name);
    *ret_used = 1;
    if (option == NULL) {
        return error_set(err, ERROR_INVALID, "there is no option \"--%.*s\" here",
                         SLICE_ARGS(name));
    }
    if (option->flag != NULL) {
        *option->flag = true;
        return equals == NULL || error_set(err, ERROR_INVALID, "--%s takes no value", option->name);
    }
    if (equals != NULL) {
        *option->value = equals + 1;
        return true;
    }
    if (argc < 2) {
        return error_set(err, ERROR_INVALID, "--%s needs a value", option->name);
    }
    *option->value = argv[1];
    *ret_used = 2;
    return true;
}

static bool is_option(const char *argument)
{
    return strncmp(argument, "--", 2) == 0 && argument[2] != 0;
}

bool cli_read_options(int argc, char *const *argv, const struct cli_option *options,
                      size_t option_count, int *ret_used, struct error *err)
{
    int used;
    for (*ret_used = 0; *ret_used < argc && is_option(argv[*ret_used]); *ret_used += used) {
        if (!read_option(argc - *ret_used, argv + *ret_used, options, option_count, &used, err)) {
            return false;
        }
    }
    return true;
}

bool cli_read_arguments(int argc, char *const *argv, const struct cli_option *options,
                        size_t option_count, const char **others, size_t min, size_t max,
                        struct error *err)
{
    size_t count = 0;
    bool options_over = false;
    for (int i = 0, used = 1; i < argc; i += used) {
        used = 1;
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (!options_over && is_option(argv[i])) {
            if (!read_option(argc - i, argv + i, options, option_count, &used, err)) {
                return false;
            }
        } else if (count == max) {
            return error_set(err, ERROR_INVALID, "\"%s\" is one argument too many", argv[i]);
        } else {
            others[count++] = argv[i];
        }
    }
    return count >= min || error_set(err, ERROR_INVALID, "an argument is missing");
}

const char *cli_environment(const char *name)
{
    const char *text = getenv(name);
    return text == NULL || text[0] == 0 ? NULL : text;
}

bool cli_read_number(const char *name, const char *text, int64_t min, int64_t max, int64_t *ret,
                     struct error *err)
{
    char *end;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || value < min || value > max) {
        return error_set(err, ERROR_INVALID,
                         "--%s takes a whole number from %" PRId64 " to %" PRId64 ", not \"%s\"",
                         name, min, max, text);
    }
    *ret = value;
    return true;
}

bool cli_check_collector_name(const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > SEAL_COLLECTOR_ID_MAX || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != len) {
        return error_set(err, ERROR_INVALID,
                         "\"%s\" is no name of a collector: 1 to %d of a-z, 0-9, '.', '_' and '-'",
                         name, SEAL_COLLECTOR_ID_MAX);
    }
    return true;
}
