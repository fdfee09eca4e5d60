#include "collector/api/cookie.h"

#include <stdio.h>
#include "collector/gate/visit.h"

static const char *const same_sites[] = {
    [COOKIE_LAX] = "lax",
    [COOKIE_NONE] = "none",
    [COOKIE_STRICT] = "strict",
};

bool cookie_same_site_from(const char *text, enum cookie_same_site *ret)
{
    for (size_t i = 0; i < sizeof same_sites / sizeof *same_sites; i++) {
        if (strcmp(text, same_sites[i]) == 0) {
            *ret = (enum cookie_same_site)i;
            return true;
        }
    }
    return false;
}

bool cookie_is_id(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '-' || c == '_' || c == '.' || c == '~';
        if (!fine) {
            return false;
        }
    }
    return id.len > 0 && id.len <= COOKIE_ID_BYTES_MAX;
}

static void write_cookie(const struct settings *settings, const char *name, struct slice id,
                         int64_t lifetime_ms, bool is_secure, char ret[COOKIE_BYTES])
{
    static const char *const attributes[] = {
        [COOKIE_LAX] = "Lax",
        [COOKIE_NONE] = "None",
        [COOKIE_STRICT] = "Strict",
    };
    enum cookie_same_site same_site = COOKIE_LAX;
    (void)cookie_same_site_from(settings->cookie_same_site, &same_site);
    bool has_domain = settings->cookie_domain[0] != 0;
    snprintf(ret, COOKIE_BYTES, "%s=%.*s; Path=/; Max-Age=%lld; SameSite=%s%s%s%s%s", name,
             SLICE_ARGS(id), (long long)(lifetime_ms / 1000), attributes[same_site],
             has_domain ? "; Domain=" : "", settings->cookie_domain,
             is_secure || same_site == COOKIE_NONE ? "; Secure" : "",
             settings->cookie_http_only != 0 ? "; HttpOnly" : "");
}

void cookie_format(const struct settings *settings, const char *name, struct slice id,
                   bool is_secure, char ret[COOKIE_BYTES])
{
    ensure(cookie_is_id(id));
    write_cookie(settings, name, id, settings->cookie_lifetime_ms, is_secure, ret);
}

struct slice cookie_id(const struct http_request *http, const char *name)
{
    struct slice id = http_cookie(http, name);
    return cookie_is_id(id) ? id : slice_make(NULL, 0);
}

/* It names categories of consent and grants none of them. */
static bool grants_nothing(const struct request_event *e)
{
    for (size_t i = 0; i < e->preference_count; i++) {
        if (e->preferences[i].granted) {
            return false;
        }
    }
    return e->preference_count > 0;
}

bool cookie_follow(const struct settings *settings, const char *name, const struct request *request,
                   bool is_secure, const struct http_request *http, char ret[COOKIE_BYTES])
{
    struct slice id = slice_make(NULL, 0);
    bool has_page_view = false;
    for (size_t i = 0; i < request->count; i++) {
        const struct request_event *e = &request->events[i];
        if (e->refusal.code == NULL && e->event.anonymous_id.len > 0 && !grants_nothing(e)) {
            id = e->event.anonymous_id;
            has_page_view |= e->event.type == EVENT_PAGE;
        }
    }
    struct slice has = http_cookie(http, name);
    bool is_due = cookie_is_id(id) && (has_page_view || !slice_equal(has, id)) &&
                  visit_is_browser(http, name);
    if (is_due) {
        cookie_format(settings, name, id, is_secure, ret);
    }
    return is_due;
}

bool cookie_withdraw(const struct settings *settings, const char *name,
                     const struct request *request, bool is_secure, const struct http_request *http,
                     char ret[COOKIE_BYTES])
{
    struct slice has = http_cookie(http, name);
    bool is_denied = false;
    for (size_t i = 0; has.len > 0 && i < request->count; i++) {
        const struct request_event *e = &request->events[i];
        bool is_refused = e->refusal.code != NULL && strcmp(e->refusal.code, "consent-denied") == 0;
        if (slice_equal(e->event.anonymous_id, has)) {
            is_denied = is_refused || grants_nothing(e);
        }
    }
    if (is_denied) {
        write_cookie(settings, name, slice_make("", 0), 0, is_secure, ret);
    }
    return is_denied;
}
