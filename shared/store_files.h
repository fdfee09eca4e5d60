/* The files of LevelDB, as a store that syncs small commits for years wants them.
 *
 * Logs are written in place. A file that grows makes the file system write its own journal with
 * each sync: on ext4 three blocks and a second flush, whatever a small commit has. A log of which
 * little is written between syncs is therefore filled with zeros ahead, and written into: LevelDB
 * reads zeros as nothing (log_reader.cc of LevelDB, where files are preallocated). Large commits
 * append as ever, so that little is written twice.
 *
 * Guarantee: as store.h says of writes, where the power fails before all pages of a log are on the
 * disk: what is read again is a beginning of what was written, with all that was synced. LevelDB
 * gives up the rest of a block of 32 KiB after what it cannot read, but goes on in the next one,
 * and in the next log; so what was not synced is, before a record begins in another block or log.
 * A log that could not be written once takes nothing more: the store has to be opened anew.
 *
 * Tables are mapped into memory or read. Mapped they need no copy and no descriptor, and what was
 * touched of them counts as resident memory of the process, however large the store is. A table is
 * opened only if its footer can be true, which LevelDB believes without a checksum.
 *
 * Where the process, or the machine, has no descriptor left, a file is opened with one of a few
 * that are kept back, or waited for, up to a minute: for LevelDB the first failure would be the
 * last.
 */
#ifndef TRIBUTARY_SHARED_STORE_FILES_H
#define TRIBUTARY_SHARED_STORE_FILES_H

#include <leveldb/c.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For any number of databases and threads; never freed. */
leveldb_env_t *store_files_env(bool maps_tables);

#ifdef __cplusplus
}
#endif

#endif
