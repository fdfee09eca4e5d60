#include "collector/spool/disk_space.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "shared/buf.h"

#define USUAL_FREE_BYTES (256ULL * 1024 * 1024)
#define LOOK_EVERY_NS 1000000000LL

enum { USUAL_SHARE = 20 /* 5 % */ };

struct disk_space {
    char *path;
    uint64_t free_bytes_min;
    disk_measure *measure;
    const struct clock *clock;
    pthread_mutex_t lock;
    bool has_looked;
    int64_t looked_ns;
    bool is_short;
};

bool disk_measure_statvfs(const char *path, struct disk_figures *ret)
{
    struct statvfs figures;
    if (statvfs(path, &figures) != 0) {
        return false;
    }
    ret->bytes = (uint64_t)figures.f_blocks * figures.f_frsize;
    ret->bytes_free = (uint64_t)figures.f_bavail * figures.f_frsize;
    return true;
}

struct disk_space *disk_space_new(const char *path, uint64_t free_bytes_min, disk_measure *measure,
                                  const struct clock *clock)
{
    struct disk_space *space = memory_allocate_zeroed(sizeof *space);
    size_t size = strlen(path) + 1;
    space->path = memory_allocate(size);
    memcpy(space->path, path, size);
    space->free_bytes_min = free_bytes_min;
    space->measure = measure;
    space->clock = clock;
    pthread_mutex_init(&space->lock, NULL);
    return space;
}

void disk_space_free(struct disk_space **space)
{
    if (*space != NULL) {
        pthread_mutex_destroy(&(*space)->lock);
        free((*space)->path);
        free(*space);
        *space = NULL;
    }
}

static uint64_t minimum(const struct disk_space *space, const struct disk_figures *disk)
{
    uint64_t share = disk->bytes / USUAL_SHARE;
    return space->free_bytes_min > 0  ? space->free_bytes_min
           : share < USUAL_FREE_BYTES ? share
                                      : USUAL_FREE_BYTES;
}

bool disk_space_is_short(struct disk_space *space)
{
    struct disk_figures disk;
    int64_t now = clock_monotonic_ns(space->clock);
    pthread_mutex_lock(&space->lock);
    if (!space->has_looked || now - space->looked_ns >= LOOK_EVERY_NS) {
        space->has_looked = true;
        space->looked_ns = now;
        space->is_short =
            space->measure(space->path, &disk) && disk.bytes_free < minimum(space, &disk);
    }
    bool is_short = space->is_short;
    pthread_mutex_unlock(&space->lock);
    return is_short;
}
