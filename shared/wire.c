#include "shared/wire.h"

const char *wire_status_name(enum wire_status status)
{
    switch (status) {
    case WIRE_STORED:
        return "stored";
    case WIRE_REPLAYED:
        return "replayed";
    case WIRE_DAMAGED:
        return "damaged";
    case WIRE_UNAVAILABLE:
        return "unavailable";
    case WIRE_REVOKED:
        return "revoked";
    }
    return "unknown";
}

bool wire_read(struct slice bytes, msgpack_zone *zone, enum wire_type *ret_type,
               msgpack_object *ret_members, struct error *err)
{
    int64_t type;
    if (!value_unpack(bytes, zone, ret_members, err)) {
        return false;
    }
    if (ret_members->type != MSGPACK_OBJECT_ARRAY || ret_members->via.array.size < 1 ||
        !value_int(&ret_members->via.array.ptr[0], &type) || type < WIRE_REFUSAL ||
        type > WIRE_LOOKUP) {
        return error_set(err, ERROR_CORRUPT, "this is no message of a known type");
    }
    *ret_type = (enum wire_type)type;
    return true;
}

static void start(msgpack_packer *p, struct buf *out, size_t members, enum wire_type type)
{
    value_packer_init(p, out);
    msgpack_pack_array(p, members);
    msgpack_pack_int(p, (int)type);
}

/* Members are read in order; the first that does not fit spoils the rest. */
struct members {
    const msgpack_object *at;
    uint32_t left;
    bool fine;
};

static struct members members_of(const msgpack_object *array, uint32_t count)
{
    bool fine = array->type == MSGPACK_OBJECT_ARRAY && array->via.array.size == count;
    return (struct members){fine ? array->via.array.ptr : NULL, fine ? count : 0, fine};
}

static const msgpack_object *take(struct members *m)
{
    if (!m->fine || m->left == 0) {
        m->fine = false;
        return NULL;
    }
    m->left--;
    return m->at++;
}

static int64_t take_int(struct members *m)
{
    int64_t value = 0;
    const msgpack_object *object = take(m);
    m->fine = m->fine && value_int(object, &value);
    return value;
}

static uint64_t take_unsigned(struct members *m)
{
    int64_t value = take_int(m);
    m->fine = m->fine && value >= 0;
    return (uint64_t)value;
}

static struct slice take_bin(struct members *m)
{
    struct slice bin = slice_make(NULL, 0);
    const msgpack_object *object = take(m);
    m->fine = m->fine && value_bin(object, &bin);
    return bin;
}

static struct slice take_text(struct members *m)
{
    struct slice text = slice_make(NULL, 0);
    const msgpack_object *object = take(m);
    m->fine = m->fine && value_text(object, &text);
    return text;
}

static const msgpack_object *take_typed(struct members *m, msgpack_object_type type)
{
    const msgpack_object *object = take(m);
    m->fine = m->fine && object->type == type;
    return object;
}

static enum wire_status take_status(struct members *m)
{
    uint64_t status = take_unsigned(m);
    m->fine = m->fine && status <= WIRE_REVOKED;
    return m->fine ? (enum wire_status)status : WIRE_UNAVAILABLE;
}

static uint32_t take_cursors(struct members *m, uint64_t cursors[LIMIT_PARTITIONS])
{
    const msgpack_object *array = take_typed(m, MSGPACK_OBJECT_ARRAY);
    if (!m->fine || array->via.array.size > LIMIT_PARTITIONS) {
        m->fine = false;
        return 0;
    }
    struct members each = members_of(array, array->via.array.size);
    for (uint32_t i = 0; i < array->via.array.size; i++) {
        cursors[i] = take_unsigned(&each);
    }
    m->fine = each.fine;
    return array->via.array.size;
}

static void put_cursors(msgpack_packer *p, uint32_t count, const uint64_t *cursors)
{
    msgpack_pack_array(p, count);
    for (uint32_t i = 0; i < count; i++) {
        msgpack_pack_uint64(p, cursors[i]);
    }
}

bool wire_read_card(const msgpack_object *object, struct wire_card *ret)
{
    struct members m = members_of(object, CARD_MEMBERS);
    ret->profile_id = take_bin(&m);
    ret->version = take_unsigned(&m);
    ret->as_of_ms = take_int(&m);
    ret->identifiers = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->segments = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->traits = take_typed(&m, MSGPACK_OBJECT_MAP);
    ret->consents = take_typed(&m, MSGPACK_OBJECT_MAP);
    ret->merged_ids = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    (void)take(&m);
    return m.fine && ret->profile_id.len == PROFILE_ID_BYTES;
}

void wire_write_refusal(enum wire_status status, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, 2, WIRE_REFUSAL);
    msgpack_pack_int(&p, (int)status);
}

bool wire_read_refusal(const msgpack_object *members, enum wire_status *ret)
{
    struct members m = members_of(members, 2);
    (void)take(&m);
    *ret = take_status(&m);
    return m.fine;
}

void wire_write_block(const struct wire_block *b, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, 6, WIRE_BLOCK);
    msgpack_pack_int64(&p, b->clock_offset_ms);
    value_pack_bin(&p, b->header);
    value_pack_bin(&p, b->block);
    msgpack_pack_uint64(&p, b->spool_blocks);
    msgpack_pack_uint64(&p, b->spool_bytes);
}

bool wire_read_block(const msgpack_object *members, struct wire_block *ret)
{
    struct members m = members_of(members, 6);
    (void)take(&m);
    ret->clock_offset_ms = take_int(&m);
    ret->header = take_bin(&m);
    ret->block = take_bin(&m);
    ret->spool_blocks = take_unsigned(&m);
    ret->spool_bytes = take_unsigned(&m);
    return m.fine;
}

void wire_write_block_reply(const struct wire_block_reply *r, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, 5, WIRE_BLOCK);
    msgpack_pack_int(&p, (int)r->status);
    msgpack_pack_int64(&p, r->hub_ms);
    msgpack_pack_uint64(&p, r->from);
    msgpack_pack_uint64(&p, r->to);
}

bool wire_read_block_reply(const msgpack_object *members, struct wire_block_reply *ret)
{
    struct members m = members_of(members, 5);
    (void)take(&m);
    ret->status = take_status(&m);
    ret->hub_ms = take_int(&m);
    ret->from = take_unsigned(&m);
    ret->to = take_unsigned(&m);
    return m.fine;
}

void wire_write_poll(const struct wire_poll *poll, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, poll->is_short ? 7 : 9, WIRE_POLL);
    msgpack_pack_int64(&p, poll->clock_offset_ms);
    msgpack_pack_int64(&p, poll->wait_ms);
    msgpack_pack_uint64(&p, poll->gate_version);
    msgpack_pack_uint64(&p, poll->spool_blocks);
    msgpack_pack_uint64(&p, poll->spool_bytes);
    put_cursors(&p, poll->cursor_count, poll->cursors);
    if (!poll->is_short) {
        msgpack_pack_uint64(&p, poll->suppression_version);
        value_pack_bin(&p, poll->report);
    }
}

/* Messages that grew: whether this one has only the members of the first version. */
static struct members members_of_either(const msgpack_object *array, uint32_t few, uint32_t many,
                                        bool *ret_few)
{
    *ret_few = array->type == MSGPACK_OBJECT_ARRAY && array->via.array.size == few;
    return members_of(array, *ret_few ? few : many);
}

bool wire_read_poll(const msgpack_object *members, struct wire_poll *ret)
{
    struct members m = members_of_either(members, 7, 9, &ret->is_short);
    (void)take(&m);
    ret->clock_offset_ms = take_int(&m);
    ret->wait_ms = take_int(&m);
    ret->gate_version = take_unsigned(&m);
    ret->spool_blocks = take_unsigned(&m);
    ret->spool_bytes = take_unsigned(&m);
    ret->cursor_count = take_cursors(&m, ret->cursors);
    ret->suppression_version = ret->is_short ? 0 : take_unsigned(&m);
    ret->report = ret->is_short ? slice_make(NULL, 0) : take_bin(&m);
    return m.fine && ret->report.len <= WIRE_REPORT_BYTES;
}

void wire_write_poll_reply(const struct wire_poll_reply *r, uint32_t card_count, struct slice cards,
                           struct buf *out)
{
    msgpack_packer p;
    start(&p, out, r->is_short ? 6 : 8, WIRE_POLL);
    msgpack_pack_int64(&p, r->hub_ms);
    msgpack_pack_uint64(&p, r->gate_version);
    value_pack_bin(&p, r->gate);
    put_cursors(&p, r->cursor_count, r->cursors);
    msgpack_pack_array(&p, card_count);
    buf_put_slice(out, cards);
    if (!r->is_short) {
        msgpack_pack_uint64(&p, r->suppression_version);
        value_pack_bin(&p, r->suppressions);
    }
}

bool wire_read_poll_reply(const msgpack_object *members, struct wire_poll_reply *ret)
{
    struct members m = members_of_either(members, 6, 8, &ret->is_short);
    (void)take(&m);
    ret->hub_ms = take_int(&m);
    ret->gate_version = take_unsigned(&m);
    ret->gate = take_bin(&m);
    ret->cursor_count = take_cursors(&m, ret->cursors);
    ret->cards = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->suppression_version = ret->is_short ? 0 : take_unsigned(&m);
    ret->suppressions = ret->is_short ? slice_make(NULL, 0) : take_bin(&m);
    return m.fine;
}

void wire_write_lookup(const struct wire_lookup *lookup, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, 3, WIRE_LOOKUP);
    value_pack_text(&p, lookup->type);
    value_pack_text(&p, lookup->value);
}

bool wire_read_lookup(const msgpack_object *members, struct wire_lookup *ret)
{
    struct members m = members_of(members, 3);
    (void)take(&m);
    ret->type = take_text(&m);
    ret->value = take_text(&m);
    return m.fine && ret->type.len <= LIMIT_NAME_BYTES && ret->value.len <= LIMIT_IDENTIFIER_BYTES;
}

void wire_write_lookup_reply(struct slice card, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, 2, WIRE_LOOKUP);
    if (card.len == 0) {
        msgpack_pack_nil(&p);
    } else {
        buf_put_slice(out, card);
    }
}

bool wire_read_lookup_reply(const msgpack_object *members, const msgpack_object **ret_card)
{
    struct members m = members_of(members, 2);
    (void)take(&m);
    const msgpack_object *card = take(&m);
    *ret_card = m.fine && card->type != MSGPACK_OBJECT_NIL ? card : NULL;
    return m.fine;
}
