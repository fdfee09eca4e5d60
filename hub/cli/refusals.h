/* The tables of refusals, which `refusals` and `status` show. */
#ifndef TRIBUTARY_HUB_CLI_REFUSALS_H
#define TRIBUTARY_HUB_CLI_REFUSALS_H

#include "hub/cli/client.h"

/* The member "refusals" of the hub's answer as a table: with all counts, or only those of the last
 * hour. False, and nothing printed, where there is no line to print. */
bool refusals_print_counts(const msgpack_object *refusals, bool last_hour, int indent);

#endif
