/* The browser tag as the collector serves it: one file in up to three encodings, with an ETag.
 * Immutable after tag_load(); any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_TAG_H
#define TRIBUTARY_COLLECTOR_TAG_H

#include "shared/http.h"

struct tag;

/* Read FILE, and FILE.gz and FILE.br where they are. A missing FILE is not an error: the tag is
 * then answered 404. */
struct tag *tag_load(const char *path);
void tag_free(struct tag **tag);
void tag_answer(const struct tag *tag, struct http_request *http);

#endif
