/* Files that the command reads and writes: whole ones, and new ones that overwrite nothing. */
#ifndef TRIBUTARY_HUB_CLI_FILES_H
#define TRIBUTARY_HUB_CLI_FILES_H

#include <sys/types.h>
#include "shared/buf.h"
#include "shared/error.h"

/* Append the file ("-": standard input) to *ret, up to its maximum. */
MUST_CHECK bool file_read(const char *path, struct buf *ret, struct error *err);

/* Create a file that must not exist yet and leave it open for file_fill(). */
MUST_CHECK bool file_reserve(const char *path, mode_t mode, int *ret_fd, struct error *err);

/* Write the bytes to disk and close, also where that fails. */
MUST_CHECK bool file_fill(int fd, const char *path, struct slice bytes, struct error *err);

/* Both of these in one; a file that could not be written is removed. */
MUST_CHECK bool file_create(const char *path, mode_t mode, struct slice bytes, struct error *err);

#endif
