/* tributary: the operator's command. */
#include <stdio.h>
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/seal.h"
#include "shared/version.h"

static const struct cli_command *const commands[] = {
    &command_status,         &command_collectors, &command_refusals,      &command_profile,
    &command_segment,        &command_source,     &command_tracking_plan, &command_trait,
    &command_identity_rules, &command_quarantine, &command_suppressions,  &command_suppress,
    &command_unsuppress,     &command_replay,     &command_keygen,        &command_enroll,
    &command_revoke,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void)
{
    printf("tributary - operates a hub and its collectors.\n\n"
           "usage: tributary [--hub URL] [--token_file FILE] COMMAND ...\n"
           "       tributary --version\n\n"
           "commands (tributary COMMAND --help tells more):\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        printf("  %-14s %s\n", commands[i]->name, commands[i]->sentence);
    }
    printf("\noptions, which stand before the command:\n"
           "  --hub URL          where the hub answers [TRIBUTARY_HUB, else "
           "http://127.0.0.1:8090]\n"
           "  --token_file FILE  the token for the hub, as `keygen` writes it to admin.token\n"
           "                     [TRIBUTARY_TOKEN holds a token, TRIBUTARY_TOKEN_FILE names its "
           "file]\n\n"
           "To begin with:\n"
           "  tributary keygen /etc/tributary\n"
           "  tributary-hub --key_file /etc/tributary/hub.key "
           "--admin_token_file /etc/tributary/admin.token ...\n"
           "  export TRIBUTARY_TOKEN_FILE=/etc/tributary/admin.token\n"
           "  tributary enroll shop --link tcp://hub.example:8091 "
           "--out collector.enrolment\n"
           "  tributary status\n\n"
           "The exit code is 0 for success, 1 for failure, 2 for wrong usage.\n");
}

/* Usage may have several lines, one for each form. */
static void print_usage(const struct cli_command *command, FILE *out)
{
    const char *line = command->usage;
    for (const char *head = "usage:"; line != NULL; head = "      ") {
        const char *end = strchr(line, '\n');
        int len = end == NULL ? (int)strlen(line) : (int)(end - line);
        fprintf(out, "%s tributary %s%s%.*s\n", head, command->name, len > 0 ? " " : "", len, line);
        line = end == NULL ? NULL : end + 1;
    }
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static bool asks_for_help(int argc, char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static enum cli_outcome complain(const struct error *err, enum cli_outcome outcome)
{
    fprintf(stderr, "tributary: ");
    render_print(stderr, slice_text(err->message));
    fputc('\n', stderr);
    return outcome;
}

static enum cli_outcome run_command(const struct cli *cli, int argc, char *const *argv)
{
    struct error err = {0};
    const struct cli_command *command = find_command(argv[0]);
    if (command == NULL) {
        error_set(&err, ERROR_INVALID, "there is no command \"%s\"; tributary --help lists them",
                  argv[0]);
        return complain(&err, CLI_MISUSED);
    }
    if (asks_for_help(argc - 1, argv + 1)) {
        printf("tributary %s - %s\n\n", command->name, command->sentence);
        print_usage(command, stdout);
        printf("\n%s", command->help);
        return CLI_DONE;
    }
    enum cli_outcome outcome = command->run(cli, argc - 1, argv + 1, &err);
    if (fflush(stdout) != 0 && outcome == CLI_DONE) {
        outcome = CLI_FAILED;
        error_set(&err, ERROR_UNAVAILABLE, "the output could not be written");
    }
    if (outcome != CLI_DONE) {
        complain(&err, outcome);
    }
    if (outcome == CLI_MISUSED) {
        print_usage(command, stderr);
    }
    return outcome;
}

int main(int argc, char **argv)
{
    struct error err;
    struct cli cli = {.hub = cli_environment("TRIBUTARY_HUB")};
    bool wants_help = argc == 1;
    bool wants_version = false;
    int used;
    const struct cli_option options[] = {
        {"hub", &cli.hub, NULL},
        {"token_file", &cli.token_file, NULL},
        {"help", NULL, &wants_help},
        {"version", NULL, &wants_version},
    };
    seal_start();
    if (!cli_read_options(argc - 1, argv + 1, options, sizeof options / sizeof *options, &used,
                          &err)) {
        return (int)complain(&err, CLI_MISUSED);
    }
    if (wants_version) {
        printf("tributary %s\n", TRIBUTARY_VERSION);
        return CLI_DONE;
    }
    cli.hub = cli.hub == NULL ? "http://127.0.0.1:8090" : cli.hub;
    if (wants_help || (used + 1 < argc && strcmp(argv[used + 1], "-h") == 0)) {
        print_help();
        return argc == 1 ? CLI_MISUSED : CLI_DONE;
    }
    if (used + 1 == argc) {
        error_set(&err, ERROR_INVALID, "a command is missing; tributary --help lists them");
        return (int)complain(&err, CLI_MISUSED);
    }
    return (int)run_command(&cli, argc - used - 1, argv + used + 1);
}
