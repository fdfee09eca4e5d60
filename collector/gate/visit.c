#include "collector/gate/visit.h"

/* More than any chain of proxies writes. */
enum { FORWARDED_BYTES_MAX = 2048 };

struct forwarded {
    size_t len;
    bool is_too_long;
    char text[FORWARDED_BYTES_MAX];
};

static void add_forwarded(void *user, struct slice line)
{
    struct forwarded *f = user;
    if (line.len + 1 > sizeof f->text - f->len) {
        f->is_too_long = true;
        return;
    }
    memcpy(f->text + f->len, line.data, line.len);
    f->text[f->len + line.len] = ',';
    f->len += line.len + 1;
}

bool visit_find_address(const struct http_request *http, const struct networks *trusted,
                        struct address *ret)
{
    struct forwarded forwarded = {.len = 0};
    struct address peer;
    if (!address_from_socket(http_peer(http), &peer)) {
        return false;
    }
    if (networks_contain(trusted, peer)) {
        http_each_header(http, "X-Forwarded-For", add_forwarded, &forwarded);
    }
    return !forwarded.is_too_long &&
           address_of_client(peer, slice_make(forwarded.text, forwarded.len), trusted, ret);
}

bool visit_is_browser(const struct http_request *http, const char *cookie_name)
{
    return http_header(http, "Origin").len > 0 || http_header(http, "Sec-Fetch-Site").len > 0 ||
           http_cookie(http, cookie_name).len > 0;
}

void visit_begin(struct visit *visit, const struct rules *rules, const struct http_request *http,
                 const char *cookie_name, const struct networks *trusted)
{
    bool may_add_address = rules->ip == IP_KEEP || rules->ip == IP_TRUNCATE;
    visit->rules = rules;
    visit->is_browser =
        (may_add_address || !rules->keeps_bots) && visit_is_browser(http, cookie_name);
    visit->objects = rules->objections != NULL && slice_is(http_header(http, "Sec-GPC"), "1");
    visit->has_address =
        may_add_address && visit->is_browser && visit_find_address(http, trusted, &visit->address);
    visit->user_agent = visit->is_browser && !rules->keeps_bots ? http_header(http, "User-Agent")
                                                                : slice_make(NULL, 0);
    visit->judged = slice_make(NULL, 0);
    visit->judged_as_bot = false;
    visit->growth = 0;
}
