/* Who sends a request, as far as HTTP shows it: a browser or a server, from which address, with
 * which objections. Only what the source's rules ask for is looked up. */
#ifndef TRIBUTARY_COLLECTOR_VISIT_H
#define TRIBUTARY_COLLECTOR_VISIT_H

#include "collector/gate/rules.h"
#include "shared/http.h"

/* Servers and tills send none of Origin, Sec-Fetch-Site and the cookie. */
bool visit_is_browser(const struct http_request *http, const char *cookie_name);

/* Whose request it is: the peer's, or behind trusted proxies the client's. False: not known. */
bool visit_find_address(const struct http_request *http, const struct networks *trusted_proxies,
                        struct address *ret);

/* Fill *visit, made by visit_init(), for a request. Bots, suppression and arena are the caller's to
 * set. It refers to the rules and to the request. */
void visit_begin(struct visit *visit, const struct rules *rules, const struct http_request *http,
                 const char *cookie_name, const struct networks *trusted_proxies);

#endif
