/* The table of collectors, which `collectors` and `status` show. */
#ifndef TRIBUTARY_HUB_CLI_COLLECTORS_H
#define TRIBUTARY_HUB_CLI_COLLECTORS_H

#include "hub/cli/client.h"

/* Ask the hub and print the table on standard output. */
MUST_CHECK bool collectors_print(struct client *client, int indent, struct error *err);

#endif
