/* The collector, put together: everything between the HTTP port, the spool, the edge cache and
 * the link to the hub. main.c starts and stops it; api.c is its HTTP face.
 */
#ifndef TRIBUTARY_COLLECTOR_COLLECTOR_H
#define TRIBUTARY_COLLECTOR_COLLECTOR_H

#include <pthread.h>
#include "collector/spool/committer.h"
#include "collector/edge/downlink.h"
#include "collector/drop/drop_folder.h"
#include "collector/edge/edge.h"
#include "collector/gate/gate.h"
#include "collector/gate/refusals.h"
#include "collector/edge/report.h"
#include "collector/edge/standing.h"
#include "collector/settings.h"
#include "collector/gate/suppression.h"
#include "collector/spool/uplink.h"

struct api;

struct collector {
    size_t files_for_connections; /* what the stores leave of the limit of open files */
    struct settings settings;
    struct enrolment enrolment;
    struct store *spool_store;
    struct store *edge_store;
    struct disk_space *disk;
    struct spool *spool;
    struct eras *eras;         /* their clock is the collector's */
    const struct clock *clock; /* the logical one */
    struct lanes *lanes;       /* NULL where there are none */
    struct edge *edge;
    struct seal_channel *channel;
    struct link_client *link;
    struct clock_offset *clock_offset;
    struct standing *standing;
    struct uplink *uplink;
    struct downlink *downlink;
    struct committer *committer;
    struct refusals *refusals;
    struct bots *bots;
    struct networks trusted_proxies;
    struct suppression *suppression;
    struct report *report;
    pthread_rwlock_t gate_lock; /* read while a request passes, written when the gate changes */
    struct gate *gate;
    struct drop_folder *drop_folder; /* NULL: none is set */
    struct api *api;
};

/* Open everything and answer requests. The settings are copied. */
MUST_CHECK bool collector_open(const struct settings *settings, struct collector **ret,
                               struct error *err);
uint16_t collector_port(const struct collector *collector);
/* 0 where there is no HTTPS. */
uint16_t collector_https_port(const struct collector *collector);
/* To be called every few seconds by one thread: notices a new certificate. */
void collector_look(struct collector *collector);
/* Take no new connections, answer what was read, and close. */
void collector_close(struct collector **collector);

#endif
