/* A file of the browser tag as the collector serves it, in up to three encodings, with an ETag.
 * Immutable after tag_load(); any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_TAG_H
#define TRIBUTARY_COLLECTOR_TAG_H

#include "shared/http.h"

struct tag;

/* Read FILE, and FILE.gz and FILE.br where they are. A missing FILE is not an error: the tag is
 * then answered 404. */
struct tag *tag_load(const char *path);
/* The name, or path, of the tag's second file: that of the first, "t.js", with ".more" in it:
 * "t.more.js". The first asks for it so. */
void tag_second_name(const char *first, char *ret, size_t size);
void tag_free(struct tag **tag);
void tag_answer(const struct tag *tag, struct http_request *http);

#endif
