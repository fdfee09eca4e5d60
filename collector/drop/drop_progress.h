/* How far a file of the drop folder has been taken, and what its report says so far; kept in
 * `drop.progress` of the collector's data folder, so that an import goes on after a power cut.
 *
 * The progress is behind the events, never before them: rows that are taken again get the same
 * message ids and count once. Losing it costs time, not rows. One thread.
 *
 * On disk (stored: never change the meaning of a member) it is one JSON object:
 *   {"file":NAME,"inode":N,"size":N,"modifiedNs":N,"offset":N,"line":N,
 *    "taken":N,"rejected":N,"detailed":N,"report":TEXT}
 */
#ifndef TRIBUTARY_COLLECTOR_DROP_PROGRESS_H
#define TRIBUTARY_COLLECTOR_DROP_PROGRESS_H

#include <sys/stat.h>
#include "collector/drop/drop_file.h"

enum {
    DROP_NAME_BYTES_MAX = 200,
    DROP_REPORT_LINES_MAX = 200,
    DROP_REPORT_BYTES_MAX = 128 * 1024, /* a whole report */
};

/* Tells whether a file is still the one that was looked at. */
struct drop_identity {
    uint64_t inode;
    uint64_t size;
    int64_t modified_ns;
};

struct drop_identity drop_identity_of(const struct stat *status);
bool drop_identity_equal(struct drop_identity a, struct drop_identity b);

struct drop_progress {
    char file[DROP_NAME_BYTES_MAX + 1]; /* empty: none */
    struct drop_identity identity;
    struct drop_position position; /* behind the last row that is durable or rejected */
    uint64_t taken;
    uint64_t rejected;
    uint64_t detailed; /* rejected rows that the report names */
    struct buf report;
};

void drop_progress_init(struct drop_progress *progress);
void drop_progress_done(struct drop_progress *progress);
/* Begin with another file. */
void drop_progress_start(struct drop_progress *progress, const char *file,
                         struct drop_identity identity);

/* Count a rejected row, and name it in the report while there is room. */
void drop_progress_reject(struct drop_progress *progress, uint64_t line, struct slice column,
                          struct slice reason);

/* Append the report of a file whose reading has ended. */
void drop_progress_put_report(const struct drop_progress *progress, struct buf *out);

/* `folder` is the data folder. What is missing or damaged gives an empty progress. */
MUST_CHECK bool drop_progress_load(struct drop_progress *progress, int folder, struct error *err);
MUST_CHECK bool drop_progress_save(const struct drop_progress *progress, int folder,
                                   struct error *err);
/* Forget it, also on disk. */
MUST_CHECK bool drop_progress_forget(struct drop_progress *progress, int folder, struct error *err);

#endif
