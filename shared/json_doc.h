/* A JSON text, read whole into a document that is then walked.
 *
 * Two libraries read. simdjson does so at about a byte a cycle, but says of a text with one fault
 * anywhere only that it has one. What it refuses is read by yajl, which takes a text that is no
 * UTF-8 and a number out of range for what they are: these spoil the event they stand in, not its
 * neighbours. Before that json_mend.h puts right what has one reading; a byte-order mark at the
 * start is passed over.
 *
 * A document is what simdjson calls a tape (doc/tape.md of simdjson): words, the top byte of which
 * says what stands there, and a run of bytes with the texts. A value is the index of its first
 * word; JSON_ROOT is the whole. Numbers are followed by a word with their 64 bits. Of a container
 * the low 32 bits of the rest are the index behind it, the next 24 its members (all ones: or more).
 *
 *     for (size_t key = json_doc_first(object); !json_doc_is_end(doc, key);
 *          key = json_doc_next(doc, key + 1)) {
 *         ... json_doc_text(doc, key), and the value is key + 1
 *     }
 *
 * Guarantee: of a text that both libraries take, both make the same (tests/fuzz/json_fuzz.c).
 */
#ifndef TRIBUTARY_SHARED_JSON_DOC_H
#define TRIBUTARY_SHARED_JSON_DOC_H

#include "shared/attributes.h"
#include "shared/error.h"
#include "shared/slice.h"

enum json_kind {
    JSON_NULL = 'n',
    JSON_TRUE = 't',
    JSON_FALSE = 'f',
    JSON_INT = 'l',
    JSON_UINT = 'u', /* above INT64_MAX */
    JSON_DOUBLE = 'd',
    JSON_TEXT = '"',
    JSON_OBJECT = '{',
    JSON_OBJECT_END = '}',
    JSON_ARRAY = '[',
    JSON_ARRAY_END = ']',
    /* simdjson has none of these. */
    JSON_DIGITS = '#',  /* a whole number of more than 64 bits: as a text, and a double, which may
                         * be infinite */
    JSON_HUGE = '!',    /* a number out of the range of a double */
    JSON_NO_UTF8 = '~', /* a text that is not UTF-8 */
};

enum {
    JSON_ROOT = 1,
    JSON_COUNT_MAX = 0xffffff,
    JSON_TEXT_SLACK = 32, /* bytes behind each text that may be read, and mean nothing */
};

struct json_doc {
    const uint64_t *words;
    const uint8_t *texts;
};

/* Memory for one document after another, in one thread: some 15 bytes for each of the largest
 * text's, of which those are touched that are used; as many again where yajl had to read it. */
struct json_parser;

struct json_parser *json_parser_new(void);
void json_parser_free(struct json_parser **parser);
/* The last document is done with: give back what texts over 128 KiB took. */
void json_parser_trim(struct json_parser *parser);

/* False: it is not JSON. *ret is the parser's until its next text, and needs nothing of `text`. */
MUST_CHECK bool json_parse(struct json_parser *parser, struct slice text, struct json_doc *ret);
/* The same by yajl alone, with json_mend() before it, for tests that compare. */
MUST_CHECK bool json_parse_slowly(struct json_parser *parser, struct slice text,
                                  struct json_doc *ret);

/* What a number is, written as JSON does and ended by a zero; and its 64 bits, but for JSON_HUGE.
 */
enum json_kind json_number_from(const char *text, uint64_t *ret_bits);

static inline enum json_kind json_doc_kind(const struct json_doc *doc, size_t at)
{
    return (enum json_kind)(doc->words[at] >> 56);
}

/* The first member of a container, or its end. */
static inline size_t json_doc_first(size_t container)
{
    return container + 1;
}

static inline bool json_doc_is_end(const struct json_doc *doc, size_t at)
{
    return json_doc_kind(doc, at) == JSON_OBJECT_END || json_doc_kind(doc, at) == JSON_ARRAY_END;
}

/* What stands behind the value. */
static inline size_t json_doc_next(const struct json_doc *doc, size_t at)
{
    switch (doc->words[at] >> 56) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return (uint32_t)doc->words[at];
    case JSON_INT:
    case JSON_UINT:
    case JSON_DOUBLE:
    case JSON_DIGITS:
        return at + 2;
    default:
        return at + 1;
    }
}

static inline size_t json_doc_count(const struct json_doc *doc, size_t container)
{
    return doc->words[container] >> 32 & JSON_COUNT_MAX;
}

/* Of a text, UTF-8 or not, and of digits. It is the document's. */
static inline struct slice json_doc_text(const struct json_doc *doc, size_t at)
{
    const uint8_t *bytes = doc->texts + (doc->words[at] & ((1ULL << 56) - 1));
    uint32_t len;
    memcpy(&len, bytes, sizeof len);
    return slice_make(bytes + sizeof len, len);
}

static inline int64_t json_doc_int(const struct json_doc *doc, size_t at)
{
    return (int64_t)doc->words[at + 1];
}

static inline double json_doc_double(const struct json_doc *doc, size_t at)
{
    double value;
    memcpy(&value, &doc->words[at + 1], sizeof value);
    return value;
}

#endif
