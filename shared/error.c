#include "shared/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int error_fill(struct error *err, enum error_kind kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->kind = kind;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return 0;
}

int error_prefix(struct error *err, const char *format, ...)
{
    char context[128];
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    memcpy(text, err->message, sizeof text);
    int room = (int)(sizeof err->message - strlen(context) - sizeof ": ");
    snprintf(err->message, sizeof err->message, "%s: %.*s", context, room, text);
    return 0;
}

const char *error_kind_name(enum error_kind kind)
{
    switch (kind) {
    case ERROR_NONE:
        return "none";
    case ERROR_INVALID:
        return "invalid";
    case ERROR_FULL:
        return "full";
    case ERROR_UNAVAILABLE:
        return "unavailable";
    case ERROR_CORRUPT:
        return "corrupt";
    }
    return "unknown";
}

_Noreturn void error_stop(const char *file, int line, const char *what)
{
    fprintf(stderr, "stopped: %s:%d: %s\n", file, line, what);
    abort();
}
