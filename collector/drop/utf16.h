/* Files in UTF-16, as spreadsheets save "Unicode text", read as UTF-8.
 *
 * One that begins with a byte-order mark of UTF-16 is written anew, without the mark, into a file
 * that has no name and ends when it is closed. Memory is bounded; the same bytes become the same
 * bytes. Half a character becomes U+FFFD.
 */
#ifndef TRIBUTARY_COLLECTOR_UTF16_H
#define TRIBUTARY_COLLECTOR_UTF16_H

#include "shared/error.h"

/* *ret_fd is -1 where the file, which is left at its start, is none in UTF-16; else the new one,
 * at its start. ERROR_UNAVAILABLE: it cannot be read, or the new one not be written. */
MUST_CHECK bool utf16_convert(int fd, int *ret_fd, struct error *err);

#endif
