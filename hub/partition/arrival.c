#include "hub/partition/arrival.h"

static bool is_pair_of(const msgpack_object *pair, struct identifier id)
{
    struct slice type;
    struct slice value;
    return pair->type == MSGPACK_OBJECT_ARRAY && pair->via.array.size >= 2 &&
           value_text(&pair->via.array.ptr[0], &type) &&
           value_text(&pair->via.array.ptr[1], &value) && slice_equal(type, id.type) &&
           slice_equal(value, id.value);
}

/* Is the identifier demoted? With a seat in its place it is exchanged instead. */
static bool is_demoted(const msgpack_object *demoted, struct identifier *id)
{
    for (uint32_t i = 0; i < demoted->via.array.size; i++) {
        const msgpack_object *pair = &demoted->via.array.ptr[i];
        if (is_pair_of(pair, *id)) {
            struct slice seat;
            bool has_seat = pair->via.array.size == 3 && value_text(&pair->via.array.ptr[2], &seat);
            *id = has_seat ? (struct identifier){slice_text(identity_seat_type), seat} : *id;
            return !has_seat;
        }
    }
    return false;
}

static void drop_demoted(struct arrival *a)
{
    struct parties *parties = &a->parties;
    size_t kept = 0;
    for (size_t i = 0; i < parties->fact_count; i++) {
        struct identifier id = parties->facts[i];
        if (!is_demoted(a->demoted, &id)) {
            parties->facts[kept] = id;
            parties->evidence[kept++] = parties->evidence[i];
        }
    }
    parties->fact_count = kept;
}

/* For the bystander the event is that somebody at her browser said to be these. */
static void take_bystanders_part(struct arrival *a)
{
    struct parties *parties = &a->parties;
    memcpy(parties->claims, parties->facts, sizeof parties->facts);
    parties->claim_count = parties->fact_count;
    parties->facts[0] = parties->bystander;
    parties->evidence[0] = EVIDENCE_NONE;
    parties->fact_count = parties->bystander.value.len > 0;
}

static bool take_apart(struct partition *p, struct arrival *a, struct error *err)
{
    if (!event_unpack(a->bytes, &p->zone, &a->event, err)) {
        return false;
    }
    a->verdict = verdict_read(a->event.verdict);
    verdict_sort(&a->verdict, catalog_rules(p->catalog), &a->event, &p->arena, &a->parties);
    if (a->part == PART_BYSTANDER) {
        take_bystanders_part(a);
    }
    if (a->demoted != NULL) {
        drop_demoted(a);
    }
    return true;
}

bool arrival_of_event(struct partition *p, uint32_t collector, struct slice bytes,
                      struct arrival *ret, struct error *err)
{
    ret->collector = collector;
    ret->bytes = bytes;
    ret->demoted = NULL;
    ret->part = PART_WHOLE;
    return take_apart(p, ret, err);
}

bool arrival_read(struct partition *p, const msgpack_object *at, size_t count, struct arrival *ret,
                  struct error *err)
{
    int64_t collector;
    int64_t part = PART_WHOLE;
    if (!value_int(&at[0], &collector) || !value_bin(&at[1], &ret->bytes) ||
        at[2].type != MSGPACK_OBJECT_ARRAY || (count > 3 && !value_int(&at[3], &part))) {
        return error_set(err, ERROR_CORRUPT, "an event's message is damaged");
    }
    ret->collector = (uint32_t)collector;
    ret->demoted = &at[2];
    ret->part = (enum part)part;
    return take_apart(p, ret, err);
}

struct slice arrival_write(struct partition *p, const struct profile_id *profile,
                           const struct arrival *a, const struct identifier *demote,
                           const struct slice *seat)
{
    uint32_t demoted = a->demoted == NULL ? 0 : a->demoted->via.array.size;
    struct buf out;
    msgpack_packer k;
    buf_init(&out, LIMIT_EVENT_BYTES * 4);
    value_packer_init(&k, &out);
    msgpack_pack_array(&k, (profile == NULL ? 4U : 5U) + (a->part != PART_WHOLE));
    msgpack_pack_int(&k, profile == NULL ? MESSAGE_ROUTE : MESSAGE_APPLY);
    if (profile != NULL) {
        value_pack_bin(&k, profile_id_slice(profile));
    }
    msgpack_pack_uint32(&k, a->collector);
    value_pack_bin(&k, a->bytes);
    msgpack_pack_array(&k, demoted + (demote != NULL));
    for (uint32_t i = 0; i < demoted; i++) {
        msgpack_pack_object(&k, a->demoted->via.array.ptr[i]);
    }
    if (demote != NULL) {
        msgpack_pack_array(&k, seat == NULL ? 2 : 3);
        value_pack_text(&k, demote->type);
        value_pack_text(&k, demote->value);
        if (seat != NULL) {
            value_pack_text(&k, *seat);
        }
    }
    if (a->part != PART_WHOLE) {
        msgpack_pack_int(&k, (int)a->part);
    }
    struct slice message = arena_copy(&p->arena, buf_slice(&out));
    buf_done(&out);
    return message;
}

void arrival_hash(const struct arrival *a, uint8_t ret[16])
{
    enum { ROOM = 2 * LIMIT_NAME_BYTES + LIMIT_MESSAGE_ID_BYTES + LIMIT_IDENTIFIER_BYTES + 16 };
    uint8_t room[ROOM];
    struct buf bytes = {.data = room, .capacity = ROOM, .len_max = ROOM};
    const struct event *event = &a->event;
    struct identifier first = a->parties.facts[0];
    if (event->anonymous_id.len > 0) {
        first = (struct identifier){slice_text("anonymous_id"), event->anonymous_id};
    } else if (event->user_id.len > 0) {
        first = (struct identifier){slice_text("user_id"), event->user_id};
    }
    buf_put_u32(&bytes, (uint32_t)event->source.len);
    buf_put_slice(&bytes, event->source);
    buf_put_u32(&bytes, (uint32_t)event->message_id.len);
    buf_put_slice(&bytes, event->message_id);
    buf_put_slice(&bytes, first.type);
    buf_put_u8(&bytes, 0);
    buf_put_slice(&bytes, first.value);
    hash128_of(buf_slice(&bytes), ret);
}
