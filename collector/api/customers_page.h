/* The page at /customers, for a tablet at the till: one file (customers.html) that is part of the
 * program. It asks /v1/customers with the token that the seller enters; the page itself is no
 * secret. Nothing can be loaded into it: its policy names the hashes of its own style and script.
 * Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_CUSTOMERS_PAGE_H
#define TRIBUTARY_COLLECTOR_CUSTOMERS_PAGE_H

#include "shared/http.h"

struct customers_page;

struct customers_page *customers_page_new(void);
void customers_page_free(struct customers_page **page);

void customers_page_answer(const struct customers_page *page, struct http_request *http);

#endif
