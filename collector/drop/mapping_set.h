/* The mappings of a drop folder: its files named *.mapping, read again when one changes.
 *
 * One that is wrong is reported in the log, once for each change, and never stops the others. One
 * thread.
 */
#ifndef TRIBUTARY_COLLECTOR_MAPPING_SET_H
#define TRIBUTARY_COLLECTOR_MAPPING_SET_H

#include "collector/drop/mapping.h"

enum { MAPPINGS_MAX = 64 };

struct mapping_set;

struct mapping_set *mapping_set_new(void);
void mapping_set_free(struct mapping_set **set);

/* Look at the open folder; read everything anew where something is different. Mappings found
 * before are then gone. */
MUST_CHECK bool mapping_set_refresh(struct mapping_set *set, int folder, struct error *err);

/* The first mapping, by name, whose files are named like this one; NULL: none. */
struct mapping *mapping_set_find(const struct mapping_set *set, const char *file);
size_t mapping_set_count(const struct mapping_set *set);

#endif
