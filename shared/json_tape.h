/* simdjson for C: its parser has no C interface, so that this much stands in C++.
 *
 * A tape is simdjson's own form of a document (doc/tape.md of simdjson): words whose top byte says
 * what stands there, and a run of bytes with the texts. json_doc.h walks it.
 *
 * Guarantee: a text that is not exactly one well-formed JSON document, in UTF-8 and nested at most
 * 1,024 deep, with whole numbers of 64 bits and others that are finite, gives NULL. One thread for
 * each reader. Running out of memory gives NULL too.
 */
#ifndef TRIBUTARY_SHARED_JSON_TAPE_H
#define TRIBUTARY_SHARED_JSON_TAPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that grows with the largest text read. */
struct json_tape_reader;

struct json_tape_reader *json_tape_reader_new(void);
void json_tape_reader_free(struct json_tape_reader **reader);

/* The words, and in *ret_texts what the texts among them point into; both until the next call. */
const uint64_t *json_tape_read(struct json_tape_reader *reader, const void *text, size_t len,
                               const uint8_t **ret_texts);

#ifdef __cplusplus
}
#endif

#endif
