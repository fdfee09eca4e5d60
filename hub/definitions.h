/* The compiled definitions for readers: the catalog of this moment. Any thread. */
#ifndef TRIBUTARY_HUB_DEFINITIONS_H
#define TRIBUTARY_HUB_DEFINITIONS_H

#include "hub/registry.h"

struct definitions;

struct definitions *definitions_new(void);
void definitions_free(struct definitions **definitions);
/* Compile what the registry holds now. Calls of several threads take turns. */
void definitions_reload(struct definitions *definitions, struct registry *registry);

/* Borrow the catalog until definitions_release(), on the same thread. */
const struct catalog *definitions_borrow(struct definitions *definitions);
void definitions_release(struct definitions *definitions);

#endif
