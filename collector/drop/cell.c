#include "collector/drop/cell.h"

#include <strings.h>
#include "shared/json.h"
#include "shared/timetext.h"
#include "shared/utf8.h"

enum { NUMBER_BYTES_MAX = 64, JSON_BYTES_PER_BYTE = 6, UTF8_BYTES_PER_BYTE = 3 };

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

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.data[text.len - 1])) {
        text.len--;
    }
    while (text.len > 0 && is_blank(text.data[0])) {
        text = slice_skip(text, 1);
    }
    return text;
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
    *ret = trim(raw);
    if (is_ascii(*ret)) {
        return true;
    }
    if (style->to_utf8 == (iconv_t)-1) {
        return utf8_is_valid(*ret) || error_set(err, ERROR_INVALID, "the text is no valid UTF-8");
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
    *ret = buf_slice(scratch);
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

struct number {
    char text[NUMBER_BYTES_MAX];
    size_t len;
    bool has_fraction;
};

static bool add_char(struct number *n, uint8_t c)
{
    if (n->len == sizeof n->text - 1) {
        return false;
    }
    n->text[n->len++] = (char)c;
    return true;
}

/* JSON has none of these. */
static bool ends_in_leading_zero(const struct number *n)
{
    return n->text[n->len - 1] == '0' && (n->len == 1 || n->text[n->len - 2] == '-');
}

/* Digits, with thousands separators between two of them where `groups` is not empty. */
static bool take_digits(struct slice *text, struct slice groups, struct number *n)
{
    bool any = false;
    while (text->len > 0) {
        if (any && groups.len > 0 && slice_starts_with(*text, groups) && text->len > groups.len &&
            is_digit(text->data[groups.len])) {
            *text = slice_skip(*text, groups.len);
        }
        if (!is_digit(text->data[0])) {
            break;
        }
        if (any && !n->has_fraction && ends_in_leading_zero(n)) {
            n->len--;
        }
        if (!add_char(n, text->data[0])) {
            return false;
        }
        *text = slice_skip(*text, 1);
        any = true;
    }
    return any;
}

/* The number as JSON writes it; one that begins with its decimal mark gets a zero before it. */
static bool read_number(const struct cell_style *style, struct slice text, struct number *ret)
{
    ret->len = 0;
    ret->has_fraction = false;
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+')) {
        if (text.data[0] == '-') {
            (void)add_char(ret, '-');
        }
        text = slice_skip(text, 1);
    }
    bool is_bare_fraction = text.len > 1 && text.data[0] == (uint8_t)style->decimal;
    if (is_bare_fraction) {
        (void)add_char(ret, '0');
    } else if (!take_digits(&text, style->thousands, ret)) {
        return false;
    }
    if (text.len > 0 && text.data[0] == (uint8_t)style->decimal) {
        ret->has_fraction = true;
        text = slice_skip(text, 1);
        if (!add_char(ret, '.') || !take_digits(&text, slice_make(NULL, 0), ret)) {
            return false;
        }
    }
    return text.len == 0;
}

static bool put_number(const struct cell_style *style, bool whole, struct slice text,
                       struct buf *out, struct error *err)
{
    struct number number;
    if (!read_number(style, text, &number)) {
        return error_set(err, ERROR_INVALID, "this is no number with '%c' before its decimals",
                         style->decimal);
    }
    if (whole && number.has_fraction) {
        return error_set(err, ERROR_INVALID, "this is no whole number");
    }
    buf_put(out, number.text, number.len);
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
    if (!buf_reserve(out, text.len * JSON_BYTES_PER_BYTE + NUMBER_BYTES_MAX)) {
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
