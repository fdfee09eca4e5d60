#include "hub/cli/definitions.h"

#include <stdio.h>
#include "hub/cli/render.h"
#include "shared/json.h"

enum { PATH_BYTES_MAX = 2048, BODY_BYTES_MAX = 4 * 1024 * 1024, LISTED_MAX = 3 };

/* ---- Showing ---- */

/* `name_of(i)` of `count` with commas. */
static void put_names(struct buf *cell, const msgpack_object *value, uint32_t count)
{
    bool is_map = value->type == MSGPACK_OBJECT_MAP;
    for (uint32_t i = 0; i < count && i < LISTED_MAX; i++) {
        buf_put_format(cell, "%s", i == 0 ? "" : ", ");
        render_value(cell, is_map ? &value->via.map.ptr[i].key : &value->via.array.ptr[i]);
    }
    if (count > LISTED_MAX) {
        buf_put_format(cell, " +%u", count - LISTED_MAX);
    }
}

void definitions_put(struct buf *cell, const msgpack_object *value)
{
    bool flag;
    if (value_bool(value, &flag)) {
        buf_put_format(cell, "%s", flag ? "yes" : "no");
    } else if (value_is(value, MSGPACK_OBJECT_ARRAY) && value->via.array.size > 0) {
        put_names(cell, value, value->via.array.size);
    } else if (value_is(value, MSGPACK_OBJECT_MAP) && value->via.map.size > 0) {
        put_names(cell, value, value->via.map.size);
    } else if (value_is(value, MSGPACK_OBJECT_ARRAY) || value_is(value, MSGPACK_OBJECT_MAP)) {
        buf_put_u8(cell, '-');
    } else {
        render_value(cell, value);
    }
}

/* A source may call its key "id". */
static const msgpack_object *member_of(const msgpack_object *definition, const char *name)
{
    const msgpack_object *value = value_member_c(definition, name);
    return value == NULL && strcmp(name, "key") == 0 ? value_member_c(definition, "id") : value;
}

void definitions_print(const struct definitions_column *columns, size_t count,
                       const msgpack_object *list)
{
    const char *heads[DEFINITIONS_COLUMNS_MAX];
    ensure(count <= DEFINITIONS_COLUMNS_MAX);
    for (size_t i = 0; i < count; i++) {
        heads[i] = columns[i].head;
    }
    struct table *table = table_new(heads, count);
    for (uint32_t row = 0; row < list->via.array.size; row++) {
        for (size_t i = 0; i < count; i++) {
            const msgpack_object *value = member_of(&list->via.array.ptr[row], columns[i].member);
            void (*put)(struct buf *, const msgpack_object *) = columns[i].put;
            if (value == NULL && columns[i].initial != NULL) {
                table_cstr(table, columns[i].initial);
            } else {
                (put == NULL ? definitions_put : put)(table_cell(table), value);
            }
        }
    }
    table_print(table, 0, stdout);
    table_free(&table);
}

static bool is_container(const msgpack_object *value)
{
    return value->type == MSGPACK_OBJECT_MAP || value->type == MSGPACK_OBJECT_ARRAY;
}

/* Short members as a table, then the others as JSON. */
static void print_whole(const msgpack_object *definition)
{
    static const char *const heads[] = {"", ""};
    struct table *table = table_new(heads, 2);
    const msgpack_object_map *map = &definition->via.map;
    for (uint32_t i = 0; i < map->size; i++) {
        if (!is_container(&map->ptr[i].val)) {
            render_value(table_cell(table), &map->ptr[i].key);
            definitions_put(table_cell(table), &map->ptr[i].val);
        }
    }
    table_print(table, 0, stdout);
    table_free(&table);
    for (uint32_t i = 0; i < map->size; i++) {
        if (is_container(&map->ptr[i].val)) {
            struct buf text;
            buf_init(&text, SIZE_MAX);
            render_value(&text, &map->ptr[i].key);
            buf_put_format(&text, "\n  ");
            render_json(&text, &map->ptr[i].val, 2);
            printf("%.*s\n", SLICE_ARGS(text));
            buf_done(&text);
        }
    }
}

static bool print_list(const struct definitions_kind *kind, const msgpack_object *json,
                       struct error *err)
{
    const msgpack_object *list = value_member_c(json, kind->apply.list);
    if (!value_is(list, MSGPACK_OBJECT_ARRAY)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer has no \"%s\"", kind->apply.list);
    }
    if (list->via.array.size == 0) {
        printf("No %s is defined; `apply` does that, and --help shows how it looks.\n",
               kind->apply.noun);
    } else {
        definitions_print(kind->columns, kind->column_count, list);
    }
    return true;
}

/* The only one is a table of what is in its list. */
static bool print_answer(const struct definitions_kind *kind, bool is_list,
                         const msgpack_object *json, struct error *err)
{
    if (is_list || kind->single != NULL) {
        return print_list(kind, json, err);
    }
    if (json->type != MSGPACK_OBJECT_MAP) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer is no definition");
    }
    print_whole(json);
    return true;
}

/* `key` NULL: all of them. */
static bool show(const struct definitions_kind *kind, struct client *client, const char *key,
                 bool as_json, struct error *err)
{
    struct client_reply reply;
    struct buf path;
    client_reply_init(&reply);
    buf_init(&path, PATH_BYTES_MAX);
    bool shown = true;
    if (kind->single != NULL) {
        client_put_path(&path, kind->single, slice_text(""));
    } else if (key == NULL) {
        size_t len = strlen(kind->apply.prefix) - 1; /* without its last slash */
        buf_put(&path, kind->apply.prefix, len);
        buf_put_u8(&path, 0);
    } else {
        shown = apply_key_path(&kind->apply, key, &path, err);
    }
    shown = shown && client_get(client, (const char *)path.data, &reply, err);
    if (shown && as_json) {
        client_print_body(&reply);
    } else if (shown) {
        shown = print_answer(kind, key == NULL, &reply.json, err);
    }
    buf_done(&path);
    client_reply_done(&reply);
    return shown;
}

/* ---- The only one of its kind ---- */

static bool apply_single(const struct definitions_kind *kind, struct client *client,
                         const char *file, struct error *err)
{
    struct json_writer w;
    struct buf body;
    struct buf bytes;
    msgpack_zone zone;
    msgpack_object json;
    struct client_reply reply;
    bool applied = msgpack_zone_init(&zone, 8192);
    ensure(applied);
    buf_init(&body, BODY_BYTES_MAX);
    client_reply_init(&reply);
    applied = apply_read_json(file, &bytes, &zone, &json, err);
    if (applied) {
        json_writer_init(&w, &body);
        json_value(&w, &json);
        applied = client_put(client, kind->single, buf_slice(&body), &reply, err);
    }
    if (applied) {
        printf("%s applied\n", kind->apply.noun);
    }
    client_reply_done(&reply);
    msgpack_zone_destroy(&zone);
    buf_done(&bytes);
    buf_done(&body);
    return applied;
}

/* ---- Arguments ---- */

struct request {
    const char *verb;
    const char *what; /* key or file */
    bool as_json;
};

static bool is(const struct request *request, const char *verb)
{
    return strcmp(request->verb, verb) == 0;
}

static bool read_request(const struct definitions_kind *kind, int argc, char *const *argv,
                         struct request *ret, struct error *err)
{
    const char *others[2] = {NULL, NULL};
    const struct cli_option options[] = {{"json", NULL, &ret->as_json}};
    bool is_single = kind->single != NULL;
    if (!cli_read_arguments(argc, argv, options, 1, others, 1, 2, err)) {
        return false;
    }
    ret->verb = others[0];
    ret->what = others[1];
    bool takes_nothing = is(ret, is_single ? "show" : "list");
    bool takes_key = !is_single && (is(ret, "show") || is(ret, "delete"));
    if (!takes_nothing && !takes_key && !is(ret, "apply")) {
        return error_set(err, ERROR_INVALID, "there is no \"%s\" here", ret->verb);
    }
    if (takes_nothing != (ret->what == NULL)) {
        return error_set(err, ERROR_INVALID, "%s takes %s", ret->verb,
                         takes_nothing ? "nothing more"
                         : takes_key   ? "a KEY"
                                       : "a FILE");
    }
    return !ret->as_json || is(ret, "list") || is(ret, "show") ||
           error_set(err, ERROR_INVALID, "%s does not take --json", ret->verb);
}

static bool carry_out(const struct definitions_kind *kind, struct client *client,
                      const struct request *request, struct error *err)
{
    if (is(request, "apply")) {
        return kind->single != NULL ? apply_single(kind, client, request->what, err)
                                    : apply_file(client, &kind->apply, request->what, err);
    }
    if (is(request, "delete")) {
        return apply_delete(client, &kind->apply, request->what, err);
    }
    return show(kind, client, request->what, request->as_json, err);
}

enum cli_outcome definitions_run(const struct definitions_kind *kind, const struct cli *cli,
                                 int argc, char *const *argv, struct error *err)
{
    struct client *client;
    struct request request = {0};
    if (!read_request(kind, argc, argv, &request, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool done = carry_out(kind, client, &request, err);
    client_close(&client);
    return done ? CLI_DONE : CLI_FAILED;
}
