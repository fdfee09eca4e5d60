/* Configuration files: what is accepted can be printed and read again. */
#include "shared/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    char name[CONFIG_TEXT_BYTES];
    int64_t number;
    int64_t bytes;
    int64_t duration;
    int64_t flag;
};

static const struct config_row rows[] = {
    {"name", CONFIG_TEXT, offsetof(struct settings, name), "x", 0, 0, "A text."},
    {"number", CONFIG_NUMBER, offsetof(struct settings, number), "1", 0, 1000, "A number."},
    {"bytes", CONFIG_BYTES, offsetof(struct settings, bytes), "1KiB", 0, INT64_MAX, "A size."},
    {"time", CONFIG_DURATION, offsetof(struct settings, duration), "1s", 0, INT64_MAX, "A time."},
    {"flag", CONFIG_FLAG, offsetof(struct settings, flag), "no", 0, 1, "A flag."},
};
enum { ROWS = sizeof rows / sizeof *rows };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings;
    struct error err = {.kind = ERROR_NONE};
    config_defaults(rows, ROWS, &settings);
    if (!config_read_text(rows, ROWS, "f", slice_make(data, size), &settings, &err)) {
        ensure(err.kind == ERROR_INVALID && strncmp(err.message, "f:", 2) == 0);
        return 0;
    }
    struct settings again;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ensure(out != NULL);
    config_print(rows, ROWS, &settings, out);
    fclose(out);
    config_defaults(rows, ROWS, &again);
    bool fine = config_read_text(rows, ROWS, "again", slice_make(text, len), &again, &err);
    free(text);
    ensure(fine && again.number == settings.number && again.bytes == settings.bytes);
    ensure(again.duration == settings.duration && again.flag == settings.flag);
    return 0;
}
