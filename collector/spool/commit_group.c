#include "collector/spool/commit_group.h"

#include <stdlib.h>

enum { SMALL_COMMITS_MAX = 32 };

struct commit_group *commit_group_new(struct block_compressor *compressor)
{
    struct commit_group *group = memory_allocate_zeroed(sizeof *group);
    group->compressor = compressor;
    return group;
}

void commit_group_free(struct commit_group *group)
{
    while (group != NULL) {
        struct commit_group *next = group->next;
        for (size_t i = 0; i < group->part_capacity; i++) {
            block_builder_free(&group->parts[i].builder);
        }
        free(group->parts);
        free(group->waiting);
        free(group);
        group = next;
    }
}

/* Is what it keeps more than the commits of late have needed? */
static bool is_outgrown(struct commit_group *group, size_t bytes_usual)
{
    if (group->bytes >= bytes_usual / 8) {
        group->is_large = true;
        group->small_commits = 0;
        return group->bytes > bytes_usual;
    }
    group->small_commits++;
    return group->is_large && group->small_commits >= SMALL_COMMITS_MAX;
}

bool commit_group_clear(struct commit_group *group, size_t bytes_usual)
{
    bool is_kept = !is_outgrown(group, bytes_usual);
    for (size_t i = 0; i < group->part_count; i++) {
        block_builder_clear(group->parts[i].builder); /* where the commit failed early */
    }
    /* What a lane of its own needed goes back: the next commit may be all of another. */
    while (group->part_capacity > 1) {
        block_builder_free(&group->parts[--group->part_capacity].builder);
    }
    group->part_count = 0;
    memset(group->open, 0, sizeof group->open);
    group->waiting_count = 0;
    group->events = 0;
    group->bytes = 0;
    group->next = NULL;
    return is_kept;
}

static size_t event_bytes(const struct event *e)
{
    return e->body.len + e->name.len + e->message_id.len + e->anonymous_id.len + e->user_id.len +
           e->source.len + 64;
}

size_t commit_group_weigh(const struct request *request, size_t *ret_count)
{
    size_t bytes = 0;
    *ret_count = 0;
    for (size_t i = 0; i < request->count; i++) {
        if (request_event_is_stored(&request->events[i])) {
            bytes += event_bytes(&request->events[i].event);
            (*ret_count)++;
        }
    }
    return bytes;
}

static struct commit_part *open_part(struct commit_group *group, enum lane lane)
{
    if (group->part_count == group->part_capacity) {
        group->parts =
            memory_resize(group->parts, (group->part_capacity + 1) * sizeof *group->parts);
        group->parts[group->part_capacity++].builder = block_builder_new(group->compressor);
        /* The parts may have moved; each lane's open part is its last. */
        for (size_t i = 0; i < group->part_count; i++) {
            group->open[group->parts[i].lane] = &group->parts[i];
        }
    }
    struct commit_part *part = &group->parts[group->part_count++];
    part->lane = lane;
    part->bytes = 0;
    group->open[lane] = part;
    return part;
}

/* The lanes that the request's events are in, as bits. */
static unsigned add_events(struct commit_group *group, const struct request *request,
                           const struct committer_parts *parts)
{
    unsigned lanes = 0;
    for (size_t i = 0; i < request->count; i++) {
        const struct event *event = &request->events[i].event;
        if (request_event_is_stored(&request->events[i])) {
            size_t bytes = event_bytes(event);
            enum lane lane = lanes_of(parts->lanes, event);
            struct commit_part *part = group->open[lane];
            if (part == NULL || part->bytes + bytes > parts->block_bytes_max) {
                part = open_part(group, lane);
            }
            bool added = block_builder_add(part->builder, event);
            ensure(added);
            part->bytes += bytes;
            lanes |= 1U << lane;
        }
    }
    return lanes;
}

void commit_group_add(struct commit_group *group, const struct request *request, size_t count,
                      size_t bytes, const struct committer_parts *parts,
                      const struct committer_waiter *waiter)
{
    unsigned lanes = add_events(group, request, parts);
    group->events += count;
    group->bytes += bytes;
    if (group->waiting_count == group->waiting_capacity) {
        group->waiting_capacity = group->waiting_capacity == 0 ? 64 : group->waiting_capacity * 2;
        group->waiting =
            memory_resize(group->waiting, group->waiting_capacity * sizeof *group->waiting);
    }
    struct commit_waiting *waiting = &group->waiting[group->waiting_count++];
    struct slice source = request->events[0].event.source;
    waiting->waiter = *waiter;
    waiting->lanes = lanes;
    waiting->events = count;
    waiting->source_len = source.len < LIMIT_NAME_BYTES ? source.len : LIMIT_NAME_BYTES;
    memcpy(waiting->source, source.data, waiting->source_len);
}

void commit_group_tell(const struct commit_group *group, unsigned refused, const struct error *err)
{
    for (size_t i = 0; i < group->waiting_count; i++) {
        const struct commit_waiting *waiting = &group->waiting[i];
        bool is_stored = (waiting->lanes & refused) == 0;
        waiting->waiter.committed(waiting->waiter.user, is_stored ? NULL : err);
    }
}
