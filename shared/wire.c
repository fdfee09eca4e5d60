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
    case WIRE_REPLACED:
        return "replaced";
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

static void pack_bool(msgpack_packer *p, bool value)
{
    if (value) {
        msgpack_pack_true(p);
    } else {
        msgpack_pack_false(p);
    }
}

/* At least `min` members, which must be read, and up to `max`, of which a sender of an earlier
 * version leaves out the last. */
static struct members members_between(const msgpack_object *array, uint32_t min, uint32_t max)
{
    uint32_t count = array->type == MSGPACK_OBJECT_ARRAY ? array->via.array.size : 0;
    bool fine = array->type == MSGPACK_OBJECT_ARRAY && count >= min && count <= max;
    return (struct members){fine ? array->via.array.ptr : NULL, fine ? count : 0, fine};
}

static struct members members_of(const msgpack_object *array, uint32_t count)
{
    return members_between(array, count, count);
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
    m->fine = m->fine && status <= WIRE_REPLACED;
    return m->fine ? (enum wire_status)status : WIRE_UNAVAILABLE;
}

static bool take_bool(struct members *m)
{
    bool value = false;
    const msgpack_object *object = take(m);
    m->fine = m->fine && value_bool(object, &value);
    return value;
}

static struct wire_place take_place(struct members *m)
{
    struct wire_place place = {0};
    struct slice bytes = take_bin(m);
    m->fine = m->fine && bytes.len <= sizeof place.bytes;
    if (m->fine && bytes.len > 0) {
        place.len = (uint8_t)bytes.len;
        memcpy(place.bytes, bytes.data, bytes.len);
    }
    return place;
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
    struct members m = members_between(object, CARD_MEMBERS - 2, CARD_MEMBERS);
    ret->profile_id = take_bin(&m);
    ret->version = take_unsigned(&m);
    ret->as_of_ms = take_int(&m);
    ret->identifiers = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->segments = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->traits = take_typed(&m, MSGPACK_OBJECT_MAP);
    ret->consents = take_typed(&m, MSGPACK_OBJECT_MAP);
    ret->merged_ids = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->is_known = take_bool(&m);
    ret->purchases = m.left > 0 ? take_typed(&m, MSGPACK_OBJECT_ARRAY) : NULL;
    ret->browsers = m.left > 0 ? take_typed(&m, MSGPACK_OBJECT_ARRAY) : NULL;
    return m.fine && ret->profile_id.len == PROFILE_ID_BYTES;
}

static bool is_pair(const msgpack_object *object)
{
    return object->type == MSGPACK_OBJECT_ARRAY && object->via.array.size == 2;
}

bool wire_card_identifier(const struct wire_card *card, size_t at, struct identifier *ret)
{
    size_t count = card->identifiers->via.array.size;
    size_t browsers = card->browsers == NULL ? 0 : card->browsers->via.array.size;
    *ret = (struct identifier){0};
    if (at >= count + browsers) {
        return false;
    }
    const msgpack_object *one = at < count ? &card->identifiers->via.array.ptr[at]
                                           : &card->browsers->via.array.ptr[at - count];
    struct slice first;
    struct slice second;
    if (!is_pair(one) || !value_text(&one->via.array.ptr[0], &first)) {
        return true;
    }
    if (at >= count) {
        *ret = (struct identifier){slice_text("anonymous_id"), first};
    } else if (value_text(&one->via.array.ptr[1], &second)) {
        *ret = (struct identifier){first, second};
    }
    return true;
}

bool wire_card_evidence(const struct wire_card *card, struct slice anonymous_id, int64_t *ret_ms)
{
    size_t count = card->browsers == NULL ? 0 : card->browsers->via.array.size;
    for (size_t i = 0; i < count; i++) {
        const msgpack_object *one = &card->browsers->via.array.ptr[i];
        struct slice id;
        if (is_pair(one) && value_text(&one->via.array.ptr[0], &id) &&
            slice_equal(id, anonymous_id)) {
            return value_int(&one->via.array.ptr[1], ret_ms);
        }
    }
    return false;
}

static void put_moment(msgpack_packer *p, const struct wire_moment *moment)
{
    value_pack_bin(p, slice_make(moment->incarnation, sizeof moment->incarnation));
    msgpack_pack_uint64(p, moment->number);
}

static struct wire_moment take_moment(struct members *m)
{
    struct wire_moment moment = {.is_told = true};
    struct slice incarnation = take_bin(m);
    moment.number = take_unsigned(m);
    m->fine = m->fine && incarnation.len == sizeof moment.incarnation;
    if (m->fine) {
        memcpy(moment.incarnation, incarnation.data, incarnation.len);
    }
    return moment;
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
    uint32_t told = 9 + (poll->cache.is_told ? 1 + poll->moment.is_told : 0);
    start(&p, out, poll->is_short ? 7 : told, WIRE_POLL);
    msgpack_pack_int64(&p, poll->clock_offset_ms);
    msgpack_pack_int64(&p, poll->wait_ms);
    msgpack_pack_uint64(&p, poll->gate_version);
    msgpack_pack_uint64(&p, poll->spool_blocks);
    msgpack_pack_uint64(&p, poll->spool_bytes);
    put_cursors(&p, poll->cursor_count, poll->cursors);
    if (poll->is_short) {
        return;
    }
    msgpack_pack_uint64(&p, poll->suppression_version);
    value_pack_bin(&p, poll->report);
    if (poll->cache.is_told) {
        msgpack_pack_array(&p, poll->cache.shape > CARD_NAMED ? 4 : 3);
        value_pack_bin(&p, slice_make(poll->cache.id, sizeof poll->cache.id));
        msgpack_pack_uint64(&p, poll->cache.scope_version);
        value_pack_bin(&p, slice_make(poll->cache.place.bytes, poll->cache.place.len));
        if (poll->cache.shape > CARD_NAMED) {
            msgpack_pack_int(&p, (int)poll->cache.shape);
        }
    }
    if (poll->cache.is_told && poll->moment.is_told) {
        msgpack_pack_array(&p, 2);
        put_moment(&p, &poll->moment);
    }
}

static void take_cache(struct members *m, struct wire_cache *ret)
{
    *ret = (struct wire_cache){0};
    const msgpack_object *array = m->left > 0 ? take(m) : NULL;
    if (array == NULL) {
        return;
    }
    struct members each = members_between(array, 3, 4);
    struct slice id = take_bin(&each);
    m->fine = each.fine && id.len == sizeof ret->id;
    if (m->fine) {
        ret->is_told = true;
        memcpy(ret->id, id.data, id.len);
        ret->scope_version = take_unsigned(&each);
        ret->place = take_place(&each);
        ret->shape = CARD_NAMED;
        if (each.left > 0) {
            ret->shape = CARD_BROWSERS;
            each.fine = take_unsigned(&each) >= CARD_BROWSERS && each.fine;
        }
        m->fine = each.fine;
    }
}

bool wire_read_poll(const msgpack_object *members, struct wire_poll *ret)
{
    struct members m = members_between(members, 7, 11);
    ret->is_short = m.left == 7;
    (void)take(&m);
    ret->clock_offset_ms = take_int(&m);
    ret->wait_ms = take_int(&m);
    ret->gate_version = take_unsigned(&m);
    ret->spool_blocks = take_unsigned(&m);
    ret->spool_bytes = take_unsigned(&m);
    ret->cursor_count = take_cursors(&m, ret->cursors);
    ret->suppression_version = ret->is_short ? 0 : take_unsigned(&m);
    ret->report = ret->is_short ? slice_make(NULL, 0) : take_bin(&m);
    take_cache(&m, &ret->cache);
    ret->moment = (struct wire_moment){0};
    if (m.fine && m.left > 0) {
        struct members each = members_of(take(&m), 2);
        ret->moment = take_moment(&each);
        m.fine = each.fine;
    }
    return m.fine && ret->report.len <= WIRE_REPORT_BYTES;
}

void wire_write_removal(struct slice profile_id, uint64_t version, struct buf *out)
{
    msgpack_packer p;
    value_packer_init(&p, out);
    msgpack_pack_array(&p, 2);
    value_pack_bin(&p, profile_id);
    msgpack_pack_uint64(&p, version);
}

bool wire_read_removal(const msgpack_object *object, struct slice *ret_profile_id,
                       uint64_t *ret_version)
{
    struct members m = members_of(object, 2);
    *ret_profile_id = take_bin(&m);
    *ret_version = take_unsigned(&m);
    return m.fine && ret_profile_id->len == PROFILE_ID_BYTES;
}

static void put_list(msgpack_packer *p, struct wire_list list, struct buf *out)
{
    msgpack_pack_array(p, list.count);
    buf_put_slice(out, list.bytes);
}

void wire_write_poll_reply(const struct wire_poll_reply *r, struct wire_list cards,
                           struct wire_list removals, struct buf *out)
{
    msgpack_packer p;
    uint32_t told = 8 + (r->refill.is_told ? 2 + r->moment.is_told : 0);
    start(&p, out, r->is_short ? 6 : told, WIRE_POLL);
    msgpack_pack_int64(&p, r->hub_ms);
    msgpack_pack_uint64(&p, r->gate_version);
    value_pack_bin(&p, r->gate);
    put_cursors(&p, r->cursor_count, r->cursors);
    put_list(&p, cards, out);
    if (r->is_short) {
        return;
    }
    msgpack_pack_uint64(&p, r->suppression_version);
    value_pack_bin(&p, r->suppressions);
    if (r->refill.is_told) {
        put_list(&p, removals, out);
        msgpack_pack_array(&p, 3);
        msgpack_pack_uint64(&p, r->refill.scope_version);
        pack_bool(&p, r->refill.begins);
        value_pack_bin(&p, slice_make(r->refill.place.bytes, r->refill.place.len));
    }
    if (r->refill.is_told && r->moment.is_told) {
        msgpack_pack_array(&p, 3);
        put_moment(&p, &r->moment);
        pack_bool(&p, r->starts_over);
    }
}

static struct wire_refill take_refill(struct members *m)
{
    struct wire_refill refill = {0};
    const msgpack_object *array = take(m);
    if (m->fine) {
        struct members each = members_of(array, 3);
        refill.is_told = true;
        refill.scope_version = take_unsigned(&each);
        refill.begins = take_bool(&each);
        refill.place = take_place(&each);
        m->fine = each.fine;
    }
    return refill;
}

bool wire_read_poll_reply(const msgpack_object *members, struct wire_poll_reply *ret)
{
    struct members m = members_between(members, 6, 11);
    ret->is_short = m.left == 6;
    (void)take(&m);
    ret->hub_ms = take_int(&m);
    ret->gate_version = take_unsigned(&m);
    ret->gate = take_bin(&m);
    ret->cursor_count = take_cursors(&m, ret->cursors);
    ret->cards = take_typed(&m, MSGPACK_OBJECT_ARRAY);
    ret->suppression_version = ret->is_short ? 0 : take_unsigned(&m);
    ret->suppressions = ret->is_short ? slice_make(NULL, 0) : take_bin(&m);
    ret->removals = m.left > 0 ? take_typed(&m, MSGPACK_OBJECT_ARRAY) : NULL;
    ret->refill = ret->removals != NULL ? take_refill(&m) : (struct wire_refill){0};
    ret->moment = (struct wire_moment){0};
    ret->starts_over = false;
    if (m.fine && m.left > 0) {
        struct members each = members_of(take(&m), 3);
        ret->moment = take_moment(&each);
        ret->starts_over = take_bool(&each);
        m.fine = each.fine;
    }
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

void wire_write_lookup_reply(const struct wire_lookup_reply *r, struct slice card, struct buf *out)
{
    msgpack_packer p;
    start(&p, out, r->is_short ? 2 : 3 + (uint32_t)r->moment.is_told, WIRE_LOOKUP);
    if (card.len == 0) {
        msgpack_pack_nil(&p);
    } else {
        buf_put_slice(out, card);
    }
    if (r->is_short) {
        return;
    }
    pack_bool(&p, r->keeps);
    if (r->moment.is_told) {
        msgpack_pack_array(&p, 2);
        put_moment(&p, &r->moment);
    }
}

bool wire_read_lookup_reply(const msgpack_object *members, struct wire_lookup_reply *ret)
{
    struct members m = members_between(members, 2, 4);
    *ret = (struct wire_lookup_reply){.is_short = m.left == 2};
    (void)take(&m);
    const msgpack_object *card = take(&m);
    ret->card = m.fine && card->type != MSGPACK_OBJECT_NIL ? card : NULL;
    ret->keeps = ret->is_short || take_bool(&m);
    if (m.fine && m.left > 0) {
        struct members each = members_of(take(&m), 2);
        ret->moment = take_moment(&each);
        m.fine = each.fine;
    }
    return m.fine;
}
