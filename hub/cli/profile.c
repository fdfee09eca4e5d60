/* tributary profile: one person as the hub knows them, and what they did last. */
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/clock.h"
#include "shared/json.h"
#include "shared/limits.h"

enum { EVENTS_SHOWN = 10, EVENTS_SHOWN_MAX = 1000, PATH_BYTES_MAX = 4096, DETAIL_BYTES = 100 };

struct view {
    const msgpack_object *profile;
    int64_t now_ms;
};

static const char *const no_heads_2[] = {"", ""};
static const char *const no_heads_3[] = {"", "", ""};
static const char *const no_heads_4[] = {"", "", "", ""};

static uint32_t size_of(const msgpack_object *list)
{
    return value_is(list, MSGPACK_OBJECT_ARRAY) ? list->via.array.size
           : value_is(list, MSGPACK_OBJECT_MAP) ? list->via.map.size
                                                : 0;
}

/* A section's title; false where there is nothing to list. */
static bool begin_section(const char *title, const msgpack_object *list)
{
    if (size_of(list) > 0) {
        printf("\n%s\n", title);
    }
    return size_of(list) > 0;
}

static void end_table(struct table *table)
{
    table_print(table, 2, stdout);
    table_free(&table);
}

/* "since 3d ago", from a time. */
static void put_when(struct buf *cell, const char *before, const msgpack_object *time,
                     int64_t now_ms)
{
    if (time != NULL) {
        buf_put_format(cell, "%s ", before);
        render_age(cell, time, now_ms);
    }
}

static void print_head(const struct view *v)
{
    bool is_known = false;
    struct table *table = table_new(no_heads_2, 2);
    value_bool(value_member_c(v->profile, "known"), &is_known);
    printf("Profile ");
    struct slice id;
    if (value_text(value_member_c(v->profile, "id"), &id)) {
        render_print(stdout, id);
    }
    printf("  (%s)\n", is_known ? "known" : "anonymous");
    table_cstr(table, "events");
    render_value(table_cell(table), value_member_c(v->profile, "eventCount"));
    table_cstr(table, "first seen");
    render_age(table_cell(table), value_member_c(v->profile, "createdAt"), v->now_ms);
    table_cstr(table, "last seen");
    render_age(table_cell(table), value_member_c(v->profile, "lastSeenAt"), v->now_ms);
    end_table(table);
}

static void print_identifiers(const struct view *v)
{
    const msgpack_object *list = value_member_c(v->profile, "identifiers");
    if (!begin_section("Identifiers", list)) {
        return;
    }
    struct table *table = table_new(no_heads_3, 3);
    for (uint32_t i = 0; i < size_of(list); i++) {
        const msgpack_object *item = &list->via.array.ptr[i];
        render_value(table_cell(table), value_member_c(item, "type"));
        render_value(table_cell(table), value_member_c(item, "value"));
        put_when(table_cell(table), "seen", value_member_c(item, "lastSeenAt"), v->now_ms);
    }
    end_table(table);
}

static void print_traits(const struct view *v)
{
    const msgpack_object *traits = value_member_c(v->profile, "traits");
    const msgpack_object *details = value_member_c(v->profile, "traitDetails");
    if (!begin_section("Traits", traits)) {
        return;
    }
    struct table *table = table_new(no_heads_3, 3);
    for (uint32_t i = 0; i < size_of(traits); i++) {
        const msgpack_object_kv *kv = &traits->via.map.ptr[i];
        struct slice name;
        if (!value_text(&kv->key, &name)) {
            continue;
        }
        const msgpack_object *detail = value_member(details, name);
        table_text(table, name);
        render_value(table_cell(table), &kv->val);
        struct buf *origin = table_cell(table);
        if (detail != NULL) {
            buf_put_format(origin, "from ");
            render_value(origin, value_member_c(detail, "source"));
            put_when(origin, ",", value_member_c(detail, "at"), v->now_ms);
        }
    }
    end_table(table);
}

static void print_consents(const struct view *v)
{
    const msgpack_object *consents = value_member_c(v->profile, "consents");
    if (!begin_section("Consents", consents)) {
        return;
    }
    struct table *table = table_new(no_heads_3, 3);
    for (uint32_t i = 0; i < size_of(consents); i++) {
        const msgpack_object_kv *kv = &consents->via.map.ptr[i];
        bool granted = false;
        value_bool(value_member_c(&kv->val, "granted"), &granted);
        render_value(table_cell(table), &kv->key);
        table_cstr(table, granted ? "granted" : "denied");
        struct buf *origin = table_cell(table);
        render_age(origin, value_member_c(&kv->val, "at"), v->now_ms);
        if (value_member_c(&kv->val, "source") != NULL) {
            buf_put_format(origin, " by ");
            render_value(origin, value_member_c(&kv->val, "source"));
        }
    }
    end_table(table);
}

static void print_segments(const struct view *v)
{
    const msgpack_object *segments = value_member_c(v->profile, "segments");
    if (!begin_section("Segments", segments)) {
        return;
    }
    struct table *table = table_new(no_heads_2, 2);
    for (uint32_t i = 0; i < size_of(segments); i++) {
        const msgpack_object *item = &segments->via.array.ptr[i];
        render_value(table_cell(table), value_member_c(item, "key"));
        put_when(table_cell(table), "entered", value_member_c(item, "since"), v->now_ms);
    }
    end_table(table);
}

static void print_merged(const struct view *v)
{
    const msgpack_object *ids = value_member_c(v->profile, "mergedIds");
    if (!begin_section("Merged from", ids)) {
        return;
    }
    static const char *const heads[] = {""};
    struct table *table = table_new(heads, 1);
    for (uint32_t i = 0; i < size_of(ids); i++) {
        render_value(table_cell(table), &ids->via.array.ptr[i]);
    }
    end_table(table);
}

static const msgpack_object *first_of(const msgpack_object *event, const char *a, const char *b)
{
    const msgpack_object *found = value_member_c(event, a);
    return found != NULL && found->type != MSGPACK_OBJECT_NIL ? found : value_member_c(event, b);
}

/* Properties or traits on one line, cut where it grows too long. */
static void put_detail(struct buf *cell, const msgpack_object *event)
{
    const msgpack_object *detail = first_of(event, "properties", "traits");
    size_t before = cell->len;
    if (size_of(detail) == 0) {
        return;
    }
    render_value(cell, detail);
    if (cell->len - before > DETAIL_BYTES) {
        cell->len = before + DETAIL_BYTES;
        while ((cell->data[cell->len] & 0xc0) == 0x80) { /* not inside a character */
            cell->len--;
        }
        buf_put_format(cell, "...");
    }
}

static void add_event(struct table *table, const msgpack_object *event, int64_t now_ms)
{
    const msgpack_object *name = first_of(event, "event", "name");
    render_age(table_cell(table), value_member_c(event, "timestamp"), now_ms);
    render_value(table_cell(table), value_member_c(event, "type"));
    if (name != NULL && name->type != MSGPACK_OBJECT_NIL) {
        render_value(table_cell(table), name);
    } else {
        table_cell(table);
    }
    put_detail(table_cell(table), event);
}

static bool print_events(struct client *client, struct slice id, int64_t limit, int64_t now_ms,
                         struct error *err)
{
    struct client_reply reply;
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    client_put_path(&path, "/v1/profiles/", id);
    path.len--;
    buf_put_format(&path, "/events?limit=%d", (int)limit);
    buf_put_u8(&path, 0);
    client_reply_init(&reply);
    bool got = client_get(client, (const char *)path.data, &reply, err);
    const msgpack_object *events = got ? value_member_c(&reply.json, "events") : NULL;
    if (got && begin_section("Last events", events)) {
        struct table *table = table_new(no_heads_4, 4);
        for (uint32_t i = 0; i < size_of(events); i++) {
            add_event(table, &events->via.array.ptr[i], now_ms);
        }
        end_table(table);
    }
    client_reply_done(&reply);
    buf_done(&path);
    return got;
}

static bool print_profile(struct client *client, const msgpack_object *profile, void *user,
                          struct error *err)
{
    const int64_t *events = user;
    struct slice id;
    struct view view = {.profile = profile, .now_ms = clock_now_ms(&clock_real)};
    if (!value_text(value_member_c(profile, "id"), &id)) {
        return error_set(err, ERROR_CORRUPT, "the hub's answer is no profile");
    }
    print_head(&view);
    print_identifiers(&view);
    print_traits(&view);
    print_consents(&view);
    print_segments(&view);
    print_merged(&view);
    return *events == 0 || print_events(client, id, *events, view.now_ms, err);
}

/* "email=jane@example.com" or a profile's id, as the path to ask for. */
static bool put_path(const char *who, struct buf *path, struct error *err)
{
    const char *equals = strchr(who, '=');
    size_t len = strlen(who);
    if (len == 0 || equals == who || len > LIMIT_IDENTIFIER_BYTES + LIMIT_NAME_BYTES) {
        return error_set(err, ERROR_INVALID, "\"%.80s\" is neither TYPE=VALUE nor a profile's id",
                         who);
    }
    if (equals == NULL) {
        client_put_path(path, "/v1/profiles/", slice_make(who, len));
        return true;
    }
    client_put_path(path, "/v1/profiles?", slice_make(who, (size_t)(equals - who)));
    path->len--;
    buf_put_u8(path, '=');
    client_put_encoded(path, slice_text(equals + 1));
    buf_put_u8(path, 0);
    return true;
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    const char *who;
    const char *events_text = NULL;
    int64_t events = EVENTS_SHOWN;
    bool as_json = false;
    struct buf path;
    const struct cli_option options[] = {{"json", NULL, &as_json}, {"events", &events_text, NULL}};
    buf_init(&path, PATH_BYTES_MAX);
    if (!cli_read_arguments(argc, argv, options, 2, &who, 1, 1, err) ||
        !cli_read_number("events", events_text, 0, EVENTS_SHOWN_MAX, &events, err) ||
        !put_path(who, &path, err)) {
        buf_done(&path);
        return CLI_MISUSED;
    }
    bool shown = client_show(cli, (const char *)path.data, as_json, print_profile, &events, err);
    buf_done(&path);
    return shown ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_profile = {
    .name = "profile",
    .usage = "TYPE=VALUE [--events N] [--json]\nID [--events N] [--json]",
    .sentence = "show a person: identifiers, traits, consents, segments, last events",
    .help = "  tributary profile email=jane@example.com\n"
            "  tributary profile user_id=4711 --events 50\n\n"
            "  --events N   how many of the last events to show [10]\n"
            "  --json       the hub's answer as it came\n\n"
            "The id of a profile that was merged into another shows the one that it became.\n",
    .run = run,
};
