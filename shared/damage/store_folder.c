#include "shared/damage/store_folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "shared/file.h"

static const char manifest_prefix[] = "MANIFEST-";

void store_folder_log_name(uint64_t number, char ret[FOLDER_NAME_BYTES])
{
    snprintf(ret, FOLDER_NAME_BYTES, "%06llu.log", (unsigned long long)number);
}

void store_folder_table_name(const struct store_folder *f, uint64_t number,
                             char ret[FOLDER_NAME_BYTES])
{
    snprintf(ret, FOLDER_NAME_BYTES, "%06llu.ldb", (unsigned long long)number);
    if (faccessat(f->fd, ret, F_OK, 0) != 0) {
        char old[FOLDER_NAME_BYTES];
        snprintf(old, sizeof old, "%06llu.sst", (unsigned long long)number);
        if (faccessat(f->fd, old, F_OK, 0) == 0) {
            memcpy(ret, old, sizeof old);
        }
    }
}

/* "000012.log": its number, and where its ending begins. */
static const char *read_name(const char *name, uint64_t *ret_number)
{
    char *end;
    if (!isdigit((unsigned char)name[0])) {
        return NULL;
    }
    *ret_number = strtoull(name, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

bool store_folder_each(int fd, bool (*each)(void *user, uint64_t number, const char *ending),
                       void *user, struct error *err)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;
    bool more = true;
    if (dir == NULL) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot list the store's folder: %s",
                         strerror(errno));
    }
    while (more && (entry = readdir(dir)) != NULL) {
        uint64_t number;
        const char *ending = read_name(entry->d_name, &number);
        more = ending == NULL || each(user, number, ending);
    }
    closedir(dir);
    return true;
}

bool store_folder_load(const struct store_folder *f, const char *name, struct buf *ret,
                       struct error *err)
{
    bool found;
    return file_load(f->fd, name, ret, &found, err);
}

static void set_damaged(struct store_folder *f, const char *why)
{
    f->state = FOLDER_DAMAGED;
    snprintf(f->why, sizeof f->why, "%s", why);
}

/* ---- The logs ---- */

static bool is_read_again(const struct manifest *m, uint64_t number)
{
    return number >= m->log_number || (number == m->prev_log_number && number != 0);
}

static bool add_log(void *user, uint64_t number, const char *ending)
{
    struct store_folder *f = user;
    if (strcmp(ending, "log") == 0 && is_read_again(&f->manifest, number)) {
        f->logs = memory_resize(f->logs, (f->log_count + 1) * sizeof *f->logs);
        f->logs[f->log_count++] = number;
    }
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool find_logs(struct store_folder *f, struct error *err)
{
    if (!store_folder_each(f->fd, add_log, f, err)) {
        return false;
    }
    if (f->log_count > 1) {
        qsort(f->logs, f->log_count, sizeof *f->logs, compare_numbers);
    }
    return true;
}

/* ---- The MANIFEST ---- */

struct applying {
    struct manifest *manifest;
    bool fine;
};

static void apply(void *user, struct slice record, size_t at)
{
    struct applying *a = user;
    (void)at;
    a->fine = a->fine && manifest_apply(a->manifest, record);
}

static void describe_damage(struct store_folder *f)
{
    const struct log_report *r = &f->manifest_report;
    char why[sizeof f->why];
    snprintf(why, sizeof why,
             "%s is damaged at byte %zu: %llu bytes in it cannot be read, %llu entries after them "
             "can",
             f->manifest_name, r->at, (unsigned long long)r->damaged_bytes,
             (unsigned long long)r->records_after);
    set_damaged(f, why);
}

static bool read_manifest(struct store_folder *f, struct error *err)
{
    struct applying applying = {&f->manifest, true};
    struct log_options options = {.syncs_each = true, .record = apply, .user = &applying};
    char why[sizeof f->why];
    if (!store_folder_load(f, f->manifest_name, &f->manifest_bytes, err)) {
        return false;
    }
    log_check(f->manifest_bytes.data, f->manifest_bytes.len, &options, &f->manifest_report);
    f->state = FOLDER_READ;
    if (f->manifest_report.state == LOG_DAMAGED) {
        describe_damage(f);
    } else if (f->manifest_report.records == 0 || !applying.fine) {
        snprintf(why, sizeof why, "%s is missing, or not what LevelDB writes", f->manifest_name);
        set_damaged(f, why);
    }
    return true;
}

static bool notes_data(void *user, uint64_t number, const char *ending)
{
    bool *has_data = user;
    (void)number;
    *has_data = *has_data || strcmp(ending, "ldb") == 0 || strcmp(ending, "log") == 0 ||
                strcmp(ending, "sst") == 0;
    return true;
}

/* "MANIFEST-000004\n", whose number has digits alone. */
static bool is_manifest_name(struct slice text)
{
    size_t prefix = strlen(manifest_prefix);
    bool fine = text.len > prefix + 1 && text.len <= FOLDER_NAME_BYTES &&
                memcmp(text.data, manifest_prefix, prefix) == 0 && text.data[text.len - 1] == '\n';
    for (size_t i = prefix; fine && i < text.len - 1; i++) {
        fine = isdigit(text.data[i]) != 0;
    }
    return fine;
}

/* Without CURRENT LevelDB would begin anew, and delete what is there. */
static bool read_current(struct store_folder *f, struct error *err)
{
    struct buf text;
    bool found;
    bool has_data = false;
    buf_init(&text, 4096);
    bool fine = file_load(f->fd, "CURRENT", &text, &found, err) &&
                (found || store_folder_each(f->fd, notes_data, &has_data, err));
    if (fine && !found && has_data) {
        set_damaged(f, "CURRENT is missing, though there are tables or logs");
    } else if (fine && found && is_manifest_name(buf_slice(&text))) {
        memcpy(f->manifest_name, text.data, text.len - 1);
        fine = read_manifest(f, err);
    } else if (fine && found) {
        set_damaged(f, "CURRENT does not name a MANIFEST");
    }
    buf_done(&text);
    return fine;
}

bool store_folder_open(const char *path, struct store_folder *ret, struct error *err)
{
    *ret = (struct store_folder){.state = FOLDER_NEW};
    manifest_init(&ret->manifest);
    buf_init(&ret->manifest_bytes, FOLDER_BYTES_MAX);
    ret->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->fd < 0) {
        return errno == ENOENT ||
               error_set(err, ERROR_UNAVAILABLE, "cannot open the store: %s", strerror(errno));
    }
    if (read_current(ret, err) && (ret->state == FOLDER_NEW || find_logs(ret, err))) {
        return true;
    }
    store_folder_close(ret);
    return false;
}

void store_folder_close(struct store_folder *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = -1;
    buf_done(&f->manifest_bytes);
    manifest_done(&f->manifest);
    free(f->logs);
    f->logs = NULL;
    f->log_count = 0;
}
