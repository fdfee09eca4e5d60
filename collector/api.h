/* The collector's HTTP face, as the public contract describes it (collector/openapi.yaml). */
#ifndef TRIBUTARY_COLLECTOR_API_H
#define TRIBUTARY_COLLECTOR_API_H

#include "collector/collector.h"

/* The collector is borrowed; everything of it except `api` is open. */
MUST_CHECK bool api_open(struct collector *collector, struct api **ret, struct error *err);
uint16_t api_port(const struct api *api);
/* Take no more connections; then, when nothing is suspended any more, close. */
void api_quiesce(struct api *api);
void api_close(struct api **api);

#endif
