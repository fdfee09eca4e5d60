/* tributary collectors and revoke: who may deliver events, how they are, and whose cards they keep.
 */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/collectors.h"
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/clock.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/seal.h"
#include "shared/timetext.h"

static const char *const heads[] = {"COLLECTOR",    "STATE",   "VERSION",  ">LAST SEEN", ">CLOCK",
                                    ">SPOOLED",     ">BYTES",  ">LAG",     ">DROPPED",   ">GATE",
                                    ">BLOCKS SENT", ">EVENTS", ">REFUSED", "KEEPS",      "CARRIES"};
enum { COLUMNS = sizeof heads / sizeof *heads };

/* A collector that is up asks the hub for news far more often. */
enum { SILENT_MS = 2 * 60 * 1000 };

static void put_number(struct buf *cell, const msgpack_object *object)
{
    int64_t value;
    if (value_int(object, &value)) {
        render_number(cell, value);
    } else {
        buf_put_u8(cell, '-');
    }
}

static void put_bytes(struct buf *cell, const msgpack_object *object)
{
    int64_t value;
    if (value_int(object, &value) && value >= 0) {
        render_bytes(cell, (uint64_t)value);
    } else {
        buf_put_u8(cell, '-');
    }
}

static void put_version(struct buf *cell, const msgpack_object *object)
{
    struct slice version = slice_text("-");
    (void)value_text(object, &version);
    render_text(cell, version);
}

static void put_offset(struct buf *cell, const msgpack_object *object)
{
    int64_t ms;
    if (!value_int(object, &ms)) {
        buf_put_u8(cell, '-');
    } else if (ms > -10000 && ms < 10000) {
        buf_put_format(cell, "%+" PRId64 " ms", ms);
    } else {
        buf_put_format(cell, "%+" PRId64 " s", ms / 1000);
    }
}

static void put_lag(struct buf *cell, const msgpack_object *object)
{
    int64_t ms;
    if (value_int(object, &ms)) {
        render_duration(cell, ms);
    } else {
        buf_put_u8(cell, '-');
    }
}

/* Of all priorities together. */
static void put_dropped(struct buf *cell, const msgpack_object *by_lane)
{
    uint32_t count = value_is(by_lane, MSGPACK_OBJECT_MAP) ? by_lane->via.map.size : 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t events = 0;
        (void)value_int(&by_lane->via.map.ptr[i].val, &events);
        sum += events;
    }
    buf_put_format(cell, "%" PRId64, sum);
}

static const char *state_of(const msgpack_object *collector, int64_t now_ms)
{
    struct slice seen;
    int64_t seen_ms;
    const msgpack_object *revoked = value_member_c(collector, "revokedAt");
    if (revoked != NULL && revoked->type != MSGPACK_OBJECT_NIL) {
        return "revoked";
    }
    if (!value_text(value_member_c(collector, "lastSeenAt"), &seen) ||
        !time_text_parse(seen, &seen_ms)) {
        return "not seen yet";
    }
    return now_ms - seen_ms < SILENT_MS ? "live" : "silent";
}

/* Whose cards it keeps, and how far it got with them. */
static void put_scope(struct buf *cell, const msgpack_object *collector)
{
    const msgpack_object *cache = value_member_c(collector, "cache");
    struct slice status;
    double progress;
    render_value(cell, value_member_c(value_member_c(collector, "scope"), "kind"));
    if (value_text(value_member_c(cache, "status"), &status) && slice_is(status, "filling") &&
        value_number(value_member_c(cache, "progress"), &progress)) {
        buf_put_format(cell, ", filling %.0f %%", progress * 100);
    }
}

/* All, or how many sources. */
static void put_carriage(struct buf *cell, const msgpack_object *sources)
{
    uint32_t count = value_is(sources, MSGPACK_OBJECT_ARRAY) ? sources->via.array.size : 0;
    bool is_all = sources == NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct slice id;
        is_all = is_all || (value_text(&sources->via.array.ptr[i], &id) && slice_is(id, "*"));
    }
    if (is_all) {
        buf_put_format(cell, "all");
    } else {
        buf_put_format(cell, "%" PRIu32 " source%s", count, count == 1 ? "" : "s");
    }
}

static void add_collector(struct table *table, const msgpack_object *collector, int64_t now_ms)
{
    const msgpack_object *seen = value_member_c(collector, "lastSeenAt");
    render_value(table_cell(table), value_member_c(collector, "id"));
    table_cstr(table, state_of(collector, now_ms));
    put_version(table_cell(table), value_member_c(collector, "version"));
    render_age(table_cell(table), seen, now_ms);
    put_offset(table_cell(table), value_member_c(collector, "clockOffsetMs"));
    put_number(table_cell(table), value_member_c(collector, "spoolBlocks"));
    put_bytes(table_cell(table), value_member_c(collector, "spoolBytes"));
    put_lag(table_cell(table), value_member_c(collector, "lagMs"));
    put_dropped(table_cell(table), value_member_c(collector, "droppedEvents"));
    put_number(table_cell(table), value_member_c(collector, "gateVersion"));
    put_number(table_cell(table), value_member_c(collector, "blocks"));
    put_number(table_cell(table), value_member_c(collector, "events"));
    put_number(table_cell(table), value_member_c(collector, "refused"));
    put_scope(table_cell(table), collector);
    put_carriage(table_cell(table), value_member_c(collector, "sources"));
}

bool collectors_print(struct client *client, int indent, struct error *err)
{
    struct client_reply reply;
    client_reply_init(&reply);
    if (!client_get(client, "/v1/collectors", &reply, err)) {
        client_reply_done(&reply);
        return false;
    }
    const msgpack_object *list = value_member_c(&reply.json, "collectors");
    bool is_list = value_is(list, MSGPACK_OBJECT_ARRAY);
    if (is_list && list->via.array.size == 0) {
        printf("%*sNo collector is enrolled; `tributary enroll` does that.\n", indent, "");
    } else if (is_list) {
        struct table *table = table_new(heads, COLUMNS);
        for (uint32_t i = 0; i < list->via.array.size; i++) {
            add_collector(table, &list->via.array.ptr[i], clock_now_ms(&clock_real));
        }
        table_print(table, indent, stdout);
        table_free(&table);
    }
    client_reply_done(&reply);
    return is_list || error_set(err, ERROR_CORRUPT, "the hub's answer has no \"collectors\"");
}

static void write_scope(int count, char *const *arguments, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    json_key(&w, "scope");
    json_open_object(&w);
    json_key(&w, "kind");
    json_cstr(&w, arguments[0]);
    if (count > 1) {
        json_key(&w, "segments");
        json_open_array(&w);
        for (int i = 1; i < count; i++) {
            json_cstr(&w, arguments[i]);
        }
        json_close_array(&w);
    }
    json_close_object(&w);
    json_close_object(&w);
}

/* Change one member of a collector's definition, and say what that does. */
static enum cli_outcome change(const struct cli *cli, const char *name, const struct buf *body,
                               const char *what, struct error *err)
{
    char path[SEAL_COLLECTOR_ID_MAX + 32];
    struct client *client;
    struct client_reply reply;
    if (!cli_check_collector_name(name, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    snprintf(path, sizeof path, "/v1/collectors/%s", name);
    client_reply_init(&reply);
    bool done = client_request(client, "PUT", path, buf_slice(body), &reply, err) &&
                client_check(&reply, err);
    if (done) {
        printf("%s %s\n", name, what);
    }
    client_reply_done(&reply);
    client_close(&client);
    return done ? CLI_DONE : CLI_FAILED;
}

/* collectors scope NAME KIND [SEGMENT...]; the hub checks kind and segments. */
static enum cli_outcome set_scope(const struct cli *cli, int argc, char *const *argv,
                                  struct error *err)
{
    struct buf body;
    if (argc < 2 || argc > 2 + LIMIT_SEGMENTS) {
        error_set(err, ERROR_INVALID,
                  "name a collector and seen, everybody, or segments with their keys");
        return CLI_MISUSED;
    }
    buf_init(&body, 1024 * 1024);
    write_scope(argc - 1, argv + 1, &body);
    enum cli_outcome outcome = change(
        cli, argv[0], &body, "is filled anew; `tributary collectors` shows how far it is.", err);
    buf_done(&body);
    return outcome;
}

/* collectors sources NAME ID...; the hub checks the ids. */
static enum cli_outcome set_sources(const struct cli *cli, int argc, char *const *argv,
                                    struct error *err)
{
    struct json_writer w;
    struct buf body;
    if (argc < 2) {
        error_set(err, ERROR_INVALID,
                  "name a collector and the ids of its sources, or '*' for all");
        return CLI_MISUSED;
    }
    buf_init(&body, 1024 * 1024);
    json_writer_init(&w, &body);
    json_open_object(&w);
    json_key(&w, "sources");
    json_open_array(&w);
    for (int i = 1; i < argc; i++) {
        json_cstr(&w, argv[i]);
    }
    json_close_array(&w);
    json_close_object(&w);
    enum cli_outcome outcome = change(
        cli, argv[0], &body, "carries these sources; the hub takes events of no others.", err);
    buf_done(&body);
    return outcome;
}

static enum cli_outcome run_collectors(const struct cli *cli, int argc, char *const *argv,
                                       struct error *err)
{
    struct client *client;
    if (argc > 0 && strcmp(argv[0], "scope") == 0) {
        return set_scope(cli, argc - 1, argv + 1, err);
    }
    if (argc > 0 && strcmp(argv[0], "sources") == 0) {
        return set_sources(cli, argc - 1, argv + 1, err);
    }
    if (!cli_read_arguments(argc, argv, NULL, 0, NULL, 0, 0, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool printed = collectors_print(client, 0, err);
    client_close(&client);
    return printed ? CLI_DONE : CLI_FAILED;
}

static enum cli_outcome run_revoke(const struct cli *cli, int argc, char *const *argv,
                                   struct error *err)
{
    const char *name;
    char path[SEAL_COLLECTOR_ID_MAX + 32];
    struct client *client;
    struct client_reply reply;
    if (!cli_read_arguments(argc, argv, NULL, 0, &name, 1, 1, err) ||
        !cli_check_collector_name(name, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    snprintf(path, sizeof path, "/v1/collectors/%s", name);
    client_reply_init(&reply);
    bool revoked = client_request(client, "DELETE", path, slice_make(NULL, 0), &reply, err) &&
                   client_check(&reply, err);
    if (revoked) {
        printf("%s is revoked: the hub takes nothing more from it.\n", name);
    }
    client_reply_done(&reply);
    client_close(&client);
    return revoked ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_collectors = {
    .name = "collectors",
    .usage = "\nscope NAME seen|everybody\nscope NAME segments KEY...\nsources NAME ID...",
    .sentence = "list the collectors: last seen, clock, spools; whose cards they keep",
    .help =
        "STATE is silent where nothing was heard for two minutes.\n"
        "CLOCK is how far the hub's clock is ahead of the collector's; event times are corrected\n"
        "by it. SPOOLED and BYTES are blocks of events that had not reached the hub when the\n"
        "collector last spoke; LAG is how long the oldest of them had been waiting then.\n"
        "DROPPED are events that a full spool gave up to make room. GATE is\n"
        "the version of the definitions that it has. REFUSED counts blocks that the hub did not\n"
        "take; events that a collector refused are told by `tributary refusals`.\n"
        "KEEPS is whose cards its edge cache keeps: of who was seen there or looked up (seen), of\n"
        "the members of segments, or of everybody. `scope` changes that: the cache is filled "
        "anew,\n"
        "and who does not belong any more is removed from it.\n"
        "CARRIES is whose events it may send: all sources, or so many. `sources` sets their ids\n"
        "('*': all): a box that is taken over then speaks for these alone.\n",
    .run = run_collectors,
};

const struct cli_command command_revoke = {
    .name = "revoke",
    .usage = "NAME",
    .sentence = "end a collector's right to deliver",
    .help = "The hub takes nothing more from the collector NAME. What it has delivered stays.\n",
    .run = run_revoke,
};
