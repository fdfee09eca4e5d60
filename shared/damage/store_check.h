/* Whether what a LevelDB has on disk is sound, found out before it is opened, or beside it.
 *
 * Guarantee: store_check() is true only where the MANIFEST and the logs that will be read again are
 * whole, but for what a power cut left torn, which it cuts off; where no record is missing between
 * them; and where every table is there and as long as it should be, with as many of them read
 * block by block as the bound allows, the newest first. LevelDB itself would pass over the rest of
 * a log's block in silence, and never look at the checksums of tables.
 *
 * A store that was found damaged while it was open is marked as suspect: it is read whole at the
 * next start.
 */
#ifndef TRIBUTARY_SHARED_DAMAGE_STORE_CHECK_H
#define TRIBUTARY_SHARED_DAMAGE_STORE_CHECK_H

#include "shared/damage/store_folder.h"

/* Before it is opened; nobody may have it open. A folder that is not there is sound.
 * ERROR_CORRUPT: damaged; the message says which file, where, and how much. */
MUST_CHECK bool store_check(const char *path, uint64_t table_bytes_max, struct error *err);

/* Have it read whole at the next start. */
void store_check_suspect(const char *path);

/* What was found of one log. */
struct store_log {
    struct log_report report;
    uint64_t first;    /* sequence number of its first record; 0: it has none */
    uint64_t next;     /* the number after its last */
    uint64_t missing;  /* numbers that no record has, between the first and the last */
    size_t missing_at; /* where they are missed first */
};
/* `options` as for log_check(), but for the callback. */
void store_check_log(uint8_t *data, size_t len, const struct log_options *options,
                     struct store_log *ret);

/* A sentence for a log or a table in which damage was found. */
void store_check_describe_log(const char *name, const struct store_log *log, char *ret,
                              size_t size);

#endif
