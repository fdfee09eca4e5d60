#include "shared/csv.h"

#include <stdlib.h>
#include "shared/error.h"

void csv_record_init(struct csv_record *record)
{
    *record = (struct csv_record){.delimiter = ',', .quote = '"'};
    buf_init(&record->text, SIZE_MAX);
}

void csv_record_done(struct csv_record *record)
{
    buf_done(&record->text);
    free(record->cells);
    csv_record_init(record);
}

struct slice csv_cell(const struct csv_record *record, size_t index)
{
    ensure(index < record->count);
    const struct csv_cell *cell = &record->cells[index];
    return slice_make(cell->len == 0 ? NULL : record->text.data + cell->at, cell->len);
}

static void begin_cell(struct csv_record *record)
{
    if (record->count == record->capacity) {
        record->capacity = record->capacity == 0 ? 16 : record->capacity * 2;
        record->cells = memory_resize(record->cells, record->capacity * sizeof *record->cells);
    }
    record->cells[record->count++] = (struct csv_cell){.at = record->text.len};
}

static void end_cell(struct csv_record *record)
{
    struct csv_cell *cell = &record->cells[record->count - 1];
    cell->len = record->text.len - cell->at;
}

/* Where the line that holds `at` has ended. */
static size_t line_end(struct slice text, size_t at)
{
    const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
    return end == NULL ? text.len : (size_t)(end - text.data) + 1;
}

/* The record is given up; what follows its line can be read again. Without an end of that line
 * in sight there is nothing to give up yet. */
static enum csv_result give_up(struct slice text, size_t at, bool is_end, enum csv_result fault,
                               size_t *ret_used)
{
    *ret_used = line_end(text, at);
    if (!is_end && text.data[*ret_used - 1] != '\n') {
        *ret_used = 0;
        return CSV_INCOMPLETE;
    }
    return fault;
}

/* The cell whose opening quote stands at *at; *at moves behind the closing one. */
static bool read_quoted(struct slice text, struct csv_record *record, size_t *at)
{
    size_t i = *at + 1;
    for (;;) {
        const uint8_t *quote =
            i < text.len ? memchr(text.data + i, record->quote, text.len - i) : NULL;
        if (quote == NULL) {
            return false;
        }
        size_t end = (size_t)(quote - text.data);
        buf_put(&record->text, text.data + i, end - i);
        i = end + 1;
        if (i == text.len || text.data[i] != (uint8_t)record->quote) {
            *at = i;
            return true;
        }
        buf_put_u8(&record->text, (uint8_t)record->quote);
        i++;
    }
}

static size_t line_end_at(struct slice text, size_t at)
{
    if (at < text.len && text.data[at] == '\n') {
        return 1;
    }
    return at + 1 < text.len && text.data[at] == '\r' && text.data[at + 1] == '\n' ? 2 : 0;
}

static bool is_quote(const struct csv_record *record, uint8_t c)
{
    return c == (uint8_t)record->quote && record->quote != 0;
}

/* The cell without quotes that begins at *at; *at moves to the delimiter, the line end, the quote
 * that has no place in it, or the end of the text. */
static void read_plain(struct slice text, struct csv_record *record, size_t *at)
{
    size_t i = *at;
    while (i < text.len && text.data[i] != (uint8_t)record->delimiter &&
           !is_quote(record, text.data[i]) && line_end_at(text, i) == 0) {
        i++;
    }
    buf_put(&record->text, text.data + *at, i - *at);
    *at = i;
}

enum csv_result csv_read(struct slice text, bool is_end, struct csv_record *record,
                         size_t *ret_used)
{
    size_t at = 0;
    ensure(text.len > 0);
    buf_clear(&record->text);
    record->count = 0;
    *ret_used = 0;
    for (;;) {
        size_t start = at;
        begin_cell(record);
        /* ="00417" is how spreadsheets are told that a cell is text. */
        bool is_marked =
            at + 1 < text.len && text.data[at] == '=' && is_quote(record, text.data[at + 1]);
        at += is_marked;
        if (at < text.len && is_quote(record, text.data[at])) {
            if (!read_quoted(text, record, &at)) {
                return is_end ? give_up(text, start, is_end, CSV_UNCLOSED, ret_used)
                              : CSV_INCOMPLETE;
            }
        } else {
            read_plain(text, record, &at);
        }
        end_cell(record);
        size_t ended = line_end_at(text, at);
        if (ended > 0 || (at == text.len && is_end)) {
            *ret_used = at + ended;
            return CSV_RECORD;
        }
        if (at == text.len || (text.data[at] == '\r' && at + 1 == text.len && !is_end)) {
            return CSV_INCOMPLETE;
        }
        if (text.data[at] != (uint8_t)record->delimiter) {
            return give_up(text, at, is_end, CSV_STRAY_QUOTE, ret_used);
        }
        at++;
    }
}

const char *csv_fault_sentence(enum csv_result result)
{
    switch (result) {
    case CSV_STRAY_QUOTE:
        return "a quote stands where none may; a cell with quotes in it is quoted as a whole, "
               "and its own quotes are doubled";
    case CSV_UNCLOSED:
        return "a quote is not closed before the end of the file";
    case CSV_RECORD:
    case CSV_INCOMPLETE:
        return "";
    }
    return "";
}
