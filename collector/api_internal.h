/* What the files of the collector's HTTP face share. */
#ifndef TRIBUTARY_COLLECTOR_API_INTERNAL_H
#define TRIBUTARY_COLLECTOR_API_INTERNAL_H

#include <stdatomic.h>
#include "collector/api.h"
#include "collector/tag.h"
#include "collector/watch.h"
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
    struct watch *watch; /* who waits for news of a visitor */
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

/* api_edge.c: what the edge knows of a customer. */
void api_get_customer(struct api *api, struct http_request *http);
/* The card of whoever has this identifier, in the scratch's memory; false where there is none. */
MUST_CHECK bool api_read_card(struct api *api, struct identifier id, struct scratch *scratch,
                              struct wire_card *ret);
/* The keys of a card's segments, which may be NULL. */
void api_write_segments(struct json_writer *w, const msgpack_object *segments);

/* api_me.c: what a visitor's own browser is told. */
void api_get_me(struct api *api, struct http_request *http);
/* What the edge knows of the visitor, as JSON; the version of the card, 0 where there is none. */
uint64_t api_write_me(struct api *api, struct scratch *scratch, struct slice anonymous_id,
                      struct json_writer *w);
/* The watch's: answer a request that waited. */
void api_wake_me(void *api, void *waiter);

#endif
