/* tributary segment: list, show and define segments, and list their members. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "hub/cli/files.h"
#include "hub/cli/render.h"
#include "shared/json.h"
#include "shared/limits.h"

enum {
    PATH_BYTES_MAX = 2048,
    PAGE = 500,
    FILE_BYTES_MAX = LIMIT_SEGMENTS * LIMIT_SEGMENT_JSON_BYTES
};

static bool key_path(const char *key, struct buf *path, struct error *err)
{
    size_t len = strlen(key);
    if (len == 0 || len > LIMIT_NAME_BYTES) {
        return error_set(err, ERROR_INVALID, "a segment's key has 1 to %d bytes", LIMIT_NAME_BYTES);
    }
    client_put_path(path, "/v1/segments/", slice_make(key, len));
    return true;
}

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

static bool list(struct client *client, struct client_reply *reply, struct error *err)
{
    static const char *const heads[] = {"KEY", ">MEMBERS", "STATUS", "NAME"};
    if (!client_get(client, "/v1/segments", reply, err)) {
        return false;
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
    bool got = key_path(key, &path, err) && client_get(client, (const char *)path.data, reply, err);
    if (got && as_json) {
        fwrite(reply->body.data, 1, reply->body.len, stdout);
        fputc('\n', stdout);
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
    bool got = key_path(key, &path, err);
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

/* A definition out of the file. */
struct definition {
    struct slice key;
    const msgpack_object *members;
    bool is_applied;
};

static bool set_definition(struct definition *definition, const struct slice *key,
                           const msgpack_object *members, struct error *err)
{
    *definition = (struct definition){.members = members};
    if (key != NULL) {
        definition->key = *key;
    } else if (!value_text(value_member_c(members, "key"), &definition->key)) {
        return error_set(err, ERROR_INVALID, "it has no \"key\"");
    }
    if (value_member_c(members, "where") == NULL) {
        return error_set(err, ERROR_INVALID, "it has no \"where\"");
    }
    return (definition->key.len > 0 && definition->key.len <= LIMIT_NAME_BYTES) ||
           error_set(err, ERROR_INVALID, "its key must have 1 to %d bytes", LIMIT_NAME_BYTES);
}

/* One definition, a list of them, or an object of them by key. */
static bool read_definitions(const msgpack_object *json, struct definition **ret, size_t *ret_count,
                             struct error *err)
{
    bool is_list = json->type == MSGPACK_OBJECT_ARRAY;
    bool is_map = json->type == MSGPACK_OBJECT_MAP;
    bool is_one = is_map && value_member_c(json, "where") != NULL;
    *ret_count = is_one ? 1 : is_list ? json->via.array.size : is_map ? json->via.map.size : 0;
    *ret = memory_allocate_zeroed(*ret_count * sizeof **ret);
    if (*ret_count == 0) {
        return error_set(err, ERROR_INVALID, "no definition of a segment is in it");
    }
    for (size_t i = 0; i < *ret_count; i++) {
        struct definition *definition = &(*ret)[i];
        struct slice key;
        bool fine;
        if (is_one || is_list) {
            fine = set_definition(definition, NULL, is_one ? json : &json->via.array.ptr[i], err);
        } else {
            fine = value_text(&json->via.map.ptr[i].key, &key) &&
                   set_definition(definition, &key, &json->via.map.ptr[i].val, err);
        }
        if (!fine) {
            return error_add_context(err, "definition %zu", i + 1);
        }
    }
    return true;
}

/* PUT it without its key, which the path says. */
static bool put_definition(struct client *client, const struct definition *definition,
                           struct client_reply *reply, struct error *err)
{
    struct json_writer w;
    struct buf path;
    struct buf body;
    buf_init(&path, PATH_BYTES_MAX);
    buf_init(&body, FILE_BYTES_MAX * 2);
    client_put_path(&path, "/v1/segments/", definition->key);
    json_writer_init(&w, &body);
    json_open_object(&w);
    for (uint32_t i = 0; i < definition->members->via.map.size; i++) {
        const msgpack_object_kv *kv = &definition->members->via.map.ptr[i];
        struct slice name;
        if (value_text(&kv->key, &name) && !slice_is(name, "key")) {
            json_key_slice(&w, name);
            json_value(&w, &kv->val);
        }
    }
    json_close_object(&w);
    bool put =
        client_request(client, "PUT", (const char *)path.data, buf_slice(&body), reply, err) &&
        client_check(reply, err);
    buf_done(&path);
    buf_done(&body);
    return put || error_add_context(err, "segment %.*s", SLICE_ARGS(definition->key));
}

/* A segment may use another that comes later in the file, so what is refused is tried again as
 * long as others succeed. */
static bool apply_all(struct client *client, struct definition *definitions, size_t count,
                      struct client_reply *reply, struct error *err)
{
    size_t applied = 0;
    size_t before;
    do {
        before = applied;
        for (size_t i = 0; i < count; i++) {
            if (definitions[i].is_applied) {
                continue;
            }
            if (put_definition(client, &definitions[i], reply, err)) {
                definitions[i].is_applied = true;
                applied++;
                render_print(stdout, definitions[i].key);
                printf(" %s\n", reply->status == 201 ? "created" : "applied");
            } else if (err->kind != ERROR_INVALID) {
                return false;
            }
        }
    } while (applied < count && applied > before);
    return applied == count;
}

static bool apply(struct client *client, const char *path, struct client_reply *reply,
                  struct error *err)
{
    struct buf text;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object json;
    struct definition *definitions = NULL;
    size_t count = 0;
    buf_init(&text, FILE_BYTES_MAX);
    buf_init(&bytes, FILE_BYTES_MAX * 2);
    bool applied = msgpack_zone_init(&zone, 8192);
    ensure(applied);
    applied = file_read(path, &text, err);
    if (applied && (!json_read_value(buf_slice(&text), &bytes, &zone, &json, err) ||
                    !read_definitions(&json, &definitions, &count, err))) {
        applied = error_add_context(err, "%s", path);
    }
    applied = applied && apply_all(client, definitions, count, reply, err);
    free(definitions);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    buf_done(&text);
    return applied;
}

/* What the arguments ask for. */
struct request {
    const char *verb;
    const char *what; /* key or file; NULL for list */
    int64_t limit;
    bool as_json;
};

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
    bool is_list = strcmp(ret->verb, "list") == 0;
    bool is_show = strcmp(ret->verb, "show") == 0;
    bool is_members = strcmp(ret->verb, "members") == 0;
    if (!is_list && !is_show && !is_members && strcmp(ret->verb, "apply") != 0) {
        return error_set(err, ERROR_INVALID, "segments have no \"%s\"", ret->verb);
    }
    if (is_list != (ret->what == NULL)) {
        return error_set(err, ERROR_INVALID, "segment %s takes %s", ret->verb,
                         is_list                 ? "nothing more"
                         : is_show || is_members ? "a KEY"
                                                 : "a FILE");
    }
    return ((limit == NULL || is_members) && (!ret->as_json || is_show)) ||
           error_set(err, ERROR_INVALID, "segment %s does not take this option", ret->verb);
}

static bool carry_out(struct client *client, const struct request *request, struct error *err)
{
    struct client_reply reply;
    bool done;
    client_reply_init(&reply);
    if (strcmp(request->verb, "list") == 0) {
        done = list(client, &reply, err);
    } else if (strcmp(request->verb, "show") == 0) {
        done = show(client, request->what, request->as_json, &reply, err);
    } else if (strcmp(request->verb, "members") == 0) {
        done = print_members(client, request->what, request->limit, &reply, err);
    } else {
        done = apply(client, request->what, &reply, err);
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
    .usage = "list\nshow KEY [--json]\napply FILE\nmembers KEY [--limit N]",
    .sentence = "list, show and define segments, and list their members",
    .help = "  list       every segment with its size; one that is being computed says how far\n"
            "  show       one segment's definition; --json gives the hub's answer as it came\n"
            "  apply      define what is in FILE, which is JSON: one definition\n"
            "               {\"key\": \"vip\", \"name\": \"VIP\", \"where\": "
            "{\"trait\": \"orders\", \"gte\": 10}}\n"
            "             a list of such, or an object {\"vip\": {\"name\": ..., \"where\": ...}}\n"
            "  members    profile ids, each with the time since when; --limit N ends after N\n",
    .run = run,
};
