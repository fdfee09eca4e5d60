/* How much room the disk has left, asked for once a second at most: the spool leaves some of it to
 * the rest of the machine.
 *
 * A disk that cannot be asked counts as one with room: a write that fails says more. Any thread.
 */
#ifndef TRIBUTARY_COLLECTOR_DISK_SPACE_H
#define TRIBUTARY_COLLECTOR_DISK_SPACE_H

#include <stdbool.h>
#include <stdint.h>
#include "shared/clock.h"

struct disk_figures {
    uint64_t bytes;
    uint64_t bytes_free; /* for a process without privileges */
};

/* The seam: false where the disk cannot be asked. */
typedef bool disk_measure(const char *path, struct disk_figures *ret);
/* The real one: statvfs(3). */
disk_measure disk_measure_statvfs;

struct disk_space;

/* `free_bytes_min` must stay free; 0 asks for 256 MiB, or 5 % of a disk where that is less. The
 * path is copied, the clock borrowed. */
struct disk_space *disk_space_new(const char *path, uint64_t free_bytes_min, disk_measure *measure,
                                  const struct clock *clock);
void disk_space_free(struct disk_space **space);

/* Less than the minimum is free. */
bool disk_space_is_short(struct disk_space *space);

#endif
