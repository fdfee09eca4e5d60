/* JSON in and out: documents are packed as MessagePack, and values are written as JSON.
 *
 * Guarantee: what json_read() accepts is well-formed UTF-8 no deeper than LIMIT_JSON_DEPTH, whose
 * numbers are finite. A whole number that fits 64 bits stays whole, also when written as 1.0 or
 * 1e3 below 2^53; others become doubles. One thread for each reader and writer.
 */
#ifndef TRIBUTARY_SHARED_JSON_H
#define TRIBUTARY_SHARED_JSON_H

#include "shared/arena.h"
#include "shared/json_doc.h"
#include "shared/limits.h"
#include "shared/value.h"

/* A value that is made step by step, of which it is not known how many members it will have: its
 * containers get a 16-bit count that is filled in when they end. */
struct json_packer {
    msgpack_packer packer;
    struct buf *out;
    int depth;
    struct {
        size_t count_at; /* where the count stands in *out */
        uint32_t count;  /* of keys and values, or of elements */
        bool is_map;
    } open[LIMIT_JSON_DEPTH];
};

enum json_fault {
    JSON_FINE,
    JSON_TOO_DEEP,
    JSON_TOO_LARGE, /* *out is full */
    JSON_BAD_TEXT,  /* not UTF-8 */
    JSON_BAD_NUMBER,
    JSON_NOT_JSON,
};

/* A kebab-case code for clients, such as "too-deep". */
const char *json_fault_code(enum json_fault fault);
const char *json_fault_sentence(enum json_fault fault);

void json_packer_init(struct json_packer *p, struct buf *out);
enum json_fault json_packer_bool(struct json_packer *p, bool value);
/* The text is a number as JSON writes it, of up to 32 bytes. */
enum json_fault json_packer_number(struct json_packer *p, struct slice text);
/* Also for keys of maps. The text is UTF-8. */
enum json_fault json_packer_text(struct json_packer *p, struct slice text);
enum json_fault json_packer_open(struct json_packer *p, bool is_map);
void json_packer_close(struct json_packer *p);
/* A value that json_read() made, as the next item. */
enum json_fault json_packer_value(struct json_packer *p, const msgpack_object *value);

/* A value of a document, appended to *out as MessagePack, where `depth_max` containers may stand in
 * one another. All containers get a 16-bit count. */
enum json_fault json_pack(const struct json_doc *doc, size_t at, int depth_max, struct buf *out);

/* The same of a map's head: `count` members follow. json_set_count() changes it. */
enum json_fault json_pack_map(struct buf *out, size_t count);
void json_set_count(uint8_t *head, size_t count);

/* A number of a document as text: a whole one is all its digits, however it was written, another
 * one the shortest that reads as the same double. Empty where it is out of range. In the arena, or
 * the document's. */
struct slice json_number_text(const struct json_doc *doc, size_t at, struct arena *arena);

/* One JSON text, appended to *out as MessagePack. */
enum json_fault json_read(struct slice text, struct buf *out);

/* The same for a text that must be JSON, with an error for the sender that says where. */
MUST_CHECK bool json_read_value(struct slice text, struct buf *bytes, msgpack_zone *zone,
                                msgpack_object *ret, struct error *err);

/* Writing JSON: members and elements in turn; commas, quotes and escapes are put by the writer.
 * Stops the process at the maximum of *out, which the caller chooses with the answer in mind. */
struct json_writer {
    struct buf *out;
    bool needs_comma;
};

void json_writer_init(struct json_writer *w, struct buf *out);
void json_open_object(struct json_writer *w);
void json_close_object(struct json_writer *w);
void json_open_array(struct json_writer *w);
void json_close_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *name);
void json_key_slice(struct json_writer *w, struct slice name);
void json_text(struct json_writer *w, struct slice text);
void json_cstr(struct json_writer *w, const char *text);
void json_int(struct json_writer *w, int64_t value);
/* null where it is infinite or no number. */
void json_double(struct json_writer *w, double value);
void json_bool(struct json_writer *w, bool value);
void json_null(struct json_writer *w);
/* A time as RFC 3339. */
void json_time(struct json_writer *w, int64_t ms);
/* Any value; binary becomes hex. */
void json_value(struct json_writer *w, const msgpack_object *value);

#endif
