#include "collector/drop/drop_move.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "shared/file.h"

static const int64_t clock_set_ms = 1577836800000; /* 2020: no earlier clock can be right */

enum { NUMBERS_MAX = 100000, TARGET_BYTES = DROP_NAME_BYTES_MAX + 32 };

/* The group is told by name, not left to a setgid bit, which a service may be forbidden to set.
 * Where this process is not of the group nothing changes. */
static void give_to_group(int folder, const char *name, gid_t group)
{
    if (fchownat(folder, name, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
}

/* What is made in the drop folder is for whoever may use that: its group and its rights, whatever
 * this process's own group and umask are. A folder of ours that is closed to its group was made by
 * an earlier version. */
static void share(int folder, int inner, const char *name, bool is_new)
{
    struct stat outer_status;
    struct stat status;
    if (fstat(folder, &outer_status) != 0 || fstat(inner, &status) != 0) {
        return;
    }
    bool is_closed = status.st_uid == geteuid() && (status.st_mode & S_IRWXG) == 0;
    mode_t mode = S_IRWXU | (outer_status.st_mode & (S_IRWXG | S_IRWXO));
    if ((is_new || is_closed) && (status.st_mode & 0777) != mode) {
        give_to_group(folder, name, outer_status.st_gid);
        (void)fchmod(inner, mode);
    }
}

static int open_inner(int folder, const char *name, struct error *err)
{
    int fd = -1;
    bool is_new = mkdirat(folder, name, S_IRWXU) == 0;
    if (is_new || errno == EEXIST) {
        fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd >= 0) {
        share(folder, fd, name, is_new);
    } else {
        error_set(err, ERROR_UNAVAILABLE, "cannot make or open the folder %s in it: %s", name,
                  strerror(errno));
    }
    return fd;
}

bool drop_folders_open(const char *path, struct drop_folders *ret, struct error *err)
{
    *ret = (struct drop_folders){-1, -1, -1};
    ret->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->folder < 0) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot open it: %s", strerror(errno));
    }
    ret->done = open_inner(ret->folder, "done", err);
    ret->rejected = ret->done < 0 ? -1 : open_inner(ret->folder, "rejected", err);
    if (ret->rejected < 0) {
        drop_folders_close(ret);
        return false;
    }
    return true;
}

void drop_folders_close(struct drop_folders *folders)
{
    int *const all[] = {&folders->folder, &folders->done, &folders->rejected};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (*all[i] >= 0) {
            close(*all[i]);
        }
        *all[i] = -1;
    }
}

/* NAME, or the first NAME.2, NAME.3… that nothing has. */
static bool free_name(int folder, const char *name, char *ret, struct error *err)
{
    struct stat status;
    snprintf(ret, TARGET_BYTES, "%s", name);
    for (int number = 2; number < NUMBERS_MAX; number++) {
        if (fstatat(folder, ret, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            return errno == ENOENT || error_set(err, ERROR_UNAVAILABLE, "cannot look for %s: %s",
                                                ret, strerror(errno));
        }
        snprintf(ret, TARGET_BYTES, "%s.%d", name, number);
    }
    return error_set(err, ERROR_FULL, "there are too many files named %s", name);
}

/* Some network file systems give a file another inode when it is renamed. */
static bool has_same_contents(struct drop_identity a, struct drop_identity b)
{
    return a.size == b.size && a.modified_ns == b.modified_ns;
}

/* The identity is looked at once more behind the rename: between a look and a rename somebody
 * could put another file in its place, which would then be done with and never read. */
static bool move(const struct drop_folders *folders, int to, const char *name, const char *target,
                 struct drop_identity identity, bool *ret_moved, struct error *err)
{
    struct stat status;
    bool fine = renameat(folders->folder, name, to, target) == 0;
    *ret_moved = fine;
    if (fine && fstatat(to, target, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        !has_same_contents(drop_identity_of(&status), identity)) {
        *ret_moved = false;
        fine = renameat2(to, target, folders->folder, name, RENAME_NOREPLACE) == 0;
    }
    fine = fine && fsync(to) == 0 && fsync(folders->folder) == 0;
    return fine || errno == ENOENT ||
           error_set(err, ERROR_UNAVAILABLE, "cannot move %s: %s", name, strerror(errno));
}

bool drop_move_done(const struct drop_folders *folders, const char *name,
                    struct drop_identity identity, bool *ret_moved, struct error *err)
{
    char target[TARGET_BYTES];
    *ret_moved = false;
    return free_name(folders->done, name, target, err) &&
           move(folders, folders->done, name, target, identity, ret_moved, err);
}

bool drop_move_rejected(const struct drop_folders *folders, const char *name,
                        struct drop_identity identity, struct slice report, bool *ret_moved,
                        struct error *err)
{
    char target[TARGET_BYTES];
    char report_name[TARGET_BYTES + sizeof ".report"];
    *ret_moved = false;
    if (!free_name(folders->rejected, name, target, err)) {
        return false;
    }
    snprintf(report_name, sizeof report_name, "%s.report", target);
    struct stat status;
    bool is_known = fstat(folders->rejected, &status) == 0;
    mode_t mode = is_known ? S_IRUSR | S_IWUSR | (status.st_mode & 0066) : S_IRUSR | S_IWUSR;
    if (!file_replace(folders->rejected, report_name, mode, report, err)) {
        return false;
    }
    if (is_known) {
        give_to_group(folders->rejected, report_name, status.st_gid);
    }
    return move(folders, folders->rejected, name, target, identity, ret_moved, err);
}

/* When a file came here: a rename changes no other time of it. */
static int64_t moved_ms(const struct stat *status)
{
    return (int64_t)status->st_ctim.tv_sec * 1000;
}

unsigned drop_clean_done(const struct drop_folders *folders, int64_t keep_ms, int64_t now_ms)
{
    unsigned removed = 0;
    struct stat status;
    int fd = openat(folders->done, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (fstatat(folders->done, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            S_ISDIR(status.st_mode)) {
            continue;
        }
        if (moved_ms(&status) < clock_set_ms && now_ms > clock_set_ms) {
            /* It came while the box did not know the time: its days begin now. */
            (void)utimensat(folders->done, entry->d_name, NULL, AT_SYMLINK_NOFOLLOW);
        } else if (now_ms - moved_ms(&status) > keep_ms) {
            removed += unlinkat(folders->done, entry->d_name, 0) == 0;
        }
    }
    closedir(dir);
    return removed;
}
