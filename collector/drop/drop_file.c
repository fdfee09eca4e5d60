#include "collector/drop/drop_file.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>
#include "collector/drop/order.h"
#include "collector/drop/utf16.h"
#include "shared/identifier.h"

/* An event of the allowed size takes no more, even if each of its bytes has to be escaped; and a
 * batch that has room for one more row has room for this. */
enum { CHUNK_BYTES = 64 * 1024, EVENT_JSON_BYTES_MAX = 6 * LIMIT_EVENT_BYTES, CTRL_Z = 0x1a };

struct taken {
    struct mapping_row row;
    const char *fault;
};

struct drop_file {
    int fd;
    struct slice name;
    struct mapping *mapping;
    struct csv_record record;
    struct buf data; /* read; [at, len) is still to be looked at */
    size_t at;
    struct drop_position position; /* of data[at] */
    struct order order;            /* lines that the next may be one more of */
    struct taken order_row;        /* the first of them, without its bytes */
    struct drop_position order_at; /* where it began */
    struct order_ids *ids;
    bool is_end;       /* nothing follows data */
    size_t end_marks;  /* but for these bytes, which were dropped */
    bool is_converted; /* from UTF-16: places are those of another file */
    bool ends_in_cr;   /* its lines do, and are made to end in LF */
};

void drop_batch_init(struct drop_batch *batch)
{
    *batch = (struct drop_batch){0};
    buf_init(&batch->json, LIMIT_REQUEST_BYTES);
    arena_init(&batch->arena, 4096);
}

void drop_batch_done(struct drop_batch *batch)
{
    buf_done(&batch->json);
    arena_done(&batch->arena);
}

/* ---- Bytes ---- */

static struct slice rest(const struct drop_file *f)
{
    return slice_make(f->data.data + f->at, f->data.len - f->at);
}

static void consume(struct drop_file *f, size_t len)
{
    const uint8_t *at = f->data.data + f->at;
    const uint8_t *end = at + len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        f->position.line++;
        at++;
    }
    f->at += len;
    f->position.offset += len;
}

/* A file of old systems, whose lines end in CR alone: from here on in LF. */
static void end_lines(struct drop_file *f, size_t from)
{
    for (size_t i = from; f->ends_in_cr && i < f->data.len; i++) {
        f->data.data[i] = f->data.data[i] == '\r' ? '\n' : f->data.data[i];
    }
}

/* Old programs end a file with Ctrl-Z, some fill up its last block with it. */
static void drop_end_marks(struct drop_file *f)
{
    while (f->is_end && f->data.len > f->at && f->data.data[f->data.len - 1] == CTRL_Z) {
        f->data.len--;
        f->end_marks++;
    }
}

/* Read more behind the rest: a whole row of the allowed size, if the file has it. */
static bool read_more(struct drop_file *f, struct error *err)
{
    size_t left = f->data.len - f->at;
    memmove(f->data.data, f->data.data + f->at, left);
    f->data.len = left;
    f->at = 0;
    while (!f->is_end && f->data.len < f->data.capacity) {
        ssize_t n = read(f->fd, f->data.data + f->data.len, f->data.capacity - f->data.len);
        if (n < 0 && errno != EINTR) {
            return error_set(err, ERROR_UNAVAILABLE, "cannot read the file: %s", strerror(errno));
        }
        f->is_end = n == 0;
        f->data.len += n > 0 ? (size_t)n : 0;
    }
    end_lines(f, left);
    drop_end_marks(f);
    return true;
}

/* ---- Taking one row off the rest ---- */

enum take {
    TAKE_ROW,
    TAKE_BLANK,
    TAKE_FAULT,
    TAKE_MORE, /* the row does not end in what is read */
};

/* Drop a line that is too long; the rest of it may not be read yet. */
static bool skip_line(struct drop_file *f, struct error *err)
{
    for (;;) {
        struct slice text = rest(f);
        const uint8_t *newline = text.len == 0 ? NULL : memchr(text.data, '\n', text.len);
        consume(f, newline == NULL ? text.len : (size_t)(newline - text.data) + 1);
        if (newline != NULL || f->is_end) {
            return true;
        }
        if (!read_more(f, err)) {
            return false;
        }
    }
}

static struct slice without_line_end(struct slice text)
{
    text.len -= text.len > 0 && text.data[text.len - 1] == '\n';
    text.len -= text.len > 0 && text.data[text.len - 1] == '\r';
    return text;
}

/* Nothing but delimiters and white space, as spreadsheets leave rows that were emptied. */
static bool is_blank(const struct csv_record *record)
{
    for (size_t i = 0; i < record->count; i++) {
        struct slice cell = identifier_trim(csv_cell(record, i));
        if (cell.len > 0 && !(record->count == 1 && cell.data[0] == CTRL_Z)) {
            return false;
        }
    }
    return true;
}

static enum take take_record(struct drop_file *f, struct taken *ret)
{
    struct slice text = rest(f);
    size_t used;
    enum csv_result result = csv_read(text, f->is_end, &f->record, &used);
    if (result == CSV_INCOMPLETE) {
        return TAKE_MORE;
    }
    ret->row.bytes = without_line_end(slice_make(text.data, used));
    consume(f, used);
    if (result != CSV_RECORD) {
        ret->fault = csv_fault_sentence(result);
        return TAKE_FAULT;
    }
    return is_blank(&f->record) ? TAKE_BLANK : TAKE_ROW;
}

static enum take take_line(struct drop_file *f, struct taken *ret)
{
    struct slice text = rest(f);
    const uint8_t *newline = memchr(text.data, '\n', text.len);
    if (newline == NULL && !f->is_end) {
        return TAKE_MORE;
    }
    size_t used = newline == NULL ? text.len : (size_t)(newline - text.data) + 1;
    struct slice line = without_line_end(slice_make(text.data, used));
    while (line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t')) {
        line = slice_skip(line, 1);
    }
    ret->row.bytes = line;
    consume(f, used);
    return line.len == 0 ? TAKE_BLANK : TAKE_ROW;
}

static enum take take(struct drop_file *f, struct taken *ret)
{
    *ret = (struct taken){.row = {.file = f->name, .line = f->position.line}};
    enum take take = mapping_is_csv(f->mapping) ? take_record(f, ret) : take_line(f, ret);
    if (take == TAKE_ROW && ret->row.bytes.len > DROP_ROW_BYTES_MAX) {
        ret->fault = "the row is longer than 128 KiB";
        return TAKE_FAULT;
    }
    if (take == TAKE_ROW && memchr(ret->row.bytes.data, 0, ret->row.bytes.len) != NULL) {
        ret->fault = "the row has a zero byte";
        return TAKE_FAULT;
    }
    return take;
}

/* The next row or fault; *ret_end at the end of the file. */
static bool next_row(struct drop_file *f, struct taken *ret, bool *ret_end, struct error *err)
{
    *ret_end = false;
    for (;;) {
        bool is_empty = f->at == f->data.len;
        if (is_empty && f->is_end) {
            *ret_end = true;
            return true;
        }
        enum take result = is_empty ? TAKE_MORE : take(f, ret);
        if (result == TAKE_ROW || result == TAKE_FAULT) {
            return true;
        }
        if (result == TAKE_MORE && f->at == 0 && f->data.len == f->data.capacity) {
            ret->fault = mapping_is_csv(f->mapping)
                             ? "the row is longer than 128 KiB, or a quote in it is not closed"
                             : "the row is longer than 128 KiB";
            return skip_line(f, err);
        }
        if (result == TAKE_MORE && !read_more(f, err)) {
            return false;
        }
    }
}

/* ---- The file ---- */

static void skip_mark(struct drop_file *f)
{
    struct slice text = rest(f);
    if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
        f->at += 3;
        f->position.offset += 3;
    }
}

/* Lines that end in CR alone: no LF is in sight. */
static void find_line_end(struct drop_file *f)
{
    struct slice text = rest(f);
    f->ends_in_cr = text.len > 0 && memchr(text.data, '\n', text.len) == NULL &&
                    memchr(text.data, '\r', text.len) != NULL;
    end_lines(f, f->at);
}

/* The line sep=; before the header tells Excel the delimiter, and us. */
static void take_delimiter(struct drop_file *f)
{
    struct slice text = rest(f);
    size_t quote = text.len > 0 && text.data[0] == '"'; /* some quote the line */
    if (text.len < quote + 6 || strncasecmp((const char *)text.data + quote, "sep=", 4) != 0) {
        return;
    }
    size_t at = quote + 5;
    at += quote > 0 && text.data[at] == '"';
    at += at < text.len && text.data[at] == '\r';
    if (at < text.len && text.data[at] == '\n') {
        f->record.delimiter = (char)text.data[quote + 4];
        consume(f, at + 1);
    }
}

static bool read_header(struct drop_file *f, struct error *err)
{
    struct taken header;
    bool is_end;
    if (!next_row(f, &header, &is_end, err)) {
        return false;
    }
    if (is_end) {
        return true; /* an empty file has no rows, and nothing to find fault with */
    }
    if (header.fault != NULL) {
        return error_set(err, ERROR_INVALID, "the header cannot be read: %s", header.fault);
    }
    return mapping_bind(f->mapping, &f->record, err);
}

static bool start(struct drop_file *f, struct drop_position from, struct error *err)
{
    f->position = (struct drop_position){.line = 1};
    if (!read_more(f, err)) {
        return false;
    }
    skip_mark(f);
    find_line_end(f);
    if (mapping_is_csv(f->mapping)) {
        take_delimiter(f);
    }
    if (mapping_has_header(f->mapping) && !read_header(f, err)) {
        return false;
    }
    if (from.offset <= f->position.offset) {
        return true;
    }
    if (lseek(f->fd, (off_t)from.offset, SEEK_SET) < 0) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot read the file: %s", strerror(errno));
    }
    f->position = from;
    f->at = f->data.len;
    f->is_end = false;
    return true;
}

bool drop_file_open(int fd, const char *name, struct mapping *mapping, struct drop_position from,
                    struct drop_file **ret, struct error *err)
{
    int converted;
    if (!utf16_convert(fd, &converted, err)) {
        close(fd);
        return false;
    }
    struct drop_file *f = memory_allocate_zeroed(sizeof *f);
    f->fd = fd;
    if (converted >= 0) {
        close(fd);
        f->fd = converted;
        f->is_converted = true;
    }
    f->name = slice_text(name);
    f->mapping = mapping;
    buf_init(&f->data, DROP_ROW_BYTES_MAX + CHUNK_BYTES);
    bool made = buf_reserve(&f->data, f->data.len_max);
    ensure(made);
    csv_record_init(&f->record);
    order_init(&f->order);
    f->ids = order_ids_new();
    mapping_prepare(mapping, &f->record);
    if (!start(f, from, err)) {
        drop_file_close(&f);
        return false;
    }
    *ret = f;
    return true;
}

bool drop_file_has_places(const struct drop_file *f)
{
    return !f->is_converted;
}

void drop_file_close(struct drop_file **file)
{
    struct drop_file *f = *file;
    if (f != NULL) {
        close(f->fd);
        buf_done(&f->data);
        csv_record_done(&f->record);
        order_done(&f->order);
        order_ids_free(&f->ids);
        free(f);
        *file = NULL;
    }
}

static struct slice keep(struct drop_batch *batch, const char *text)
{
    return arena_copy(&batch->arena, slice_text(text));
}

/* The event of some lines, or of a line of NDJSON, behind the others. */
static bool put_event(struct drop_file *f, struct drop_batch *batch, const struct taken *taken,
                      struct mapping_lines lines, struct slice *ret_column, struct error *err)
{
    size_t start = batch->json.len;
    if (batch->event_count > 0) {
        buf_put_u8(&batch->json, ',');
    }
    size_t event_at = batch->json.len;
    bool fine =
        mapping_is_csv(f->mapping)
            ? mapping_put_lines(f->mapping, lines, &taken->row, &batch->json, ret_column, err)
            : mapping_put_line(f->mapping, &taken->row, &batch->json, ret_column, err);
    if (fine && batch->json.len - start > EVENT_JSON_BYTES_MAX) {
        fine = error_set(err, ERROR_FULL, "the row makes an event that is too large");
    }
    if (fine && f->order.count > 0) {
        struct slice id = slice_make(batch->json.data + event_at + MAPPING_ID_AT, UUID_TEXT_BYTES);
        uint64_t other = order_ids_note(f->ids, id, f->order.hash, taken->row.line);
        fine =
            other == 0 ||
            error_set(err, ERROR_INVALID,
                      "its columns of messageId, and its time, are those of line %llu, which says "
                      "something else: it would not be counted",
                      (unsigned long long)other);
    }
    batch->json.len = fine ? batch->json.len : start;
    return fine;
}

static void add_row(struct drop_file *f, struct drop_batch *batch, const struct taken *taken,
                    struct mapping_lines lines)
{
    struct drop_row *row = &batch->rows[batch->row_count++];
    struct error err;
    struct slice column = slice_make(NULL, 0);
    *row = (struct drop_row){.line = taken->row.line, .lines = lines.count > 0 ? lines.count : 1};
    if (taken->fault != NULL) {
        row->fault = keep(batch, taken->fault);
    } else if (put_event(f, batch, taken, lines, &column, &err)) {
        batch->event_count++;
    } else {
        row->column = arena_copy(&batch->arena, column);
        row->fault = keep(batch, err.message);
    }
}

/* The order is complete. */
static void end_order(struct drop_file *f, struct drop_batch *batch)
{
    if (f->order.count > 0) {
        add_row(f, batch, &f->order_row, (struct mapping_lines){f->order.lines, f->order.count});
        order_clear(&f->order);
    }
}

/* One more line of the order at hand, or the first of another. */
static void take_order_line(struct drop_file *f, struct drop_batch *batch,
                            const struct taken *taken, struct drop_position at)
{
    bool continues = f->order.count > 0 && order_has_room(&f->order, taken->row.bytes.len) &&
                     mapping_continues(f->mapping, &f->order.lines[0], &f->record);
    if (!continues) {
        end_order(f, batch);
        f->order_row = *taken;
        f->order_row.row.bytes = slice_make(NULL, 0);
        f->order_at = at;
    }
    order_add(&f->order, &f->record, taken->row.bytes);
}

static void take_row(struct drop_file *f, struct drop_batch *batch, const struct taken *taken,
                     struct drop_position at)
{
    if (taken->fault == NULL && mapping_has_orders(f->mapping)) {
        take_order_line(f, batch, taken, at);
        return;
    }
    end_order(f, batch);
    add_row(f, batch, taken, (struct mapping_lines){&f->record, 1});
}

bool drop_file_read(struct drop_file *f, struct drop_batch *batch, struct error *err)
{
    bool is_end = false;
    arena_clear(&batch->arena);
    buf_clear(&batch->json);
    batch->row_count = 0;
    batch->event_count = 0;
    buf_put_slice(&batch->json, slice_text("{\"batch\":["));
    while (!is_end && batch->row_count < DROP_BATCH_ROWS && batch->json.len < DROP_BATCH_BYTES) {
        struct taken taken = {.row = {.line = f->position.line}};
        struct drop_position at = f->position;
        if (!next_row(f, &taken, &is_end, err)) {
            return false;
        }
        if (is_end) {
            end_order(f, batch);
        } else {
            take_row(f, batch, &taken, at);
        }
    }
    buf_put_slice(&batch->json, slice_text("]}"));
    batch->end = f->order.count > 0 ? f->order_at : f->position;
    batch->end.offset += is_end ? f->end_marks : 0;
    return true;
}
