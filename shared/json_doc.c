#include "shared/json_doc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>
#include "shared/buf.h"
#include "shared/json_mend.h"
#include "shared/json_tape.h"
#include "shared/utf8.h"

enum { KEPT_BYTES = 128 * 1024 };

struct json_parser {
    struct json_tape_reader *tape;
    bool is_large; /* so that json_parser_trim() releases the memory */
    /* What yajl's calls make. */
    struct buf words;
    struct buf texts;
    struct buf mended; /* what yajl reads where the client's text is not quite JSON */
    size_t open; /* the container that is being filled; 0: none, the root is complete or to come */
    bool is_complete; /* the root has ended; only white space may follow */
};

struct json_parser *json_parser_new(void)
{
    struct json_parser *p = memory_allocate_zeroed(sizeof *p);
    p->tape = json_tape_reader_new();
    buf_init(&p->words, SIZE_MAX / 2);
    buf_init(&p->texts, SIZE_MAX / 2);
    buf_init(&p->mended, SIZE_MAX / 2);
    return p;
}

static void release_memory(struct json_parser *p)
{
    json_tape_reader_free(&p->tape);
    buf_done(&p->words);
    buf_done(&p->texts);
    buf_done(&p->mended);
}

void json_parser_free(struct json_parser **parser)
{
    if (*parser != NULL) {
        release_memory(*parser);
        free(*parser);
        *parser = NULL;
    }
}

/* ---- What yajl finds, as the words that simdjson would make of it ---- */

static uint64_t *word_at(struct json_parser *p, size_t at)
{
    return (uint64_t *)(void *)p->words.data + at;
}

static size_t word_count(const struct json_parser *p)
{
    return p->words.len / sizeof(uint64_t);
}

static void put_word(struct json_parser *p, uint64_t word)
{
    buf_put(&p->words, &word, sizeof word);
}

static uint64_t tagged(enum json_kind kind, uint64_t rest)
{
    return (uint64_t)kind << 56 | rest;
}

/* A value, or in an object a key, comes into the container that is open. */
static void count_member(struct json_parser *p)
{
    uint64_t *open = word_at(p, p->open);
    if (p->open > 0 && (*open >> 32 & JSON_COUNT_MAX) < JSON_COUNT_MAX) {
        *open += 1ULL << 32;
    }
}

static int end_value(struct json_parser *p)
{
    p->is_complete = p->open == 0;
    return 1;
}

static int put_value(struct json_parser *p, enum json_kind kind, uint64_t rest)
{
    if (p->open == 0 || *word_at(p, p->open) >> 56 == JSON_ARRAY) {
        count_member(p);
    }
    put_word(p, tagged(kind, rest));
    return end_value(p);
}

static uint64_t put_text(struct json_parser *p, struct slice text)
{
    uint64_t at = p->texts.len;
    uint32_t len = (uint32_t)text.len;
    buf_put(&p->texts, &len, sizeof len);
    buf_put_slice(&p->texts, text);
    bool fits = buf_reserve(&p->texts, JSON_TEXT_SLACK);
    ensure(fits);
    return at;
}

static int on_null(void *ctx)
{
    return put_value(ctx, JSON_NULL, 0);
}

static int on_boolean(void *ctx, int value)
{
    return put_value(ctx, value != 0 ? JSON_TRUE : JSON_FALSE, 0);
}

enum json_kind json_number_from(const char *text, uint64_t *ret_bits)
{
    bool is_whole = strpbrk(text, ".eE") == NULL;
    if (is_whole) {
        errno = 0;
        *ret_bits = text[0] == '-' ? (uint64_t)strtoll(text, NULL, 10) : strtoull(text, NULL, 10);
        if (errno == 0) {
            return text[0] != '-' && *ret_bits > INT64_MAX ? JSON_UINT : JSON_INT;
        }
    }
    double value = strtod(text, NULL);
    memcpy(ret_bits, &value, sizeof *ret_bits);
    return is_whole ? JSON_DIGITS : isfinite(value) ? JSON_DOUBLE : JSON_HUGE;
}

/* `text` ends with a zero behind its `len` bytes. */
static int put_number(struct json_parser *p, const char *text, size_t len)
{
    uint64_t bits;
    enum json_kind kind = json_number_from(text, &bits);
    (void)put_value(p, kind, kind == JSON_DIGITS ? put_text(p, slice_make(text, len)) : 0);
    if (kind != JSON_HUGE) {
        put_word(p, bits);
    }
    return 1;
}

static int on_number(void *ctx, const char *text, size_t len)
{
    char few[64];
    char *zero_ended = len < sizeof few ? few : memory_allocate(len + 1);
    memcpy(zero_ended, text, len);
    zero_ended[len] = 0;
    int goes_on = put_number(ctx, zero_ended, len);
    if (zero_ended != few) {
        free(zero_ended);
    }
    return goes_on;
}

static int on_string(void *ctx, const unsigned char *data, size_t len)
{
    struct slice text = slice_make(data, len);
    return put_value(ctx, utf8_is_valid(text) ? JSON_TEXT : JSON_NO_UTF8, put_text(ctx, text));
}

static int on_key(void *ctx, const unsigned char *data, size_t len)
{
    count_member(ctx);
    return on_string(ctx, data, len);
}

/* Until it ends, a container's word has the container around it in the place of its end. */
static int on_open(struct json_parser *p, enum json_kind kind)
{
    size_t around = p->open;
    (void)put_value(p, kind, around);
    p->open = word_count(p) - 1;
    p->is_complete = false;
    return 1;
}

static int on_start_map(void *ctx)
{
    return on_open(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx)
{
    return on_open(ctx, JSON_ARRAY);
}

static int on_end(void *ctx)
{
    struct json_parser *p = ctx;
    bool is_object = *word_at(p, p->open) >> 56 == JSON_OBJECT;
    put_word(p, tagged(is_object ? JSON_OBJECT_END : JSON_ARRAY_END, p->open));
    uint64_t *open = word_at(p, p->open);
    p->open = (uint32_t)*open;
    *open = (*open & ~(uint64_t)UINT32_MAX) | word_count(p);
    return end_value(p);
}

/* Windows' tools put it before every text. */
static struct slice skip_byte_order_mark(struct slice text)
{
    static const char mark[] = "\xef\xbb\xbf";
    return slice_starts_with(text, slice_text(mark)) ? slice_skip(text, sizeof mark - 1) : text;
}

bool json_parse_slowly(struct json_parser *p, struct slice text, struct json_doc *ret)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_start_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_start_array,
        .yajl_end_array = on_end,
    };
    text = skip_byte_order_mark(text);
    text = json_mend(text, &p->mended) ? buf_slice(&p->mended) : text;
    buf_clear(&p->words);
    buf_clear(&p->texts);
    p->open = 0;
    p->is_complete = false;
    put_word(p, 0); /* so that the root is at JSON_ROOT */
    yajl_handle handle = yajl_alloc(&callbacks, NULL, p);
    ensure(handle != NULL);
    yajl_config(handle, yajl_dont_validate_strings, 1);
    yajl_status status = yajl_parse(handle, text.data, text.len);
    if (status == yajl_status_ok && p->is_complete) {
        /* yajl does not mind an unfinished token behind the value, such as `{}"x`. A quote finishes
         * it, or is itself unfinished. */
        status = yajl_parse(handle, (const unsigned char *)"\"", 1);
    }
    if (status == yajl_status_ok) {
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    *ret = (struct json_doc){(const uint64_t *)(const void *)p->words.data, p->texts.data};
    /* Behind a backslash that quote would be part of the token. */
    bool is_escaped = text.len > 0 && text.data[text.len - 1] == '\\';
    return status == yajl_status_ok && !is_escaped;
}

static bool is_of_number(uint8_t byte)
{
    return byte == '.' || (byte >= '0' && byte <= '9');
}

/* Eight bytes, all from '.' to '=': digits, and little else. */
static bool looks_like_digits(const uint8_t *at)
{
    const uint64_t each = 0x0101010101010101ULL;
    uint64_t eight;
    memcpy(&eight, at, sizeof eight);
    return ((eight + 2 * each) & 0xF0 * each) == 0x30 * each;
}

/* simdjson takes some 10 us for a number of more digits than 64 bits hold and a large exponent: a
 * hundred times what its bytes may cost. Such numbers are yajl's, and what looks like one in a
 * text. Wherever 20 digits stand in a row, eight of them are looked at together. */
static bool has_costly_number(struct slice text)
{
    enum { DIGITS = 20, EIGHT = 8, STEP = DIGITS - EIGHT };
    for (size_t at = 0; at + EIGHT <= text.len; at += STEP) {
        if (!looks_like_digits(text.data + at)) {
            continue;
        }
        size_t begin = at;
        while (at < text.len && is_of_number(text.data[at])) {
            at++;
        }
        size_t end = at;
        while (end > begin && begin > 0 && is_of_number(text.data[begin - 1])) {
            begin--;
        }
        if (end - begin >= DIGITS && end < text.len && (text.data[end] | 0x20) == 'e') {
            return true;
        }
    }
    return false;
}

bool json_parse(struct json_parser *p, struct slice text, struct json_doc *ret)
{
    p->is_large = p->is_large || text.len > KEPT_BYTES;
    text = skip_byte_order_mark(text);
    ret->words =
        has_costly_number(text) ? NULL : json_tape_read(p->tape, text.data, text.len, &ret->texts);
    if (ret->words != NULL) {
        return true;
    }
    return json_parse_slowly(p, text, ret);
}

void json_parser_trim(struct json_parser *p)
{
    if (p->is_large) {
        release_memory(p);
        p->tape = json_tape_reader_new();
        p->is_large = false;
    }
}
