/* What the files of the collector's HTTP face share. */
#ifndef TRIBUTARY_COLLECTOR_API_INTERNAL_H
#define TRIBUTARY_COLLECTOR_API_INTERNAL_H

#include <stdatomic.h>
#include "collector/api/api.h"
#include "collector/api/certificate.h"
#include "collector/api/cookie.h"
#include "collector/api/customers_page.h"
#include "collector/api/tag.h"
#include "collector/gate/visit.h"
#include "collector/api/watch.h"
#include "shared/json.h"
#include "shared/token_guard.h"

/* What one request needs to be parsed and answered, kept for the next. */
struct scratch {
    struct request request;
    struct visit visit;
    struct arena arena;
    struct buf body;
    struct buf card;
    msgpack_zone zone;
    struct scratch *next;
};

struct api {
    struct collector *collector;
    struct http_server *server;
    struct http_server *https_server;   /* NULL without HTTPS, like the certificate */
    struct http_server *metrics_server; /* NULL: metrics are at the others */
    struct certificate *certificate;
    struct tag *tag;
    struct tag *tag_more; /* the tag's second file, which some pages need */
    char tag_more_path[CONFIG_TEXT_BYTES + sizeof ".more.js"];
    struct tag *analytics_js; /* NULL: not served */
    struct customers_page *customers_page;
    struct token_guard *token_guard;
    struct watch *watch; /* who waits for news of a visitor */
    pthread_mutex_t lock;
    struct scratch *spare;
    _Atomic bool is_stopping;
    unsigned lookups; /* under way: requests that the link will resume */
    pthread_cond_t lookups_done;
    _Atomic uint64_t requests;
    unsigned connections_max; /* of all ports */
};

/* The answer to events that are all durable. */
extern const char api_success[];

/* Take what a request needs, and give it back when the request is answered or under way. */
struct scratch *api_take_scratch(struct api *api);
void api_give_scratch(struct api *api, struct scratch *scratch);

/* Did the client ask over TLS, here or at the proxy in front? */
bool api_is_secure(const struct http_request *http);

/* api_events.c: a request of Segment's API; EVENT_TYPES is a batch. */
void api_post_events(struct api *api, struct http_request *http, enum event_type type);

/* How a protocol answers, and where its browsers keep the visitor's id. */
struct api_protocol {
    const char *cookie_name;
    struct slice body; /* of the answer to events that were taken; lives for ever */
    const char *content_type;
    bool reads_headers; /* AnonymousId and SentAt, which some SDKs send */
    bool is_lenient;    /* a refused event is counted, and answered as if it was taken */
};

/* Answer a request that was parsed into s->request: check the write key, pass the gate, have the
 * events stored. `may_identify`: cookies may be read and set. */
void api_take_request(struct api *api, struct http_request *http, struct scratch *s,
                      const struct api_protocol *protocol, bool may_identify);

/* The write key, by Basic authorization, X-Write-Key, the body where `request` is not NULL, or the
 * query; empty: none. */
enum { API_WRITE_KEY_BYTES = 256 };
struct slice api_write_key(struct http_request *http, const struct request *request,
                           char scratch[API_WRITE_KEY_BYTES]);

/* Count and note a request that is refused as a whole, of no source that is known. */
void api_note_refused_request(struct api *api, const struct refusal *refusal);
/* May this request use the cookie? For holders of the gate's lock. */
bool api_is_trusted(const struct api *api, const struct http_request *http);

/* api_snowplow.c: what Snowplow's trackers send. */
#define API_SNOWPLOW_COOKIE "sp"
void api_post_snowplow(struct api *api, struct http_request *http);
void api_get_snowplow(struct api *api, struct http_request *http);

/* api_browser.c: what SDKs in browsers ask for before they send. `prefix` is "/v1/" or the setting
 * in its place. */
void api_get_settings(struct api *api, struct http_request *http, struct slice key,
                      struct slice prefix);
void api_get_source_config(struct api *api, struct http_request *http);
/* api_ready.c: may it be sent events? */
void api_get_ready(struct api *api, struct http_request *http);

/* api_edge.c: how cards are read and written. */
/* The card of whoever has this identifier; it refers into the scratch. False: not here. */
bool api_read_card(struct api *api, struct identifier id, struct scratch *scratch,
                   struct wire_card *ret);
/* What of a card this audience may see. The card is NULL where there is none. For holders of the
 * gate's lock. */
void api_write_segments(struct json_writer *w, const struct wire_card *card,
                        const struct gate *gate, enum audience audience);
void api_write_traits(struct json_writer *w, const struct wire_card *card, const struct gate *gate,
                      enum audience audience);
/* A segment of the card; NULL: it is not shown. */
const struct shown_one *api_segment_at(const struct wire_card *card, uint32_t at,
                                       const struct gate *gate, enum audience audience);

/* api_customers.c: what it knows of a customer, for who has the token. */
void api_get_customer(struct api *api, struct http_request *http);
/* Does the request carry the secret token of the enrolment? False: answered with what is wrong. */
bool api_authorize(struct api *api, struct http_request *http);

/* api_refusals.c: what was refused. */
void api_get_refusals(struct api *api, struct http_request *http);

/* api_me.c: what a visitor's own browser is told. */
void api_get_me(struct api *api, struct http_request *http);
/* A browser that wants to know about its visitor. */
struct me_asker {
    struct slice anonymous_id; /* empty: it does not say */
    bool is_own; /* it is the browser itself: its cookie says so, or a page of a named origin */
};
/* These two for holders of the gate's lock. */
struct me_asker api_me_asker(const struct api *api, const struct http_request *http,
                             struct slice anonymous_id);
/* What it is told, as JSON; and a number that changes with that, 0 for an unknown visitor. */
uint64_t api_write_me(struct api *api, struct scratch *scratch, struct me_asker asker,
                      struct json_writer *w);
/* api_link.c: an id goes to another site. */
void api_get_link(struct api *api, struct http_request *http);
/* The watch's: answer a request that waited. */
void api_wake_me(void *api, void *waiter);

#endif
