#include "shared/damage/store_scrub.h"

#include <stdio.h>
#include <time.h>
#include "shared/damage/store_check.h"
#include "shared/damage/table_check.h"

enum { PATH_BYTES = 1024, SETTLE_MS = 200, SENTENCE_BYTES = 256 };

struct scrub {
    const char *path;
    const struct scrub_listener *listener;
    bool is_damaged;
};

static void tell(struct scrub *s, const char *sentence)
{
    s->is_damaged = true;
    s->listener->found(s->listener->user, sentence);
}

static void settle(void)
{
    const struct timespec pause = {0, SETTLE_MS * 1000000L};
    nanosleep(&pause, NULL);
}

/* ---- Tables ---- */

/* Is it one of the store's still? */
static bool is_in_use(struct scrub *s, uint64_t number)
{
    struct store_folder folder;
    struct error err;
    if (!store_folder_open(s->path, &folder, &err)) {
        return false;
    }
    bool is_used = folder.state == FOLDER_READ && manifest_find(&folder.manifest, number) != NULL;
    store_folder_close(&folder);
    return is_used;
}

static bool scrub_table(struct scrub *s, const struct store_folder *f,
                        const struct manifest_table *table, struct error *err)
{
    struct table_options options = {
        .is_whole = true, .pace = s->listener->read, .user = s->listener->user};
    struct table_report report;
    char name[FOLDER_NAME_BYTES];
    char path[PATH_BYTES];
    char sentence[SENTENCE_BYTES];
    store_folder_table_name(f, table->number, name);
    snprintf(path, sizeof path, "%s/%s", s->path, name);
    int failure = table_check(path, table->bytes, &options, &report);
    if ((failure == 0 && report.damaged == 0) || !is_in_use(s, table->number)) {
        return true;
    }
    if (failure != 0) {
        return error_set(err, ERROR_UNAVAILABLE, "reading %s: %s", name, strerror(failure));
    }
    snprintf(sentence, sizeof sentence, "%s is damaged at byte %llu: %llu of its %llu bytes", name,
             (unsigned long long)report.at,
             (unsigned long long)(report.is_lost ? table->bytes : report.damaged_bytes),
             (unsigned long long)table->bytes);
    tell(s, sentence);
    return true;
}

/* ---- Logs ---- */

static bool read_log(const struct store_folder *f, const char *name, struct buf *bytes,
                     struct store_log *ret, struct error *err)
{
    struct log_options options = {0};
    if (!store_folder_load(f, name, bytes, err)) {
        return false;
    }
    store_check_log(bytes->data, bytes->len, &options, ret);
    return true;
}

/* What is being written may look like anything for a moment. */
static bool scrub_log(struct scrub *s, const struct store_folder *f, uint64_t number,
                      struct error *err)
{
    struct buf bytes;
    struct store_log log;
    struct store_log again;
    char name[FOLDER_NAME_BYTES];
    char sentence[SENTENCE_BYTES];
    buf_init(&bytes, FOLDER_BYTES_MAX);
    store_folder_log_name(number, name);
    bool fine = read_log(f, name, &bytes, &log, err);
    if (fine) {
        s->listener->read(s->listener->user, bytes.len);
    }
    if (fine && log.report.state == LOG_DAMAGED) {
        settle();
        fine = read_log(f, name, &bytes, &again, err);
        if (fine && again.report.state == LOG_DAMAGED && again.report.at == log.report.at) {
            store_check_describe_log(name, &again, sentence, sizeof sentence);
            tell(s, sentence);
        }
    }
    buf_done(&bytes);
    return fine;
}

/* ---- The whole ---- */

static bool open_settled(struct scrub *s, struct store_folder *ret, struct error *err)
{
    if (!store_folder_open(s->path, ret, err)) {
        return false;
    }
    if (ret->state != FOLDER_DAMAGED) {
        return true;
    }
    store_folder_close(ret);
    settle();
    return store_folder_open(s->path, ret, err);
}

bool store_scrub(const char *path, const struct scrub_listener *listener, struct error *err)
{
    struct scrub s = {path, listener, false};
    struct store_folder folder;
    if (!open_settled(&s, &folder, err)) {
        return false;
    }
    bool fine = true;
    if (folder.state == FOLDER_DAMAGED) {
        tell(&s, folder.why);
    }
    for (size_t i = 0; fine && i < folder.log_count; i++) {
        fine = scrub_log(&s, &folder, folder.logs[i], err);
    }
    for (size_t i = 0; fine && i < folder.manifest.table_count; i++) {
        fine = scrub_table(&s, &folder, &folder.manifest.tables[i], err);
    }
    store_folder_close(&folder);
    if (s.is_damaged) {
        store_check_suspect(path);
    }
    return fine;
}
