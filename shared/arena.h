/* An arena hands out memory that is freed all at once, at the end of a request or a batch.
 *
 * Guarantee: pointers stay valid until arena_clear() or arena_done(). Clearing keeps the first
 * chunk, so that a reused arena allocates nothing for ordinary work. One thread owns an arena.
 */
#ifndef TRIBUTARY_SHARED_ARENA_H
#define TRIBUTARY_SHARED_ARENA_H

#include "shared/slice.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t chunk_size;
};

void arena_init(struct arena *arena, size_t chunk_size);
void arena_clear(struct arena *arena);
void arena_done(struct arena *arena);

/* Bytes that the arena occupies. */
size_t arena_size(const struct arena *arena);

/* Memory aligned for any type, not zeroed. Never NULL. */
void *arena_allocate(struct arena *arena, size_t size);

/* A copy of the slice that lives as long as the arena. */
struct slice arena_copy(struct arena *arena, struct slice slice);

#endif
