/* Whether a request's head can be read in one way only. libmicrohttpd 0.9.75 takes what RFC 9112
 * has refused, because two programs in a row may take it for different requests: lines that end in
 * CR or LF alone, folded values, space before a colon, NUL, two lengths, a length beside chunks,
 * none or two Hosts. What it refuses by itself (other lengths than numbers, chunks that are none)
 * is not looked at here. Between chunks it takes LF alone, which nobody is told.
 *
 * The bytes are gone when it tells of a request, but it reads in place: the names and values that
 * it hands out still lie where they came, each line two bytes after the one before. Whatever it
 * passed over shows as a gap.
 */
#ifndef TRIBUTARY_SHARED_HTTP_STRICT_H
#define TRIBUTARY_SHARED_HTTP_STRICT_H

#include <microhttpd.h>
#include <stdbool.h>
#include "shared/slice.h"

/* On the first call for a request, with what libmicrohttpd gives there; `uri` is the address as it
 * came, noted in MHD_OPTION_URI_LOG_CALLBACK, or empty where there is a space in it. NULL: it can;
 * else the sentence that says why not, which lives for ever. */
const char *http_strict_fault(struct MHD_Connection *connection, const char *method,
                              struct slice uri, const char *version);

#endif
