/* Small files read and written whole, below a folder that the caller holds open.
 *
 * Guarantee: file_replace() leaves the old contents or the new ones, whenever the power fails, and
 * when it has returned true the new ones are on disk. Any thread; one writer for each name.
 */
#ifndef TRIBUTARY_SHARED_FILE_H
#define TRIBUTARY_SHARED_FILE_H

#include <sys/types.h>
#include "shared/buf.h"

/* Read a regular file into *ret (replacing what was in it), through no symbolic link. A missing
 * file is a result: *ret_found. ERROR_INVALID: longer than the buf's maximum. */
MUST_CHECK bool file_load(int folder, const char *name, struct buf *ret, bool *ret_found,
                          struct error *err);

/* Write, sync, rename into place, sync the folder. The temporary name is ".NAME.tmp". Who may read
 * it is said by `mode`, whatever the umask is. */
MUST_CHECK bool file_replace(int folder, const char *name, mode_t mode, struct slice contents,
                             struct error *err);

/* Remove, and sync the folder. A file that is not there is fine. */
MUST_CHECK bool file_remove(int folder, const char *name, struct error *err);

#endif
