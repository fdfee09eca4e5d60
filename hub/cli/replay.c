/* tributary replay: the events of a file to a collector. */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "hub/cli/replay_sender.h"
#include "hub/cli/replay_source.h"
#include "shared/timetext.h"

enum { RATE_MAX = 10 * 1000 * 1000, BAD_LINES_TOLD = 100 };

struct replay {
    const char *path;
    struct replay_source *source;
    struct replay_sender *sender;
    struct replay_progress progress;
    uint64_t bad_lines;
};

static void show_progress(struct replay *r)
{
    const struct replay_counts *counts = replay_sender_counts(r->sender);
    struct replay_figures figures = {
        .events = counts->accepted + counts->rejected,
        .rejected = counts->rejected,
    };
    figures.bytes = replay_source_bytes(r->source, &figures.bytes_total);
    /* A file that grows meanwhile. */
    if (figures.bytes > figures.bytes_total) {
        figures.bytes = figures.bytes_total;
    }
    replay_progress_show(&r->progress, &figures);
}

static void tell_bad_line(struct replay *r, const struct error *why)
{
    r->bad_lines++;
    if (r->bad_lines <= BAD_LINES_TOLD) {
        replay_progress_say(&r->progress, "%s:%" PRIu64 ": %s", r->path,
                            replay_source_line(r->source), why->message);
    }
    if (r->bad_lines == BAD_LINES_TOLD) {
        replay_progress_say(&r->progress, "further unreadable lines are counted only");
    }
}

static bool send_all(struct replay *r, struct error *err)
{
    for (;;) {
        struct slice event;
        switch (replay_source_next(r->source, &event, err)) {
        case REPLAY_EVENT:
            if (!replay_sender_add(r->sender, event, err)) {
                return false;
            }
            break;
        case REPLAY_BAD:
            tell_bad_line(r, err);
            break;
        case REPLAY_END:
            return replay_sender_flush(r->sender, err);
        case REPLAY_FAILED:
            return error_add_context(err, "%s:%" PRIu64, r->path, replay_source_line(r->source));
        }
        show_progress(r);
    }
}

static void put_codes(const struct replay_counts *counts, struct buf *line)
{
    for (size_t i = 0; i < REPLAY_CODES_MAX && counts->codes[i].count > 0; i++) {
        buf_put_format(line, "%s%s ", i == 0 ? " (" : ", ", counts->codes[i].code);
        render_number(line, (int64_t)counts->codes[i].count);
    }
    buf_put_format(line, "%s", counts->rejected > 0 ? ")" : "");
}

static void print_summary(const struct replay *r)
{
    const struct replay_counts *counts = replay_sender_counts(r->sender);
    uint64_t events = counts->accepted + counts->rejected;
    double seconds = replay_progress_seconds(&r->progress);
    struct buf line;
    buf_init(&line, SIZE_MAX);
    render_number(&line, (int64_t)events);
    buf_put_format(&line, " events in %.1f s (", seconds);
    render_number(&line, seconds > 0 ? (int64_t)((double)events / seconds) : 0);
    buf_put_format(&line, "/s): ");
    render_number(&line, (int64_t)counts->accepted);
    buf_put_format(&line, " accepted, ");
    render_number(&line, (int64_t)counts->rejected);
    buf_put_format(&line, " rejected");
    put_codes(counts, &line);
    buf_put_format(&line, ", ");
    render_number(&line, (int64_t)r->bad_lines);
    buf_put_format(&line, " unreadable lines");
    render_print(stdout, buf_slice(&line));
    printf("\n");
    buf_done(&line);
}

static enum cli_outcome replay(const struct replay_source_options *from,
                               const struct replay_sender_options *to, struct error *err)
{
    struct replay r = {.path = from->path};
    replay_progress_init(&r.progress);
    bool opened = replay_source_open(from, &r.source, err) &&
                  replay_sender_open(to, &r.progress, &r.sender, err);
    bool done = opened && send_all(&r, err);
    replay_progress_clear(&r.progress);
    if (opened) {
        print_summary(&r);
    }
    replay_source_close(&r.source);
    replay_sender_close(&r.sender);
    if (done && r.bad_lines > 0) {
        done = error_set(err, ERROR_INVALID, "%" PRIu64 " unreadable lines in %.150s", r.bad_lines,
                         from->path);
    }
    return done ? CLI_DONE : CLI_FAILED;
}

static bool choose_format(const char *format, const char *path, bool *ret_csv, struct error *err)
{
    size_t len = strlen(path);
    *ret_csv = format == NULL ? len > 4 && strcmp(path + len - 4, ".csv") == 0
                              : strcmp(format, "csv") == 0;
    return format == NULL || *ret_csv || strcmp(format, "ndjson") == 0 ||
           error_set(err, ERROR_INVALID, "--format takes ndjson or csv, not \"%s\"", format);
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    struct replay_source_options from = {0};
    struct replay_sender_options to = {.write_key = cli_environment("TRIBUTARY_WRITE_KEY")};
    const char *rate = NULL;
    const char *format = NULL;
    const char *give_up = "10m";
    const struct cli_option options[] = {
        {"collector", &to.collector, NULL},
        {"write_key", &to.write_key, NULL},
        {"rate", &rate, NULL},
        {"format", &format, NULL},
        {"text", &from.text_columns, NULL},
        {"give_up_after", &give_up, NULL},
    };
    (void)cli;
    if (!cli_read_arguments(argc, argv, options, sizeof options / sizeof *options, &from.path, 1, 1,
                            err) ||
        !cli_read_number("rate", rate, 1, RATE_MAX, &to.events_per_second, err) ||
        !choose_format(format, from.path, &from.is_csv, err)) {
        return CLI_MISUSED;
    }
    if (to.collector == NULL || to.write_key == NULL) {
        error_set(err, ERROR_INVALID, "--collector and --write_key are needed");
        return CLI_MISUSED;
    }
    if (!duration_parse(slice_text(give_up), &to.give_up_ms)) {
        error_set(err, ERROR_INVALID, "--give_up_after takes a duration such as 30s or 10m");
        return CLI_MISUSED;
    }
    from.salt = to.write_key;
    return replay(&from, &to, err);
}

const struct cli_command command_replay = {
    .name = "replay",
    .usage = "FILE --collector URL --write_key KEY [--rate N] [--format ndjson|csv]\n"
             "FILE.csv --collector URL --write_key KEY [--text COLUMN,...]",
    .sentence = "send the events of a file to a collector",
    .help =
        "FILE holds one event of Segment's shape on each line (NDJSON); with the ending .csv it "
        "is\n"
        "a table whose first row names each column by a dotted path, such as\n"
        "  type,event,userId,timestamp,properties.price\n"
        "- is standard input. Each event's timestamp is taken as it is.\n\n"
        "  --collector URL     such as http://127.0.0.1:8080\n"
        "  --write_key KEY     of the source that the events are from [TRIBUTARY_WRITE_KEY]\n"
        "  --rate N            events a second [as fast as it goes]\n"
        "  --format F          ndjson or csv [by the file's ending]\n"
        "  --text COLUMN,...   cells of these columns stay text; elsewhere numbers, true and "
        "false\n"
        "                      become such, save in columns without a dot, named phone, or whose\n"
        "                      name is or ends in an id. Empty cells are left out.\n"
        "  --give_up_after D   how long to try again where the collector does not answer or is\n"
        "                      full [10m]\n\n"
        "Events without a messageId are given one made of their line and content, so a replay\n"
        "that was interrupted can be started again: nothing counts twice. Exit code 1 where lines\n"
        "could not be read or sending failed; what the collector rejects is counted and printed.\n",
    .run = run,
};
