/* The columns of a CSV file of events: their names are dotted paths, and each row becomes an event
 * in JSON.
 *
 * Cells stay text in columns that name identifiers (those without a dot, and those whose last name
 * is or ends in an id, or is phone) and in those that the caller lists. Elsewhere what JSON would
 * take for a number, true or false becomes that. Empty cells are left out. One thread.
 */
#ifndef TRIBUTARY_HUB_CLI_COLUMNS_H
#define TRIBUTARY_HUB_CLI_COLUMNS_H

#include "shared/csv.h"
#include "shared/error.h"

struct columns;

/* Read the header row. `text_columns`: names of columns to keep as text, with commas between them;
 * NULL for none. */
MUST_CHECK bool columns_open(const struct csv_record *header, const char *text_columns,
                             struct columns **ret, struct error *err);
void columns_close(struct columns **columns);

/* Append the row's event to *out, or nothing where all cells are empty. */
MUST_CHECK bool columns_put_event(struct columns *columns, const struct csv_record *row,
                                  struct buf *out, struct error *err);

#endif
