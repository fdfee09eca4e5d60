#include "shared/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "shared/buf.h"
#include "shared/timetext.h"

static const struct config_row *find_row(const struct config_row *rows, size_t count,
                                         struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is(name, rows[i].name)) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool parse_number(struct slice text, int64_t *ret)
{
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret = value;
    return text.len > 0;
}

static bool parse_bytes(struct slice text, int64_t *ret)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    int shift = 0;
    for (size_t i = 0; i < 4; i++) {
        struct slice unit = slice_text(units[i]);
        if (text.len > unit.len && slice_equal(slice_skip(text, text.len - unit.len), unit)) {
            shift = 10 * ((int)i + 1);
            text.len -= unit.len;
            break;
        }
    }
    while (text.len > 0 && text.data[text.len - 1] == ' ') {
        text.len--;
    }
    if (!parse_number(text, ret) || *ret > INT64_MAX >> shift) {
        return false;
    }
    *ret <<= shift;
    return true;
}

static bool parse_flag(struct slice text, int64_t *ret)
{
    *ret = slice_is(text, "yes") || slice_is(text, "true") || slice_is(text, "on");
    return *ret || slice_is(text, "no") || slice_is(text, "false") || slice_is(text, "off");
}

static const char *type_name(enum config_type type)
{
    switch (type) {
    case CONFIG_TEXT:
        return "text";
    case CONFIG_NUMBER:
        return "a whole number";
    case CONFIG_BYTES:
        return "a size such as 512KiB, 64MiB or 2GiB";
    case CONFIG_DURATION:
        return "a duration such as 30s, 15m, 12h or 7d";
    case CONFIG_FLAG:
        return "yes or no";
    }
    return "";
}

static bool set_value(const struct config_row *row, struct slice text, void *settings,
                      struct error *err)
{
    uint8_t *field = (uint8_t *)settings + row->offset;
    int64_t value = 0;
    bool parsed = true;
    switch (row->type) {
    case CONFIG_TEXT:
        if (text.len >= CONFIG_TEXT_BYTES) {
            return error_set(err, ERROR_INVALID, "%s is longer than %d bytes", row->name,
                             CONFIG_TEXT_BYTES - 1);
        }
        memcpy(field, text.data, text.len);
        field[text.len] = 0;
        return true;
    case CONFIG_NUMBER:
        parsed = parse_number(text, &value);
        break;
    case CONFIG_BYTES:
        parsed = parse_bytes(text, &value);
        break;
    case CONFIG_DURATION:
        parsed = duration_parse(text, &value);
        break;
    case CONFIG_FLAG:
        parsed = parse_flag(text, &value);
        break;
    }
    if (!parsed) {
        return error_set(err, ERROR_INVALID, "%s takes %s, not \"%.*s\"", row->name,
                         type_name(row->type), SLICE_ARGS(text));
    }
    if (row->type != CONFIG_FLAG && (value < row->min || value > row->max)) {
        return error_set(err, ERROR_INVALID,
                         "%s is %" PRId64 ", outside %" PRId64 " to %" PRId64 "%s", row->name,
                         value, row->min, row->max,
                         row->type == CONFIG_DURATION ? " milliseconds" : "");
    }
    memcpy(field, &value, sizeof value);
    return true;
}

void config_defaults(const struct config_row *rows, size_t count, void *settings)
{
    for (size_t i = 0; i < count; i++) {
        struct error err;
        const char *initial = rows[i].initial == NULL ? "" : rows[i].initial;
        bool valid = set_value(&rows[i], slice_text(initial), settings, &err);
        ensure(valid);
    }
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && strchr(" \t\r", text.data[text.len - 1]) != NULL) {
        text.len--;
    }
    return text;
}

static bool set_line(const struct config_row *rows, size_t count, struct slice line, void *settings,
                     struct error *err)
{
    line = trim(line);
    if (line.len == 0 || line.data[0] == '#') {
        return true;
    }
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL) {
        return error_set(err, ERROR_INVALID, "expected \"name = value\"");
    }
    struct slice name = trim(slice_make(line.data, (size_t)(equals - line.data)));
    struct slice value = trim(slice_skip(line, (size_t)(equals - line.data) + 1));
    const struct config_row *row = find_row(rows, count, name);
    if (row == NULL) {
        return error_set(err, ERROR_INVALID, "unknown setting \"%.*s\"; --print-config lists them",
                         SLICE_ARGS(name));
    }
    return set_value(row, value, settings, err);
}

bool config_read_text(const struct config_row *rows, size_t count, const char *name,
                      struct slice text, void *settings, struct error *err)
{
    for (int number = 1; text.len > 0; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        if (!set_line(rows, count, slice_make(text.data, len), settings, err)) {
            return error_add_context(err, "%s:%d", name, number);
        }
        text = slice_skip(text, end == NULL ? len : len + 1);
    }
    return true;
}

bool config_read_file(const struct config_row *rows, size_t count, const char *path, void *settings,
                      struct error *err)
{
    struct buf text;
    char chunk[4096];
    size_t n;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(err, ERROR_INVALID, "%s: %s", path, strerror(errno));
    }
    buf_init(&text, 1024 * 1024);
    bool fits = true;
    while (fits && (n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        fits = buf_append(&text, chunk, n);
    }
    /* A folder opens like a file and fails here. */
    int failure = ferror(file) ? errno : 0;
    fclose(file);
    bool ok = failure != 0 ? error_set(err, ERROR_INVALID, "%s: %s", path, strerror(failure))
              : !fits      ? error_set(err, ERROR_INVALID, "%s is longer than 1 MiB", path)
                           : config_read_text(rows, count, path, buf_slice(&text), settings, err);
    buf_done(&text);
    return ok;
}

static bool set_argument(const struct config_row *rows, size_t count, const char *name,
                         const char *value, void *settings, struct error *err)
{
    const char *equals = strchr(name, '=');
    struct slice key = slice_make(name, equals == NULL ? strlen(name) : (size_t)(equals - name));
    if (equals != NULL) {
        value = equals + 1;
    }
    bool is_file = slice_is(key, "config");
    const struct config_row *row = find_row(rows, count, key);
    if ((is_file || row != NULL) && value == NULL) {
        return error_set(err, ERROR_INVALID, "--%s needs a value", name);
    }
    if (is_file) {
        return config_read_file(rows, count, value, settings, err);
    }
    if (row == NULL) {
        return error_set(err, ERROR_INVALID, "unknown option --%.*s; --help lists them",
                         SLICE_ARGS(key));
    }
    return set_value(row, slice_text(value), settings, err);
}

bool config_read_arguments(const struct config_row *rows, size_t count, int argc, char *const *argv,
                           void *settings, int *ret_used, struct error *err)
{
    int i = 1;
    while (i < argc && strncmp(argv[i], "--", 2) == 0) {
        bool joined = strchr(argv[i], '=') != NULL;
        const char *value = joined || i + 1 >= argc ? NULL : argv[i + 1];
        if (!set_argument(rows, count, argv[i] + 2, value, settings, err)) {
            return false;
        }
        i += joined ? 1 : 2;
    }
    *ret_used = i;
    return true;
}

/* The largest unit of `units` that divides the value, so that it reads as somebody would write it.
 */
struct unit {
    const char *name;
    int64_t size;
};

static void print_in_units(int64_t value, const struct unit *units, FILE *out)
{
    while (units->size > 1 && (value == 0 || value % units->size != 0)) {
        units++;
    }
    fprintf(out, "%" PRId64 "%s", value / units->size, units->name);
}

static void print_number(enum config_type type, int64_t value, FILE *out)
{
    static const struct unit durations[] = {
        {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}; /* no shorter one can be written */
    static const struct unit sizes[] = {
        {"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"", 1}};
    if (type == CONFIG_FLAG) {
        fprintf(out, "%s", value ? "yes" : "no");
    } else if (type == CONFIG_NUMBER) {
        fprintf(out, "%" PRId64, value);
    } else {
        print_in_units(type == CONFIG_DURATION ? value / 1000 : value,
                       type == CONFIG_DURATION ? durations : sizes, out);
    }
}

static void print_value(const struct config_row *row, const uint8_t *field, FILE *out)
{
    int64_t value;
    if (row->type == CONFIG_TEXT) {
        fprintf(out, "%s", (const char *)field);
        return;
    }
    memcpy(&value, field, sizeof value);
    print_number(row->type, value, out);
}

/* What may be written there, and what holds when nothing is. */
static void print_bounds(const struct config_row *row, FILE *out)
{
    bool has_bounds = row->type != CONFIG_TEXT && row->type != CONFIG_FLAG;
    fprintf(out, "# %s", type_name(row->type));
    if (has_bounds && row->max == INT64_MAX) {
        fprintf(out, ", at least ");
        print_number(row->type, row->min, out);
    } else if (has_bounds) {
        fprintf(out, ", from ");
        print_number(row->type, row->min, out);
        fprintf(out, " to ");
        print_number(row->type, row->max, out);
    }
    bool has_default = row->initial != NULL && row->initial[0] != 0;
    fprintf(out, "; default: %s\n", has_default ? row->initial : "empty");
}

void config_print(const struct config_row *rows, size_t count, const void *settings, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "# %s\n", rows[i].sentence);
        print_bounds(&rows[i], out);
        fprintf(out, "%s =", rows[i].name);
        const uint8_t *field = (const uint8_t *)settings + rows[i].offset;
        if (rows[i].type != CONFIG_TEXT || field[0] != 0) {
            fprintf(out, " ");
        }
        print_value(&rows[i], field, out);
        fprintf(out, "\n\n");
    }
}
