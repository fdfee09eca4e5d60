#include "hub/stores.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "hub/eventlog.h"
#include "shared/clock.h"
#include "shared/damage/store_salvage.h"
#include "shared/daemon.h"
#include "shared/log.h"

enum { PATH_BYTES = CONFIG_TEXT_BYTES + 32 };

/* Of tables, over all partitions: about a second. The scrub reads the rest. */
#define CHECK_BYTES_MAX (512ull * 1024 * 1024)

static const struct store_options log_options = {
    .write_buffer_bytes = 8 * 1024 * 1024,
    .cache_bytes = 1024 * 1024,
    .table_bytes = 32 * 1024 * 1024,
    .open_files_max = 200,
    .check_bytes_max = 128 * 1024 * 1024,
    .compress = false, /* sealed blocks do not compress */
    .maps_tables = true,
};

static struct store_options partition_options(const struct hub_settings *settings)
{
    size_t count = (size_t)settings->partitions;
    return (struct store_options){
        .write_buffer_bytes = (size_t)settings->write_buffer_bytes / count,
        .cache_bytes = 1024 * 1024,
        .table_bytes = 8 * 1024 * 1024,
        .open_files_max = 500,
        .check_bytes_max = CHECK_BYTES_MAX / count,
        .compress = true,
        .maps_tables = true,
    };
}

static void log_path(const struct hub_settings *settings, char ret[PATH_BYTES])
{
    snprintf(ret, PATH_BYTES, "%s/log", settings->data_dir);
}

static void partition_path(const struct hub_settings *settings, int64_t n, char ret[PATH_BYTES])
{
    snprintf(ret, PATH_BYTES, "%s/partition-%04d", settings->data_dir, (int)n);
}

/* ---- Salvage ---- */

static void on_salvaged(void *user, const char *sentence)
{
    log_warn("salvaged", "In %s: %s", (const char *)user, sentence);
}

static bool salvage(char *path, const struct store_options *options, struct salvage_report *sum,
                    struct error *err)
{
    struct salvage_report report = {.say = on_salvaged, .user = path};
    if (!store_leveldb_salvage(path, options, &report, err)) {
        return false;
    }
    sum->damaged_files += report.damaged_files;
    sum->mended += report.mended;
    sum->lost_changes += report.lost_changes;
    sum->lost_bytes += report.lost_bytes;
    return true;
}

static bool salvage_all(const struct hub_settings *settings, struct error *err)
{
    struct salvage_report log = {0};
    struct salvage_report partitions = {0};
    struct store_options options = partition_options(settings);
    char path[PATH_BYTES];
    log_path(settings, path);
    bool fine = salvage(path, &log_options, &log, err);
    for (int64_t i = 0; fine && i < settings->partitions; i++) {
        partition_path(settings, i, path);
        fine = salvage(path, &options, &partitions, err);
    }
    if (!fine) {
        return false;
    }
    log_info("salvage-done",
             "What could not be read is left out, and kept in the folders \"lost\". files=%llu "
             "bits_mended=%llu log_changes_lost=%llu log_bytes_lost=%llu "
             "partition_changes_lost=%llu partition_bytes_lost=%llu",
             (unsigned long long)(log.damaged_files + partitions.damaged_files),
             (unsigned long long)(log.mended + partitions.mended),
             (unsigned long long)log.lost_changes, (unsigned long long)log.lost_bytes,
             (unsigned long long)partitions.lost_changes,
             (unsigned long long)partitions.lost_bytes);
    if (partitions.lost_changes + partitions.lost_bytes > 0) {
        log_warn("partitions-incomplete",
                 "Partitions have lost something that the log still has: profiles lack it until "
                 "the hub is started once with --rebuild.");
    }
    return true;
}

/* ---- Rebuild ---- */

/* Every record from the first on, with its checksum. */
static bool check_log_is_whole(struct store *store, struct error *err)
{
    struct eventlog *log;
    struct eventlog_record record;
    struct buf bytes;
    msgpack_zone zone;
    bool found = true;
    if (!eventlog_open(store, &log, err)) {
        return false;
    }
    buf_init(&bytes, SIZE_MAX / 2);
    bool made = msgpack_zone_init(&zone, 4096);
    ensure(made);
    bool fine = true;
    for (uint64_t n = 1; fine && n < eventlog_next(log); n++) {
        msgpack_zone_clear(&zone);
        fine = eventlog_read(log, n, &bytes, &zone, &record, &found, err) &&
               (found || error_set(err, ERROR_INVALID,
                                   "--rebuild: record %llu of the log is missing; the partitions "
                                   "may have more than it does, and are left as they are",
                                   (unsigned long long)n));
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    eventlog_close(&log);
    return fine;
}

static bool put_aside(const struct hub_settings *settings, struct error *err)
{
    char path[PATH_BYTES];
    char aside[PATH_BYTES + 32];
    long long now = clock_now_ms(&clock_real) / 1000;
    for (int64_t i = 0; i < settings->partitions; i++) {
        partition_path(settings, i, path);
        snprintf(aside, sizeof aside, "%s.before-%lld", path, now);
        if (rename(path, aside) != 0 && errno != ENOENT) {
            return error_set(err, ERROR_UNAVAILABLE, "cannot put %s aside: %s", path,
                             strerror(errno));
        }
    }
    log_warn("rebuilding",
             "The partitions are made anew from the log; the old ones are in folders named "
             "\"before-%lld\". Profiles get new ids, collectors their cards again; events of "
             "people who were suppressed since are not counted again.",
             now);
    return true;
}

static bool rebuild(const struct hub_settings *settings, struct error *err)
{
    struct store *store = NULL;
    bool fine = stores_open_log(settings, &store, err) && check_log_is_whole(store, err) &&
                put_aside(settings, err);
    store_close(&store);
    return fine;
}

bool stores_prepare(const struct hub_settings *settings, struct error *err)
{
    return daemon_make_folder(settings->data_dir, err) &&
           (!settings->salvage || salvage_all(settings, err)) &&
           (!settings->rebuild || rebuild(settings, err));
}

/* ---- Opening ---- */

bool stores_open_log(const struct hub_settings *settings, struct store **ret, struct error *err)
{
    char path[PATH_BYTES];
    log_path(settings, path);
    return store_leveldb_open(path, &log_options, ret, err);
}

bool stores_open_partitions(const struct hub_settings *settings, struct store **ret,
                            struct error *err)
{
    struct store_options options = partition_options(settings);
    char path[PATH_BYTES];
    bool fine = true;
    for (int64_t i = 0; fine && i < settings->partitions; i++) {
        partition_path(settings, i, path);
        fine = store_leveldb_open(path, &options, &ret[i], err);
    }
    return fine;
}
