/* tributary suppress, unsuppress and suppressions: whose events are refused. */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "hub/cli/definitions.h"
#include "shared/json.h"
#include "shared/limits.h"

enum { IDENTIFIERS_MAX = 100, BODY_BYTES_MAX = 256 * 1024 };

static bool check_identifier(const char *argument, struct error *err)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals == argument || equals[1] == 0 ||
        strlen(argument) > LIMIT_NAME_BYTES + LIMIT_IDENTIFIER_BYTES) {
        return error_set(err, ERROR_INVALID,
                         "\"%.80s\" is no TYPE=VALUE, such as email=jane@example.com", argument);
    }
    return true;
}

static bool put_identifier(struct json_writer *w, const char *argument, struct error *err)
{
    const char *equals = strchr(argument, '=');
    if (!check_identifier(argument, err)) {
        return false;
    }
    json_open_object(w);
    json_key(w, "type");
    json_text(w, slice_make(argument, (size_t)(equals - argument)));
    json_key(w, "value");
    json_cstr(w, equals + 1);
    json_close_object(w);
    return true;
}

static bool put_body(const char *const *identifiers, const char *reason, struct buf *out,
                     struct error *err)
{
    struct json_writer w;
    bool fine = true;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, "identifiers");
    json_open_array(&w);
    for (size_t i = 0; fine && i < IDENTIFIERS_MAX && identifiers[i] != NULL; i++) {
        fine = put_identifier(&w, identifiers[i], err);
    }
    json_close_array(&w);
    if (reason != NULL) {
        json_key(&w, "reason");
        json_cstr(&w, reason);
    }
    json_close_object(&w);
    return fine;
}

static bool send_change(const struct cli *cli, const char *method, const struct buf *body,
                        int64_t *ret, struct error *err)
{
    const char *member = strcmp(method, "PUT") == 0 ? "suppressed" : "unsuppressed";
    struct client *client;
    struct client_reply reply;
    if (!client_open_hub(cli, &client, err)) {
        return false;
    }
    client_reply_init(&reply);
    bool done = client_call(client, method, "/v1/suppressions", buf_slice(body), &reply, err) &&
                (value_int(value_member_c(&reply.json, member), ret) ||
                 error_set(err, ERROR_CORRUPT, "the hub's answer has no \"%s\"", member));
    client_reply_done(&reply);
    client_close(&client);
    return done;
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, bool suppress,
                            struct error *err)
{
    const char *identifiers[IDENTIFIERS_MAX] = {0};
    const char *reason = NULL;
    const struct cli_option options[] = {{"reason", &reason, NULL}};
    struct buf body;
    int64_t changed = 0;
    buf_init(&body, BODY_BYTES_MAX);
    if (!cli_read_arguments(argc, argv, options, suppress ? 1 : 0, identifiers, 1, IDENTIFIERS_MAX,
                            err) ||
        !put_body(identifiers, reason, &body, err)) {
        buf_done(&body);
        return CLI_MISUSED;
    }
    bool done = send_change(cli, suppress ? "PUT" : "DELETE", &body, &changed, err);
    buf_done(&body);
    if (done && suppress) {
        printf("%" PRId64
               " more identifier%s suppressed: collectors and hub refuse their events.\n",
               changed, changed == 1 ? " is" : "s are");
    } else if (done) {
        printf("%" PRId64 " identifier%s no longer suppressed: new events are taken again.\n",
               changed, changed == 1 ? " is" : "s are");
    }
    return done ? CLI_DONE : CLI_FAILED;
}

static enum cli_outcome run_suppress(const struct cli *cli, int argc, char *const *argv,
                                     struct error *err)
{
    return run(cli, argc, argv, true, err);
}

static enum cli_outcome run_unsuppress(const struct cli *cli, int argc, char *const *argv,
                                       struct error *err)
{
    return run(cli, argc, argv, false, err);
}

/* ---- The list ---- */

static const struct definitions_column columns[] = {
    {"HASH", "hash", NULL, NULL}, {"SINCE", "at", NULL, NULL}, {"REASON", "reason", NULL, NULL}};
enum { COLUMNS = sizeof columns / sizeof *columns, PAGE = 500, PATH_BYTES_MAX = 4096 };

/* One page behind `cursor`; *ret_next is where the next begins, empty behind the last. */
static bool print_page(struct client *client, int64_t limit, struct buf *cursor, bool as_json,
                       uint32_t *ret_count, struct error *err)
{
    char path[256];
    struct client_reply reply;
    struct slice next = slice_text("");
    snprintf(path, sizeof path, "/v1/suppressions?limit=%" PRId64 "%s%.*s", limit,
             cursor->len > 0 ? "&cursor=" : "", SLICE_ARGS(*cursor));
    client_reply_init(&reply);
    bool got = client_get(client, path, &reply, err);
    const msgpack_object *list = got ? value_member_c(&reply.json, "suppressions") : NULL;
    if (got && !value_is(list, MSGPACK_OBJECT_ARRAY)) {
        got = error_set(err, ERROR_CORRUPT, "the hub's answer has no \"suppressions\"");
    }
    if (got) {
        *ret_count = list->via.array.size;
        if (as_json) {
            client_print_body(&reply);
        } else if (*ret_count > 0) {
            definitions_print(columns, COLUMNS, list);
        } else if (cursor->len == 0) {
            printf("Nobody is suppressed.\n");
        }
        (void)value_text(value_member_c(&reply.json, "next"), &next);
        buf_clear(cursor);
        got = buf_append(cursor, next.data, next.len) ||
              error_set(err, ERROR_CORRUPT, "the hub's cursor is too long");
    }
    client_reply_done(&reply);
    return got;
}

static bool print_list(struct client *client, int64_t limit, bool as_json, struct error *err)
{
    struct buf cursor;
    uint32_t count = 0;
    bool got;
    buf_init(&cursor, 128);
    do {
        limit -= count;
        got = print_page(client, limit < PAGE ? limit : PAGE, &cursor, as_json, &count, err);
    } while (got && cursor.len > 0 && limit > count);
    buf_done(&cursor);
    return got;
}

/* Is TYPE=VALUE on the list? */
static bool print_one(struct client *client, const char *identifier, bool as_json,
                      struct error *err)
{
    const char *equals = strchr(identifier, '=');
    struct client_reply reply;
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    client_reply_init(&reply);
    buf_put_format(&path, "/v1/suppressions?type=");
    client_put_encoded(&path, slice_make(identifier, (size_t)(equals - identifier)));
    buf_put_format(&path, "&value=");
    client_put_encoded(&path, slice_text(equals + 1));
    buf_put_u8(&path, 0);
    bool got = client_get(client, (const char *)path.data, &reply, err);
    if (got && as_json) {
        client_print_body(&reply);
    } else if (got) {
        msgpack_object list = {.type = MSGPACK_OBJECT_ARRAY, .via.array = {1, &reply.json}};
        definitions_print(columns, COLUMNS, &list);
    }
    client_reply_done(&reply);
    buf_done(&path);
    return got;
}

static enum cli_outcome run_suppressions(const struct cli *cli, int argc, char *const *argv,
                                         struct error *err)
{
    const char *identifier = NULL;
    const char *limit = NULL;
    int64_t count_max = INT64_MAX;
    bool as_json = false;
    struct client *client;
    const struct cli_option options[] = {{"limit", &limit, NULL}, {"json", NULL, &as_json}};
    if (!cli_read_arguments(argc, argv, options, 2, &identifier, 0, 1, err) ||
        !cli_read_number("limit", limit, 1, INT64_MAX, &count_max, err)) {
        return CLI_MISUSED;
    }
    if (identifier != NULL && !check_identifier(identifier, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool done = identifier != NULL ? print_one(client, identifier, as_json, err)
                                   : print_list(client, count_max, as_json, err);
    client_close(&client);
    return done ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_suppressions = {
    .name = "suppressions",
    .usage = "[--limit N] [--json]\nTYPE=VALUE [--json]",
    .sentence = "list who is suppressed, or ask for one identifier",
    .help =
        "The hub keeps keyed hashes and names nobody: the list says since when and why. To ask\n"
        "whether somebody is on it:\n"
        "  tributary suppressions email=jane@example.com\n"
        "which fails where they are not. --json prints a page of the hub's answer on each line.\n",
    .run = run_suppressions,
};

const struct cli_command command_suppress = {
    .name = "suppress",
    .usage = "TYPE=VALUE... [--reason TEXT]",
    .sentence = "refuse all events of a person from now on",
    .help = "  tributary suppress email=jane@example.com user_id=4711 --reason \"request 17\"\n\n"
            "Events with one of these identifiers are refused by every collector, and by the hub\n"
            "where a collector did not know yet. Only keyed hashes of them are kept; the reason\n"
            "is kept as it is and should name nobody. What the hub has already stays.\n",
    .run = run_suppress,
};

const struct cli_command command_unsuppress = {
    .name = "unsuppress",
    .usage = "TYPE=VALUE...",
    .sentence = "take a person's events again",
    .help = "Takes the identifiers off the suppression list. Events that were refused are lost.\n",
    .run = run_unsuppress,
};
