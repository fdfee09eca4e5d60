/* tributary suppress and unsuppress: whose events are refused. */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "shared/json.h"
#include "shared/limits.h"

enum { IDENTIFIERS_MAX = 100, BODY_BYTES_MAX = 256 * 1024 };

static bool put_identifier(struct json_writer *w, const char *argument, struct error *err)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals == argument || equals[1] == 0 ||
        strlen(argument) > LIMIT_NAME_BYTES + LIMIT_IDENTIFIER_BYTES) {
        return error_set(err, ERROR_INVALID,
                         "\"%.80s\" is no TYPE=VALUE, such as email=jane@example.com", argument);
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
