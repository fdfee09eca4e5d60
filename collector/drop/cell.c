#include "collector/drop/cell.h"

#include <strings.h>
#include "collector/drop/amount.h"
#include "shared/identifier.h"
#include "shared/json.h"
#include "shared/timetext.h"
#include "shared/utf8.h"

enum { JSON_BYTES_PER_BYTE = 6, UTF8_BYTES_PER_BYTE = 3 };

int cell_type_from(struct slice text)
{
    static const char *const names[CELL_TYPES] = {
        [CELL_TEXT] = "text",       [CELL_NUMBER] = "number", [CELL_INTEGER] = "integer",
        [CELL_BOOLEAN] = "boolean", [CELL_DATE] = "date",
    };
    int type = 0;
    while (type < CELL_TYPES && !slice_is(text, names[type])) {
        type++;
    }
    return type;
}

bool cell_encoding_open(struct slice name, iconv_t *ret)
{
    static const struct {
        const char *name;
        const char *iconv;
    } encodings[] = {
        {"utf-8", NULL},
        {"iso-8859-1", "ISO-8859-1"},
        {"latin1", "ISO-8859-1"},
        {"iso-8859-15", "ISO-8859-15"},
        {"windows-1252", "CP1252"},
        {"cp1252", "CP1252"},
    };
    *ret = (iconv_t)-1;
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        if (slice_is(name, encodings[i].name)) {
            if (encodings[i].iconv == NULL) {
                return true;
            }
            *ret = iconv_open("UTF-8", encodings[i].iconv);
            return *ret != (iconv_t)-1;
        }
    }
    return false;
}

/* What a spreadsheet puts before a text that it would take for a number or a formula: ="00417", and
 * an apostrophe before a digit or a sign. One before a letter, as in 't Hooft, belongs to the name.
 */
static struct slice without_text_mark(struct slice text)
{
    if (text.len >= 3 && text.data[0] == '=' && text.data[1] == '"' &&
        text.data[text.len - 1] == '"') {
        return slice_make(text.data + 2, text.len - 3);
    }
    bool is_marked = text.len >= 2 && text.data[0] == '\'' &&
                     ((text.data[1] >= '0' && text.data[1] <= '9') ||
                      (text.data[1] != 0 && strchr("+-=@", text.data[1]) != NULL));
    return is_marked ? slice_skip(text, 1) : text;
}

/* Without white space and the spreadsheet's marks. */
static struct slice trim(struct slice text)
{
    return identifier_trim(without_text_mark(identifier_trim(text)));
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

bool cell_decode(const struct cell_style *style, struct slice raw, struct buf *scratch,
                 struct slice *ret, struct error *err)
{
    *ret = raw;
    if (is_ascii(raw) || (style->to_utf8 == (iconv_t)-1 && utf8_is_valid(raw))) {
        *ret = trim(raw);
        return true;
    }
    if (style->to_utf8 == (iconv_t)-1) {
        return error_set(err, ERROR_INVALID, "the text is no valid UTF-8");
    }
    buf_clear(scratch);
    if (!buf_reserve(scratch, ret->len * UTF8_BYTES_PER_BYTE)) {
        return error_set(err, ERROR_INVALID, "the text is too long");
    }
    char *in = (char *)(uintptr_t)ret->data; /* iconv() does not write there */
    char *out = (char *)scratch->data;
    size_t in_left = ret->len;
    size_t out_left = scratch->capacity;
    if (iconv(style->to_utf8, &in, &in_left, &out, &out_left) == (size_t)-1) {
        iconv(style->to_utf8, NULL, NULL, NULL, NULL);
        return error_set(err, ERROR_INVALID, "the text has bytes that its encoding does not know");
    }
    scratch->len = scratch->capacity - out_left;
    *ret = trim(buf_slice(scratch));
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_one_of(const struct slice *words, size_t count, struct slice text)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i].len == text.len &&
            strncasecmp((const char *)words[i].data, (const char *)text.data, text.len) == 0) {
            return true;
        }
    }
    return false;
}

static bool put_number(const struct cell_style *style, bool whole, struct slice text,
                       struct buf *out, struct error *err)
{
    struct amount amount;
    const char *wrong = amount_read(text, style->decimal, style->thousands, &amount);
    if (wrong != NULL) {
        return error_set(err, ERROR_INVALID, "%s; '%c' stands before its decimals", wrong,
                         style->decimal);
    }
    if (whole && amount.has_fraction) {
        return error_set(err, ERROR_INVALID, "this is no whole number");
    }
    buf_put(out, amount.text, amount.len);
    return true;
}

static bool put_boolean(const struct cell_style *style, struct slice text, struct buf *out,
                        struct error *err)
{
    if (is_one_of(style->true_words, style->true_count, text)) {
        buf_put_slice(out, slice_text("true"));
    } else if (is_one_of(style->false_words, style->false_count, text)) {
        buf_put_slice(out, slice_text("false"));
    } else {
        return error_set(err, ERROR_INVALID,
                         "this is none of the words for true and false in the mapping");
    }
    return true;
}

/* Seconds or milliseconds since 1970. */
static bool read_epoch(struct slice text, int64_t unit_ms, int64_t *ret_ms)
{
    int64_t value = 0;
    bool is_number = text.len > 0 && text.len <= 15;
    for (size_t i = 0; is_number && i < text.len; i++) {
        is_number = is_digit(text.data[i]);
        value = value * 10 + (text.data[i] - '0');
    }
    *ret_ms = value * unit_ms;
    return is_number && *ret_ms <= LIMIT_TIME_MS;
}

static bool read_date(const struct cell_style *style, const char *format, struct slice text,
                      int64_t *ret_ms)
{
    if (format == NULL) {
        return time_text_parse(text, ret_ms);
    }
    if (strcmp(format, "epoch") == 0) {
        return read_epoch(text, 1000, ret_ms);
    }
    return strcmp(format, "epoch-ms") == 0 ? read_epoch(text, 1, ret_ms)
                                           : local_time_parse(text, format, style->zone, ret_ms);
}

bool cell_put(const struct cell_style *style, enum cell_type type, const char *format,
              struct slice text, struct buf *out, struct error *err)
{
    struct json_writer w;
    int64_t ms;
    if (!buf_reserve(out, text.len * JSON_BYTES_PER_BYTE + AMOUNT_BYTES_MAX)) {
        return error_set(err, ERROR_FULL, "the row makes an event that is too large");
    }
    json_writer_init(&w, out);
    switch (type) {
    case CELL_NUMBER:
    case CELL_INTEGER:
        return put_number(style, type == CELL_INTEGER, text, out, err);
    case CELL_BOOLEAN:
        return put_boolean(style, text, out, err);
    case CELL_DATE:
        if (!read_date(style, format, text, &ms)) {
            return error_set(err, ERROR_INVALID, "this is no date of the form %.60s",
                             format == NULL ? "2026-11-21T20:15:03Z" : format);
        }
        json_time(&w, ms);
        return true;
    case CELL_TEXT:
        break;
    }
    json_text(&w, text);
    return true;
}
