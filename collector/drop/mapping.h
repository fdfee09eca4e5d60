/* A mapping says how the files of a till become events: which files, how they are written, which
 * source they are from, and an event with holes that the columns of a row fill.
 *
 * It is a JSON file that a technician writes; deploy/drop/README.md teaches it. Reading one gives
 * a mapping or an error that names line and member. A row becomes the JSON of one event, which the
 * collector then treats like one that came by HTTP.
 *
 * Pure: bytes in, bytes out. One thread at a time.
 */
#ifndef TRIBUTARY_COLLECTOR_MAPPING_H
#define TRIBUTARY_COLLECTOR_MAPPING_H

#include "shared/csv.h"
#include "shared/uuid.h"
#include "shared/value.h"

enum { MAPPING_BYTES_MAX = 64 * 1024 };

struct mapping;

/* Read a mapping; `name` is that of its file without ".mapping". Everything is copied. */
MUST_CHECK bool mapping_new(struct slice name, struct slice json, struct mapping **ret,
                            struct error *err);
void mapping_free(struct mapping **mapping);

struct slice mapping_name(const struct mapping *mapping);
/* The write key. */
struct slice mapping_source(const struct mapping *mapping);
/* Are files of this name the mapping's? */
bool mapping_matches(const struct mapping *mapping, const char *file);

bool mapping_is_csv(const struct mapping *mapping);
/* The first record names the columns: mapping_bind() before any row. */
bool mapping_has_header(const struct mapping *mapping);
/* Make the record read this mapping's dialect. */
void mapping_prepare(const struct mapping *mapping, struct csv_record *record);
/* Find the columns in the header. ERROR_INVALID names one that is missing. */
MUST_CHECK bool mapping_bind(struct mapping *mapping, const struct csv_record *header,
                             struct error *err);

/* Where a row stands, for the message id that it gets. */
struct mapping_row {
    struct slice file;  /* its name */
    uint64_t line;      /* where the row begins, from 1 */
    struct slice bytes; /* of the row, without its line end */
};

/* May several rows be one event? Where columns name the order. */
bool mapping_has_orders(const struct mapping *mapping);
/* Is `next` one more line of the order that begins with `first`? It is of the same columns of the
 * messageId and no other time. Where the mapping does not say what becomes of each line, it is only
 * if it leaves out whom and how much the order is about, as shops' exports do; so that another
 * order with a number that comes again is never taken for a line. */
bool mapping_continues(struct mapping *mapping, const struct csv_record *first,
                       const struct csv_record *next);

/* Append the event of a row, or of the rows of one order, to *out, as JSON that begins with its
 * messageId (MAPPING_ID_AT, UUID_TEXT_BYTES): derived from the columns that the mapping names and
 * the text of its time, else from file name, line and bytes. The same row gets the same id for
 * ever. False: the row is wrong; nothing was appended, *err says why and *ret_column (borrowed
 * until the next call) in which column; it is empty where no column is to blame. */
enum { MAPPING_ID_AT = 14 };
struct mapping_lines {
    const struct csv_record *records;
    size_t count;
};
MUST_CHECK bool mapping_put_lines(struct mapping *mapping, struct mapping_lines lines,
                                  const struct mapping_row *row, struct buf *out,
                                  struct slice *ret_column, struct error *err);
/* The same for a line of NDJSON, whose text is row->bytes. Without an event in the mapping the line
 * is one, and keeps its own messageId. */
MUST_CHECK bool mapping_put_line(struct mapping *mapping, const struct mapping_row *row,
                                 struct buf *out, struct slice *ret_column, struct error *err);

#endif
