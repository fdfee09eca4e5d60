/* The drop folder: files that a till writes into it become events, each row once.
 *
 * One thread looks into the folder every second, takes one complete file after the other, and
 * moves each to `done/` or, with a report, to `rejected/`. How files are mapped: mapping.h; when
 * they are complete: drop_scan.h; what happens at their end: drop_move.h.
 *
 * Guarantee: a file is moved only after each of its rows is durable in the spool or named or
 * counted in the report. A row has the same message id however often it is taken, so that crashes,
 * files put back and files written anew with more rows add only what is new. Where the spool is
 * full, the source unknown or the folder away, files wait. Memory is bounded, see drop_file.h.
 */
#ifndef TRIBUTARY_COLLECTOR_DROP_FOLDER_H
#define TRIBUTARY_COLLECTOR_DROP_FOLDER_H

#include "collector/drop/import.h"
#include "shared/clock.h"
#include "shared/error.h"

struct drop_folder;

struct drop_options {
    const char *path;     /* of the folder; need not be there yet */
    const char *data_dir; /* keeps the progress */
    int64_t settle_ms;
    int64_t keep_ms; /* files in done/; 0: for ever */
    const struct clock *clock;
    /* Makes events durable, on the folder's thread, as import_events() does. */
    enum import_result (*import)(void *user, struct slice source, struct request *request,
                                 struct error *err);
    void *user;
};

/* Start. Texts are copied. Fails where the data folder cannot be opened. */
MUST_CHECK bool drop_folder_open(const struct drop_options *options, struct drop_folder **ret,
                                 struct error *err);
/* Stop behind the batch at hand, keep the progress, and free. NULL is allowed. */
void drop_folder_close(struct drop_folder **folder);

struct drop_stats {
    uint64_t files_done;
    uint64_t files_rejected;
    uint64_t rows_taken;
    uint64_t rows_rejected;
    uint64_t files_waiting;   /* with a mapping */
    uint64_t files_unmatched; /* without one */
    uint64_t file_bytes;      /* of the file that is being taken; 0: none */
    uint64_t file_bytes_read;
};
/* Any thread. */
struct drop_stats drop_folder_stats(struct drop_folder *folder);

#endif
