#include "collector/spool/spool_state.h"

/* The first version did not count changes. */
enum { STATE_VERSION = 2, STATE_VERSION_OLDEST = 1, STATE_MEMBERS = 6 + 3 * LANES };

uint64_t spool_state_blocks(const struct spool_state *state)
{
    uint64_t blocks = 0;
    for (int i = 0; i < LANES; i++) {
        blocks += state->lanes[i].blocks;
    }
    return blocks;
}

uint64_t spool_state_bytes(const struct spool_state *state)
{
    uint64_t bytes = state->aside_bytes;
    for (int i = 0; i < LANES; i++) {
        bytes += state->lanes[i].bytes;
    }
    return bytes;
}

void spool_state_write(const struct spool_state *state, struct buf *out)
{
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_array(&p, STATE_MEMBERS);
    msgpack_pack_int(&p, STATE_VERSION);
    msgpack_pack_uint64(&p, state->next);
    msgpack_pack_int64(&p, state->last_ms);
    for (int i = 0; i < LANES; i++) {
        msgpack_pack_uint64(&p, state->lanes[i].blocks);
        msgpack_pack_uint64(&p, state->lanes[i].bytes);
        msgpack_pack_uint64(&p, state->lanes[i].dropped_events);
    }
    msgpack_pack_uint64(&p, state->aside_blocks);
    msgpack_pack_uint64(&p, state->aside_bytes);
    msgpack_pack_uint64(&p, state->changes);
}

static bool take(const msgpack_object **at, uint64_t *ret)
{
    int64_t number;
    bool fine = value_int(*at, &number) && number >= 0;
    *ret = fine ? (uint64_t)number : 0;
    (*at)++;
    return fine;
}

static bool take_members(const msgpack_object_array *array, struct spool_state *ret)
{
    const msgpack_object *at = array->ptr;
    uint64_t version;
    uint64_t last_ms;
    bool fine = take(&at, &version) && version >= STATE_VERSION_OLDEST &&
                version <= STATE_VERSION &&
                array->size == STATE_MEMBERS - (STATE_VERSION - version) && take(&at, &ret->next) &&
                take(&at, &last_ms);
    for (int i = 0; fine && i < LANES; i++) {
        struct spool_lane_state *lane = &ret->lanes[i];
        fine =
            take(&at, &lane->blocks) && take(&at, &lane->bytes) && take(&at, &lane->dropped_events);
    }
    ret->last_ms = fine ? (int64_t)last_ms : 0;
    return fine && take(&at, &ret->aside_blocks) && take(&at, &ret->aside_bytes) &&
           (version == STATE_VERSION_OLDEST || take(&at, &ret->changes));
}

bool spool_state_read(struct slice bytes, struct spool_state *ret)
{
    struct error err;
    msgpack_zone zone;
    msgpack_object root;
    *ret = (struct spool_state){0};
    bool made = msgpack_zone_init(&zone, 1024);
    ensure(made);
    bool fine = value_unpack(bytes, &zone, &root, &err) && root.type == MSGPACK_OBJECT_ARRAY &&
                root.via.array.size > 0 && take_members(&root.via.array, ret);
    msgpack_zone_destroy(&zone);
    return fine;
}
