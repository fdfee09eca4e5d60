/* The hub's REST API, as hub/openapi.yaml describes it. The handlers of each group of paths have a
 * file of their own; api.c knows who may ask and where a path leads.
 */
#ifndef TRIBUTARY_HUB_API_API_H
#define TRIBUTARY_HUB_API_API_H

#include "hub/hub.h"

struct api;

/* The hub is borrowed; everything of it except `api` is open. */
MUST_CHECK bool api_open(struct hub *hub, struct api **ret, struct error *err);
uint16_t api_port(const struct api *api);
void api_close(struct api **api);

#endif
