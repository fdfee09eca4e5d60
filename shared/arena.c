#include "shared/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include "shared/buf.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t chunk_size)
{
    *arena = (struct arena){.chunk_size = chunk_size};
}

void arena_clear(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL && chunk->next != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    if (chunk != NULL) {
        chunk->used = 0;
    }
    arena->chunks = chunk;
}

void arena_done(struct arena *arena)
{
    arena_clear(arena);
    free(arena->chunks);
    arena->chunks = NULL;
}

size_t arena_size(const struct arena *arena)
{
    size_t size = 0;
    for (const struct arena_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->next) {
        size += sizeof *chunk + chunk->size;
    }
    return size;
}

void *arena_allocate(struct arena *arena, size_t size)
{
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    struct arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > arena->chunk_size ? size : arena->chunk_size;
        chunk = memory_allocate(sizeof *chunk + room);
        *chunk = (struct arena_chunk){.next = arena->chunks, .size = room};
        arena->chunks = chunk;
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += size;
    return memory;
}

struct slice arena_copy(struct arena *arena, struct slice slice)
{
    uint8_t *copy = arena_allocate(arena, slice.len);
    if (slice.len > 0) {
        memcpy(copy, slice.data, slice.len);
    }
    return slice_make(copy, slice.len);
}
