/* The messages between collector and hub: whatever one reader takes is walked to its end, and
 * every reader is tried on every message. */
#include "shared/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sink;

static void touch(struct slice slice)
{
    for (size_t i = 0; i < slice.len; i++) {
        sink += slice.data[i];
    }
}

static void read_cards(const msgpack_object *cards)
{
    for (uint32_t i = 0; i < cards->via.array.size; i++) {
        struct wire_card card;
        if (wire_read_card(&cards->via.array.ptr[i], &card)) {
            ensure(card.profile_id.len == PROFILE_ID_BYTES);
            touch(card.profile_id);
            sink += card.identifiers->via.array.size + card.segments->via.array.size +
                    card.traits->via.map.size + card.consents->via.map.size +
                    card.merged_ids->via.array.size;
            struct identifier id;
            int64_t ms = 0;
            for (size_t at = 0; wire_card_identifier(&card, at, &id); at++) {
                touch(id.type);
                touch(id.value);
                sink += wire_card_evidence(&card, id.value, &ms) ? (uint64_t)ms : 0;
            }
        }
    }
}

static void read_removals(const msgpack_object *removals)
{
    for (uint32_t i = 0; removals != NULL && i < removals->via.array.size; i++) {
        struct slice id;
        uint64_t version;
        if (wire_read_removal(&removals->via.array.ptr[i], &id, &version)) {
            touch(id);
        }
    }
}

static void read_replies(const msgpack_object *members)
{
    struct wire_block_reply block;
    struct wire_poll_reply poll;
    struct wire_lookup_reply lookup;
    enum wire_status status;
    if (wire_read_refusal(members, &status)) {
        ensure(strcmp(wire_status_name(status), "unknown") != 0);
    }
    if (wire_read_block_reply(members, &block)) {
        ensure(strcmp(wire_status_name(block.status), "unknown") != 0);
    }
    if (wire_read_poll_reply(members, &poll)) {
        ensure(poll.cursor_count <= LIMIT_PARTITIONS);
        touch(poll.gate);
        touch(poll.suppressions);
        touch(slice_make(poll.cursors, poll.cursor_count * sizeof *poll.cursors));
        read_cards(poll.cards);
        read_removals(poll.removals);
        ensure(poll.refill.place.len <= WIRE_PLACE_BYTES_MAX);
        ensure(poll.moment.is_told || !poll.starts_over);
    }
    if (wire_read_lookup_reply(members, &lookup) && lookup.card != NULL) {
        struct wire_card read;
        sink += wire_read_card(lookup.card, &read);
    }
}

static void read_requests(const msgpack_object *members)
{
    struct wire_block block;
    struct wire_poll poll;
    struct wire_lookup lookup;
    if (wire_read_block(members, &block)) {
        touch(block.header);
        touch(block.block);
    }
    if (wire_read_poll(members, &poll)) {
        ensure(poll.cursor_count <= LIMIT_PARTITIONS);
        touch(slice_make(poll.cursors, poll.cursor_count * sizeof *poll.cursors));
        ensure(poll.report.len <= WIRE_REPORT_BYTES);
        touch(poll.report);
        ensure(poll.cache.place.len <= WIRE_PLACE_BYTES_MAX);
        touch(slice_make(poll.cache.place.bytes, poll.cache.place.len));
    }
    if (wire_read_lookup(members, &lookup)) {
        ensure(lookup.type.len <= LIMIT_NAME_BYTES);
        ensure(lookup.value.len <= LIMIT_IDENTIFIER_BYTES);
        touch(lookup.type);
        touch(lookup.value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msgpack_zone zone;
    msgpack_object members;
    enum wire_type type;
    struct error err;
    bool made = msgpack_zone_init(&zone, 8192);
    ensure(made);
    if (wire_read(slice_make(data, size), &zone, &type, &members, &err)) {
        ensure(type <= WIRE_LOOKUP);
        read_requests(&members);
        read_replies(&members);
    } else {
        ensure(err.kind == ERROR_CORRUPT);
    }
    msgpack_zone_destroy(&zone);
    return 0;
}
