#include "collector/edge/edge_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "shared/log.h"
#include "shared/rand.h"

enum { HEX_BYTES = 2 * VAULT_SECRET_BYTES };

/* The folder too, so that the name of the file survives a power cut. */
static bool sync_folder_of(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return fine;
}

/* Under another name first: a power cut leaves no half a key, with which nothing would start. */
static bool make_key(const char *path, const uint8_t *key, struct error *err)
{
    char text[HEX_BYTES + 2];
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set(err, ERROR_INVALID,
                         "cannot make %s: %s; set edge_key_file to where the key of the edge cache "
                         "may be kept",
                         path, strerror(errno));
    }
    sodium_bin2hex(text, sizeof text, key, VAULT_SECRET_BYTES);
    text[HEX_BYTES] = '\n';
    bool fine = write(fd, text, HEX_BYTES + 1) == HEX_BYTES + 1 && fsync(fd) == 0;
    sodium_memzero(text, sizeof text);
    fine = close(fd) == 0 && fine && rename(fresh, path) == 0 && sync_folder_of(path);
    if (!fine) {
        return error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    }
    log_info("edge-key-made", "Made a key for the edge cache. file=%s", path);
    return true;
}

static bool read_key(int fd, const char *path, uint8_t *ret, struct error *err)
{
    char text[HEX_BYTES + 8];
    size_t len = 0;
    ssize_t got = read(fd, text, sizeof text);
    bool fine =
        got >= HEX_BYTES &&
        sodium_hex2bin(ret, VAULT_SECRET_BYTES, text, (size_t)got, "\r\n ", &len, NULL) == 0 &&
        len == VAULT_SECRET_BYTES;
    sodium_memzero(text, sizeof text);
    return fine || error_set(err, ERROR_INVALID,
                             "%s must hold 32 bytes in hex and nothing else; remove it to have a "
                             "new key made",
                             path);
}

bool edge_key_read(const char *path, uint8_t **ret, struct error *err)
{
    bool fine;
    uint8_t *key = sodium_malloc(VAULT_SECRET_BYTES);
    ensure(key != NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fine = read_key(fd, path, key, err);
        close(fd);
    } else if (errno == ENOENT) {
        rand_fill(&rand_secure, key, VAULT_SECRET_BYTES);
        fine = make_key(path, key, err);
    } else {
        fine = error_set(err, ERROR_INVALID, "cannot read %s: %s", path, strerror(errno));
    }
    if (!fine) {
        sodium_free(key);
        return false;
    }
    *ret = key;
    return true;
}
