/* Where files of the drop folder go when they are done with: `done/` and `rejected/` in it.
 *
 * The end of a file, and what a power cut leaves of it:
 *
 *   1. all rows are durable in the spool      those behind the last progress are taken again,
 *                                             with the same message ids: they count once
 *   2. rejected/NAME.report is written        it is written again
 *   3. NAME is renamed to done/ or rejected/  the progress names no file of the folder, and is
 *   4. the progress is forgotten              ignored
 *
 * Both folders and the reports are for whoever may use the drop folder: they get its group and its
 * rights, whatever the umask is. A file that is moved keeps its own.
 *
 * A name that is taken there gets a number: NAME.2. A report belongs to the file whose name it
 * has; one without its file is from a cut between 2 and 3, and is replaced. One thread.
 */
#ifndef TRIBUTARY_COLLECTOR_DROP_MOVE_H
#define TRIBUTARY_COLLECTOR_DROP_MOVE_H

#include "collector/drop/drop_progress.h"

struct drop_folders {
    int folder;
    int done;
    int rejected;
};

/* Open the folder and make the two in it where they are missing. */
MUST_CHECK bool drop_folders_open(const char *path, struct drop_folders *ret, struct error *err);
void drop_folders_close(struct drop_folders *folders);

/* Move a file whose rows were all taken. *ret_moved is false, and the file where it was, when it
 * is not the one any more that `identity` tells of. */
MUST_CHECK bool drop_move_done(const struct drop_folders *folders, const char *name,
                               struct drop_identity identity, bool *ret_moved, struct error *err);
/* The same into rejected/, with a report. */
MUST_CHECK bool drop_move_rejected(const struct drop_folders *folders, const char *name,
                                   struct drop_identity identity, struct slice report,
                                   bool *ret_moved, struct error *err);

/* Delete what was moved to done/ longer ago than `keep_ms`; how many files. */
unsigned drop_clean_done(const struct drop_folders *folders, int64_t keep_ms, int64_t now_ms);

#endif
