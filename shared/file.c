#include "shared/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 255, CHUNK_BYTES = 16 * 1024 };

static bool failed(struct error *err, const char *what, const char *name)
{
    return error_set(err, ERROR_UNAVAILABLE, "cannot %s %.150s: %s", what, name, strerror(errno));
}

static bool read_all(int fd, const char *name, struct buf *ret, struct error *err)
{
    char chunk[CHUNK_BYTES];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return failed(err, "read", name);
        }
        if (n > 0 && !buf_append(ret, chunk, (size_t)n)) {
            return error_set(err, ERROR_INVALID, "%.150s is over %zu bytes", name, ret->len_max);
        }
    }
}

bool file_load(int folder, const char *name, struct buf *ret, bool *ret_found, struct error *err)
{
    struct stat status;
    buf_clear(ret);
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *ret_found = fd >= 0;
    if (fd < 0) {
        return errno == ENOENT || failed(err, "open", name);
    }
    bool fine = fstat(fd, &status) == 0 && S_ISREG(status.st_mode)
                    ? read_all(fd, name, ret, err)
                    : error_set(err, ERROR_INVALID, "%.150s is no regular file", name);
    close(fd);
    return fine;
}

static bool write_all(int fd, struct slice contents)
{
    while (contents.len > 0) {
        ssize_t n = write(fd, contents.data, contents.len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        contents = slice_skip(contents, n < 0 ? 0 : (size_t)n);
    }
    return true;
}

bool file_replace(int folder, const char *name, mode_t mode, struct slice contents,
                  struct error *err)
{
    char temporary[NAME_BYTES_MAX + 1];
    int len = snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    if (len < 0 || (size_t)len >= sizeof temporary) {
        return error_set(err, ERROR_INVALID, "the name %.150s is too long", name);
    }
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return failed(err, "write", name);
    }
    bool fine = fchmod(fd, mode) == 0 && write_all(fd, contents) && fsync(fd) == 0;
    fine = close(fd) == 0 && fine;
    fine = fine && renameat(folder, temporary, folder, name) == 0 && fsync(folder) == 0;
    return fine || failed(err, "write", name);
}

bool file_remove(int folder, const char *name, struct error *err)
{
    bool fine = unlinkat(folder, name, 0) == 0 ? fsync(folder) == 0 : errno == ENOENT;
    return fine || failed(err, "remove", name);
}
