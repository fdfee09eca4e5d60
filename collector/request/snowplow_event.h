/* One event of Snowplow's tracker protocol, made of its parameters: names and values, all text.
 *
 *     e=pv              page, its url, title and referrer as properties
 *     e=se              track named by the action, with category, label, property, value
 *     e=ue              track named by its schema's name, with its data as properties
 *     e=pp              track "Page Ping" with min_x, max_x, min_y, max_y
 *     e=tr, e=ti        track "Order Completed", "Product Purchased", in e-commerce's usual names
 *     uid duid eid      userId, anonymousId, messageId
 *     dtm stm           originalTimestamp and sentAt; ttm is a timestamp that is taken as it is
 *     url page refr     context.page;  res vp: context.screen;  ua lang tz ip: context
 *     co cx             context.contexts, one {schema, data} for each
 *
 * Every other parameter is kept in context.snowplow under its own name. Numbers are numbers where
 * the parameter is known to be one. Consent is taken from entities and events of the schemas
 * consent_preferences (each of its scopes is a category) and consent_document (its name, else its
 * id; denied in an event consent_withdrawn).
 *
 * Pure: bytes in, events out. One thread at a time for each reader.
 */
#ifndef TRIBUTARY_COLLECTOR_SNOWPLOW_EVENT_H
#define TRIBUTARY_COLLECTOR_SNOWPLOW_EVENT_H

#include "collector/request/request.h"

enum { SNOWPLOW_PARAMETERS_MAX = 256 };

struct snowplow_parameter {
    struct slice name;
    struct slice value;
};

/* What reading the events of one request needs. */
struct snowplow_reader {
    struct request *request;
    struct slice user_agent; /* of events that do not name theirs; may be empty */
    struct buf contexts;     /* the JSON of an event, as MessagePack */
    struct buf data;
};

/* The request and the text are borrowed. */
void snowplow_reader_init(struct snowplow_reader *reader, struct request *request,
                          struct slice user_agent);
void snowplow_reader_done(struct snowplow_reader *reader);

/* Fill in the event that was added last, or give it its refusal. Nothing of the parameters needs
 * to outlive the call. The first `aid` becomes the request's write key. */
void snowplow_read_event(struct snowplow_reader *reader, struct request_event *event,
                         const struct snowplow_parameter *parameters, size_t count);

#endif
