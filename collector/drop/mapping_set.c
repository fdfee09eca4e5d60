#include "collector/drop/mapping_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "shared/file.h"
#include "shared/log.h"

static const char ending[] = ".mapping";

enum { NAME_BYTES_MAX = 128 };

/* A file as it was when it was read; two of them differ where it changed. */
struct entry {
    char file[NAME_BYTES_MAX + sizeof ending];
    uint64_t inode;
    int64_t size;
    int64_t modified_s;
    int64_t modified_ns;
};

struct mapping_set {
    size_t entry_count;
    struct entry entries[MAPPINGS_MAX]; /* by name */
    size_t count;
    struct mapping *mappings[MAPPINGS_MAX]; /* those that could be read */
};

struct mapping_set *mapping_set_new(void)
{
    return memory_allocate_zeroed(sizeof(struct mapping_set));
}

static void clear(struct mapping_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        mapping_free(&set->mappings[i]);
    }
    set->count = 0;
}

void mapping_set_free(struct mapping_set **set)
{
    if (*set != NULL) {
        clear(*set);
        free(*set);
        *set = NULL;
    }
}

static bool is_mapping_name(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f) {
            return false; /* names go into the log */
        }
    }
    return name[0] != '.' && len > sizeof ending - 1 && len < NAME_BYTES_MAX &&
           strcmp(name + len - (sizeof ending - 1), ending) == 0;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->file, ((const struct entry *)b)->file);
}

static bool list_entries(int folder, struct entry *entries, size_t *ret_count, struct error *err)
{
    struct stat status;
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    *ret_count = 0;
    if (dir == NULL) {
        error_set(err, ERROR_UNAVAILABLE, "cannot read it: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    const struct dirent *found;
    while (*ret_count < MAPPINGS_MAX && (found = readdir(dir)) != NULL) {
        if (is_mapping_name(found->d_name) &&
            fstatat(folder, found->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
            struct entry *entry = &entries[(*ret_count)++];
            memset(entry, 0, sizeof *entry);
            memcpy(entry->file, found->d_name, strlen(found->d_name));
            entry->inode = (uint64_t)status.st_ino;
            entry->size = (int64_t)status.st_size;
            entry->modified_s = (int64_t)status.st_mtim.tv_sec;
            entry->modified_ns = (int64_t)status.st_mtim.tv_nsec;
        }
    }
    closedir(dir);
    qsort(entries, *ret_count, sizeof *entries, compare_entries);
    return true;
}

static void read_mapping(struct mapping_set *set, int folder, const char *file)
{
    struct buf text;
    struct error err;
    bool found = false;
    struct slice name = slice_make(file, strlen(file) - (sizeof ending - 1));
    buf_init(&text, MAPPING_BYTES_MAX);
    bool fine = file_load(folder, file, &text, &found, &err);
    if (fine && found) {
        fine = mapping_new(name, buf_slice(&text), &set->mappings[set->count], &err);
        set->count += fine;
    }
    if (!fine) {
        log_error_limited("drop-mapping-wrong", "%s. Its files wait until the mapping is right.",
                          err.message);
    }
    buf_done(&text);
}

bool mapping_set_refresh(struct mapping_set *set, int folder, struct error *err)
{
    struct entry *entries = memory_allocate_zeroed(sizeof set->entries);
    size_t count;
    bool fine = list_entries(folder, entries, &count, err);
    bool is_same = fine && count == set->entry_count &&
                   memcmp(entries, set->entries, count * sizeof *entries) == 0;
    if (fine && !is_same) {
        memcpy(set->entries, entries, sizeof set->entries);
        set->entry_count = count;
        clear(set);
        for (size_t i = 0; i < count; i++) {
            read_mapping(set, folder, entries[i].file);
        }
        log_info_limited("drop-mappings-read", "Mappings were read. right=%zu wrong=%zu",
                         set->count, count - set->count);
    }
    free(entries);
    return fine;
}

struct mapping *mapping_set_find(const struct mapping_set *set, const char *file)
{
    for (size_t i = 0; i < set->count; i++) {
        if (mapping_matches(set->mappings[i], file)) {
            return set->mappings[i];
        }
    }
    return NULL;
}

size_t mapping_set_count(const struct mapping_set *set)
{
    return set->count;
}
