#include "hub/definitions.h"

#include <pthread.h>
#include <stdlib.h>

struct definitions {
    pthread_mutex_t reloading; /* one at a time: what is read last is put in last */
    pthread_rwlock_t lock;
    struct catalog *catalog;
};

struct definitions *definitions_new(void)
{
    struct definitions *d = memory_allocate_zeroed(sizeof *d);
    pthread_mutex_init(&d->reloading, NULL);
    pthread_rwlock_init(&d->lock, NULL);
    return d;
}

void definitions_free(struct definitions **definitions)
{
    if (*definitions != NULL) {
        catalog_free(&(*definitions)->catalog);
        pthread_rwlock_destroy(&(*definitions)->lock);
        pthread_mutex_destroy(&(*definitions)->reloading);
        free(*definitions);
        *definitions = NULL;
    }
}

void definitions_reload(struct definitions *d, struct registry *registry)
{
    struct buf bytes;
    struct catalog *catalog;
    struct catalog_error where;
    struct error err;
    buf_init(&bytes, SIZE_MAX / 2);
    pthread_mutex_lock(&d->reloading);
    registry_catalog(registry, NULL, &bytes);
    bool fine = catalog_new(buf_slice(&bytes), &catalog, &where, &err);
    ensure(fine); /* the registry takes only what compiles */
    buf_done(&bytes);
    pthread_rwlock_wrlock(&d->lock);
    struct catalog *old = d->catalog;
    d->catalog = catalog;
    pthread_rwlock_unlock(&d->lock);
    pthread_mutex_unlock(&d->reloading);
    catalog_free(&old);
}

const struct catalog *definitions_borrow(struct definitions *d)
{
    pthread_rwlock_rdlock(&d->lock);
    return d->catalog;
}

void definitions_release(struct definitions *d)
{
    pthread_rwlock_unlock(&d->lock);
}
