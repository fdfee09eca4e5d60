/* What the files of the collector's HTTP face share. */
#ifndef TRIBUTARY_COLLECTOR_API_INTERNAL_H
#define TRIBUTARY_COLLECTOR_API_INTERNAL_H

#include <stdatomic.h>
#include "collector/api.h"
#include "collector/customers_page.h"
#include "collector/tag.h"
#include "collector/token_guard.h"
#include "shared/json.h"

/* What one request needs to be parsed and answered, kept for the next. */
struct scratch {
    struct request request;
    struct arena arena;
    struct buf body;
    struct buf card;
    msgpack_zone zone;
    struct scratch *next;
};

struct api {
    struct collector *collector;
    struct http_server *server;
    struct tag *tag;
    struct customers_page *customers_page;
    struct token_guard *token_guard;
    pthread_mutex_t lock;
    struct scratch *spare;
    bool closing;
    unsigned lookups; /* under way: requests that the link will resume */
    pthread_cond_t lookups_done;
    _Atomic uint64_t requests;
};

/* The answer to events that are all durable. */
extern const char api_success[];

/* Take what a request needs, and give it back when the request is answered or under way. */
struct scratch *api_take_scratch(struct api *api);
void api_give_scratch(struct api *api, struct scratch *scratch);

/* api_events.c: a request of Segment's API; EVENT_TYPES is a batch. */
void api_post_events(struct api *api, struct http_request *http, enum event_type type);

/* api_edge.c: what the edge knows of the visitor who asks. */
void api_get_me(struct api *api, struct http_request *http);
/* The card of whoever has this identifier; it refers into the scratch. False: not here. */
bool api_read_card(struct api *api, struct identifier id, struct scratch *scratch,
                   struct wire_card *ret);
void api_write_segments(struct json_writer *w, const msgpack_object *segments);

/* api_customers.c: what it knows of a customer, for who has the token. */
void api_get_customer(struct api *api, struct http_request *http);

#endif
