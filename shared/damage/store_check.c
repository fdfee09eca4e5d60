#include "shared/damage/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shared/damage/table_check.h"
#include "shared/file.h"

static const char suspect_name[] = "SUSPECT";

enum { PATH_BYTES = 1024 };

/* ---- Logs ---- */

struct counting {
    const struct log_options *options;
    struct store_log *log;
};

static void count_record(void *user, struct slice record, size_t at)
{
    struct counting *c = user;
    struct store_log *log = c->log;
    uint64_t sequence;
    uint32_t count;
    if (!log_read_batch(record, &sequence, &count)) {
        return;
    }
    if (log->first == 0) {
        log->first = sequence;
    } else if (sequence > log->next) {
        log->missing_at = log->missing == 0 ? at : log->missing_at;
        log->missing += sequence - log->next;
    }
    log->next = sequence + count;
    if (c->options->record != NULL) {
        c->options->record(c->options->user, record, at);
    }
}

void store_check_log(uint8_t *data, size_t len, const struct log_options *options,
                     struct store_log *ret)
{
    struct counting counting = {options, ret};
    struct log_options counted = *options;
    counted.record = count_record;
    counted.user = &counting;
    *ret = (struct store_log){0};
    log_check(data, len, &counted, &ret->report);
}

void store_check_describe_log(const char *name, const struct store_log *log, char *ret, size_t size)
{
    const struct log_report *r = &log->report;
    if (r->state == LOG_DAMAGED) {
        snprintf(ret, size,
                 "%s is damaged at byte %zu: %llu bytes of writes cannot be read, %llu writes "
                 "before and %llu after them can",
                 name, r->at, (unsigned long long)r->damaged_bytes,
                 (unsigned long long)(r->records - r->records_after),
                 (unsigned long long)r->records_after);
    } else {
        snprintf(ret, size, "%s has a gap at byte %zu: %llu changes before it are missing", name,
                 log->missing_at, (unsigned long long)log->missing);
    }
}

static bool cut(int folder, const char *name, size_t at, struct error *err)
{
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
    bool fine = fd >= 0 && ftruncate(fd, (off_t)at) == 0 && fsync(fd) == 0;
    int failure = errno;
    if (fd >= 0) {
        close(fd);
    }
    return fine || error_set(err, ERROR_UNAVAILABLE, "cannot cut what a power cut left of %s: %s",
                             name, strerror(failure));
}

/* What the logs from the newest to the oldest told so far. */
struct later {
    bool has_records;
    uint64_t first;
};

static bool judge_log(const struct store_folder *f, const char *name, struct store_log *log,
                      struct later *later, struct error *err)
{
    char text[192];
    if (later->first != 0 && log->next != 0 && later->first > log->next) {
        log->missing_at = log->missing == 0 ? log->report.at : log->missing_at;
        log->missing += later->first - log->next;
    }
    if (log->report.state == LOG_DAMAGED || log->missing > 0) {
        store_check_describe_log(name, log, text, sizeof text);
        return error_set(err, ERROR_CORRUPT, "%s", text);
    }
    later->has_records = later->has_records || log->report.records > 0;
    later->first = log->first != 0 ? log->first : later->first;
    return log->report.state == LOG_WHOLE || cut(f->fd, name, log->report.at, err);
}

static bool check_logs(const struct store_folder *f, struct error *err)
{
    struct buf bytes;
    struct later later = {0};
    bool fine = true;
    buf_init(&bytes, FOLDER_BYTES_MAX);
    for (size_t i = f->log_count; fine && i > 0; i--) {
        struct log_options options = {.is_followed = later.has_records};
        struct store_log log;
        char name[FOLDER_NAME_BYTES];
        store_folder_log_name(f->logs[i - 1], name);
        fine = store_folder_load(f, name, &bytes, err);
        if (fine) {
            store_check_log(bytes.data, bytes.len, &options, &log);
            fine = judge_log(f, name, &log, &later, err);
        }
    }
    buf_done(&bytes);
    if (fine && later.first > f->manifest.last_sequence + 1) {
        fine = error_set(err, ERROR_CORRUPT, "a log is missing: it had %llu changes",
                         (unsigned long long)(later.first - f->manifest.last_sequence - 1));
    }
    return fine;
}

/* ---- Tables ---- */

static int compare_newest_first(const void *a, const void *b)
{
    const struct manifest_table *left = a;
    const struct manifest_table *right = b;
    return (left->number < right->number) - (left->number > right->number);
}

static bool judge_table(const char *name, uint64_t bytes, const struct table_report *r,
                        struct error *err)
{
    if (r->damaged == 0) {
        return true;
    }
    return error_set(err, ERROR_CORRUPT,
                     "%s is damaged at byte %llu: %llu bytes of it cannot be read, of %llu%s", name,
                     (unsigned long long)r->at,
                     (unsigned long long)(r->is_lost ? bytes : r->damaged_bytes),
                     (unsigned long long)bytes,
                     r->is_lost ? " (it is missing, or its index cannot be read)" : "");
}

/* The end alone, of a table that is not read now. */
static bool check_footer(const struct store_folder *f, const char *name, uint64_t bytes,
                         struct error *err)
{
    uint8_t footer[TABLE_FOOTER_BYTES];
    struct table_report lost = {.damaged = 1, .is_lost = true};
    int fd = openat(f->fd, name, O_RDONLY | O_CLOEXEC);
    bool is_sound = fd >= 0 && bytes >= sizeof footer &&
                    pread(fd, footer, sizeof footer, (off_t)(bytes - sizeof footer)) ==
                        (ssize_t)sizeof footer &&
                    table_footer_is_sound(footer, bytes);
    if (fd >= 0) {
        close(fd);
    }
    return is_sound || judge_table(name, bytes, &lost, err);
}

static bool check_tables(struct store_folder *f, const char *path, uint64_t bytes_max,
                         struct error *err)
{
    struct table_options options = {.is_whole = true};
    bool fine = true;
    if (f->manifest.table_count > 1) {
        qsort(f->manifest.tables, f->manifest.table_count, sizeof *f->manifest.tables,
              compare_newest_first);
    }
    for (size_t i = 0; fine && i < f->manifest.table_count; i++) {
        const struct manifest_table *table = &f->manifest.tables[i];
        struct table_report report;
        char name[FOLDER_NAME_BYTES];
        char full[PATH_BYTES];
        store_folder_table_name(f, table->number, name);
        if (bytes_max == 0) {
            fine = check_footer(f, name, table->bytes, err);
            continue;
        }
        snprintf(full, sizeof full, "%s/%s", path, name);
        int failure = table_check(full, table->bytes, &options, &report);
        fine = failure == 0
                   ? judge_table(name, table->bytes, &report, err)
                   : error_set(err, ERROR_UNAVAILABLE, "reading %s: %s", name, strerror(failure));
        bytes_max -= report.bytes < bytes_max ? report.bytes : bytes_max;
    }
    return fine;
}

/* ---- The whole ---- */

/* What another process writes at this moment may look torn. */
static bool is_free(const struct store_folder *f, struct error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = f->fd < 0 ? -1 : openat(f->fd, "LOCK", O_RDWR | O_CLOEXEC);
    bool is_held = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0) {
        close(fd);
    }
    return !is_held ||
           error_set(err, ERROR_UNAVAILABLE, "another process (%ld) has it open", (long)lock.l_pid);
}

static bool check_opened(struct store_folder *f, const char *path, uint64_t table_bytes_max,
                         struct error *err)
{
    if (f->state == FOLDER_NEW) {
        return true;
    }
    if (f->state == FOLDER_DAMAGED) {
        return error_set(err, ERROR_CORRUPT, "%s", f->why);
    }
    bool is_suspect = faccessat(f->fd, suspect_name, F_OK, 0) == 0;
    bool fine = (f->manifest_report.state == LOG_WHOLE ||
                 cut(f->fd, f->manifest_name, f->manifest_report.at, err)) &&
                check_logs(f, err) &&
                check_tables(f, path, is_suspect ? UINT64_MAX : table_bytes_max, err);
    return fine && (!is_suspect || file_remove(f->fd, suspect_name, err));
}

bool store_check(const char *path, uint64_t table_bytes_max, struct error *err)
{
    struct store_folder folder;
    if (!store_folder_open(path, &folder, err)) {
        return error_add_context(err, "%s", path);
    }
    bool fine = is_free(&folder, err) && check_opened(&folder, path, table_bytes_max, err);
    store_folder_close(&folder);
    return fine || error_add_context(err, "%s", path);
}

void store_check_suspect(const char *path)
{
    char full[PATH_BYTES];
    snprintf(full, sizeof full, "%s/%s", path, suspect_name);
    int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
    }
}
