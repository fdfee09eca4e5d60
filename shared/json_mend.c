#include "shared/json_mend.h"

enum { ESCAPE_BYTES = 6, HALF_BYTES = 3 }; /* \ud83d, and ed a0 bd */

static const char replacement_escape[] = "\\ufffd";
static const char replacement[] = "\xef\xbf\xbd";
static const char out_of_range[] = "1e999";

enum half { HALF_NONE, HALF_HIGH, HALF_LOW };

struct mender {
    struct slice text;
    struct buf *out;
    size_t at;
    size_t copied; /* what stands before it is in *out */
    bool is_mended;
};

/* Write `text` in place of the `len` bytes at m->at. */
static void replace(struct mender *m, size_t len, struct slice text)
{
    buf_put(m->out, m->text.data + m->copied, m->at - m->copied);
    buf_put_slice(m->out, text);
    m->at += len;
    m->copied = m->at;
    m->is_mended = true;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static enum half half_from(unsigned unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF   ? HALF_HIGH
           : unit >= 0xDC00 && unit <= 0xDFFF ? HALF_LOW
                                              : HALF_NONE;
}

/* Which half the escape at `at` is. */
static enum half escaped_half(struct slice text, size_t at)
{
    unsigned unit = 0;
    if (at + ESCAPE_BYTES > text.len || text.data[at] != '\\' || text.data[at + 1] != 'u') {
        return HALF_NONE;
    }
    for (size_t i = at + 2; i < at + ESCAPE_BYTES; i++) {
        int digit = hex_digit(text.data[i]);
        if (digit < 0) {
            return HALF_NONE;
        }
        unit = unit << 4 | (unsigned)digit;
    }
    return half_from(unit);
}

/* The same of three bytes, which UTF-8 does not allow; *ret_unit is what they say. */
static enum half raw_half(struct slice text, size_t at, unsigned *ret_unit)
{
    if (at + HALF_BYTES > text.len || text.data[at] != 0xED || text.data[at + 1] < 0xA0 ||
        text.data[at + 1] > 0xBF || (text.data[at + 2] & 0xC0) != 0x80) {
        return HALF_NONE;
    }
    *ret_unit = 0xD000U | (text.data[at + 1] & 0x3FU) << 6 | (text.data[at + 2] & 0x3FU);
    return half_from(*ret_unit);
}

static void mend_escape(struct mender *m)
{
    enum half half = escaped_half(m->text, m->at);
    if (half == HALF_NONE) {
        m->at += 2; /* the character behind the backslash means nothing by itself */
    } else if (half == HALF_HIGH && escaped_half(m->text, m->at + ESCAPE_BYTES) == HALF_LOW) {
        m->at += (size_t)2 * ESCAPE_BYTES;
    } else {
        replace(m, ESCAPE_BYTES, slice_text(replacement_escape));
    }
}

static void mend_raw(struct mender *m)
{
    unsigned high;
    unsigned low;
    enum half half = raw_half(m->text, m->at, &high);
    if (half == HALF_NONE) {
        m->at++;
    } else if (half == HALF_HIGH && raw_half(m->text, m->at + HALF_BYTES, &low) == HALF_LOW) {
        unsigned point = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        uint8_t four[4] = {(uint8_t)(0xF0 | point >> 18), (uint8_t)(0x80 | (point >> 12 & 0x3F)),
                           (uint8_t)(0x80 | (point >> 6 & 0x3F)), (uint8_t)(0x80 | (point & 0x3F))};
        replace(m, (size_t)2 * HALF_BYTES, slice_make(four, sizeof four));
    } else {
        replace(m, HALF_BYTES, slice_text(replacement));
    }
}

static bool is_of_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+';
}

/* A word outside of texts: true, null, NaN… */
static void mend_word(struct mender *m)
{
    static const char *const no_numbers[] = {"NaN", "-NaN", "nan", "Infinity", "-Infinity",
                                             "Inf", "-Inf", "inf", "-inf",     "+Inf"};
    size_t end = m->at;
    while (end < m->text.len && is_of_word(m->text.data[end])) {
        end++;
    }
    struct slice word = slice_make(m->text.data + m->at, end - m->at);
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++) {
        if (slice_is(word, no_numbers[i])) {
            replace(m, word.len, slice_text(out_of_range));
            return;
        }
    }
    m->at = end > m->at ? end : m->at + 1;
}

static void mend_text(struct mender *m)
{
    m->at++;
    while (m->at < m->text.len && m->text.data[m->at] != '"') {
        if (m->text.data[m->at] == '\\') {
            mend_escape(m);
        } else {
            mend_raw(m);
        }
    }
    m->at++;
}

bool json_mend(struct slice text, struct buf *out)
{
    struct mender m = {.text = text, .out = out};
    buf_clear(out);
    while (m.at < text.len) {
        if (text.data[m.at] == '"') {
            mend_text(&m);
        } else {
            mend_word(&m);
        }
    }
    buf_put(out, text.data + m.copied, text.len - m.copied);
    return m.is_mended;
}
