/* tributary status: the hub and its collectors on one screen. */
#include <stdio.h>
#include "hub/cli/client.h"
#include "hub/cli/collectors.h"
#include "hub/cli/commands.h"
#include "hub/cli/trust.h"
#include "hub/cli/refusals.h"
#include "hub/cli/render.h"
#include "shared/clock.h"
#include "shared/json.h"

enum { NAME_BYTES_MAX = 256, DEPTH_MAX = 3 };

static const char *const heads[] = {"", ""};

static bool ends_with(struct slice text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

/* "clockOffsetMs" as "clock offset ms". */
static void put_name(struct buf *out, struct slice name)
{
    for (size_t i = 0; i < name.len && out->len + 8 < NAME_BYTES_MAX; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z') {
            buf_put_u8(out, ' ');
            buf_put_u8(out, (uint8_t)(c - 'A' + 'a'));
        } else {
            render_text(out, slice_make(&c, 1));
        }
    }
}

static void put_figure(struct buf *cell, struct slice name, const msgpack_object *value)
{
    int64_t bytes;
    if (ends_with(name, "Bytes") && value_int(value, &bytes) && bytes >= 0) {
        render_bytes(cell, (uint64_t)bytes);
    } else if (ends_with(name, "At")) {
        render_age(cell, value, clock_now_ms(&clock_real));
    } else {
        render_value(cell, value);
    }
}

/* Whatever figures the hub gives, objects within objects under joined names. Lists are left to
 * the dashboards. */
static void add_figures(struct table *table, const msgpack_object *map, const char *prefix,
                        int depth)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        struct slice name;
        struct buf label;
        if (!value_text(&kv->key, &name) || kv->val.type == MSGPACK_OBJECT_ARRAY) {
            continue;
        }
        buf_init(&label, NAME_BYTES_MAX * 2);
        buf_put_format(&label, "%s%s", prefix, prefix[0] != 0 ? " " : "");
        put_name(&label, name);
        if (kv->val.type != MSGPACK_OBJECT_MAP) {
            table_text(table, buf_slice(&label));
            put_figure(table_cell(table), name, &kv->val);
        } else if (depth < DEPTH_MAX) {
            buf_put_u8(&label, 0);
            add_figures(table, &kv->val, (const char *)label.data, depth + 1);
        }
        buf_done(&label);
    }
}

static bool print_overview(struct client *client, struct error *err)
{
    struct client_reply reply;
    client_reply_init(&reply);
    bool got = client_get(client, "/v1/stats/overview", &reply, err);
    if (got && value_is(&reply.json, MSGPACK_OBJECT_MAP)) {
        struct table *table = table_new(heads, 2);
        add_figures(table, &reply.json, "", 0);
        table_print(table, 2, stdout);
        table_free(&table);
    }
    client_reply_done(&reply);
    return got;
}

static void print_problems(struct client_reply *reply)
{
    struct slice message;
    struct error unread;
    const msgpack_object *problems = json_read_value(buf_slice(&reply->body), &reply->json_bytes,
                                                     &reply->zone, &reply->json, &unread)
                                         ? value_member_c(&reply->json, "problems")
                                         : NULL;
    for (uint32_t i = 0; value_is(problems, MSGPACK_OBJECT_ARRAY) && i < problems->via.array.size;
         i++) {
        if (value_text(value_member_c(&problems->via.array.ptr[i], "message"), &message)) {
            struct buf line;
            buf_init(&line, 1024);
            render_text(&line, message);
            printf("  %.*s\n", SLICE_ARGS(buf_slice(&line)));
            buf_done(&line);
        }
    }
}

static bool print_ready(const struct cli *cli, struct client *client, bool *ret_ready,
                        struct error *err)
{
    struct client_reply reply;
    client_reply_init(&reply);
    bool got = client_request(client, "GET", "/readyz", slice_make(NULL, 0), &reply, err);
    *ret_ready = got && reply.status == 200;
    if (got) {
        printf("Hub %s is %s.\n", cli->hub, *ret_ready ? "ready" : "NOT READY");
        print_problems(&reply);
    }
    client_reply_done(&reply);
    return got;
}

static bool print_refusals(struct client *client, struct error *err)
{
    struct client_reply reply;
    client_reply_init(&reply);
    bool got = client_get(client, "/v1/refusals", &reply, err);
    const msgpack_object *refusals = got ? value_member_c(&reply.json, "refusals") : NULL;
    printf("%s", got ? "\nRefusals of the last hour\n" : "");
    if (value_is(refusals, MSGPACK_OBJECT_ARRAY) && !refusals_print_counts(refusals, true, 2)) {
        printf("  none\n");
    }
    client_reply_done(&reply);
    return got;
}

static bool print_screen(const struct cli *cli, struct client *client, struct error *err)
{
    bool is_ready;
    if (!print_ready(cli, client, &is_ready, err) || !print_overview(client, err)) {
        return false;
    }
    printf("\nCollectors\n");
    return collectors_print(client, 2, err) && print_refusals(client, err) &&
           trust_print(client, 2, err) &&
           (is_ready || error_set(err, ERROR_UNAVAILABLE, "the hub is not ready"));
}

static enum cli_outcome run(const struct cli *cli, int argc, char *const *argv, struct error *err)
{
    struct client *client;
    if (!cli_read_arguments(argc, argv, NULL, 0, NULL, 0, 0, err)) {
        return CLI_MISUSED;
    }
    if (!client_open_hub(cli, &client, err)) {
        return CLI_FAILED;
    }
    bool shown = print_screen(cli, client, err);
    client_close(&client);
    return shown ? CLI_DONE : CLI_FAILED;
}

const struct cli_command command_status = {
    .name = "status",
    .usage = "",
    .sentence = "show how the hub and its collectors are",
    .help =
        "Fails (exit code 1) where the hub does not answer or is not ready, for use in checks.\n",
    .run = run,
};
