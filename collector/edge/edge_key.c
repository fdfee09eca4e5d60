#include "collector/edge/edge_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "shared/file.h"
#include "shared/log.h"
#include "shared/rand.h"

enum { HEX_BYTES = 2 * VAULT_SECRET_BYTES };

/* The folder of a path, open, and where the name in it begins. */
static int open_folder_of(const char *path, const char **ret_name)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    *ret_name = slash == NULL ? path : slash + 1;
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool make_key(const char *path, const uint8_t *key, struct error *err)
{
    char text[HEX_BYTES + 2];
    const char *name;
    int folder = open_folder_of(path, &name);
    if (folder < 0) {
        error_set(err, ERROR_INVALID, "%s", strerror(errno));
    }
    sodium_bin2hex(text, sizeof text, key, VAULT_SECRET_BYTES);
    text[HEX_BYTES] = '\n';
    bool fine =
        folder >= 0 && file_replace(folder, name, 0600, slice_make(text, HEX_BYTES + 1), err);
    sodium_memzero(text, sizeof text);
    if (folder >= 0) {
        close(folder);
    }
    if (!fine) {
        return error_add_context(
            err, "making %s; set edge_key_file to where the key of the edge cache may be kept",
            path);
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
