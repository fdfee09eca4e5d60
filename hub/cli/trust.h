/* Who of a source's visitors is believed to be who they say, and what to do where nobody is: a part
 * of `status`. */
#ifndef TRIBUTARY_HUB_CLI_TRUST_H
#define TRIBUTARY_HUB_CLI_TRUST_H

#include "hub/cli/client.h"

/* Ask the hub for its sources and print those whose events named anybody since its start. */
MUST_CHECK bool trust_print(struct client *client, int indent, struct error *err);

#endif
