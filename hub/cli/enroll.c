/* tributary enroll: a new collector, its keys, and the file that it starts with. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "hub/cli/files.h"
#include "shared/config.h"
#include "shared/json.h"
#include "shared/seal.h"

enum { HEX_BYTES = 2 * SEAL_KEY_BYTES + 1, GATE_BYTES_MAX = 16 * 1024 * 1024 };

/* Made here; the hub learns the public key alone. In guarded memory. */
struct identity {
    uint8_t seed[crypto_sign_SEEDBYTES];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t token[SEAL_KEY_BYTES];
    char seed_hex[HEX_BYTES];
    char token_hex[HEX_BYTES];
    char public_hex[HEX_BYTES];
};

/* The two files, held open from before the hub is asked: what it then gives cannot be lost for
 * want of a place. */
struct enrolment_files {
    const char *path;
    char *gate_path;
    int fd;
    int gate_fd;
};

struct hub_answer {
    char hub_public[HEX_BYTES];
    struct buf gate_state;
};

static struct identity *make_identity(void)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    struct identity *identity = sodium_malloc(sizeof *identity);
    ensure(identity != NULL);
    randombytes_buf(identity->seed, sizeof identity->seed);
    randombytes_buf(identity->token, sizeof identity->token);
    crypto_sign_seed_keypair(public_key, identity->secret, identity->seed);
    sodium_bin2hex(identity->seed_hex, HEX_BYTES, identity->seed, sizeof identity->seed);
    sodium_bin2hex(identity->token_hex, HEX_BYTES, identity->token, sizeof identity->token);
    sodium_bin2hex(identity->public_hex, HEX_BYTES, public_key, sizeof public_key);
    return identity;
}

static bool reserve_files(const char *path, struct enrolment_files *files, struct error *err)
{
    size_t len = strlen(path);
    *files = (struct enrolment_files){.path = path, .fd = -1, .gate_fd = -1};
    files->gate_path = memory_allocate(len + sizeof ".gate");
    memcpy(files->gate_path, path, len);
    memcpy(files->gate_path + len, ".gate", sizeof ".gate");
    if (!file_reserve(path, 0600, &files->fd, err)) {
        return false;
    }
    if (!file_reserve(files->gate_path, 0600, &files->gate_fd, err)) {
        close(files->fd);
        unlink(path);
        files->fd = -1;
        return false;
    }
    return true;
}

static void drop_files(const struct enrolment_files *files)
{
    unlink(files->path);
    unlink(files->gate_path);
}

static bool read_answer(const msgpack_object *json, struct hub_answer *ret, struct error *err)
{
    struct slice key;
    struct slice state;
    uint8_t bytes[SEAL_KEY_BYTES];
    size_t len = 0;
    bool has_key = value_text(value_member_c(json, "hubPublicKey"), &key) &&
                   sodium_hex2bin(bytes, sizeof bytes, (const char *)key.data, key.len, NULL, &len,
                                  NULL) == 0 &&
                   len == sizeof bytes;
    if (!has_key || !value_text(value_member_c(json, "gateState"), &state) ||
        !buf_reserve(&ret->gate_state, state.len)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer names no hubPublicKey or gateState");
    }
    sodium_bin2hex(ret->hub_public, HEX_BYTES, bytes, sizeof bytes);
    if (state.len > 0 &&
        sodium_base642bin(ret->gate_state.data, state.len, (const char *)state.data, state.len,
                          NULL, &ret->gate_state.len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        return error_set(err, ERROR_CORRUPT, "the hub's gateState is no base64");
    }
    return true;
}

/* Where somebody else has the name, what that means and what to do. */
static bool explain_taken(const char *name, const struct client_reply *reply, struct error *err)
{
    return reply->status != 409 ||
           error_set(err, ERROR_INVALID,
                     "%s is enrolled already: its box would be locked out. Choose another name, or "
                     "say --replace",
                     name);
}

static bool register_at_hub(const struct cli *cli, const char *name, bool replaces,
                            const struct identity *identity, struct hub_answer *ret,
                            struct error *err)
{
    struct client *client;
    struct client_reply reply;
    struct json_writer w;
    struct buf body;
    char path[SEAL_COLLECTOR_ID_MAX + 32];
    if (!client_open_hub(cli, &client, err)) {
        return false;
    }
    snprintf(path, sizeof path, "/v1/collectors/%s", name);
    buf_init(&body, 1024);
    json_writer_init(&w, &body);
    json_open_object(&w);
    json_key(&w, "publicKey");
    json_cstr(&w, identity->public_hex);
    if (replaces) {
        json_key(&w, "replace");
        json_bool(&w, true);
    }
    json_close_object(&w);
    client_reply_init(&reply);
    bool registered = client_put(client, path, buf_slice(&body), &reply, err);
    registered = explain_taken(name, &reply, err) && registered;
    if (registered && !read_answer(&reply.json, ret, err)) {
        registered =
            error_add_context(err, "%s is enrolled, but nothing was written (revoke it)", name);
    }
    client_reply_done(&reply);
    client_close(&client);
    buf_done(&body);
    return registered;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool write_files(const struct enrolment_files *files, const char *name, const char *link,
                        const struct identity *identity, const struct hub_answer *answer,
                        struct error *err)
{
    struct buf text;
    buf_init(&text, 8 * 1024);
    buf_put_format(&text,
                   "# What the collector \"%s\" starts with; written by `tributary enroll`.\n"
                   "# Keep it secret: sign_seed lets its holder speak as this collector, and\n"
                   "# customer_token opens the collector's /v1/customers.\n\n",
                   name);
    buf_put_format(&text, "collector = %s\nsign_seed = %s\nhub_public = %s\n", name,
                   identity->seed_hex, answer->hub_public);
    buf_put_format(&text, "hub_link = %s\n", link);
    buf_put_format(&text, "customer_token = %s\n", identity->token_hex);
    buf_put_format(&text, "gate_state_file = %s\n", base_name(files->gate_path));
    bool gate_written =
        file_fill(files->gate_fd, files->gate_path, buf_slice(&answer->gate_state), err);
    bool written = file_fill(files->fd, files->path, buf_slice(&text), err);
    sodium_memzero(text.data, text.len);
    buf_done(&text);
    return gate_written && written;
}

/* A link is written into a file of lines and must be one that the collector can dial. */
static bool check_link(const char *link, struct error *err)
{
    const char *port = strrchr(link, ':');
    size_t len = strlen(link);
    bool is_plain = len < CONFIG_TEXT_BYTES;
    for (size_t i = 0; i < len; i++) {
        is_plain = is_plain && link[i] > ' ' && link[i] <= '~';
    }
    return (is_plain && strncmp(link, "tcp://", 6) == 0 && port > link + 6 && port[1] != 0 &&
            strspn(port + 1, "0123456789") == strlen(port + 1)) ||
           error_set(err, ERROR_INVALID, "--link takes tcp://HOST:PORT, not \"%s\"", link);
}

static bool check_arguments(const char *name, const char *link, const char *out, struct error *err)
{
    if (link == NULL || out == NULL) {
        return error_set(err, ERROR_INVALID, "--link and --out are needed");
    }
    const char *file = base_name(out);
    size_t len = strlen(file);
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)file[i] < ' ' || (i == 0 && file[i] == ' ')) {
            return error_set(err, ERROR_INVALID, "--out names a file with unusual characters");
        }
    }
    if (len == 0 || len > 200) {
        return error_set(err, ERROR_INVALID, "--out takes the name of a file, not \"%s\"", out);
    }
    return cli_check_collector_name(name, err) && check_link(link, err);
}

static bool enroll(const struct cli *cli, const char *name, const char *link, bool replaces,
                   struct enrolment_files *files, struct error *err)
{
    struct hub_answer answer = {0};
    struct identity *identity = make_identity();
    buf_init(&answer.gate_state, GATE_BYTES_MAX);
    bool enrolled = register_at_hub(cli, name, replaces, identity, &answer, err);
    if (enrolled) {
        enrolled = write_files(files, name, link, identity, &answer, err);
    } else {
        close(files->fd);
        close(files->gate_fd);
    }
    if (!enrolled) {
        drop_files(files);
    }
    buf_done(&answer.gate_state);
    sodium_free(identity);
    return enrolled;
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    const char *name;
    const char *link = NULL;
    const char *out = NULL;
    bool replaces = false;
    struct enrolment_files files;
    const struct cli_option options[] = {
        {"link", &link, NULL}, {"out", &out, NULL}, {"replace", NULL, &replaces}};
    if (!cli_read_arguments(argc, argv, options, 3, &name, 1, 1, err) ||
        !check_arguments(name, link, out, err)) {
        return CLI_MISUSED;
    }
    bool enrolled =
        reserve_files(out, &files, err) && enroll(cli, name, link, replaces, &files, err);
    if (enrolled) {
        printf("%s is enrolled. Start it with: tributary-collector --enrolment %s\n"
               "%s stays beside that file.\n",
               name, out, files.gate_path);
    }
    free(files.gate_path);
    return enrolled ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_enroll = {
    .name = "enroll",
    .usage = "NAME --link tcp://HOST:PORT --out FILE [--replace]",
    .sentence = "enrol a collector and write the file that it starts with",
    .help =
        "Makes the collector's keys, registers its public key at the hub under NAME (1 to 64 of\n"
        "a-z, 0-9, '.', '_' and '-'), and writes FILE, for tributary-collector --enrolment,\n"
        "with FILE.gate beside it: what sources there are and what each may send, so that the\n"
        "collector can work before it has ever reached the hub.\n\n"
        "  --link URL   where collectors reach the hub, as tributary-hub --link_listen has it\n"
        "  --out FILE   is written with mode 0600; a file that exists is left as it is\n"
        "  --replace    take the name of a collector that is enrolled: the box that has it is\n"
        "               refused from then on, and says so. For a box that is set up anew, or\n"
        "               whose enrolment file was lost or seen by others\n",
    .run = run,
};
