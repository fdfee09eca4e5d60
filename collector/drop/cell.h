/* A cell of a till's file as a value of an event, in JSON.
 *
 * Guarantee: what cell_put() appends is one JSON value in valid UTF-8; a cell that is not what it
 * should be leaves *out as it was. White space around a cell does not count. One thread.
 */
#ifndef TRIBUTARY_COLLECTOR_CELL_H
#define TRIBUTARY_COLLECTOR_CELL_H

#include <iconv.h>
#include "shared/buf.h"
#include "shared/localtime.h"

enum cell_type { CELL_TEXT, CELL_NUMBER, CELL_INTEGER, CELL_BOOLEAN, CELL_DATE };

/* How a file writes its values. Words and the thousands separator are borrowed. */
struct cell_style {
    iconv_t to_utf8; /* (iconv_t)-1: the file is UTF-8 */
    char decimal;
    struct slice thousands; /* empty: none */
    struct local_zone zone;
    const struct slice *true_words; /* compared without regard to the case of ASCII letters */
    size_t true_count;
    const struct slice *false_words;
    size_t false_count;
};

/* CELL_TYPES where the text names no type. */
enum { CELL_TYPES = CELL_DATE + 1 };
int cell_type_from(struct slice text);

/* Open the conversion from "utf-8", "iso-8859-1" ("latin1"), "iso-8859-15" or "windows-1252"
 * ("cp1252"); close what is not -1. */
MUST_CHECK bool cell_encoding_open(struct slice name, iconv_t *ret);

/* The cell without white space around it, as UTF-8 in *scratch (replacing what was in it) or as it
 * is. ERROR_INVALID: not in the file's encoding. */
MUST_CHECK bool cell_decode(const struct cell_style *style, struct slice raw, struct buf *scratch,
                            struct slice *ret, struct error *err);

/* Append a decoded cell that is not empty. `format` is for dates: of strptime, "epoch", "epoch-ms",
 * or NULL for RFC 3339. ERROR_INVALID says what it is not, never what it is; ERROR_FULL: *out has
 * no room. */
MUST_CHECK bool cell_put(const struct cell_style *style, enum cell_type type, const char *format,
                         struct slice text, struct buf *out, struct error *err);

#endif
