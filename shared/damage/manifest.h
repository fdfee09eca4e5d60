/* What LevelDB's MANIFEST says: which tables there are, how long they are, and which logs are read
 * again. Pure; takes any bytes. */
#ifndef TRIBUTARY_SHARED_DAMAGE_MANIFEST_H
#define TRIBUTARY_SHARED_DAMAGE_MANIFEST_H

#include "shared/buf.h"

struct manifest_table {
    uint64_t number;
    uint64_t bytes;
};

struct manifest {
    uint64_t log_number;      /* logs from here on are read again */
    uint64_t prev_log_number; /* and this one; 0: none */
    uint64_t last_sequence;
    struct manifest_table *tables; /* in no order */
    size_t table_count;
    size_t table_capacity;
};

void manifest_init(struct manifest *manifest);
void manifest_done(struct manifest *manifest);

/* Apply one record. False: it is none. */
bool manifest_apply(struct manifest *manifest, struct slice record);

void manifest_add_table(struct manifest *manifest, uint64_t number, uint64_t bytes);
const struct manifest_table *manifest_find(const struct manifest *manifest, uint64_t number);

#endif
