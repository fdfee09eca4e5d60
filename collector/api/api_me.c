/* What a visitor's own browser is told about the visitor: at once, with the answer to its events,
 * or as soon as it changes. */
#include <stdlib.h>
#include "collector/api/api_internal.h"
#include "shared/timetext.h"

enum { WAIT_MS_MAX = 30000 };

/* A request that waits for news; the id outlives the request's memory. */
struct me_waiter {
    struct http_request *http;
    bool is_own;
    size_t id_len;
    uint8_t id[LIMIT_IDENTIFIER_BYTES];
};

struct me_asker api_me_asker(const struct api *api, const struct http_request *http,
                             struct slice id)
{
    const char *name = api->collector->settings.cookie_name;
    bool has_cookie = id.len > 0 && (slice_equal(id, cookie_id(http, name)) ||
                                     slice_equal(id, http_cookie(http, API_SNOWPLOW_COOKIE)));
    return (struct me_asker){
        id, (has_cookie && api_is_trusted(api, http)) ||
                gate_allows_origin(api->collector->gate, http_header(http, "Origin"))};
}

/* Is it still evident that the browser is this person's? By the hub's clock, as the collector knows
 * it. */
static bool is_evident(const struct api *api, const struct wire_card *card, struct slice id)
{
    const struct collector *c = api->collector;
    int64_t at_ms = 0;
    int64_t offset_ms = 0;
    (void)clock_offset_get(c->clock_offset, &offset_ms);
    return wire_card_evidence(card, id, &at_ms) && at_ms > 0 &&
           clock_now_ms(c->clock) + offset_ms - at_ms < gate_me_for_ms(c->gate);
}

/* What may be told; a known person's things to the browser itself alone, while it is evident whose
 * it is. False: as of an unknown visitor. */
static bool find_card(struct api *api, struct scratch *s, struct me_asker asker,
                      struct wire_card *ret)
{
    struct identifier id = {slice_text("anonymous_id"), asker.anonymous_id};
    return id.value.len > 0 && api_read_card(api, id, s, ret) &&
           (!ret->is_known || (asker.is_own && is_evident(api, ret, id.value)));
}

/* It changes with the card and with what of it is shown. */
static uint64_t version_of(const struct api *api, const struct wire_card *card)
{
    return card->version + gate_version(api->collector->gate);
}

uint64_t api_write_me(struct api *api, struct scratch *s, struct me_asker asker,
                      struct json_writer *w)
{
    const struct gate *gate = api->collector->gate;
    struct wire_card found;
    const struct wire_card *card = find_card(api, s, asker, &found) ? &found : NULL;
    uint64_t version = card == NULL ? 0 : version_of(api, card);
    json_open_object(w);
    json_key(w, "anonymousId");
    if (asker.anonymous_id.len > 0) {
        json_text(w, asker.anonymous_id);
    } else {
        json_null(w);
    }
    json_key(w, "segments");
    api_write_segments(w, card, gate, AUDIENCE_PAGE);
    json_key(w, "traits");
    api_write_traits(w, card, gate, AUDIENCE_PAGE);
    json_key(w, "version");
    json_int(w, (int64_t)version);
    json_close_object(w);
    return version;
}

/* The version that is answered. */
static uint64_t answer(struct api *api, struct http_request *http, struct me_asker asker)
{
    struct scratch *s = api_take_scratch(api);
    struct json_writer w;
    json_writer_init(&w, &s->body);
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    uint64_t version = api_write_me(api, s, asker, &w);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
    return version;
}

void api_wake_me(void *user, void *waiter)
{
    struct me_waiter *me = waiter;
    struct me_asker asker = {slice_make(me->id, me->id_len), me->is_own};
    (void)answer(user, me->http, asker);
    http_resume(me->http);
    free(me);
}

static uint64_t read_version(struct api *api, struct me_asker asker)
{
    struct scratch *s = api_take_scratch(api);
    struct wire_card card;
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    uint64_t version = find_card(api, s, asker, &card) ? version_of(api, &card) : 0;
    pthread_rwlock_unlock(&api->collector->gate_lock);
    api_give_scratch(api, s);
    return version;
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
static void wait_for_change(struct api *api, struct http_request *http, struct me_asker asker,
                            uint64_t version, int64_t wait_ms)
{
    struct me_waiter *me = memory_allocate_zeroed(sizeof *me);
    struct address address;
    uint8_t bytes[LIMIT_IDENTIFIER_BYTES];
    struct slice id = asker.anonymous_id;
    memcpy(bytes, id.data, id.len);
    memcpy(me->id, id.data, id.len);
    me->id_len = id.len;
    me->is_own = asker.is_own;
    me->http = http;
    asker.anonymous_id = slice_make(bytes, id.len);
    const struct address *from = find_asker(api, http, &address);
    http_suspend_watched(http, me);
    if (!watch_add(api->watch, asker.anonymous_id, wait_ms, from, me)) {
        http_add_header(http, "Retry-After", slice_text("5"));
        http_answer_error(http, 503, "too-many-waiting",
                          "Too many requests wait already; ask again without \"wait\".", "wait");
        http_resume(http);
        free(me);
    } else if (read_version(api, asker) != version) {
        watch_changed(api->watch, asker.anonymous_id);
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
    pthread_rwlock_rdlock(&api->collector->gate_lock);
    struct me_asker asker = api_me_asker(api, http, id);
    pthread_rwlock_unlock(&api->collector->gate_lock);
    uint64_t version = answer(api, http, asker);
    if (wait_ms > 0 && id.len > 0 && id.len <= LIMIT_IDENTIFIER_BYTES &&
        version_is(http_query(http, "version"), version)) {
        wait_for_change(api, http, asker, version, wait_ms);
    }
}
