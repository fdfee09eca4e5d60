#include "hub/cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_read(const char *path, struct buf *ret, struct error *err)
{
    char chunk[16384];
    size_t n;
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");
    if (file == NULL) {
        return error_set(err, ERROR_INVALID, "cannot open %s: %s", path, strerror(errno));
    }
    bool fits = true;
    while (fits && (n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        fits = buf_append(ret, chunk, n);
    }
    bool failed = ferror(file) != 0;
    int reason = errno;
    if (!is_input) {
        fclose(file);
    }
    if (failed) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot read %s: %s", path, strerror(reason));
    }
    return fits || error_set(err, ERROR_FULL, "%s is larger than %zu bytes", path, ret->len_max);
}

bool file_reserve(const char *path, mode_t mode, int *ret_fd, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST) {
        return error_set(err, ERROR_INVALID, "%s exists already, and is left as it is", path);
    }
    if (fd < 0) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot create %s: %s", path, strerror(errno));
    }
    /* The mode is what was asked for, whatever the umask adds or takes. */
    if (fchmod(fd, mode) != 0) {
        error_set(err, ERROR_UNAVAILABLE, "cannot set the mode of %s: %s", path, strerror(errno));
        close(fd);
        unlink(path);
        return false;
    }
    *ret_fd = fd;
    return true;
}

bool file_fill(int fd, const char *path, struct slice bytes, struct error *err)
{
    bool written = true;
    while (written && bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        written = n >= 0 || errno == EINTR;
        bytes = slice_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    written = written && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && written) {
        written = false;
        reason = errno;
    }
    return written ||
           error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(reason));
}

bool file_create(const char *path, mode_t mode, struct slice bytes, struct error *err)
{
    int fd;
    if (!file_reserve(path, mode, &fd, err)) {
        return false;
    }
    if (!file_fill(fd, path, bytes, err)) {
        unlink(path);
        return false;
    }
    return true;
}
