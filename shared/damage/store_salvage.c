#include "shared/damage/store_salvage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shared/damage/store_check.h"
#include "shared/damage/table_check.h"
#include "shared/file.h"

enum { PATH_BYTES = 1024, TRIES = 1000 };

struct salvage {
    const char *path;
    struct store_folder folder;
    struct salvage_report *report;
};

static void say(struct salvage *s, const char *sentence)
{
    s->report->damaged_files++;
    if (s->report->say != NULL) {
        s->report->say(s->report->user, sentence);
    }
}

/* ---- Files ---- */

/* Keep the file as it is in "lost", by a second name; its first one may then be taken over. */
static bool keep(struct salvage *s, const char *name, struct error *err)
{
    char to[FOLDER_NAME_BYTES + 32];
    bool kept = mkdirat(s->folder.fd, "lost", 0700) == 0 || errno == EEXIST;
    for (int i = 0; kept && i < TRIES; i++) {
        snprintf(to, sizeof to, i == 0 ? "lost/%s" : "lost/%s.%d", name, i);
        if (linkat(s->folder.fd, name, s->folder.fd, to, 0) == 0) {
            return true;
        }
        kept = errno == EEXIST;
    }
    return error_set(err, ERROR_UNAVAILABLE, "cannot keep %s in %s/lost: %s", name, s->path,
                     strerror(errno));
}

static bool replace(struct salvage *s, const char *name, struct slice bytes, struct error *err)
{
    return keep(s, name, err) && file_replace(s->folder.fd, name, 0600, bytes, err);
}

/* ---- Logs ---- */

static void copy_record(void *user, struct slice record, size_t at)
{
    (void)at;
    log_append(user, record);
}

static uint64_t numbers_missing(const struct store_log *log, const struct store_log *later)
{
    bool is_gap = later->first > log->next && log->next != 0;
    return log->missing + (is_gap ? later->first - log->next : 0);
}

static bool write_log(struct salvage *s, const char *name, const struct store_log *log,
                      uint64_t missing, struct slice good, struct error *err)
{
    const struct log_report *r = &log->report;
    char text[256];
    char what[160];
    if (missing > 0 || r->state == LOG_DAMAGED) {
        struct store_log shown = *log;
        shown.missing = missing;
        store_check_describe_log(name, &shown, what, sizeof what);
        snprintf(text, sizeof text, "%s; %llu changes are lost", what, (unsigned long long)missing);
    } else {
        snprintf(text, sizeof text, "%s had %llu bits turned; they were turned back", name,
                 (unsigned long long)r->mended);
    }
    say(s, text);
    s->report->mended += r->mended;
    s->report->lost_changes += missing;
    s->report->lost_bytes += r->damaged_bytes;
    return replace(s, name, good, err);
}

/* `later` becomes what is known of the logs from this one on. */
static bool salvage_log(struct salvage *s, uint64_t number, struct store_log *later,
                        struct error *err)
{
    struct buf bytes;
    struct buf good;
    struct store_log log;
    char name[FOLDER_NAME_BYTES];
    struct log_options options = {
        .is_followed = later->first != 0, .mends = true, .record = copy_record, .user = &good};
    buf_init(&bytes, FOLDER_BYTES_MAX);
    buf_init(&good, FOLDER_BYTES_MAX);
    store_folder_log_name(number, name);
    bool fine = store_folder_load(&s->folder, name, &bytes, err);
    if (fine) {
        store_check_log(bytes.data, bytes.len, &options, &log);
        uint64_t missing = numbers_missing(&log, later);
        if (log.report.state == LOG_DAMAGED || log.report.mended > 0 || missing > 0) {
            fine = write_log(s, name, &log, missing, buf_slice(&good), err);
        }
        *later = log.first != 0 ? log : *later;
    }
    buf_done(&bytes);
    buf_done(&good);
    return fine;
}

static bool salvage_logs(struct salvage *s, struct error *err)
{
    struct store_log later = {0};
    bool fine = true;
    for (size_t i = s->folder.log_count; fine && i > 0; i--) {
        fine = salvage_log(s, s->folder.logs[i - 1], &later, err);
    }
    uint64_t last = s->folder.manifest.last_sequence;
    if (fine && s->folder.state == FOLDER_READ && later.first > last + 1) {
        char text[128];
        uint64_t missing = later.first - last - 1;
        snprintf(text, sizeof text, "a log is missing; %llu changes are lost",
                 (unsigned long long)missing);
        say(s, text);
        s->report->lost_changes += missing;
    }
    return fine;
}

/* ---- Tables ---- */

enum { FLIPS_MAX = 64 };

struct flips {
    size_t count;
    struct {
        uint64_t at;
        uint8_t mask;
    } flips[FLIPS_MAX];
};

static void note_flip(void *user, uint64_t at, uint8_t mask)
{
    struct flips *f = user;
    if (f->count < FLIPS_MAX) {
        f->flips[f->count].at = at;
        f->flips[f->count].mask = mask;
        f->count++;
    }
}

static bool turn_back(struct salvage *s, const char *name, const struct flips *flips,
                      struct error *err)
{
    struct buf bytes;
    char text[128];
    buf_init(&bytes, FOLDER_BYTES_MAX);
    bool fine = store_folder_load(&s->folder, name, &bytes, err);
    for (size_t i = 0; fine && i < flips->count; i++) {
        fine = flips->flips[i].at < bytes.len ||
               error_set(err, ERROR_UNAVAILABLE, "%s became shorter", name);
        if (fine) {
            bytes.data[flips->flips[i].at] ^= flips->flips[i].mask;
        }
    }
    fine = fine && replace(s, name, buf_slice(&bytes), err);
    buf_done(&bytes);
    if (fine) {
        snprintf(text, sizeof text, "%s had %zu bits turned; they were turned back", name,
                 flips->count);
        say(s, text);
        s->report->mended += flips->count;
    }
    return fine;
}

static void note_lost_blocks(struct salvage *s, const char *name, uint64_t bytes,
                             const struct table_report *r)
{
    char text[192];
    uint64_t lost = r->is_lost ? bytes : r->damaged_bytes;
    snprintf(text, sizeof text,
             "%s is damaged at byte %llu; %llu of its %llu bytes cannot be read and are left out",
             name, (unsigned long long)r->at, (unsigned long long)lost, (unsigned long long)bytes);
    say(s, text);
    s->report->lost_bytes += lost;
    s->report->needs_repair = true;
}

static bool salvage_table(struct salvage *s, const struct manifest_table *table, struct error *err)
{
    struct flips flips = {0};
    struct table_options options = {.is_whole = true, .flip = note_flip, .user = &flips};
    struct table_report report;
    char name[FOLDER_NAME_BYTES];
    char full[PATH_BYTES];
    store_folder_table_name(&s->folder, table->number, name);
    snprintf(full, sizeof full, "%s/%s", s->path, name);
    int failure = table_check(full, table->bytes, &options, &report);
    if (failure != 0) {
        return error_set(err, ERROR_UNAVAILABLE, "reading %s: %s", name, strerror(failure));
    }
    bool fine = flips.count == 0 || turn_back(s, name, &flips, err);
    if (fine && report.damaged > 0) {
        note_lost_blocks(s, name, table->bytes, &report);
        /* LevelDB's repair takes whatever is in the folder. */
        fine = keep(s, name, err) || faccessat(s->folder.fd, name, F_OK, 0) != 0;
    }
    return fine;
}

static bool salvage_tables(struct salvage *s, struct error *err)
{
    bool fine = true;
    for (size_t i = 0; fine && i < s->folder.manifest.table_count; i++) {
        fine = salvage_table(s, &s->folder.manifest.tables[i], err);
    }
    return fine;
}

/* What was merged into other tables and not deleted yet must not come back by the repair. */
static bool hide_old_table(void *user, uint64_t number, const char *ending)
{
    struct salvage *s = user;
    char name[FOLDER_NAME_BYTES];
    struct error err;
    if ((strcmp(ending, "ldb") == 0 || strcmp(ending, "sst") == 0) &&
        manifest_find(&s->folder.manifest, number) == NULL) {
        snprintf(name, sizeof name, "%06llu.%s", (unsigned long long)number, ending);
        return keep(s, name, &err) && file_remove(s->folder.fd, name, &err);
    }
    return true;
}

/* ---- The MANIFEST ---- */

/* The newest that there is; empty where there is none. */
static void find_newest_manifest(struct salvage *s, char ret[FOLDER_NAME_BYTES])
{
    uint64_t newest = 0;
    struct dirent *entry;
    int fd = openat(s->folder.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    ret[0] = '\0';
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        static const char prefix[] = "MANIFEST-";
        size_t len = strlen(entry->d_name);
        char *end = entry->d_name;
        uint64_t number = 0;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) == 0 && len < FOLDER_NAME_BYTES) {
            number = strtoull(entry->d_name + sizeof prefix - 1, &end, 10);
        }
        if (end != entry->d_name && *end == '\0' && number >= newest) {
            newest = number;
            memcpy(ret, entry->d_name, len + 1);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

/* CURRENT says too little: it is made anew. */
static bool salvage_current(struct salvage *s, struct error *err)
{
    char name[FOLDER_NAME_BYTES];
    char line[FOLDER_NAME_BYTES + 1];
    char text[256];
    if (s->folder.state != FOLDER_DAMAGED || s->folder.manifest_name[0] != 0) {
        return true;
    }
    find_newest_manifest(s, name);
    if (name[0] == 0) {
        return true;
    }
    snprintf(text, sizeof text, "%s; the newest is taken, %s", s->folder.why, name);
    say(s, text);
    snprintf(line, sizeof line, "%s\n", name);
    store_folder_close(&s->folder);
    return store_folder_open(s->path, &s->folder, err) &&
           file_replace(s->folder.fd, "CURRENT", 0600, slice_text(line), err);
}

static bool salvage_manifest(struct salvage *s, struct error *err)
{
    struct store_folder *f = &s->folder;
    struct log_options mending = {.syncs_each = true, .mends = true};
    struct log_report report;
    char text[256];
    if (f->state != FOLDER_DAMAGED) {
        return true;
    }
    log_check(f->manifest_bytes.data, f->manifest_bytes.len, &mending, &report);
    if (f->manifest_name[0] != 0 && report.records > 0 && report.state != LOG_DAMAGED &&
        report.mended > 0) {
        snprintf(text, sizeof text, "%s had %llu bits turned; they were turned back",
                 f->manifest_name, (unsigned long long)report.mended);
        say(s, text);
        s->report->mended += report.mended;
        return replace(s, f->manifest_name, buf_slice(&f->manifest_bytes), err);
    }
    snprintf(text, sizeof text, "%s; which tables there are is found out from the tables", f->why);
    say(s, text);
    s->report->needs_repair = true;
    return true;
}

/* The files themselves, where the MANIFEST does not tell. */
static bool note_table(void *user, uint64_t number, const char *ending)
{
    struct salvage *s = user;
    struct manifest *m = &s->folder.manifest;
    struct stat status;
    char name[FOLDER_NAME_BYTES];
    if (strcmp(ending, "ldb") == 0 || strcmp(ending, "sst") == 0) {
        store_folder_table_name(&s->folder, number, name);
        bool is_there = fstatat(s->folder.fd, name, &status, 0) == 0;
        manifest_add_table(m, number, is_there ? (uint64_t)status.st_size : 0);
    }
    return true;
}

/* ---- The whole ---- */

static bool open_again(struct salvage *s, struct error *err)
{
    store_folder_close(&s->folder);
    return store_folder_open(s->path, &s->folder, err);
}

static bool salvage_opened(struct salvage *s, struct error *err)
{
    if (!salvage_current(s, err) || !open_again(s, err) || !salvage_manifest(s, err)) {
        return false;
    }
    if (s->folder.state == FOLDER_DAMAGED && !s->report->needs_repair && !open_again(s, err)) {
        return false;
    }
    bool is_known = s->folder.state == FOLDER_READ;
    if (!is_known) {
        manifest_done(&s->folder.manifest);
    }
    return (is_known || store_folder_each(s->folder.fd, note_table, s, err)) &&
           salvage_logs(s, err) && salvage_tables(s, err) &&
           (!s->report->needs_repair || !is_known ||
            store_folder_each(s->folder.fd, hide_old_table, s, err));
}

bool store_salvage(const char *path, struct salvage_report *report, struct error *err)
{
    struct salvage s = {.path = path, .report = report};
    if (!store_folder_open(path, &s.folder, err)) {
        return error_add_context(err, "%s", path);
    }
    bool fine = s.folder.state == FOLDER_NEW || salvage_opened(&s, err);
    store_folder_close(&s.folder);
    return fine || error_add_context(err, "%s", path);
}
