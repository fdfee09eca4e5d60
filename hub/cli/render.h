/* Showing things to a human: tables, ages, sizes, numbers, JSON with line breaks.
 *
 * Text that comes from outside is shown with its control characters escaped, so that nobody's
 * name can move the cursor of the operator's terminal. One thread.
 */
#ifndef TRIBUTARY_HUB_CLI_RENDER_H
#define TRIBUTARY_HUB_CLI_RENDER_H

#include <stdio.h>
#include "shared/value.h"

/* Append the text, with control characters as \xNN. */
void render_text(struct buf *out, struct slice text);

/* The same on a stream. */
void render_print(FILE *out, struct slice text);

/* "12s", "5m", "3h", "12d": how long ago a time was. */
void render_duration(struct buf *out, int64_t ms);

/* "3s ago" for a member that is an RFC 3339 time, "never" where it is null or absent. */
void render_age(struct buf *out, const msgpack_object *time, int64_t now_ms);

/* "512 B", "1.4 KiB", "3.0 GiB". */
void render_bytes(struct buf *out, uint64_t bytes);

/* "1,234,567". */
void render_number(struct buf *out, int64_t value);

/* Any value as one piece of text: text as it is, whole numbers with separators, others as JSON. */
void render_value(struct buf *out, const msgpack_object *value);

/* "page, staff", or "nobody": to whom a definition is shown. */
void render_audience(struct buf *out, const msgpack_object *edge);

/* JSON over several lines; short arrays and objects stay on one. */
void render_json(struct buf *out, const msgpack_object *value, int indent);

/* A table with aligned columns. */
struct table;

/* `heads` has `columns` titles, borrowed; one that begins with '>' has its column at the right. */
struct table *table_new(const char *const *heads, size_t columns);
void table_free(struct table **table);

/* The buf into which the next cell is written. Rows fill by themselves, left to right. */
struct buf *table_cell(struct table *table);
void table_text(struct table *table, struct slice text);
void table_cstr(struct table *table, const char *text);

/* The last column is never cut nor padded. A table without titles has none printed. */
void table_print(const struct table *table, int indent, FILE *out);

#endif
