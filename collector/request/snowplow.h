/* Requests of Snowplow's trackers: a POST of many events as JSON, or one event as the query of a
 * GET. snowplow_event.h says what becomes of an event.
 *
 * A bad event is marked and its neighbours are taken, as request.h describes. The write key is the
 * `aid` of the first event that has one. Pure; one thread at a time for each request.
 */
#ifndef TRIBUTARY_COLLECTOR_SNOWPLOW_H
#define TRIBUTARY_COLLECTOR_SNOWPLOW_H

#include "collector/request/snowplow_event.h"

/* {"schema": "iglu:…/payload_data/…", "data": [{"e": "pv", …}, …]}. The user agent, which may be
 * empty, is that of events that do not name theirs. */
void snowplow_parse(struct request *request, struct slice json, struct slice user_agent,
                    struct rand *rand);

/* One event, decoded. */
void snowplow_parse_query(struct request *request, const struct snowplow_parameter *parameters,
                          size_t count, struct slice user_agent, struct rand *rand);

#endif
