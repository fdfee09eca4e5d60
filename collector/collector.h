/* The collector, put together: everything between the HTTP port, the spool, the edge cache and
 * the link to the hub. main.c starts and stops it; api.c is its HTTP face.
 */
#ifndef TRIBUTARY_COLLECTOR_COLLECTOR_H
#define TRIBUTARY_COLLECTOR_COLLECTOR_H

#include <pthread.h>
#include "collector/committer.h"
#include "collector/downlink.h"
#include "collector/edge.h"
#include "collector/gate.h"
#include "collector/refusals.h"
#include "collector/report.h"
#include "collector/settings.h"
#include "collector/suppression.h"
#include "collector/uplink.h"

struct api;

struct collector {
    struct settings settings;
    struct enrolment enrolment;
    struct store *spool_store;
    struct store *edge_store;
    struct spool *spool;
    struct edge *edge;
    struct seal_channel *channel;
    struct link_client *link;
    struct clock_offset *clock_offset;
    struct uplink *uplink;
    struct downlink *downlink;
    struct committer *committer;
    struct refusals *refusals;
    struct suppression *suppression;
    struct report *report;
    pthread_rwlock_t gate_lock; /* read while a request passes, written when the gate changes */
    struct gate *gate;
    struct api *api;
};

/* Open everything and answer requests. The settings are copied. */
MUST_CHECK bool collector_open(const struct settings *settings, struct collector **ret,
                               struct error *err);
uint16_t collector_port(const struct collector *collector);
/* Take no new connections, answer what was read, and close. */
void collector_close(struct collector **collector);

#endif
