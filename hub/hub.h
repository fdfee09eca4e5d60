/* The hub, put together: from the link and the log through the partitions to the API. main.c
 * starts and stops it; hub/api is its HTTP face.
 */
#ifndef TRIBUTARY_HUB_HUB_H
#define TRIBUTARY_HUB_HUB_H

#include "hub/messages.h"
#include "hub/router.h"
#include "hub/reports.h"
#include "hub/settings.h"
#include "hub/suppressions.h"

struct api;

struct hub {
    struct hub_settings settings;
    uint8_t public_key[SEAL_KEY_BYTES];
    uint8_t *secret_key; /* SEAL_KEY_BYTES, sodium_malloc */
    char admin_token[CONFIG_TEXT_BYTES];
    struct store *log_store;
    struct store **stores; /* of the partitions */
    struct eventlog *log;
    struct registry *registry;
    struct definitions *definitions;
    struct collectors *collectors;
    struct suppressions *suppressions;
    struct quarantine *quarantine;
    struct reports *reports;
    struct intake *intake;
    struct edges *edges;
    struct workers *workers;
    struct router *router;
    struct messages *messages;
    struct link_server *link;
    struct api *api;
};

/* Open everything and answer requests. The settings are copied. */
MUST_CHECK bool hub_open(const struct hub_settings *settings, struct hub **ret, struct error *err);
/* Answer what was read, commit, and close. */
void hub_close(struct hub **hub);

struct reader hub_reader(const struct hub *hub);

#endif
