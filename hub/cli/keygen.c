/* tributary keygen: the secrets of a new hub. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hub/cli/commands.h"
#include "hub/cli/files.h"
#include "shared/seal.h"

enum { PATH_BYTES_MAX = 4096, HEX_BYTES = 2 * SEAL_KEY_BYTES + 1 };

enum key_file { KEY_FILE_SECRET, KEY_FILE_PUBLIC, KEY_FILE_TOKEN, KEY_FILES };

static const struct {
    const char *name;
    mode_t mode;
} key_files[KEY_FILES] = {
    [KEY_FILE_SECRET] = {"hub.key", 0600},
    [KEY_FILE_PUBLIC] = {"hub.pub", 0644},
    [KEY_FILE_TOKEN] = {"admin.token", 0600},
};

/* In guarded memory. */
struct keys {
    uint8_t bytes[KEY_FILES][SEAL_KEY_BYTES];
    char hex[HEX_BYTES + 1]; /* with the end of the line */
};

static bool path_of(const char *dir, enum key_file file, char ret[PATH_BYTES_MAX],
                    struct error *err)
{
    int len = snprintf(ret, PATH_BYTES_MAX, "%s/%s", dir, key_files[file].name);
    return (len > 0 && len < PATH_BYTES_MAX) ||
           error_set(err, ERROR_INVALID, "the path of the folder is too long");
}

/* All or none: those already made go when a later one fails. */
static bool write_keys(const char *dir, struct keys *keys, struct error *err)
{
    char path[PATH_BYTES_MAX];
    for (enum key_file i = 0; i < KEY_FILES; i++) {
        sodium_bin2hex(keys->hex, HEX_BYTES, keys->bytes[i], SEAL_KEY_BYTES);
        keys->hex[HEX_BYTES - 1] = '\n';
        if (path_of(dir, i, path, err) &&
            file_create(path, key_files[i].mode, slice_make(keys->hex, HEX_BYTES), err)) {
            continue;
        }
        while (i-- > 0) {
            struct error ignored;
            if (path_of(dir, i, path, &ignored)) {
                unlink(path);
            }
        }
        return false;
    }
    return true;
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    const char *dir;
    (void)cli;
    if (!cli_read_arguments(argc, argv, NULL, 0, &dir, 1, 1, err)) {
        return CLI_MISUSED;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        error_set(err, ERROR_UNAVAILABLE, "cannot make the folder %s: %s", dir, strerror(errno));
        return CLI_FAILED;
    }
    struct keys *keys = sodium_malloc(sizeof *keys);
    ensure(keys != NULL);
    crypto_box_keypair(keys->bytes[KEY_FILE_PUBLIC], keys->bytes[KEY_FILE_SECRET]);
    randombytes_buf(keys->bytes[KEY_FILE_TOKEN], SEAL_KEY_BYTES);
    bool written = write_keys(dir, keys, err);
    sodium_free(keys);
    if (!written) {
        return CLI_FAILED;
    }
    printf("%s/hub.key      the hub's secret key: back it up; without it no event can be opened\n"
           "%s/hub.pub      its public key\n"
           "%s/admin.token  the token of the first administrator\n",
           dir, dir, dir);
    return CLI_DONE;
}

const struct cli_command command_keygen = {
    .name = "keygen",
    .usage = "DIR",
    .sentence = "make the keys of a new hub",
    .help = "Writes into the folder DIR, which is made where it is missing:\n"
            "  hub.key      the hub's X25519 secret key, for tributary-hub --key_file\n"
            "  hub.pub      its public key\n"
            "  admin.token  a token for everything, for tributary-hub --admin_token_file and for\n"
            "               this command's --token_file\n"
            "Files that exist are never overwritten. Keep a copy of hub.key in a safe place: what\n"
            "collectors hold is sealed to it.\n",
    .run = run,
};
