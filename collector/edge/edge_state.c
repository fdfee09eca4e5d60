#include "collector/edge/edge_state.h"

/* stored: never change; the place is followed by the moment and the cursors. Caches of format 1
 * know no moment and hold cards of another shape: they answer, and are filled anew. */
enum {
    FORMAT = 2,
    FORMAT_OLD_CARDS = 1,
    MOMENT_BYTES = WIRE_INCARNATION_BYTES + 8,
    PLACE_END_BYTES = 1 + WIRE_CACHE_ID_BYTES + 8 + 8 + 1 + 1 + WIRE_PLACE_BYTES_MAX,
};

void edge_state_init(struct edge_state *state, struct rand *rand)
{
    *state = (struct edge_state){.generation = 1, .moment.is_told = true};
    rand_fill(rand, state->id, sizeof state->id);
}

void edge_state_pack(const struct edge_state *state, struct buf *out)
{
    buf_put_u8(out, FORMAT);
    buf_put(out, state->id, sizeof state->id);
    buf_put_u64(out, state->generation);
    buf_put_u64(out, state->scope_version);
    buf_put_u8(out, state->is_sweeping);
    buf_put_u8(out, state->place.len);
    buf_put(out, state->place.bytes, sizeof state->place.bytes);
    buf_put(out, state->moment.incarnation, sizeof state->moment.incarnation);
    buf_put_u64(out, state->moment.number);
    for (uint32_t i = 0; i < state->cursor_count; i++) {
        buf_put_u64(out, state->cursors[i]);
    }
}

bool edge_state_unpack(struct slice bytes, struct edge_state *ret)
{
    uint8_t format = bytes.len > 0 ? bytes.data[0] : 0;
    size_t fixed = PLACE_END_BYTES + (format == FORMAT ? MOMENT_BYTES : 0);
    if (format < FORMAT_OLD_CARDS || format > FORMAT || bytes.len < fixed ||
        (bytes.len - fixed) % 8 != 0 || (bytes.len - fixed) / 8 > LIMIT_PARTITIONS) {
        return false;
    }
    ret->moment = (struct wire_moment){.is_told = true};
    if (format == FORMAT) {
        const uint8_t *moment = bytes.data + PLACE_END_BYTES;
        memcpy(ret->moment.incarnation, moment, sizeof ret->moment.incarnation);
        ret->moment.number = read_u64(moment + sizeof ret->moment.incarnation);
    }
    const uint8_t *at = bytes.data + 1;
    memcpy(ret->id, at, sizeof ret->id);
    at += sizeof ret->id;
    ret->generation = read_u64(at);
    ret->scope_version = format == FORMAT_OLD_CARDS ? 0 : read_u64(at + 8);
    ret->is_sweeping = at[16] != 0;
    ret->place.len = at[17];
    memcpy(ret->place.bytes, at + 18, sizeof ret->place.bytes);
    ret->cursor_count = (uint32_t)((bytes.len - fixed) / 8);
    for (uint32_t i = 0; i < ret->cursor_count; i++) {
        ret->cursors[i] = read_u64(bytes.data + fixed + (size_t)i * 8);
    }
    return ret->place.len <= sizeof ret->place.bytes;
}

static void take_refill(struct edge_state *state, const struct wire_refill *refill)
{
    bool was_filling = state->place.len > 0 || refill->begins;
    state->generation += refill->begins;
    state->scope_version = refill->scope_version;
    state->place = refill->place;
    state->is_sweeping =
        (state->is_sweeping && !refill->begins) || (was_filling && refill->place.len == 0);
}

void edge_state_take(struct edge_state *state, const struct wire_poll_reply *reply)
{
    if (reply->refill.is_told) {
        take_refill(state, &reply->refill);
    }
    state->moment = reply->moment.is_told ? reply->moment : state->moment;
    state->cursor_count = reply->cursor_count;
    memcpy(state->cursors, reply->cursors, reply->cursor_count * sizeof *state->cursors);
}

void edge_state_describe(const struct edge_state *state, struct wire_poll *poll)
{
    poll->cursor_count = state->cursor_count;
    memcpy(poll->cursors, state->cursors, state->cursor_count * sizeof *state->cursors);
    poll->cache = (struct wire_cache){
        .is_told = true,
        .scope_version = state->scope_version,
        .place = state->place,
        .shape = CARD_BROWSERS,
    };
    memcpy(poll->cache.id, state->id, sizeof state->id);
    poll->moment = state->moment;
}
