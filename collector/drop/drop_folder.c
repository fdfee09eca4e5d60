#include "collector/drop/drop_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "collector/drop/drop_move.h"
#include "collector/drop/drop_scan.h"
#include "shared/config.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum { SCAN_MS = 1000, RETRY_MS = 5000, SAVE_MS = 1000, LOG_MS = 5000, CLEAN_MS = 3600 * 1000 };

struct drop_folder {
    struct drop_options options;
    char path[CONFIG_TEXT_BYTES];
    int data_folder;
    struct mapping_set *mappings; /* of the thread, like what follows */
    struct drop_scan *scan;
    struct drop_progress progress;
    bool is_saved;         /* there is progress on disk */
    uint64_t saved_offset; /* of this file */
    struct drop_batch batch;
    struct request request;
    char trouble[sizeof((struct error *)0)->message]; /* logged last, so that it is logged once */
    int64_t wait_ms;                                  /* until the next look */
    size_t unmatched;
    int64_t cleaned_ns;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing;
    struct drop_stats stats;
    pthread_t thread;
};

/* The file that is being taken. */
struct taking {
    const struct drop_folders *folders;
    const struct drop_candidate *file;
    struct mapping *mapping;
    int64_t started_ns;
    int64_t saved_ns;
    int64_t logged_ns;
};

static int64_t monotonic_ns(const struct drop_folder *d)
{
    return clock_monotonic_ns(d->options.clock);
}

static bool is_closing(struct drop_folder *d)
{
    pthread_mutex_lock(&d->lock);
    bool closing = d->closing;
    pthread_mutex_unlock(&d->lock);
    return closing;
}

/* Something that the next look may find better. False, so that it can be returned. */
static bool trouble(struct drop_folder *d, const char *id, const char *what,
                    const struct error *err)
{
    if (strcmp(d->trouble, err->message) != 0) {
        log_warn_limited(id, "%s: %s", what, err->message);
        snprintf(d->trouble, sizeof d->trouble, "%s", err->message);
    }
    d->wait_ms = RETRY_MS;
    return false;
}

/* ---- Progress ---- */

static void save_progress(struct drop_folder *d)
{
    struct error err;
    if (d->saved_offset == d->progress.position.offset) {
        return; /* a file that waits for days must not wear out a memory card */
    }
    if (drop_progress_save(&d->progress, d->data_folder, &err)) {
        d->is_saved = true;
        d->saved_offset = d->progress.position.offset;
    } else {
        trouble(d, "drop-progress-unsaved", "A crash now would make the import begin anew", &err);
    }
}

static void forget_progress(struct drop_folder *d)
{
    struct error err;
    d->saved_offset = 0;
    if (!d->is_saved) {
        drop_progress_start(&d->progress, "", (struct drop_identity){0});
    } else if (drop_progress_forget(&d->progress, d->data_folder, &err)) {
        d->is_saved = false;
    } else {
        trouble(d, "drop-progress-unsaved", "The progress is kept", &err);
    }
}

/* Begin with the file, unless the progress tells of this very one. */
static void resume(struct drop_folder *d, const struct drop_candidate *file)
{
    if (strcmp(d->progress.file, file->name) != 0 ||
        !drop_identity_equal(d->progress.identity, file->identity)) {
        drop_progress_start(&d->progress, file->name, file->identity);
        d->saved_offset = 0;
    } else if (d->progress.position.offset > 0) {
        log_debug("drop-file-resumed", "Going on. file=%s line=%llu", file->name,
                  (unsigned long long)d->progress.position.line);
    }
}

static void show_progress(struct drop_folder *d, struct taking *t)
{
    int64_t now = monotonic_ns(d);
    pthread_mutex_lock(&d->lock);
    d->stats.file_bytes = t->file->identity.size;
    d->stats.file_bytes_read = d->progress.position.offset;
    pthread_mutex_unlock(&d->lock);
    if (now - t->saved_ns >= (int64_t)SAVE_MS * 1000000) {
        save_progress(d);
        t->saved_ns = monotonic_ns(d);
    }
    if (now - t->logged_ns >= (int64_t)LOG_MS * 1000000) {
        t->logged_ns = now;
        log_info_limited("drop-file-progress",
                         "Taking a file. file=%s line=%llu bytes=%llu of=%llu", t->file->name,
                         (unsigned long long)d->progress.position.line,
                         (unsigned long long)d->progress.position.offset,
                         (unsigned long long)t->file->identity.size);
    }
}

/* ---- The end of a file ---- */

static void count_end(struct drop_folder *d, bool is_done)
{
    pthread_mutex_lock(&d->lock);
    d->stats.files_done += is_done;
    d->stats.files_rejected += !is_done;
    pthread_mutex_unlock(&d->lock);
}

static bool after_move(struct drop_folder *d, const struct taking *t, bool moved, bool is_done)
{
    const struct drop_progress *p = &d->progress;
    if (!moved) {
        /* It changed meanwhile, or is gone: it is looked at again. */
        forget_progress(d);
        return true;
    }
    count_end(d, is_done);
    log_write(is_done ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
              is_done ? "drop-file-done" : "drop-file-rejected",
              "%s file=%s mapping=%.*s taken=%llu rejected=%llu ms=%lld",
              is_done ? "All rows were taken." : "Rows were not taken: see its report.",
              t->file->name, SLICE_ARGS(mapping_name(t->mapping)), (unsigned long long)p->taken,
              (unsigned long long)p->rejected,
              (long long)((monotonic_ns(d) - t->started_ns) / 1000000));
    forget_progress(d);
    return true;
}

static bool reject_file(struct drop_folder *d, const struct taking *t, struct slice report)
{
    struct error err;
    bool moved = false;
    if (!drop_move_rejected(t->folders, t->file->name, d->progress.identity, report, &moved,
                            &err)) {
        save_progress(d);
        return trouble(d, "drop-file-stuck", "A file that was read stays, and all others wait",
                       &err);
    }
    return after_move(d, t, moved, false);
}

/* The file, or the rest of it, cannot be read. */
static bool reject_whole(struct drop_folder *d, const struct taking *t, const char *reason)
{
    struct buf report;
    buf_init(&report, DROP_REPORT_BYTES_MAX);
    if (d->progress.position.offset > 0) {
        drop_progress_put_report(&d->progress, &report);
        buf_put_slice(&report, slice_text("\nThe rest of it was not taken.\n"));
    } else {
        buf_put_format(&report, "%s: nothing of this file was taken.\n", t->file->name);
    }
    buf_put_format(&report, "%s\nPut it right and move the file back to where it was.\n", reason);
    bool fine = reject_file(d, t, buf_slice(&report));
    buf_done(&report);
    return fine;
}

static bool reject_rows(struct drop_folder *d, const struct taking *t)
{
    struct buf report;
    buf_init(&report, DROP_REPORT_BYTES_MAX);
    drop_progress_put_report(&d->progress, &report);
    bool fine = reject_file(d, t, buf_slice(&report));
    buf_done(&report);
    return fine;
}

static bool finish(struct drop_folder *d, const struct taking *t)
{
    struct error err;
    bool moved = false;
    if (d->progress.rejected > 0) {
        return reject_rows(d, t);
    }
    if (!drop_move_done(t->folders, t->file->name, d->progress.identity, &moved, &err)) {
        save_progress(d);
        return trouble(d, "drop-file-stuck", "A file that was read stays, and all others wait",
                       &err);
    }
    return after_move(d, t, moved, true);
}

/* ---- Rows ---- */

static void reject_event(struct drop_folder *d, uint64_t line, const struct refusal *refusal)
{
    struct buf reason;
    buf_init(&reason, 1024);
    buf_put_format(&reason, "%s: %.200s%s%.200s", refusal->code, refusal->message,
                   refusal->field == NULL ? "" : " ", refusal->field == NULL ? "" : refusal->field);
    drop_progress_reject(&d->progress, line, slice_make(NULL, 0), buf_slice(&reason));
    buf_done(&reason);
}

/* The batch is durable: count its rows, and name those that were not taken. */
static void note_rows(struct drop_folder *d)
{
    const struct drop_batch *batch = &d->batch;
    const struct refusal *whole = d->request.refusal.code == NULL ? NULL : &d->request.refusal;
    uint64_t rejected = d->progress.rejected;
    uint64_t taken = d->progress.taken;
    size_t event = 0;
    for (size_t i = 0; i < batch->row_count; i++) {
        const struct drop_row *row = &batch->rows[i];
        if (row->fault.len > 0) {
            drop_progress_reject(&d->progress, row->line, row->column, row->fault);
            continue;
        }
        const struct refusal *refusal = whole != NULL ? whole : &d->request.events[event++].refusal;
        if (refusal->code != NULL) {
            reject_event(d, row->line, refusal);
        } else {
            d->progress.taken += row->lines;
        }
    }
    rejected = d->progress.rejected - rejected;
    d->progress.position = batch->end;
    pthread_mutex_lock(&d->lock);
    d->stats.rows_rejected += rejected;
    d->stats.rows_taken += d->progress.taken - taken;
    pthread_mutex_unlock(&d->lock);
}

static bool take_batch(struct drop_folder *d, const struct taking *t)
{
    struct error err;
    d->request.refusal = (struct refusal){NULL, NULL, NULL};
    if (d->batch.event_count > 0) {
        request_parse(&d->request, EVENT_TYPES, buf_slice(&d->batch.json), &rand_secure);
        ensure(d->request.refusal.code != NULL || d->request.count == d->batch.event_count);
    }
    if (d->batch.event_count > 0 && d->request.refusal.code == NULL &&
        d->options.import(d->options.user, mapping_source(t->mapping), &d->request, &err) !=
            IMPORT_DURABLE) {
        return trouble(d, "drop-waits", "Files of the drop folder wait", &err);
    }
    note_rows(d);
    d->trouble[0] = 0;
    return true;
}

/* True: the file is done with, one way or the other. */
static bool take_rows(struct drop_folder *d, struct taking *t, struct drop_file *file)
{
    struct error err;
    for (;;) {
        if (!drop_file_read(file, &d->batch, &err)) {
            return trouble(d, "drop-unreadable", t->file->name, &err);
        }
        if (d->batch.row_count == 0) {
            return finish(d, t);
        }
        if (drop_file_has_places(file) && d->batch.end.offset > t->file->identity.size) {
            /* It grows, and its last row may be half of one: it was not complete. */
            forget_progress(d);
            return true;
        }
        if (!take_batch(d, t)) {
            save_progress(d);
            return false;
        }
        show_progress(d, t);
        if (is_closing(d)) {
            save_progress(d);
            return false;
        }
    }
}

/* The file could not be opened: for ever, or for now. */
static bool reject_closed(struct drop_folder *d, const struct taking *t, int reason)
{
    struct error err;
    switch (reason) {
    case ENOENT:
        return true;
    case ELOOP:
        return reject_whole(d, t, "It is a symbolic link, and those are not followed.");
    case EACCES:
    case EPERM:
        return reject_whole(d, t, "The collector may not read it.");
    case ENXIO:
        return reject_whole(d, t, "It is no regular file.");
    default:
        error_set(&err, ERROR_UNAVAILABLE, "cannot open it: %s", strerror(reason));
        return trouble(d, "drop-unreadable", t->file->name, &err);
    }
}

static bool take_file(struct drop_folder *d, struct taking *t)
{
    struct drop_file *file;
    struct stat status;
    struct error err;
    resume(d, t->file);
    int fd =
        openat(t->folders->folder, t->file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return reject_closed(d, t, errno);
    }
    bool is_regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    if (!is_regular || !drop_identity_equal(drop_identity_of(&status), t->file->identity)) {
        close(fd);
        return is_regular ? false : reject_whole(d, t, "It is no regular file.");
    }
    if (!drop_file_open(fd, t->file->name, t->mapping, d->progress.position, &file, &err)) {
        return err.kind == ERROR_INVALID ? reject_whole(d, t, err.message)
                                         : trouble(d, "drop-unreadable", t->file->name, &err);
    }
    bool ended = take_rows(d, t, file);
    drop_file_close(&file);
    pthread_mutex_lock(&d->lock);
    d->stats.file_bytes = 0;
    d->stats.file_bytes_read = 0;
    pthread_mutex_unlock(&d->lock);
    return ended;
}

/* ---- The thread ---- */

static void show_waiting(struct drop_folder *d)
{
    size_t unmatched = drop_scan_unmatched(d->scan);
    if (unmatched > d->unmatched) {
        log_warn_limited("drop-no-mapping",
                         "Files lie in the drop folder that no mapping is for. "
                         "files=%zu mappings=%zu",
                         unmatched, mapping_set_count(d->mappings));
    }
    d->unmatched = unmatched;
    pthread_mutex_lock(&d->lock);
    d->stats.files_waiting = drop_scan_waiting(d->scan);
    d->stats.files_unmatched = unmatched;
    pthread_mutex_unlock(&d->lock);
}

static void clean(struct drop_folder *d, const struct drop_folders *folders)
{
    int64_t now = monotonic_ns(d);
    if (d->options.keep_ms == 0 ||
        (d->cleaned_ns != 0 && now - d->cleaned_ns < (int64_t)CLEAN_MS * 1000000)) {
        return;
    }
    d->cleaned_ns = now;
    unsigned removed = drop_clean_done(folders, d->options.keep_ms, clock_now_ms(d->options.clock));
    if (removed > 0) {
        log_info_limited("drop-cleaned", "Old files were deleted from done. files=%u", removed);
    }
}

/* One look into the folder, and the file that comes next. True: there may be another at once. */
static bool look(struct drop_folder *d)
{
    struct drop_folders folders;
    struct error err;
    struct taking t = {.folders = &folders, .started_ns = monotonic_ns(d)};
    t.saved_ns = t.started_ns;
    t.logged_ns = t.started_ns - (int64_t)(LOG_MS - SAVE_MS) * 1000000;
    if (!drop_folders_open(d->path, &folders, &err)) {
        return trouble(d, "drop-unavailable", "The drop folder", &err);
    }
    bool fine = mapping_set_refresh(d->mappings, folders.folder, &err) &&
                drop_scan_next(d->scan, folders.folder, d->mappings, d->progress.file, t.started_ns,
                               &t.file, &err);
    bool again = false;
    if (!fine) {
        trouble(d, "drop-unavailable", "The drop folder", &err);
    } else {
        show_waiting(d);
        clean(d, &folders);
        t.mapping = t.file == NULL ? NULL : mapping_set_find(d->mappings, t.file->name);
        again = t.mapping != NULL && take_file(d, &t);
    }
    drop_folders_close(&folders);
    return again;
}

static void *run(void *arg)
{
    struct drop_folder *d = arg;
    daemon_let_others_go_first();
    while (!is_closing(d)) {
        d->wait_ms = SCAN_MS;
        if (!look(d)) {
            pthread_mutex_lock(&d->lock);
            if (!d->closing) {
                daemon_wait(&d->wake, &d->lock, d->wait_ms);
            }
            pthread_mutex_unlock(&d->lock);
        }
    }
    return NULL;
}

static void drop_folder_free(struct drop_folder *d)
{
    mapping_set_free(&d->mappings);
    drop_scan_free(&d->scan);
    drop_progress_done(&d->progress);
    drop_batch_done(&d->batch);
    request_done(&d->request);
    if (d->data_folder >= 0) {
        close(d->data_folder);
    }
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    free(d);
}

bool drop_folder_open(const struct drop_options *options, struct drop_folder **ret,
                      struct error *err)
{
    struct drop_folder *d = memory_allocate_zeroed(sizeof *d);
    d->options = *options;
    snprintf(d->path, sizeof d->path, "%s", options->path);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    d->mappings = mapping_set_new();
    d->scan = drop_scan_new(options->settle_ms);
    drop_progress_init(&d->progress);
    drop_batch_init(&d->batch);
    request_init(&d->request);
    d->data_folder = open(options->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->data_folder < 0) {
        error_set(err, ERROR_UNAVAILABLE, "cannot open %.150s: %s", options->data_dir,
                  strerror(errno));
    }
    if (d->data_folder < 0 || !drop_progress_load(&d->progress, d->data_folder, err)) {
        drop_folder_free(d);
        return error_add_context(err, "drop folder");
    }
    d->is_saved = d->progress.file[0] != 0;
    d->saved_offset = d->progress.position.offset;
    d->thread = daemon_start_thread("drop-folder", run, d);
    *ret = d;
    return true;
}

void drop_folder_close(struct drop_folder **folder)
{
    struct drop_folder *d = *folder;
    if (d == NULL) {
        return;
    }
    pthread_mutex_lock(&d->lock);
    d->closing = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    drop_folder_free(d);
    *folder = NULL;
}

struct drop_stats drop_folder_stats(struct drop_folder *d)
{
    pthread_mutex_lock(&d->lock);
    struct drop_stats stats = d->stats;
    pthread_mutex_unlock(&d->lock);
    return stats;
}
