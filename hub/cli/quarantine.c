/* tributary quarantine: events that do not keep to their tracking plan, and what becomes of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/commands.h"
#include "hub/cli/render.h"
#include "shared/clock.h"
#include "shared/json.h"

enum { IDS_MAX = 500, SHOWN = 50, SHOWN_MAX = 500, PATH_BYTES_MAX = 4096, BODY_BYTES_MAX = 65536 };

struct selection {
    const char *source;
    const char *event;
    bool all;
    int64_t limit;
    const char *words[IDS_MAX + 1]; /* the verb, and ids behind it */
};

/* Where a listing or a selection goes on; empty at its beginning. */
struct place {
    char text[64];
};

/* ---- The listing ---- */

/* "/properties/total minimum, …" */
static void put_violations(struct buf *cell, const msgpack_object *event)
{
    const msgpack_object *list = value_member_c(value_member_c(event, "context"), "violations");
    uint32_t count = value_is(list, MSGPACK_OBJECT_ARRAY) ? list->via.array.size : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct slice pointer = slice_make(NULL, 0);
        struct slice rule = slice_make(NULL, 0);
        (void)value_text(value_member_c(&list->via.array.ptr[i], "pointer"), &pointer);
        (void)value_text(value_member_c(&list->via.array.ptr[i], "rule"), &rule);
        buf_put_format(cell, "%s", i > 0 ? ", " : "");
        render_text(cell, pointer);
        buf_put_u8(cell, ' ');
        render_text(cell, rule);
    }
}

static void print_events(const msgpack_object *events)
{
    static const char *const heads[] = {"ID",     ">RECEIVED", "COLLECTOR",
                                        "SOURCE", "EVENT",     "VIOLATIONS"};
    struct table *table = table_new(heads, 6);
    for (uint32_t i = 0; i < events->via.array.size; i++) {
        const msgpack_object *event = &events->via.array.ptr[i];
        render_value(table_cell(table), value_member_c(event, "id"));
        render_age(table_cell(table), value_member_c(event, "receivedAt"),
                   clock_now_ms(&clock_real));
        render_value(table_cell(table), value_member_c(event, "collector"));
        render_value(table_cell(table), value_member_c(event, "source"));
        render_value(table_cell(table), value_member_c(event, "event"));
        put_violations(table_cell(table), event);
    }
    table_print(table, 0, stdout);
    table_free(&table);
}

static void put_parameter(struct buf *path, const char *name, const char *value)
{
    if (value != NULL) {
        buf_put_format(path, "&%s=", name);
        client_put_encoded(path, slice_text(value));
    }
}

/* Take the answer's "next" as the place to go on at. False: that was the end. */
static bool take_next(const msgpack_object *answer, struct place *place)
{
    struct slice next;
    place->text[0] = 0;
    if (!value_text(value_member_c(answer, "next"), &next) || next.len >= sizeof place->text) {
        return false;
    }
    memcpy(place->text, next.data, next.len);
    place->text[next.len] = 0;
    return next.len > 0;
}

/* One answer: *ret_events refers into the reply. *place: where it begins, then where the next one
 * does. */
static bool get_events(struct client *client, const struct selection *s, struct place *place,
                       struct client_reply *reply, const msgpack_object **ret_events,
                       struct error *err)
{
    struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    buf_put_format(&path, "/v1/quarantine?limit=%" PRId64, s->limit);
    put_parameter(&path, "source", s->source);
    put_parameter(&path, "event", s->event);
    put_parameter(&path, "cursor", place->text[0] == 0 ? NULL : place->text);
    buf_put_u8(&path, 0);
    bool got = client_get(client, (const char *)path.data, reply, err);
    buf_done(&path);
    if (!got) {
        return false;
    }
    (void)take_next(&reply->json, place);
    *ret_events = value_member_c(&reply->json, "events");
    return value_is(*ret_events, MSGPACK_OBJECT_ARRAY) ||
           error_set(err, ERROR_CORRUPT, "the hub's answer has no \"events\"");
}

/* The hub looks at a bounded number at once: ask until it has found some. */
static bool list(struct client *client, const struct selection *s, struct error *err)
{
    struct client_reply reply;
    struct place place = {""};
    const msgpack_object *events = NULL;
    bool got;
    client_reply_init(&reply);
    do {
        got = get_events(client, s, &place, &reply, &events, err);
    } while (got && events->via.array.size == 0 && place.text[0] != 0);
    if (got && events->via.array.size == 0) {
        printf("Nothing is in quarantine.\n");
    } else if (got) {
        print_events(events);
    }
    if (got && place.text[0] != 0) {
        printf("There are more.\n");
    }
    client_reply_done(&reply);
    return got;
}

/* ---- Release and discard ---- */

static void put_selection(const struct selection *s, const struct place *place, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_open_object(&w);
    if (s->words[1] != NULL) {
        json_key(&w, "ids");
        json_open_array(&w);
        for (size_t i = 1; i <= IDS_MAX && s->words[i] != NULL; i++) {
            json_cstr(&w, s->words[i]);
        }
        json_close_array(&w);
    }
    if (s->source != NULL) {
        json_key(&w, "source");
        json_cstr(&w, s->source);
    }
    if (s->event != NULL) {
        json_key(&w, "event");
        json_cstr(&w, s->event);
    }
    if (place->text[0] != 0) {
        json_key(&w, "cursor");
        json_cstr(&w, place->text);
    }
    json_key(&w, "all");
    json_bool(&w, s->all);
    json_close_object(&w);
}

/* The hub looks at a bounded number at once and takes a part of these: ask on until the end. */
static bool take(struct client *client, const struct selection *s, struct error *err)
{
    bool release = strcmp(s->words[0], "release") == 0;
    const char *path = release ? "/v1/quarantine/release" : "/v1/quarantine/discard";
    const char *member = release ? "released" : "discarded";
    struct client_reply reply;
    struct place place = {""};
    struct buf body;
    int64_t total = 0;
    bool more = true;
    bool fine = true;
    buf_init(&body, BODY_BYTES_MAX);
    client_reply_init(&reply);
    while (fine && more) {
        int64_t count = 0;
        buf_clear(&body);
        put_selection(s, &place, &body);
        fine = client_call(client, "POST", path, buf_slice(&body), &reply, err) &&
               (value_int(value_member_c(&reply.json, member), &count) ||
                error_set(err, ERROR_CORRUPT, "the hub's answer has no \"%s\"", member));
        total += count;
        more = fine && take_next(&reply.json, &place);
    }
    if (fine) {
        printf("%" PRId64 " event%s %s.\n", total, total == 1 ? " is" : "s are", member);
    }
    client_reply_done(&reply);
    buf_done(&body);
    return fine;
}

static bool read_selection(int argc, char *const *argv, struct selection *s, struct error *err)
{
    const char *limit = NULL;
    const struct cli_option options[] = {{"source", &s->source, NULL},
                                         {"event", &s->event, NULL},
                                         {"limit", &limit, NULL},
                                         {"all", NULL, &s->all}};
    s->limit = SHOWN;
    if (!cli_read_arguments(argc, argv, options, 4, s->words, 0, IDS_MAX, err) ||
        !cli_read_number("limit", limit, 1, SHOWN_MAX, &s->limit, err)) {
        return false;
    }
    const char *verb = s->words[0];
    if (verb == NULL) {
        return !s->all || error_set(err, ERROR_INVALID, "--all belongs to release and discard");
    }
    if (strcmp(verb, "release") != 0 && strcmp(verb, "discard") != 0) {
        return error_set(err, ERROR_INVALID, "the quarantine has no \"%s\"", verb);
    }
    bool selects = s->source != NULL || s->event != NULL || s->all;
    return selects != (s->words[1] != NULL) ||
           error_set(err, ERROR_INVALID, "%s takes either ids, or --source, --event or --all",
                     verb);
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    struct selection selection = {0};
    struct client *client;
    if (!read_selection(argc, argv, &selection, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool done =
        selection.words[0] == NULL ? list(client, &selection, err) : take(client, &selection, err);
    client_close(&client);
    return done ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_quarantine = {
    .name = "quarantine",
    .usage = "[--source KEY] [--event NAME] [--limit N]\n"
             "release ID... | --all | [--source KEY] [--event NAME]\n"
             "discard ID... | --all | [--source KEY] [--event NAME]",
    .sentence = "list, release and discard events that their tracking plan holds back",
    .help = "Without a word the events are listed, each with what is wrong with it.\n\n"
            "  release    let the events count now, at their own time, once\n"
            "  discard    drop them from the quarantine\n"
            "  --limit N  how many to list [50]\n",
    .run = run,
};
