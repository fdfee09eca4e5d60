/* The first-party cookie: the visitor's anonymous id, set by the server because browsers keep
 * cookies of scripts for a week only.
 *
 * The browser's own id never changes under it: the cookie follows the anonymousId of the events,
 * and only an event that has none is given the cookie's. Servers and tills, which send none of what
 * browsers send, get no cookie; nor does an event that was refused. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_COOKIE_H
#define TRIBUTARY_COLLECTOR_COOKIE_H

#include "collector/request/request.h"
#include "collector/settings.h"
#include "shared/http.h"

enum cookie_same_site { COOKIE_LAX, COOKIE_NONE, COOKIE_STRICT };

/* "lax", "none" or "strict"; false for another text. */
bool cookie_same_site_from(const char *text, enum cookie_same_site *ret);

/* How long the value of a Set-Cookie header can get, with its terminating zero. */
enum {
    COOKIE_ID_BYTES_MAX = 128,
    COOKIE_BYTES = 2 * CONFIG_TEXT_BYTES + COOKIE_ID_BYTES_MAX + 128
};

/* May this be a cookie's id: up to 128 of A-Z a-z 0-9 - _ . ~ */
bool cookie_is_id(struct slice id);

/* Write the value of a Set-Cookie header; the id must be one. SameSite=None is always Secure. */
void cookie_format(const struct settings *settings, const char *name, struct slice id,
                   bool is_secure, char ret[COOKIE_BYTES]);

/* The id in the request's cookie; empty where there is none or it cannot be one. */
struct slice cookie_id(const struct http_request *http, const char *name);

/* Is a cookie to be set: to the anonymous id of the request's last event that is not refused, where
 * the browser has another or none; and anew with each page view, which renews its lifetime. Then
 * *ret is the value of Set-Cookie. */
bool cookie_follow(const struct settings *settings, const char *name, const struct request *request,
                   bool is_secure, const struct http_request *http, char ret[COOKIE_BYTES]);

/* Is the cookie to be taken away: the newest event with its id was refused because consent is
 * denied, or grants no category of consent that it names? Scripts cannot do it where it is hidden
 * from them. Then *ret is the value of Set-Cookie. */
bool cookie_withdraw(const struct settings *settings, const char *name,
                     const struct request *request, bool is_secure, const struct http_request *http,
                     char ret[COOKIE_BYTES]);

#endif
