/* What a visitor's own browser is told about the visitor: at once, with the answer to its events,
 * or as soon as it changes. */
#include <stdlib.h>
#include "collector/api/api_internal.h"
#include "shared/timetext.h"

enum { WAIT_MS_MAX = 30000 };

/* A request that waits for news; the id outlives the request's memory. */
struct me_waiter {
    struct http_request *http;
    size_t id_len;
    uint8_t id[LIMIT_IDENTIFIER_BYTES];
};

uint64_t api_write_me(struct api *api, struct scratch *s, struct slice id, struct json_writer *w)
{
    struct wire_card card = {0};
    bool found = id.len > 0 &&
                 api_read_card(api, (struct identifier){slice_text("anonymous_id"), id}, s, &card);
    json_open_object(w);
    json_key(w, "anonymousId");
    if (id.len > 0) {
        json_text(w, id);
    } else {
        json_null(w);
    }
    json_key(w, "segments");
    api_write_segments(w, card.segments);
    json_key(w, "traits");
    if (found) {
        json_value(w, card.traits);
    } else {
        json_open_object(w);
        json_close_object(w);
    }
    json_key(w, "version");
    json_int(w, (int64_t)card.version);
    json_close_object(w);
    return card.version;
}

/* The version that is answered. */
static uint64_t answer(struct api *api, struct http_request *http, struct slice id)
{
    struct scratch *s = api_take_scratch(api);
    struct json_writer w;
    json_writer_init(&w, &s->body);
    uint64_t version = api_write_me(api, s, id, &w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
    return version;
}

void api_wake_me(void *user, void *waiter)
{
    struct me_waiter *me = waiter;
    (void)answer(user, me->http, slice_make(me->id, me->id_len));
    http_resume(me->http);
    free(me);
}

static uint64_t read_card_version(struct api *api, struct slice id)
{
    struct scratch *s = api_take_scratch(api);
    struct wire_card card = {0};
    bool found = api_read_card(api, (struct identifier){slice_text("anonymous_id"), id}, s, &card);
    api_give_scratch(api, s);
    return found ? card.version : 0;
}

/* Whose request it is, where that has a bound: a proxy that does not say for whom it asks stands
 * for many. NULL: nobody's. */
static const struct address *find_asker(const struct api *api, const struct http_request *http,
                                        struct address *ret)
{
    bool is_known = visit_find_address(http, &api->collector->trusted_proxies, ret);
    return is_known && !address_is_this_machine(*ret) ? ret : NULL;
}

/* A card that comes between the first look and the wait is found by the second look. */
static void wait_for_change(struct api *api, struct http_request *http, struct slice id,
                            uint64_t version, int64_t wait_ms)
{
    struct me_waiter *me = memory_allocate_zeroed(sizeof *me);
    struct address address;
    uint8_t bytes[LIMIT_IDENTIFIER_BYTES];
    memcpy(bytes, id.data, id.len);
    memcpy(me->id, id.data, id.len);
    me->id_len = id.len;
    me->http = http;
    id = slice_make(bytes, id.len);
    const struct address *from = find_asker(api, http, &address);
    http_suspend_watched(http, me);
    if (!watch_add(api->watch, id, wait_ms, from, me)) {
        http_add_header(http, "Retry-After", slice_text("5"));
        http_answer_error(http, 503, "too-many-waiting",
                          "Too many requests wait already; ask again without \"wait\".", "wait");
        http_resume(http);
        free(me);
    } else if (read_card_version(api, id) != version) {
        watch_changed(api->watch, id);
    }
}

static bool version_is(struct slice text, uint64_t version)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)version);
    return slice_is(text, digits);
}

void api_get_me(struct api *api, struct http_request *http)
{
    int64_t wait_ms = 0;
    struct slice id = http_query(http, "anonymousId");
    struct slice wait = http_query(http, "wait");
    if (id.len == 0) {
        id = http_cookie(http, api->collector->settings.cookie_name);
    }
    if (id.len == 0) {
        id = http_cookie(http, API_SNOWPLOW_COOKIE);
    }
    if (wait.len > 0 && (!duration_parse(wait, &wait_ms) || wait_ms < 0)) {
        http_answer_error(http, 400, "invalid-query", "\"wait\" is a duration such as 25s.",
                          "wait");
        return;
    }
    wait_ms = wait_ms > WAIT_MS_MAX ? WAIT_MS_MAX : wait_ms;
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    uint64_t version = answer(api, http, id);
    if (wait_ms > 0 && id.len > 0 && id.len <= LIMIT_IDENTIFIER_BYTES &&
        version_is(http_query(http, "version"), version)) {
        wait_for_change(api, http, id, version, wait_ms);
    }
}
