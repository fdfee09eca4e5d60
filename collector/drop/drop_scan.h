/* Looks which file of the drop folder is complete and comes next.
 *
 * A file is complete when its size and its time have stayed the same for the settling time; that
 * needs no help from the file system and works on network mounts too. Left alone are names that
 * begin with a dot, end in .tmp, .part, .mapping or .report, have control characters or are over
 * DROP_NAME_BYTES_MAX; folders; and files that no mapping is for. One thread.
 */
#ifndef TRIBUTARY_COLLECTOR_DROP_SCAN_H
#define TRIBUTARY_COLLECTOR_DROP_SCAN_H

#include "collector/drop/drop_progress.h"
#include "collector/drop/mapping_set.h"

/* Looked at in one scan: files with a mapping, and entries of any kind. More wait until some of
 * these are gone. */
enum { DROP_SCAN_FILES_MAX = 1000, DROP_SCAN_ENTRIES_MAX = 20000 };

struct drop_scan;

struct drop_candidate {
    char name[DROP_NAME_BYTES_MAX + 1];
    struct drop_identity identity;
    int64_t since_ns; /* unchanged, on the monotonic clock */
};

struct drop_scan *drop_scan_new(int64_t settle_ms);
void drop_scan_free(struct drop_scan **scan);

/* Look at the open folder. *ret (borrowed until the next scan): the oldest complete file, or
 * `first`, a name or "", where that is complete; NULL: none. */
MUST_CHECK bool drop_scan_next(struct drop_scan *scan, int folder, const struct mapping_set *set,
                               const char *first, int64_t monotonic_ns,
                               const struct drop_candidate **ret, struct error *err);
/* Files of the last scan that have a mapping, and that have none. */
size_t drop_scan_waiting(const struct drop_scan *scan);
size_t drop_scan_unmatched(const struct drop_scan *scan);

#endif
