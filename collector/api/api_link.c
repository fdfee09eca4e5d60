/* /v1/link: a visitor's anonymous id goes to another site of the same hub, in a link. */
#include <stdio.h>
#include "collector/api/api_internal.h"
#include "collector/api/link_token.h"
#include "shared/members.h"

enum { ORIGIN_BYTES_MAX = 512 };

/* The page that asks is of an origin that a source names; for holders of the gate's lock. A browser
 * leaves the header away where the page is of this very host. Whoever is no browser can write what
 * it likes, and needs the cookie all the same. */
static bool is_of_a_source(const struct api *api, const struct http_request *http)
{
    char own[ORIGIN_BYTES_MAX];
    struct slice origin = http_header(http, "Origin");
    struct slice host = http_header(http, "Host");
    if (origin.len > 0 || !slice_is(http_header(http, "Sec-Fetch-Site"), "same-origin")) {
        return gate_allows_origin(api->collector->gate, origin);
    }
    int len = snprintf(own, sizeof own, "%s://%.*s", api_is_secure(http) ? "https" : "http",
                       SLICE_ARGS(host));
    return (size_t)len < sizeof own &&
           gate_allows_origin(api->collector->gate, slice_make(own, (size_t)len));
}

/* What both sides need. False: answered with what is wrong. */
static bool begin(struct api *api, struct http_request *http, uint8_t ret_key[LINK_KEY_BYTES])
{
    struct collector *c = api->collector;
    pthread_rwlock_rdlock(&c->gate_lock);
    bool is_trusted = is_of_a_source(api, http);
    struct slice key = gate_link_key(c->gate);
    bool has_key = key.len == LINK_KEY_BYTES;
    if (has_key) {
        memcpy(ret_key, key.data, LINK_KEY_BYTES);
    }
    pthread_rwlock_unlock(&c->gate_lock);
    if (!is_trusted) {
        http_answer_error(http, 403, "origin-not-allowed",
                          "No source names the site that asks among its origins.", NULL);
    } else if (!has_key) {
        http_add_header(http, "Retry-After", slice_text("60"));
        http_answer_error(http, 503, "no-link-key", "The hub has not told the key of links yet.",
                          NULL);
    }
    return is_trusted && has_key;
}

/* The hub's time where it is known: the other collector's is the same then. */
static int64_t common_now_ms(struct collector *c)
{
    int64_t offset_ms = 0;
    (void)clock_offset_get(c->clock_offset, &offset_ms);
    return clock_now_ms(c->clock) + offset_ms;
}

static void answer_text(struct api *api, struct http_request *http, const char *name,
                        struct slice text)
{
    struct json_writer w;
    struct scratch *s = api_take_scratch(api);
    json_writer_init(&w, &s->body);
    json_open_object(&w);
    json_key(&w, name);
    json_text(&w, text);
    json_close_object(&w);
    http_answer(http, 200, "application/json", buf_slice(&s->body));
    api_give_scratch(api, s);
}

/* Whoever comes to this site gets a token for the id that its cookie says: that is the browser
 * which holds it. An id in the address could be anybody's. */
static void give(struct api *api, struct http_request *http, const uint8_t key[LINK_KEY_BYTES])
{
    char token[LINK_TOKEN_BYTES];
    struct slice id = http_cookie(http, api->collector->settings.cookie_name);
    if (!cookie_is_id(id)) {
        http_answer_error(http, 400, "no-anonymous-id",
                          "The browser sends no cookie of this site with an id of up to 128 of "
                          "A-Z a-z 0-9 - _ . ~",
                          NULL);
        return;
    }
    link_token_make(key, id, common_now_ms(api->collector), token);
    answer_text(api, http, "token", slice_text(token));
}

static void take(struct api *api, struct http_request *http, const uint8_t key[LINK_KEY_BYTES],
                 struct slice token)
{
    const struct settings *settings = &api->collector->settings;
    char cookie[COOKIE_BYTES];
    uint8_t scratch[LINK_TOKEN_BYTES];
    struct slice id;
    enum link_token_state state =
        link_token_check(key, token, common_now_ms(api->collector), scratch, &id);
    if (state == LINK_TOKEN_EXPIRED) {
        http_answer_error(http, 400, "expired-token", "The token is older than two minutes.",
                          "token");
    } else if (state == LINK_TOKEN_WRONG) {
        http_answer_error(http, 400, "invalid-token",
                          "The token was not made by a collector of this hub.", "token");
    } else {
        if (visit_is_browser(http, settings->cookie_name)) {
            cookie_format(settings, settings->cookie_name, id, api_is_secure(http), cookie);
            http_add_header(http, "Set-Cookie", slice_text(cookie));
        }
        answer_text(api, http, "anonymousId", id);
    }
}

/* The second is of earlier pages, and not looked at. */
static const char *const parameters[] = {"token", "anonymousId"};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static void find_unknown(void *user, struct slice name, struct slice value)
{
    struct slice *unknown = user;
    bool is_known = false;
    (void)value;
    for (size_t i = 0; i < PARAMETERS; i++) {
        is_known = is_known || slice_is(name, parameters[i]);
    }
    *unknown = is_known || unknown->data != NULL ? *unknown : name;
}

/* A misspelt "token" would else be answered as if there were none: with a token for somebody. */
static bool is_understood(struct http_request *http)
{
    char message[240];
    struct slice unknown = slice_make(NULL, 0);
    http_each_query(http, find_unknown, &unknown);
    if (unknown.data != NULL) {
        members_tell_unknown(unknown, parameters, PARAMETERS, message, sizeof message);
        http_answer_error(http, 400, "unknown-member", message, NULL);
    }
    return unknown.data == NULL;
}

void api_get_link(struct api *api, struct http_request *http)
{
    uint8_t key[LINK_KEY_BYTES];
    struct slice token = http_query(http, "token");
    http_add_header(http, "Cache-Control", slice_text("no-store"));
    if (!is_understood(http) || !begin(api, http, key)) {
        return;
    }
    if (token.len > 0) {
        take(api, http, key, token);
    } else {
        give(api, http, key);
    }
}
