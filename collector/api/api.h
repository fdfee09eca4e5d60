/* The collector's HTTP face, as the public contract describes it (collector/openapi.yaml). */
#ifndef TRIBUTARY_COLLECTOR_API_H
#define TRIBUTARY_COLLECTOR_API_H

#include "collector/collector.h"

/* The collector is borrowed; everything of it except `api` is open. */
MUST_CHECK bool api_open(struct collector *collector, struct api **ret, struct error *err);
uint16_t api_port(const struct api *api);
/* 0 where there is no HTTPS. */
uint16_t api_https_port(const struct api *api);
/* To be called every few seconds by one thread: notices a new certificate. */
void api_look(struct api *api);
/* Take no more connections, answer what was read and, within a short grace, what is being sent. */
void api_drain(struct api *api);
/* When the committer has stopped and the link answers no more, close. */
void api_close(struct api **api);

#endif
