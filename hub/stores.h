/* The hub's stores on disk: the log and the partitions, opened, saved from damage, or put aside.
 *
 * Guarantee: what is damaged is said, with the file and how much, before anything else is opened;
 * nothing is deleted. Used by hub.c, before there are threads.
 */
#ifndef TRIBUTARY_HUB_STORES_H
#define TRIBUTARY_HUB_STORES_H

#include "hub/settings.h"
#include "shared/store.h"

/* Carry out --salvage and --rebuild, where the settings have them. */
MUST_CHECK bool stores_prepare(const struct hub_settings *settings, struct error *err);

MUST_CHECK bool stores_open_log(const struct hub_settings *settings, struct store **ret,
                                struct error *err);

/* One for each partition, into `ret`. Where it fails, those that were opened are there. */
MUST_CHECK bool stores_open_partitions(const struct hub_settings *settings, struct store **ret,
                                       struct error *err);

#endif
