/* Reading CSV as RFC 4180 has it: cells in quotes may hold commas, line ends and doubled quotes;
 * lines end in LF or CRLF. A cell in quotes may have = before them, as spreadsheets write it for a
 * cell that is text whatever it looks like. Other delimiters and quotes can be chosen. A pure
 * parser over the bytes that the caller holds.
 *
 * Guarantee: any bytes are split into records without loss; a record that breaks the rules is
 * named as such, and reading goes on in the line behind the fault. One thread owns a record.
 */
#ifndef TRIBUTARY_SHARED_CSV_H
#define TRIBUTARY_SHARED_CSV_H

#include "shared/buf.h"

struct csv_cell {
    size_t at; /* in the record's text */
    size_t len;
};

struct csv_record {
    struct buf text; /* the cells one after the other, without their quotes */
    struct csv_cell *cells;
    size_t count;
    size_t capacity;
    char delimiter; /* ',' unless the caller sets another before reading */
    char quote;     /* '"' likewise; 0: quotes are bytes like others */
};

enum csv_result {
    CSV_RECORD,
    CSV_INCOMPLETE,  /* the record does not end in these bytes: come again with more */
    CSV_STRAY_QUOTE, /* a quote inside a cell without quotes, or text behind a closing quote */
    CSV_UNCLOSED,    /* a quote that the rest of the text does not close */
};

/* Empty, with a comma and '"'. */
void csv_record_init(struct csv_record *record);
void csv_record_done(struct csv_record *record);

/* Read the record at the start of `text`, which must not be empty. `is_end`: nothing follows
 * `text`. *ret_used: how many bytes are done with, the line end included; 0 for CSV_INCOMPLETE.
 * An empty line is a record with one empty cell. */
MUST_CHECK enum csv_result csv_read(struct slice text, bool is_end, struct csv_record *record,
                                    size_t *ret_used);

/* A cell of the record, borrowed until the next one is read. */
struct slice csv_cell(const struct csv_record *record, size_t index);

/* A sentence for each fault. */
const char *csv_fault_sentence(enum csv_result result);

#endif
