/* The hub, put together: from the link and the log through the partitions to the API. main.c
 * starts and stops it; hub/api is its HTTP face.
 */
#ifndef TRIBUTARY_HUB_HUB_H
#define TRIBUTARY_HUB_HUB_H

#include "hub/incarnations.h"
#include "hub/messages.h"
#include "hub/router.h"
#include "hub/scrub.h"
#include "hub/reports.h"
#include "hub/settings.h"
#include "hub/suppressions.h"
#include "hub/trust/trust_counts.h"

struct api;

/* How many connections the system's limit of open files leaves room for, beside the stores. */
struct hub_files {
    size_t files;
    size_t http_connections;
    size_t link_connections;
};

struct hub {
    struct hub_settings settings;
    struct hub_files files;
    uint8_t public_key[SEAL_KEY_BYTES];
    uint8_t *secret_key; /* SEAL_KEY_BYTES, sodium_malloc */
    char admin_token[CONFIG_TEXT_BYTES];
    struct store *log_store;
    struct store **stores; /* of the partitions */
    struct eventlog *log;
    struct clock_guard *clock_guard;
    const struct clock *clock; /* the guard's */
    struct registry *registry;
    struct definitions *definitions;
    struct collectors *collectors;
    struct suppressions *suppressions;
    struct incarnations *incarnations;
    struct quarantine *quarantine;
    struct reports *reports;
    struct trust_counts *trust_counts;
    struct intake *intake;
    struct edges *edges;
    struct workers *workers;
    struct router *router;
    struct messages *messages;
    struct scrub *scrub;
    struct link_server *link;
    struct api *api;
};

/* Open everything and answer requests. The settings are copied. */
MUST_CHECK bool hub_open(const struct hub_settings *settings, struct hub **ret, struct error *err);
/* Answer what was read, commit, and close. */
void hub_close(struct hub **hub);

/* `files` may be open. Pure. */
struct hub_files hub_share_files(const struct hub_settings *settings, size_t files);

/* Every few seconds: what is to be noted and said now and then. */
void hub_look(struct hub *hub);

struct reader hub_reader(const struct hub *hub);

#endif
