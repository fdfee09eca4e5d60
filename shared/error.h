/* An error tells the caller what to do about it (its kind) and a human what happened (its text).
 *
 * A struct error lives on the caller's stack. A function that can fail returns bool, takes
 * `struct error *err` last, and fills it before it returns false. Each level may put its own
 * context before the text; the text is logged once, where the error is handled. No locking:
 * an error belongs to one thread.
 */
#ifndef TRIBUTARY_SHARED_ERROR_H
#define TRIBUTARY_SHARED_ERROR_H

#include <stdbool.h>
#include "shared/attributes.h"

enum error_kind {
    ERROR_NONE,
    ERROR_INVALID,     /* the input is wrong: tell the sender */
    ERROR_FULL,        /* a bound is reached: push back */
    ERROR_UNAVAILABLE, /* the other side or the disk does not answer: retry */
    ERROR_CORRUPT,     /* stored or received bytes are damaged: stop using them and report */
};

struct error {
    enum error_kind kind;
    char message[256];
};

/* error_set(err, kind, format, ...) fills *err and gives false, so that `return error_set(...)`
 * reads as failing. error_add_context(err, format, ...) puts "context: " before the text of *err
 * and gives false; the kind stays. They are macros so that compilers and analyzers see the false.
 */
#define error_set(...) error_false(error_fill(__VA_ARGS__))
#define error_add_context(...) error_false(error_prefix(__VA_ARGS__))

int error_fill(struct error *err, enum error_kind kind, const char *format, ...) PRINTF_LIKE(3, 4);
int error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

static inline bool error_false(int done)
{
    (void)done;
    return false;
}

/* The name of a kind for logs, such as "invalid". */
const char *error_kind_name(enum error_kind kind);

/* Stop the process with a message where something that cannot happen has happened. Stays on in
 * release builds; never for input. */
#define ensure(condition) ((condition) ? (void)0 : error_stop(__FILE__, __LINE__, #condition))

_Noreturn void error_stop(const char *file, int line, const char *what);

#endif
