/* tributary segment: list, show, define, try out and delete segments, and list their members. */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/apply.h"
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/json.h"
#include "shared/limits.h"

enum {
    PATH_BYTES_MAX = 2048,
    PAGE = 500,
    BODY_BYTES_MAX = 2 * LIMIT_SEGMENTS * LIMIT_SEGMENT_JSON_BYTES
};

static const struct apply_kind kind = {"segment", "/v1/segments/", "segments", "where"};

/* "live", or "computing 40%". */
static void put_status(struct buf *out, const msgpack_object *segment)
{
    struct slice status;
    double progress;
    render_value(out, value_member_c(segment, "status"));
    if (value_text(value_member_c(segment, "status"), &status) && !slice_is(status, "live") &&
        value_number(value_member_c(segment, "progress"), &progress)) {
        buf_put_format(out, " %.0f%%", progress * 100);
    }
}

static bool list(struct client *client, bool as_json, struct client_reply *reply, struct error *err)
{
    static const char *const heads[] = {"KEY", ">MEMBERS", "STATUS", "NAME"};
    if (!client_get(client, "/v1/segments", reply, err)) {
        return false;
    }
    if (as_json) {
        client_print_body(reply);
        return true;
    }
    const msgpack_object *segments = value_member_c(&reply->json, "segments");
    if (!value_is(segments, MSGPACK_OBJECT_ARRAY)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer has no \"segments\"");
    }
    if (segments->via.array.size == 0) {
        printf("No segment is defined; `tributary segment apply` does that.\n");
        return true;
    }
    struct table *table = table_new(heads, 4);
    for (uint32_t i = 0; i < segments->via.array.size; i++) {
        const msgpack_object *segment = &segments->via.array.ptr[i];
        render_value(table_cell(table), value_member_c(segment, "key"));
        render_value(table_cell(table), value_member_c(segment, "size"));
        put_status(table_cell(table), segment);
        render_value(table_cell(table), value_member_c(segment, "name"));
    }
    table_print(table, 0, stdout);
    table_free(&table);
    return true;
}

static void print_segment(const msgpack_object *segment, const char *key)
{
    static const char *const heads[] = {"", ""};
    struct buf where;
    const msgpack_object *condition = value_member_c(segment, "where");
    struct table *table = table_new(heads, 2);
    printf("Segment %s\n", key);
    table_cstr(table, "name");
    render_value(table_cell(table), value_member_c(segment, "name"));
    table_cstr(table, "members");
    render_value(table_cell(table), value_member_c(segment, "size"));
    table_cstr(table, "status");
    put_status(table_cell(table), segment);
    table_cstr(table, "shown to");
    render_audience(table_cell(table), value_member_c(segment, "edge"));
    table_print(table, 2, stdout);
    table_free(&table);
    if (condition != NULL) {
        buf_init(&where, SIZE_MAX);
        render_json(&where, condition, 2);
        printf("\nWho is in it\n  %.*s\n", SLICE_ARGS(where));
        buf_done(&where);
    }
}

static bool show(struct client *client, const char *key, bool as_json, struct client_reply *reply,
                 struct error *err)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    bool got = apply_key_path(&kind, key, &path, err) &&
               client_get(client, (const char *)path.data, reply, err);
    if (got && as_json) {
        client_print_body(reply);
    } else if (got) {
        print_segment(&reply->json, key);
    }
    buf_done(&path);
    return got;
}

static void print_member(const msgpack_object *member)
{
    struct buf line;
    buf_init(&line, SIZE_MAX);
    render_value(&line, value_member_c(member, "profileId"));
    buf_put_format(&line, "  ");
    render_value(&line, value_member_c(member, "since"));
    printf("%.*s\n", SLICE_ARGS(line));
    buf_done(&line);
}

/* Fetch up to `limit` members behind *cursor. */
static bool fetch_page(struct client *client, const char *key, int64_t limit,
                       const struct buf *cursor, struct client_reply *reply, struct error *err)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX * 4);
    bool got = apply_key_path(&kind, key, &path, err);
    if (got) {
        path.len--; /* its zero */
        buf_put_format(&path, "/members?limit=%" PRId64, limit);
        if (cursor->len > 0) {
            buf_put_format(&path, "&cursor=");
            client_put_encoded(&path, buf_slice(cursor));
        }
        buf_put_u8(&path, 0);
        got = client_get(client, (const char *)path.data, reply, err);
    }
    buf_done(&path);
    return got;
}

/* Print one page and take what *cursor must be for the next; empty behind the last. */
static bool print_page(const struct client_reply *reply, struct buf *cursor, uint32_t *ret_count,
                       struct error *err)
{
    struct slice next = {0};
    const msgpack_object *members = value_member_c(&reply->json, "members");
    if (!value_is(members, MSGPACK_OBJECT_ARRAY)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer has no \"members\"");
    }
    *ret_count = members->via.array.size;
    for (uint32_t i = 0; i < *ret_count; i++) {
        print_member(&members->via.array.ptr[i]);
    }
    value_text(value_member_c(&reply->json, "next"), &next);
    buf_clear(cursor);
    return buf_append(cursor, next.data, next.len) ||
           error_set(err, ERROR_CORRUPT, "the hub's cursor is too long");
}

static bool print_members(struct client *client, const char *key, int64_t limit,
                          struct client_reply *reply, struct error *err)
{
    struct buf cursor;
    uint32_t count = 0;
    bool got;
    buf_init(&cursor, PATH_BYTES_MAX);
    do {
        limit -= count;
        got = fetch_page(client, key, limit < PAGE ? limit : PAGE, &cursor, reply, err) &&
              print_page(reply, &cursor, &count, err);
    } while (got && cursor.len > 0 && limit > count);
    buf_done(&cursor);
    return got;
}

static void print_preview(const msgpack_object *preview)
{
    static const char *const heads[] = {"", ""};
    static const char *const rows[] = {"known", "anonymous"};
    bool is_exact = false;
    const msgpack_object *sample = value_member_c(preview, "sample");
    (void)value_bool(value_member_c(preview, "exact"), &is_exact);
    struct table *table = table_new(heads, 2);
    table_cstr(table, is_exact ? "members" : "members, about");
    render_value(table_cell(table), value_member_c(preview, "size"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        table_cstr(table, rows[i]);
        render_value(table_cell(table), value_member_c(preview, rows[i]));
    }
    table_print(table, 0, stdout);
    table_free(&table);
    if (!is_exact) {
        printf("Not all profiles were looked at: this leans on what the older ones are like.\n");
    }
    for (uint32_t i = 0; value_is(sample, MSGPACK_OBJECT_ARRAY) && i < sample->via.array.size;
         i++) {
        struct slice id = slice_text("");
        (void)value_text(&sample->via.array.ptr[i], &id);
        printf("%s", i == 0 ? "Some of them\n  " : "  ");
        render_print(stdout, id);
        printf("\n");
    }
}

/* The file holds a definition, or its condition alone. */
static bool preview(struct client *client, const char *path, bool as_json,
                    struct client_reply *reply, struct error *err)
{
    struct json_writer w;
    struct buf body;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object json;
    bool got = msgpack_zone_init(&zone, 8192);
    ensure(got);
    buf_init(&body, BODY_BYTES_MAX);
    got = apply_read_json(path, &bytes, &zone, &json, err);
    if (got) {
        const msgpack_object *where = value_member_c(&json, "where");
        bool is_definition = where != NULL && value_member_c(&json, "event") == NULL &&
                             value_member_c(&json, "type") == NULL;
        json_writer_init(&w, &body);
        json_open_object(&w);
        json_key(&w, "where");
        json_value(&w, is_definition ? where : &json);
        json_close_object(&w);
        got = client_call(client, "POST", "/v1/segments/preview", buf_slice(&body), reply, err);
    }
    if (got && as_json) {
        client_print_body(reply);
    } else if (got) {
        print_preview(&reply->json);
    }
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    buf_done(&body);
    return got;
}

/* What the arguments ask for. */
struct request {
    const char *verb;
    const char *what; /* key or file; NULL for list */
    int64_t limit;
    bool as_json;
};

/* What each verb takes. */
static const struct verb {
    const char *name;
    const char *what;
    bool takes_json;
    bool takes_limit;
} verbs[] = {
    {"list", NULL, true, false},        {"show", "a KEY", true, false},
    {"apply", "a FILE", false, false},  {"members", "a KEY", false, true},
    {"preview", "a FILE", true, false}, {"delete", "a KEY", false, false},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static bool read_request(int argc, char *const *argv, struct request *ret, struct error *err)
{
    const char *others[2] = {NULL, NULL};
    const char *limit = NULL;
    const struct cli_option options[] = {{"limit", &limit, NULL}, {"json", NULL, &ret->as_json}};
    ret->limit = INT64_MAX;
    if (!cli_read_arguments(argc, argv, options, 2, others, 1, 2, err) ||
        !cli_read_number("limit", limit, 1, INT64_MAX, &ret->limit, err)) {
        return false;
    }
    ret->verb = others[0];
    ret->what = others[1];
    const struct verb *verb = find_verb(ret->verb);
    if (verb == NULL) {
        return error_set(err, ERROR_INVALID, "segments have no \"%s\"", ret->verb);
    }
    if ((verb->what == NULL) != (ret->what == NULL)) {
        return error_set(err, ERROR_INVALID, "segment %s takes %s", ret->verb,
                         verb->what == NULL ? "nothing more" : verb->what);
    }
    return ((limit == NULL || verb->takes_limit) && (!ret->as_json || verb->takes_json)) ||
           error_set(err, ERROR_INVALID, "segment %s does not take this option", ret->verb);
}

static bool carry_out(struct client *client, const struct request *request, struct error *err)
{
    struct client_reply reply;
    bool done;
    client_reply_init(&reply);
    if (strcmp(request->verb, "list") == 0) {
        done = list(client, request->as_json, &reply, err);
    } else if (strcmp(request->verb, "show") == 0) {
        done = show(client, request->what, request->as_json, &reply, err);
    } else if (strcmp(request->verb, "members") == 0) {
        done = print_members(client, request->what, request->limit, &reply, err);
    } else if (strcmp(request->verb, "preview") == 0) {
        done = preview(client, request->what, request->as_json, &reply, err);
    } else if (strcmp(request->verb, "delete") == 0) {
        done = apply_delete(client, &kind, request->what, err);
    } else {
        done = apply_file(client, &kind, request->what, err);
    }
    client_reply_done(&reply);
    return done;
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    struct client *client;
    struct request request = {0};
    if (!read_request(argc, argv, &request, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool done = carry_out(client, &request, err);
    client_close(&client);
    return done ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_segment = {
    .name = "segment",
    .usage = "list [--json]\nshow KEY [--json]\napply FILE\npreview FILE [--json]\n"
             "members KEY [--limit N]\ndelete KEY",
    .sentence = "list, define, try out and delete segments, and list their members",
    .help =
        "  list       every segment with its size; one that is being computed says how far\n"
        "  show       one segment's definition; --json gives the hub's answer as it came\n"
        "  apply      define what is in FILE (\"-\" is standard input), which is JSON: one "
        "definition\n"
        "               {\"key\": \"vip\", \"name\": \"VIP\", \"where\": "
        "{\"trait\": \"orders\", \"gte\": 10}}\n"
        "             a list of such, an object {\"vip\": {\"name\": ..., \"where\": ...}}, or "
        "what\n"
        "             `list --json` printed\n"
        "  preview    how many would be members; FILE holds a definition or its condition alone:\n"
        "               echo '{\"event\": \"Order Completed\", \"within\": \"30d\"}' |\n"
        "                 tributary segment preview -\n"
        "  members    profile ids, each with the time since when; --limit N ends after N\n"
        "  delete     the definition; one that another segment or a collector's scope uses stays\n",
    .run = run,
};
