#include "collector/drop/drop_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* What two scans in a row have seen: the list is made anew each time, and what was in the one
 * before tells since when a file is as it is. */
struct list {
    struct drop_candidate *files; /* by name */
    size_t count;
    size_t capacity;
};

struct drop_scan {
    int64_t settle_ns;
    struct list lists[2];
    unsigned current;
    size_t unmatched;
};

struct drop_scan *drop_scan_new(int64_t settle_ms)
{
    struct drop_scan *scan = memory_allocate_zeroed(sizeof *scan);
    scan->settle_ns = settle_ms * 1000000;
    return scan;
}

void drop_scan_free(struct drop_scan **scan)
{
    if (*scan != NULL) {
        free((*scan)->lists[0].files);
        free((*scan)->lists[1].files);
        free(*scan);
        *scan = NULL;
    }
}

static bool ends_in(const char *name, size_t len, const char *ending)
{
    size_t n = strlen(ending);
    return len > n && strcmp(name + len - n, ending) == 0;
}

static bool is_dropped_name(const char *name)
{
    static const char *const endings[] = {".tmp", ".part", ".mapping", ".report"};
    size_t len = strlen(name);
    bool fine = name[0] != '.' && len <= DROP_NAME_BYTES_MAX;
    for (size_t i = 0; fine && i < sizeof endings / sizeof *endings; i++) {
        fine = !ends_in(name, len, endings[i]);
    }
    for (size_t i = 0; fine && i < len; i++) {
        fine = (uint8_t)name[i] >= 0x20 && name[i] != 0x7f;
    }
    return fine;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct drop_candidate *)a)->name,
                  ((const struct drop_candidate *)b)->name);
}

static void add(struct list *list, const char *name, const struct stat *status)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->files = memory_resize(list->files, list->capacity * sizeof *list->files);
    }
    struct drop_candidate *file = &list->files[list->count++];
    *file = (struct drop_candidate){.identity = drop_identity_of(status)};
    memcpy(file->name, name, strlen(name));
}

static void read_entries(struct drop_scan *scan, DIR *dir, int folder,
                         const struct mapping_set *set, struct list *list)
{
    struct stat status;
    const struct dirent *entry;
    for (size_t i = 0; i < DROP_SCAN_ENTRIES_MAX && list->count < DROP_SCAN_FILES_MAX &&
                       (entry = readdir(dir)) != NULL;
         i++) {
        if (!is_dropped_name(entry->d_name) || entry->d_type == DT_DIR ||
            fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            S_ISDIR(status.st_mode)) {
            continue;
        }
        if (mapping_set_find(set, entry->d_name) == NULL) {
            scan->unmatched++;
        } else {
            add(list, entry->d_name, &status);
        }
    }
}

static void carry_over(struct list *list, const struct list *before, int64_t now)
{
    for (size_t i = 0; i < list->count; i++) {
        struct drop_candidate *file = &list->files[i];
        const struct drop_candidate *known =
            before->count == 0
                ? NULL
                : bsearch(file, before->files, before->count, sizeof *before->files, compare_names);
        bool is_same = known != NULL && drop_identity_equal(known->identity, file->identity);
        file->since_ns = is_same ? known->since_ns : now;
    }
}

static const struct drop_candidate *choose(const struct drop_scan *scan, const struct list *list,
                                           const char *first, int64_t now)
{
    const struct drop_candidate *best = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct drop_candidate *file = &list->files[i];
        if (now - file->since_ns < scan->settle_ns) {
            continue;
        }
        if (strcmp(file->name, first) == 0) {
            return file;
        }
        if (best == NULL || file->identity.modified_ns < best->identity.modified_ns) {
            best = file;
        }
    }
    return best;
}

bool drop_scan_next(struct drop_scan *scan, int folder, const struct mapping_set *set,
                    const char *first, int64_t monotonic_ns, const struct drop_candidate **ret,
                    struct error *err)
{
    const struct list *before = &scan->lists[scan->current];
    struct list *list = &scan->lists[1 - scan->current];
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        error_set(err, ERROR_UNAVAILABLE, "cannot read it: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    list->count = 0;
    scan->unmatched = 0;
    read_entries(scan, dir, folder, set, list);
    closedir(dir);
    if (list->count > 0) {
        qsort(list->files, list->count, sizeof *list->files, compare_names);
    }
    carry_over(list, before, monotonic_ns);
    scan->current = 1 - scan->current;
    *ret = choose(scan, list, first, monotonic_ns);
    return true;
}

size_t drop_scan_waiting(const struct drop_scan *scan)
{
    return scan->lists[scan->current].count;
}

size_t drop_scan_unmatched(const struct drop_scan *scan)
{
    return scan->unmatched;
}
