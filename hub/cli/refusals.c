/* tributary refusals: what collectors did not take, and why. */
#include "hub/cli/refusals.h"

#include <stdio.h>
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/clock.h"

enum { PATH_BYTES_MAX = 4096 };

/* The write key; for requests that named none that is known, a dash. */
static void put_source(struct table *table, const msgpack_object *object)
{
    struct slice source;
    bool has_source = value_text(value_member_c(object, "source"), &source) && source.len > 0;
    if (has_source) {
        render_text(table_cell(table), source);
    } else {
        table_cstr(table, "-");
    }
}

static void put_optional(struct table *table, const msgpack_object *object, const char *name)
{
    const msgpack_object *value = value_member_c(object, name);
    struct buf *cell = table_cell(table);
    if (value == NULL) {
        buf_put_u8(cell, '-');
    } else {
        render_value(cell, value);
    }
}

bool refusals_print_counts(const msgpack_object *refusals, bool last_hour, int indent)
{
    static const char *const heads[] = {"COLLECTOR",  "SOURCE",       "REASON",
                                        ">LAST HOUR", ">SINCE START", ">TOTAL"};
    size_t lines = 0;
    struct table *table = table_new(heads, 6);
    for (uint32_t i = 0; i < refusals->via.array.size; i++) {
        const msgpack_object *row = &refusals->via.array.ptr[i];
        int64_t recent = 0;
        (void)value_int(value_member_c(row, "lastHour"), &recent);
        if (last_hour && recent == 0) {
            continue;
        }
        render_value(table_cell(table), value_member_c(row, "collector"));
        put_source(table, row);
        render_value(table_cell(table), value_member_c(row, "code"));
        render_value(table_cell(table), value_member_c(row, "lastHour"));
        render_value(table_cell(table), value_member_c(row, "sinceStart"));
        render_value(table_cell(table), value_member_c(row, "total"));
        lines++;
    }
    if (lines > 0) {
        table_print(table, indent, stdout);
    }
    table_free(&table);
    return lines > 0;
}

static void print_last(const msgpack_object *last)
{
    static const char *const heads[] = {">SEEN", "COLLECTOR", "SOURCE", "REASON",
                                        "FIELD", "EVENT",     "SHAPE"};
    struct table *table = table_new(heads, 7);
    for (uint32_t i = 0; i < last->via.array.size; i++) {
        const msgpack_object *refusal = &last->via.array.ptr[i];
        render_age(table_cell(table), value_member_c(refusal, "at"), clock_now_ms(&clock_real));
        render_value(table_cell(table), value_member_c(refusal, "collector"));
        put_source(table, refusal);
        render_value(table_cell(table), value_member_c(refusal, "code"));
        put_optional(table, refusal, "field");
        put_optional(table, refusal, "event");
        put_optional(table, refusal, "sample");
    }
    table_print(table, 0, stdout);
    table_free(&table);
}

static bool print_answer(struct client *client, const msgpack_object *answer, void *user,
                         struct error *err)
{
    (void)client;
    (void)user;
    const msgpack_object *refusals = value_member_c(answer, "refusals");
    const msgpack_object *last = value_member_c(answer, "last");
    if (!value_is(refusals, MSGPACK_OBJECT_ARRAY) || !value_is(last, MSGPACK_OBJECT_ARRAY)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer has no \"refusals\" and \"last\"");
    }
    if (!refusals_print_counts(refusals, false, 0)) {
        printf("No collector has reported a refusal since the hub's start.\n");
    }
    if (last->via.array.size > 0) {
        printf("\nThe last ones\n");
        print_last(last);
    }
    return true;
}

static void put_path(const char *collector, const char *source, struct buf *path)
{
    buf_put_format(path, "/v1/refusals");
    if (collector != NULL) {
        buf_put_format(path, "?collector=");
        client_put_encoded(path, slice_text(collector));
    }
    if (source != NULL) {
        buf_put_format(path, "%csource=", collector != NULL ? '&' : '?');
        client_put_encoded(path, slice_text(source));
    }
    buf_put_u8(path, 0);
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    const char *collector = NULL;
    const char *source = NULL;
    bool as_json = false;
    struct buf path;
    const struct cli_option options[] = {
        {"collector", &collector, NULL}, {"source", &source, NULL}, {"json", NULL, &as_json}};
    if (!cli_read_arguments(argc, argv, options, 3, NULL, 0, 0, err) ||
        (collector != NULL && !cli_check_collector_name(collector, err))) {
        return CLI_MISUSED;
    }
    buf_init(&path, PATH_BYTES_MAX);
    put_path(collector, source, &path);
    bool shown = client_show(cli, (const char *)path.data, as_json, print_answer, NULL, err);
    buf_done(&path);
    return shown ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_refusals = {
    .name = "refusals",
    .usage = "[--collector ID] [--source KEY] [--json]",
    .sentence = "show what collectors refused, by source and reason, and the last of each",
    .help = "Collectors report with their polls, half a minute late at most. SINCE START counts\n"
            "since the collector's start, TOTAL since the hub's. SOURCE is - where the write key\n"
            "was unknown or the request could not be read. SHAPE has types and lengths of what\n"
            "was sent, nobody's data. A collector tells the same without the hub:\n"
            "  curl -H \"Authorization: Bearer CUSTOMER_TOKEN\" http://COLLECTOR/v1/refusals\n",
    .run = run,
};
