/* Making a damaged LevelDB one that can be opened, with all that can be read.
 *
 * A bit that was turned is turned back, in logs, tables and the MANIFEST; nothing is lost then. Of
 * other damage in a log the writes that it hit are left out, and no others. For a MANIFEST or a
 * table that is damaged otherwise LevelDB's own repair has to follow.
 *
 * Guarantee: nothing is thrown away: each file that is changed or taken out is kept as it was in
 * the folder "lost" of the store. Whenever it is ended it can be begun again. Nobody may have the
 * store open. One thread.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_STORE_SALVAGE_H
#define TRIBUTARY_SHARED_DAMAGE_STORE_SALVAGE_H

#include "shared/error.h"
#include <stdint.h>

struct salvage_report {
    uint64_t damaged_files;
    uint64_t mended;       /* bits that were turned back */
    uint64_t lost_changes; /* of logs, by the numbers that are missing */
    uint64_t lost_bytes;   /* that cannot be read, in logs and tables */
    bool needs_repair;     /* LevelDB's, and then to be compacted whole */
    /* Each file that is damaged, and what became of it: one sentence. May be NULL. */
    void (*say)(void *user, const char *sentence);
    void *user;
};

/* `report` has the callback; the rest is filled in. */
MUST_CHECK bool store_salvage(const char *path, struct salvage_report *report, struct error *err);

#endif
